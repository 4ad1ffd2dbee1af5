//! From an Avro schema with `arg.properties` to values, as Confluent's random generator reads them.
//!
//! | type | what `arg.properties` may hold |
//! |---|---|
//! | all but records, arrays, maps and enums | `options`: a list of values |
//! | `int`, `long`, `float`, `double` | `range`: `min`, `max` (which is not reached); `iteration`: `start`, `restart`, `step`, `initial` |
//! | `boolean` | `odds` of true |
//! | `string` | `regex`, `length` (a number, or `min` and `max`), `iteration`, `prefix`, `suffix` |
//! | `bytes`, `array`, `map` | `length` |
//!
//! A value is a function of the record's number and of chance that follows from it. Problems come all at
//! once, each with its place in the schema.

use connect_core::{Schema, SchemaBuilder, SchemaRef, Struct, Type, Value};
use serde_json::{Map, Value as Json};

use super::pattern::Pattern;
use super::random::Random;

/// How deep a schema may be.
const DEPTH_MAX: usize = 32;
/// Texts and bytes without a length have so many letters; arrays and maps so many items.
const LENGTH: (usize, usize) = (8, 16);
/// The longest text, array or map.
const LENGTH_MAX: usize = 65_536;

/// Makes the values of a schema.
#[derive(Debug, Clone)]
pub(crate) struct Generator {
    pub(crate) schema: SchemaRef,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Options(Vec<Value>),
    Boolean {
        odds: f64,
    },
    Integer {
        numbers: Numbers<i64>,
        width: Width,
    },
    Float {
        numbers: Numbers<f64>,
        wide: bool,
    },
    Text {
        text: Text,
        prefix: String,
        suffix: String,
    },
    Bytes {
        length: (usize, usize),
    },
    Array {
        items: Box<Generator>,
        length: (usize, usize),
    },
    Map {
        values: Box<Generator>,
        length: (usize, usize),
    },
    Optional(Box<Generator>),
    Record(Vec<Generator>),
}

#[derive(Debug, Clone)]
enum Numbers<N> {
    /// From the first to below the second.
    Range(N, N),
    Iteration(Iteration<N>),
}

/// `start`, then one `step` further for each record, and again from `start` when `restart` is reached.
#[derive(Debug, Clone)]
struct Iteration<N> {
    start: N,
    restart: N,
    step: N,
    initial: N,
}

#[derive(Debug, Clone)]
enum Text {
    Pattern(Pattern),
    Length((usize, usize)),
    Iteration(Iteration<i64>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    Int32,
    Int64,
    Date,
    Time,
    Timestamp,
}

impl Generator {
    /// Reads a schema.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn read(text: &str) -> Result<Self, Vec<String>> {
        let json: Json = serde_json::from_str(text)
            .map_err(|error| vec![format!("expected an Avro schema in JSON: {error}")])?;
        let mut reader = Reader {
            problems: Vec::new(),
            path: Vec::new(),
        };
        match reader.read(&json) {
            Some(generator) if reader.problems.is_empty() => Ok(generator),
            _ => Err(reader.problems),
        }
    }

