//! Reading Avro's bytes straight into values, by a plan that is made once a schema.
//!
//! The bytes come from outside: every length is held against what is left of them, and what takes no
//! bytes (an array of nulls) against a limit of its own. Text and bytes are slices of what was read.

use std::sync::Arc;

use bytes::Bytes;
use connect_core::{Decimal, SchemaRef, Str, Struct, Value};

/// Items that take no bytes of which one record may have this many.
const EMPTY_ITEMS_MAX: usize = 100_000;
/// Bytes of a decimal number: printing one takes time that grows with their square.
const DECIMAL_BYTES_MAX: usize = 4096;

/// How to read a schema's data.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Read {
    Boolean,
    Int8,
    Int16,
    Int32,
    Date,
    Time,
    Int64,
    Timestamp,
    Float32,
    Float64,
    Bytes,
    Text,
    /// With digits after the point.
    Decimal(i32),
    /// Of a number of bytes.
    Fixed(usize),
    /// Of a number of bytes, with digits after the point.
    FixedDecimal(usize, i32),
    Enum(Arc<[Str]>),
    Array(Arc<Read>),
    /// Keys are text.
    Map(Arc<Read>),
    /// An array of records of a key and a value, and whether the key comes first.
    Entries(Arc<Read>, Arc<Read>, bool),
    /// Null is the member of this number (0 or 1), the other is this.
    Optional(u8, Arc<Read>),
    /// A struct with a field a member; nothing for null.
    Union(SchemaRef, Arc<[Option<(usize, Read)>]>),
    Record(SchemaRef, Arc<[Read]>),
}

/// Reads one value, which takes all of the bytes.
///
/// # Errors
/// Where the bytes do not fit the schema.
pub(super) fn decode(plan: &Read, bytes: &Bytes) -> Result<Value, String> {
    let mut input = Input {
        buffer: bytes,
        rest: bytes,
        empty_items: EMPTY_ITEMS_MAX,
    };
    let value = input.value(plan)?;
    match input.rest.len() {
        0 => Ok(value),
        left => Err(format!(
            "{left} bytes are left over; they were written with another schema than the one they name"
        )),
    }
}

struct Input<'a> {
    buffer: &'a Bytes,
    rest: &'a [u8],
    empty_items: usize,
}