    /// The value of a record.
    pub(crate) fn value(&self, number: u64, random: &mut Random) -> Value {
        match &self.kind {
            Kind::Options(options) => {
                let chosen = options.get(random.index(options.len()));
                chosen.cloned().unwrap_or(Value::Null)
            }
            Kind::Boolean { odds } => Value::Boolean(random.unit() < *odds),
            Kind::Integer { numbers, width } => {
                let integer = match numbers {
                    Numbers::Range(min, max) => random.integer(*min, *max),
                    Numbers::Iteration(iteration) => iteration.integer(number),
                };
                width.value(integer)
            }
            Kind::Float { numbers, wide } => {
                let float = match numbers {
                    Numbers::Range(min, max) => min + random.unit() * (max - min),
                    Numbers::Iteration(iteration) => iteration.float(number),
                };
                match wide {
                    true => Value::Float64(float),
                    false => Value::Float32(float as f32),
                }
            }
            Kind::Text {
                text,
                prefix,
                suffix,
            } => {
                let mut made = prefix.clone();
                text.write(number, random, &mut made);
                made.push_str(suffix);
                Value::string(made)
            }
            Kind::Bytes { length } => {
                let length = random.length(*length);
                Value::from(random.bytes(length))
            }
            Kind::Array { items, length } => {
                let count = random.length(*length);
                Value::array((0..count).map(|_| items.value(number, random)))
            }
            Kind::Map { values, length } => {
                let count = random.length(*length);
                let mut entries = Vec::with_capacity(count);
                for index in 0..count {
                    // An index keeps keys apart.
                    let key = Value::string(format!("{}{index}", letters((4, 8), random)));
                    entries.push((key, values.value(number, random)));
                }
                Value::map(entries)
            }
            Kind::Optional(inner) => match random.below(2) {
                0 => Value::Null,
                _ => inner.value(number, random),
            },
            Kind::Record(fields) => self.record(fields, number, random),
        }
    }

    fn record(&self, fields: &[Generator], number: u64, random: &mut Random) -> Value {
        let Ok(mut record) = Struct::new(self.schema.clone()) else {
            debug_assert!(false, "the schema of a record is a struct's");
            return Value::Null;
        };
        for (field, generator) in self.schema.fields().iter().zip(fields) {
            let value = generator.value(number, random);
            let put = record.put(&field.name, value);
            debug_assert!(put.is_ok(), "a generator's values fit its schema: {put:?}");
        }
        record.into()
    }
}

impl Width {
    fn value(self, number: i64) -> Value {
        let short = || i32::try_from(number).unwrap_or(i32::MAX);
        match self {
            Self::Int32 => Value::Int32(short()),
            Self::Date => Value::Date(short()),
            Self::Time => Value::Time(short()),
            Self::Int64 => Value::Int64(number),
            Self::Timestamp => Value::Timestamp(number),
        }
    }

    /// The smallest number, and the first that is too large.
    fn limits(self) -> (i64, i64) {
        match self {
            Self::Int32 | Self::Date => (i64::from(i32::MIN), i64::from(i32::MAX)),
            Self::Time => (0, 24 * 60 * 60 * 1000),
            Self::Int64 | Self::Timestamp => (i64::MIN, i64::MAX),
        }
    }
}

impl Iteration<i64> {
    fn integer(&self, number: u64) -> i64 {
        let start = i128::from(self.start);
        let span = i128::from(self.restart) - start;
        let far = i128::from(self.initial) - start + i128::from(self.step) * i128::from(number);
        i64::try_from(start + far.checked_rem(span).unwrap_or(0)).unwrap_or(self.start)
    }
}

impl Iteration<f64> {
    fn float(&self, number: u64) -> f64 {
        let far = self.initial - self.start + self.step * number as f64;
        self.start + far % (self.restart - self.start)
    }
}

impl Text {
    fn write(&self, number: u64, random: &mut Random, text: &mut String) {
        match self {
            Self::Pattern(pattern) => pattern.write(random, text),
            Self::Length(length) => text.push_str(&letters(*length, random)),
            Self::Iteration(iteration) => text.push_str(&iteration.integer(number).to_string()),
        }
    }
}

fn letters(length: (usize, usize), random: &mut Random) -> String {
    let letter = |random: &mut Random| char::from(b'a' + random.index(26) as u8);
    (0..random.length(length)).map(|_| letter(random)).collect()
}

struct Reader {
    problems: Vec<String>,
    path: Vec<String>,
}

/// `arg.properties` of one type, and which of them were read.
struct Arguments<'a> {
    all: Option<&'a Map<String, Json>>,
    known: Vec<&'static str>,
}

impl<'a> Arguments<'a> {
    fn get(&mut self, name: &'static str) -> Option<&'a Json> {
        self.known.push(name);
        self.all?.get(name)
    }
}

impl Reader {
    fn problem<T>(&mut self, message: impl Into<String>) -> Option<T> {
        let message = message.into();
        self.problems.push(match self.path.is_empty() {
            true => message,
            false => format!("{}: {message}", self.path.join(".")),
        });
        None
    }

    fn read(&mut self, json: &Json) -> Option<Generator> {
        if self.path.len() > DEPTH_MAX {
            return self.problem(format!("the schema is deeper than {DEPTH_MAX}"));
        }
        let nothing = Map::new();
        match json {
            Json::String(name) => self.typed(name, &nothing),
            Json::Array(branches) => self.union(branches),
            Json::Object(fields) => match fields.get("type") {
                Some(Json::String(name)) => self.typed(name, fields),
                // Such as a field's type within another pair of braces.
                Some(inner @ (Json::Object(_) | Json::Array(_))) => self.read(inner),
                _ => self.problem("expected a type, got none"),
            },
            other => self.problem(format!("expected a schema, got {other}")),
        }
    }

    fn union(&mut self, branches: &[Json]) -> Option<Generator> {
        let is_null = |branch: &&Json| branch.as_str() == Some("null");
        let others: Vec<&Json> = branches.iter().filter(|branch| !is_null(branch)).collect();
        let [one] = others.as_slice() else {
            return self.problem(
                "expected a union of null and one other type, which Connect has a schema for",
            );
        };
        let inner = self.read(one)?;
        if others.len() == branches.len() {
            return Some(inner);
        }
        let schema = builder(&inner.schema).optional().build();
        let inner = Generator {
            schema: schema.clone(),
            kind: inner.kind,
        };
        Some(Generator {
            schema,
            kind: Kind::Optional(Box::new(inner)),
        })
    }

    fn typed(&mut self, name: &str, fields: &Map<String, Json>) -> Option<Generator> {
        let arguments = fields.get("arg.properties");
        if arguments.is_some_and(|arguments| !arguments.is_object()) {
            return self.problem(format!(
                "arg.properties: expected an object, got {arguments:?}"
            ));
        }
        let mut arguments = Arguments {
            all: arguments.and_then(Json::as_object),
            known: Vec::new(),
        };
        let generator = self.by_type(name, fields, &mut arguments);
        let strangers = arguments.all.into_iter().flat_map(Map::keys);
        for stranger in strangers.filter(|key| !arguments.known.contains(&key.as_str())) {
            let known = match arguments.known.as_slice() {
                [] => "none is".to_owned(),
                known => format!("there are {}", known.join(", ")),
            };
            let message = format!("arg.properties: \"{stranger}\" is unknown for {name}; {known}");
            self.problem::<()>(message);
        }
        generator
    }