impl<'a> Input<'a> {
    fn value(&mut self, plan: &Read) -> Result<Value, String> {
        Ok(match plan {
            Read::Boolean => match self.byte()? {
                0 => Value::Boolean(false),
                1 => Value::Boolean(true),
                other => return Err(format!("{other} is no boolean")),
            },
            Read::Int8 => Value::Int8(self.int().and_then(fitted)?),
            Read::Int16 => Value::Int16(self.int().and_then(fitted)?),
            Read::Int32 => Value::Int32(self.int()?),
            Read::Date => Value::Date(self.int()?),
            Read::Time => Value::Time(self.int()?),
            Read::Int64 => Value::Int64(self.long()?),
            Read::Timestamp => Value::Timestamp(self.long()?),
            Read::Float32 => Value::Float32(f32::from_le_bytes(self.array()?)),
            Read::Float64 => Value::Float64(f64::from_le_bytes(self.array()?)),
            Read::Bytes => Value::Bytes(self.bytes()?),
            Read::Text => Value::String(self.text()?),
            Read::Decimal(scale) => {
                let length = self.length()?;
                self.decimal(length, *scale)?
            }
            Read::Fixed(size) => Value::Bytes(self.shared(*size)?),
            Read::FixedDecimal(size, scale) => self.decimal(*size, *scale)?,
            Read::Enum(symbols) => {
                let number = self.int()?;
                let symbol = usize::try_from(number).ok().and_then(|at| symbols.get(at));
                let symbol = symbol.ok_or_else(|| format!("the enum has no symbol {number}"))?;
                Value::String(symbol.clone())
            }
            Read::Array(items) => {
                let mut values = Vec::new();
                self.blocks(&mut values, |input| input.value(items))?;
                Value::Array(Arc::new(values))
            }
            Read::Map(values) => {
                let mut entries = Vec::new();
                self.blocks(&mut entries, |input| {
                    Ok((Value::String(input.text()?), input.value(values)?))
                })?;
                Value::Map(Arc::new(entries))
            }
            Read::Entries(key, value, key_first) => {
                let mut entries = Vec::new();
                self.blocks(&mut entries, |input| {
                    let first = input.value(if *key_first { key } else { value })?;
                    let second = input.value(if *key_first { value } else { key })?;
                    Ok(match key_first {
                        true => (first, second),
                        false => (second, first),
                    })
                })?;
                Value::Map(Arc::new(entries))
            }
            Read::Optional(null, plan) => match self.long()? {
                member if member == i64::from(*null) => Value::Null,
                0 | 1 => self.value(plan)?,
                other => return Err(format!("the union has no member {other}")),
            },
            Read::Union(schema, members) => {
                let number = self.long()?;
                let member = usize::try_from(number).ok().and_then(|at| members.get(at));
                let member = member.ok_or_else(|| format!("the union has no member {number}"))?;
                let Some((field, plan)) = member else {
                    return Ok(Value::Null);
                };
                let mut values = vec![Value::Null; schema.fields().len()];
                let value = self.value(plan)?;
                if let Some(slot) = values.get_mut(*field) {
                    *slot = value;
                }
                structure(schema, values)?
            }
            Read::Record(schema, fields) => {
                let mut values = Vec::with_capacity(fields.len());
                for (plan, field) in fields.iter().zip(schema.fields()) {
                    let value = self.value(plan);
                    values.push(value.map_err(|problem| format!("{}: {problem}", field.name))?);
                }
                structure(schema, values)?
            }
        })
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(format!(
                "{count} bytes should follow and {} are left",
                self.rest.len()
            )),
        }
    }

    fn byte(&mut self) -> Result<u8, String> {
        match self.rest.split_first() {
            Some((byte, rest)) => {
                self.rest = rest;
                Ok(*byte)
            }
            None => Err("the bytes end early".to_owned()),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let taken = self.take(N)?;
        taken
            .try_into()
            .map_err(|_| "the bytes end early".to_owned())
    }

    /// A number of seven bits a byte, the last of which has none in its eighth; its sign is its last bit.
    fn long(&mut self) -> Result<i64, String> {
        let mut number: u64 = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(((number >> 1) as i64) ^ -((number & 1) as i64));
            }
        }
        Err("a number has more than 64 bits".to_owned())
    }

    fn int(&mut self) -> Result<i32, String> {
        let number = self.long()?;
        i32::try_from(number).map_err(|_| format!("{number} does not fit into 32 bits"))
    }

    fn length(&mut self) -> Result<usize, String> {
        let length = self.long()?;
        usize::try_from(length).map_err(|_| format!("{length} is no length"))
    }

    /// Bytes that share the record's buffer.
    fn shared(&mut self, count: usize) -> Result<Bytes, String> {
        let taken = self.take(count)?;
        Ok(self.buffer.slice_ref(taken))
    }

    fn bytes(&mut self) -> Result<Bytes, String> {
        let length = self.length()?;
        self.shared(length)
    }

    fn text(&mut self) -> Result<Str, String> {
        let bytes = self.bytes()?;
        Str::from_utf8(bytes).map_err(|error| format!("text is not UTF-8: {error}"))
    }

    fn decimal(&mut self, length: usize, scale: i32) -> Result<Value, String> {
        if length > DECIMAL_BYTES_MAX {
            return Err(format!(
                "a decimal number has {length} bytes; {DECIMAL_BYTES_MAX} are the limit"
            ));
        }
        Ok(Value::from(Decimal::from_bytes(self.take(length)?, scale)))
    }

    /// Items come in blocks, each with their number, the last with none.
    fn blocks<T>(
        &mut self,
        items: &mut Vec<T>,
        mut item: impl FnMut(&mut Self) -> Result<T, String>,
    ) -> Result<(), String> {
        loop {
            let mut count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                // The size of the block, for those who skip it.
                self.long()?;
                count = count
                    .checked_neg()
                    .ok_or_else(|| format!("{count} is no number of items"))?;
            }
            let likely = usize::try_from(count).unwrap_or(usize::MAX);
            items.reserve(likely.min(self.rest.len()).min(4096));
            for at in 0..count {
                let before = self.rest.len();
                let read = item(self).map_err(|problem| format!("item {at}: {problem}"))?;
                items.push(read);
                if self.rest.len() == before {
                    self.empty_items = self.empty_items.checked_sub(1).ok_or_else(|| {
                        format!("there are more than {EMPTY_ITEMS_MAX} items without bytes")
                    })?;
                }
            }
        }
    }
}

fn fitted<T: TryFrom<i32>>(number: i32) -> Result<T, String> {
    T::try_from(number).map_err(|_| format!("{number} does not fit its type"))
}

fn structure(schema: &SchemaRef, values: Vec<Value>) -> Result<Value, String> {
    let fields = Struct::of(schema.clone(), values).map_err(|error| error.report())?;
    Ok(Value::from(fields))
}