    fn by_type(
        &mut self,
        name: &str,
        fields: &Map<String, Json>,
        arguments: &mut Arguments<'_>,
    ) -> Option<Generator> {
        let logical = fields.get("logicalType").and_then(Json::as_str);
        let (schema, kind) = match (name, logical) {
            ("record", _) => return self.record(fields),
            ("enum", _) => return self.enumeration(fields),
            ("array", _) => {
                let items = self.part(fields, "items")?;
                let schema = Schema::array(items.schema.clone()).build();
                let length = self.length(arguments)?;
                let items = Box::new(items);
                return Some(Generator {
                    schema,
                    kind: Kind::Array { items, length },
                });
            }
            ("map", _) => {
                let values = self.part(fields, "values")?;
                let schema = Schema::map(SchemaRef::STRING, values.schema.clone()).build();
                let length = self.length(arguments)?;
                let values = Box::new(values);
                return Some(Generator {
                    schema,
                    kind: Kind::Map { values, length },
                });
            }
            ("boolean", _) => {
                let odds = arguments.get("odds").map_or(Some(0.5), Json::as_f64);
                let Some(odds) = odds.filter(|odds| (0.0..=1.0).contains(odds)) else {
                    return self.problem("odds: expected a number from 0 to 1");
                };
                (SchemaRef::BOOLEAN, Kind::Boolean { odds })
            }
            ("int", Some("date")) => (
                Schema::date().build(),
                self.integer(Width::Date, arguments)?,
            ),
            ("int", Some("time-millis")) => (
                Schema::time().build(),
                self.integer(Width::Time, arguments)?,
            ),
            ("int", _) => (SchemaRef::INT32, self.integer(Width::Int32, arguments)?),
            ("long", Some("timestamp-millis")) => {
                let kind = self.integer(Width::Timestamp, arguments)?;
                (Schema::timestamp().build(), kind)
            }
            ("long", _) => (SchemaRef::INT64, self.integer(Width::Int64, arguments)?),
            ("float", _) => (SchemaRef::FLOAT32, self.float(false, arguments)?),
            ("double", _) => (SchemaRef::FLOAT64, self.float(true, arguments)?),
            ("string", _) => (SchemaRef::STRING, self.text(arguments)?),
            ("bytes", _) => {
                let length = self.length(arguments)?;
                (SchemaRef::BYTES, Kind::Bytes { length })
            }
            _ => {
                return self.problem(format!(
                    "type \"{name}\" is not supported; there are record, enum, array, map, boolean, int, \
                     long, float, double, string, bytes and a union with null"
                ));
            }
        };
        let kind = match arguments.get("options") {
            Some(options) => self.options(options, &kind)?,
            None => kind,
        };
        Some(Generator { schema, kind })
    }

    fn part(&mut self, fields: &Map<String, Json>, name: &str) -> Option<Generator> {
        self.path.push(name.to_owned());
        let part = match fields.get(name) {
            Some(part) => self.read(part),
            None => self.problem("expected a schema, got nothing"),
        };
        self.path.pop();
        part
    }

    fn record(&mut self, fields: &Map<String, Json>) -> Option<Generator> {
        let Some(own) = fields.get("fields").and_then(Json::as_array) else {
            return self.problem("expected \"fields\", a list of fields");
        };
        let mut builder = Schema::structure();
        if let Some(name) = fields.get("name").and_then(Json::as_str) {
            let space = fields.get("namespace").and_then(Json::as_str);
            builder = builder.name(match space {
                Some(space) => format!("{space}.{name}"),
                None => name.to_owned(),
            });
        }
        let (mut generators, mut names) = (Vec::with_capacity(own.len()), Vec::new());
        for field in own {
            let Some(name) = field.get("name").and_then(Json::as_str) else {
                self.problem::<()>(format!("expected a field with a name, got {field}"));
                continue;
            };
            if names.contains(&name) {
                self.problem::<()>(format!("there are two fields \"{name}\""));
            }
            names.push(name);
            self.path.push(name.to_owned());
            if let Some(generator) = self.read(field) {
                builder = builder.field(name.to_owned(), generator.schema.clone());
                generators.push(generator);
            }
            self.path.pop();
        }
        Some(Generator {
            schema: builder.build(),
            kind: Kind::Record(generators),
        })
    }

    fn enumeration(&mut self, fields: &Map<String, Json>) -> Option<Generator> {
        let symbols = fields.get("symbols").and_then(Json::as_array);
        let symbols: Vec<Value> = symbols
            .into_iter()
            .flatten()
            .filter_map(|symbol| symbol.as_str().map(Value::string))
            .collect();
        if symbols.is_empty() {
            return self.problem("expected \"symbols\", a list of texts");
        }
        Some(Generator {
            schema: SchemaRef::STRING,
            kind: Kind::Options(symbols),
        })
    }

    fn options(&mut self, options: &Json, kind: &Kind) -> Option<Kind> {
        let value = |option: &Json| -> Option<Value> {
            Some(match kind {
                Kind::Boolean { .. } => Value::Boolean(option.as_bool()?),
                Kind::Integer { width, .. } => {
                    let (min, max) = width.limits();
                    let number = whole(option)?;
                    let fits = number >= min && number <= max;
                    fits.then(|| width.value(number))?
                }
                Kind::Float { wide: true, .. } => Value::Float64(option.as_f64()?),
                Kind::Float { .. } => Value::Float32(option.as_f64()? as f32),
                Kind::Text { .. } => Value::string(option.as_str()?),
                Kind::Bytes { .. } => Value::from(option.as_str()?.as_bytes().to_vec()),
                _ => return None,
            })
        };
        let values: Option<Vec<Value>> = options
            .as_array()
            .and_then(|options| options.iter().map(value).collect());
        match values {
            Some(values) if !values.is_empty() => Some(Kind::Options(values)),
            _ => self.problem("options: expected a list of values of the type, at least one"),
        }
    }

    fn integer(&mut self, width: Width, arguments: &mut Arguments<'_>) -> Option<Kind> {
        let limits = width.limits();
        let numbers = match arguments.get("iteration") {
            Some(iteration) => Numbers::Iteration(self.iteration(iteration, limits, whole)?),
            None => match arguments.get("range") {
                Some(range) => {
                    let (min, max) = self.range(range, limits, whole)?;
                    Numbers::Range(min, max)
                }
                None => Numbers::Range(limits.0, limits.1),
            },
        };
        arguments.known.push("range");
        Some(Kind::Integer { numbers, width })
    }

    fn float(&mut self, wide: bool, arguments: &mut Arguments<'_>) -> Option<Kind> {
        // Half of what there is, so that a difference is still a number.
        let limit = if wide {
            f64::MAX / 2.0
        } else {
            f64::from(f32::MAX) / 2.0
        };
        let numbers = match arguments.get("iteration") {
            Some(iteration) => {
                let limits = (-limit, limit);
                Numbers::Iteration(self.iteration(iteration, limits, Json::as_f64)?)
            }
            None => match arguments.get("range") {
                Some(range) => {
                    let (min, max) = self.range(range, (-limit, limit), Json::as_f64)?;
                    Numbers::Range(min, max)
                }
                None => Numbers::Range(0.0, 1.0),
            },
        };
        arguments.known.push("range");
        Some(Kind::Float { numbers, wide })
    }

    fn range<N: Copy + PartialOrd>(
        &mut self,
        range: &Json,
        (least, most): (N, N),
        number: fn(&Json) -> Option<N>,
    ) -> Option<(N, N)> {
        let read = |name: &str, missing: N| match range.get(name) {
            Some(json) => number(json).filter(|number| *number >= least && *number <= most),
            None => Some(missing),
        };
        match (read("min", least), read("max", most)) {
            (Some(min), Some(max)) if range.is_object() && min < max => Some((min, max)),
            _ => self.problem(
                "range: expected \"min\" and a larger \"max\", both numbers that the type holds",
            ),
        }
    }

    fn iteration<N: Number>(
        &mut self,
        iteration: &Json,
        (least, most): (N, N),
        number: fn(&Json) -> Option<N>,
    ) -> Option<Iteration<N>> {
        let read = |name: &str, missing: Option<N>| match iteration.get(name) {
            Some(json) => number(json).filter(|number| *number >= least && *number <= most),
            None => missing,
        };
        let start = read("start", None);
        let step = read("step", Some(N::ONE));
        let end = step.map(|step| if step > N::ZERO { most } else { least });
        let parts = (start, step, read("restart", end), read("initial", start));
        if let (Some(start), Some(step), Some(restart), Some(initial)) = parts {
            let up = step > N::ZERO && start < restart && initial >= start && initial < restart;
            let down = step < N::ZERO && start > restart && initial <= start && initial > restart;
            if up || down {
                return Some(Iteration {
                    start,
                    restart,
                    step,
                    initial,
                });
            }
        }
        self.problem(
            "iteration: expected \"start\", and perhaps a \"step\" that leads from there by \"initial\" to \
             \"restart\", all numbers that the type holds",
        )
    }

    fn text(&mut self, arguments: &mut Arguments<'_>) -> Option<Kind> {
        let affix =
            |json: Option<&Json>| json.and_then(Json::as_str).unwrap_or_default().to_owned();
        let prefix = affix(arguments.get("prefix"));
        let suffix = affix(arguments.get("suffix"));
        let (regex, iteration) = (arguments.get("regex"), arguments.get("iteration"));
        let text = match (regex, iteration) {
            (Some(regex), _) => match Pattern::read(regex.as_str().unwrap_or_default()) {
                Ok(pattern) => Text::Pattern(pattern),
                Err(problem) => return self.problem(format!("regex {regex}: {problem}")),
            },
            (None, Some(iteration)) => {
                let limits = Width::Int64.limits();
                Text::Iteration(self.iteration(iteration, limits, whole)?)
            }
            (None, None) => Text::Length(self.length(arguments)?),
        };
        arguments.known.push("length");
        Some(Kind::Text {
            text,
            prefix,
            suffix,
        })
    }

    fn length(&mut self, arguments: &mut Arguments<'_>) -> Option<(usize, usize)> {
        let one = |json: &Json| {
            let number = json
                .as_u64()
                .and_then(|number| usize::try_from(number).ok());
            number.filter(|number| *number <= LENGTH_MAX)
        };
        let length = match arguments.get("length") {
            None => Some(LENGTH),
            Some(Json::Object(range)) => {
                let bound = |name: &str, missing: usize| range.get(name).map_or(Some(missing), one);
                // The largest is not reached, as in a range of numbers.
                let most = bound("max", LENGTH.1 + 1).and_then(|most| most.checked_sub(1));
                bound("min", 0).zip(most)
            }
            Some(number) => one(number).map(|number| (number, number)),
        };
        match length {
            Some((min, max)) if min <= max => Some((min, max)),
            _ => self.problem(format!(
                "length: expected a number up to {LENGTH_MAX}, or \"min\" and a larger \"max\""
            )),
        }
    }
}

/// What an iteration asks of its numbers.
trait Number: Copy + PartialOrd {
    const ZERO: Self;
    const ONE: Self;
}

impl Number for i64 {
    const ZERO: Self = 0;
    const ONE: Self = 1;
}

impl Number for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
}

/// A whole number, also one that is written as `1.0`.
fn whole(json: &Json) -> Option<i64> {
    let float = || {
        let number = json.as_f64().filter(|number| number.fract() == 0.0)?;
        // Beyond this, a float is no longer exact.
        (number.abs() < (1_u64 << 53) as f64).then_some(number as i64)
    };
    json.as_i64().or_else(float)
}

/// The same schema, to be changed.
fn builder(schema: &SchemaRef) -> SchemaBuilder {
    let mut builder = match (schema.kind(), schema.value_schema()) {
        (Type::Array, Some(items)) => Schema::array(items.clone()),
        (Type::Map, Some(values)) => Schema::map(SchemaRef::STRING, values.clone()),
        (kind, _) => Schema::builder(kind),
    };
    for field in schema.fields() {
        builder = builder.field(field.name.clone(), field.schema.clone());
    }
    if let Some(name) = schema.name() {
        builder = builder.name(name.to_owned());
    }
    if let Some(version) = schema.version() {
        builder = builder.version(version);
    }
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(schema: &str, count: u64) -> Vec<Value> {
        let generator = Generator::read(schema).unwrap();
        let value = |number| {
            let value = generator.value(number, &mut Random::of(5, 0, number));
            generator.schema.validate(&value).unwrap();
            value
        };
        (0..count).map(value).collect()
    }

    #[test]
    fn every_type_makes_values_that_fit_its_schema() {
        let schema = r#"{"type": "record", "name": "all", "namespace": "x", "fields": [
            {"name": "a", "type": "int"}, {"name": "b", "type": "long"},
            {"name": "c", "type": "float"}, {"name": "d", "type": "double"},
            {"name": "e", "type": "boolean"}, {"name": "f", "type": "string"},
            {"name": "g", "type": "bytes"}, {"name": "h", "type": {"type": "enum", "symbols": ["X", "Y"]}},
            {"name": "i", "type": {"type": "array", "items": "int", "arg.properties": {"length": 2}}},
            {"name": "j", "type": {"type": "map", "values": ["null", "string"]}},
            {"name": "k", "type": ["null", {"type": "record", "name": "inner", "fields": [
                {"name": "l", "type": {"type": "long", "logicalType": "timestamp-millis",
                    "arg.properties": {"range": {"min": 0, "max": 10}}}}]}]},
            {"name": "m", "type": {"type": "int", "logicalType": "time-millis"}},
            {"name": "n", "type": {"type": "int", "logicalType": "date"}}
        ]}"#;
        let made = values(schema, 50);
        assert_eq!(made.len(), 50);
        let first = made[0].as_struct().unwrap();
        assert_eq!(first.schema().name(), Some("x.all"));
        let inner = |value: &Value| value.as_struct().unwrap().get("k").unwrap().is_null();
        assert!(made.iter().any(inner) && !made.iter().all(inner));
    }

    #[test]
    fn iterations_count_by_the_record_s_number_and_begin_again() {
        let count = |arguments: &str, kind: &str| -> Vec<Value> {
            values(
                &format!(r#"{{"type": "{kind}", "arg.properties": {arguments}}}"#),
                4,
            )
        };
        let integers = [5, 7, 9, 5].map(Value::Int32);
        assert_eq!(
            count(
                r#"{"iteration": {"start": 5, "restart": 11, "step": 2}}"#,
                "int"
            ),
            integers
        );
        let down = [0, -1, -2, -3].map(Value::Int64);
        assert_eq!(
            count(r#"{"iteration": {"start": 0, "step": -1}}"#, "long"),
            down
        );
        let texts = ["id-3", "id-4", "id-1", "id-2"].map(Value::string);
        let iteration =
            r#"{"prefix": "id-", "iteration": {"start": 1, "restart": 5, "initial": 3}}"#;
        assert_eq!(count(iteration, "string"), texts);
        let floats = [0.5, 1.0, 0.5, 1.0].map(Value::Float64);
        assert_eq!(
            count(
                r#"{"iteration": {"start": 0.5, "restart": 1.5, "step": 0.5}}"#,
                "double"
            ),
            floats
        );
    }

    #[test]
    fn options_and_ranges_are_kept_to() {
        for value in values(
            r#"{"type": "string", "arg.properties": {"options": ["a", "b"]}}"#,
            50,
        ) {
            assert!(matches!(value.as_str(), Some("a" | "b")));
        }
        for value in values(
            r#"{"type": "int", "arg.properties": {"range": {"min": 1, "max": 4}}}"#,
            50,
        ) {
            assert!((1..4).contains(&value.as_i64().unwrap()));
        }
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        let schema = r#"{"type": "record", "name": "wrong", "fields": [
            {"name": "a", "type": "number"},
            {"name": "b", "type": {"type": "string", "arg.properties": {"regex": "(", "option": []}}},
            {"name": "c", "type": {"type": "int", "arg.properties": {"range": {"min": 5, "max": 1}}}},
            {"name": "d", "type": {"type": "int", "arg.properties": {"iteration": {"start": 0, "step": 0}}}},
            {"name": "e", "type": ["int", "string"]},
            {"name": "f", "type": {"type": "int", "arg.properties": {"options": ["x"]}}}
        ]}"#;
        let problems = Generator::read(schema).unwrap_err();
        let places: Vec<&str> = problems
            .iter()
            .filter_map(|it| it.split(':').next())
            .collect();
        assert_eq!(places, ["a", "b", "b", "c", "d", "e", "f"], "{problems:#?}");
        assert!(Generator::read("{").is_err());
        let deep = r#"{"type": "array", "items": "#.repeat(60) + "\"int\"" + &"}".repeat(60);
        assert!(Generator::read(&deep).is_err());
    }
}
