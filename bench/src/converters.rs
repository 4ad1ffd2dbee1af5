//! Converters and transforms on one thread, beside the JVM's own in the same run.
//!
//! The records are orders: some 200 bytes of JSON with numbers, texts, a list and a struct. With `--jars`
//! a JVM does the same work with Kafka Connect's classes (`bench/jvm/Converters.java`), turn by turn with
//! ours, and of either the fastest turn counts: whatever else runs on the machine only makes them slower.

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use connect_core::converter::{Converter, JsonConverter, SchemaAndValue};
use connect_core::transform::{self, Fate, RecordView, Transform};
use connect_core::{ConfigMap, Schema, SchemaRef, SourceRecord, Struct, Value};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Enough that caches of the processor do not hold all of them.
const RECORDS: usize = 20_000;
/// How long one turn takes.
const TURN: Duration = Duration::from_millis(500);
/// How long the JVM is given to compile each case.
const WARM_UP: Duration = Duration::from_secs(4);
const TOPIC: &str = "orders";

/// What is measured; the JVM's program knows them by name.
const CASES: [&str; 6] = [
    "json-read",
    "json-write",
    "envelope-read",
    "envelope-write",
    "transforms-maps",
    "transforms-structs",
];

/// Everything that is converted, in both directions.
struct Orders {
    plain: JsonConverter,
    enveloped: JsonConverter,
    plain_bytes: Vec<Bytes>,
    envelope_bytes: Vec<Bytes>,
    maps: Vec<SchemaAndValue>,
    structs: Vec<SchemaAndValue>,
    chain: Vec<Box<dyn Transform>>,
}

/// Prints records a second of each case, and how many times the JVM's that is.
pub(crate) fn measure(folder: &Path, jars: Option<&Path>, rounds: usize) -> Outcome<()> {
    let orders = Orders::new()?;
    orders.write(folder)?;
    let mut jvm = jars.map(|jars| Jvm::start(folder, jars)).transpose()?;
    println!(
        "{RECORDS} records of {} bytes (with schema {}), one thread, best of {rounds}",
        size(&orders.plain_bytes),
        size(&orders.envelope_bytes)
    );
    for case in CASES {
        let passes = passes(|passes| orders.time(case, passes), TURN)?;
        let mut ours = f64::INFINITY;
        let mut theirs = f64::INFINITY;
        let their_passes = match &mut jvm {
            Some(jvm) => jvm.warm_up(case)?,
            None => 0,
        };
        for _ in 0..rounds {
            ours = ours.min(per_record(orders.time(case, passes)?, passes));
            if let Some(jvm) = &mut jvm {
                let time = jvm.time(case, their_passes)?;
                theirs = theirs.min(per_record(time, their_passes));
            }
        }
        print!("{case:<20} {:>6.3} M records/s {ours:>7.0} ns", 1e3 / ours);
        match theirs.is_finite() {
            true => println!(
                "   JVM {:>6.3} M records/s {theirs:>7.0} ns   {:.1} times",
                1e3 / theirs,
                theirs / ours
            ),
            false => println!(),
        }
    }
    Ok(())
}

fn size(records: &[Bytes]) -> usize {
    records.iter().map(Bytes::len).sum::<usize>() / records.len().max(1)
}

fn per_record(time: Duration, passes: u32) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let records = (RECORDS as f64) * f64::from(passes);
    time.as_secs_f64() * 1e9 / records
}

/// How many passes over the records take about `turn`.
fn passes(mut time: impl FnMut(u32) -> Outcome<Duration>, turn: Duration) -> Outcome<u32> {
    let one = time(1)?.max(Duration::from_micros(1));
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Ok(((turn.as_secs_f64() / one.as_secs_f64()) as u32).max(1))
}

impl Orders {
    fn new() -> Outcome<Self> {
        let plain = converter(false)?;
        let enveloped = converter(true)?;
        let schema = schema();
        let mut plain_bytes = Vec::with_capacity(RECORDS);
        let mut envelope_bytes = Vec::with_capacity(RECORDS);
        for number in 0..RECORDS {
            let order = order(&schema, number)?;
            let bytes = plain.from_connect(TOPIC, Some(&schema), order.clone())?;
            plain_bytes.push(bytes.ok_or("a record without bytes")?);
            let bytes = enveloped.from_connect(TOPIC, Some(&schema), order)?;
            envelope_bytes.push(bytes.ok_or("a record without bytes")?);
        }
        // As a fetch gives them: slices of one buffer.
        let plain_bytes = sliced(&plain_bytes);
        let envelope_bytes = sliced(&envelope_bytes);
        Ok(Orders {
            maps: read(&plain, &plain_bytes)?,
            structs: read(&enveloped, &envelope_bytes)?,
            plain,
            enveloped,
            plain_bytes,
            envelope_bytes,
            chain: chain()?,
        })
    }

    /// Leaves the records for the JVM.
    fn write(&self, folder: &Path) -> Outcome<()> {
        for (name, records) in [
            ("plain.json", &self.plain_bytes),
            ("envelope.json", &self.envelope_bytes),
        ] {
            let mut text = Vec::new();
            for record in records {
                text.extend_from_slice(record);
                text.push(b'\n');
            }
            std::fs::write(folder.join(name), text)?;
        }
        Ok(())
    }

    fn time(&self, case: &str, passes: u32) -> Outcome<Duration> {
        let mut total = Duration::ZERO;
        for _ in 0..passes {
            total += match case {
                "json-read" => to_connect(&self.plain, &self.plain_bytes)?,
                "json-write" => from_connect(&self.plain, &self.maps)?,
                "envelope-read" => to_connect(&self.enveloped, &self.envelope_bytes)?,
                "envelope-write" => from_connect(&self.enveloped, &self.structs)?,
                "transforms-maps" => transform(&self.chain, read(&self.plain, &self.plain_bytes)?)?,
                "transforms-structs" => {
                    transform(&self.chain, read(&self.enveloped, &self.envelope_bytes)?)?
                }
                other => return Err(format!("no case \"{other}\"").into()),
            };
        }
        Ok(total)
    }
}

fn converter(schemas: bool) -> Outcome<JsonConverter> {
    let mut converter = JsonConverter::default();
    let config = ConfigMap::from([("schemas.enable".to_owned(), schemas.to_string())]);
    converter
        .configure(&config, false)
        .map_err(|problems| format!("{problems:?}"))?;
    Ok(converter)
}

fn schema() -> SchemaRef {
    let address = Schema::structure()
        .name("Address")
        .field("street", SchemaRef::STRING)
        .field("city", SchemaRef::STRING)
        .build();
    Schema::structure()
        .name("Order")
        .field("id", SchemaRef::INT64)
        .field("customer", SchemaRef::STRING)
        .field("amount", SchemaRef::FLOAT64)
        .field("paid", SchemaRef::BOOLEAN)
        .field("items", SchemaRef::INT32)
        .field("tags", Schema::array(SchemaRef::STRING).build())
        .field("address", address)
        .field("note", SchemaRef::OPTIONAL_STRING)
        .build()
}

fn order(schema: &SchemaRef, number: usize) -> Outcome<Value> {
    let address = schema
        .field("address")
        .ok_or("no address")?
        .1
        .schema
        .clone();
    let address = Struct::new(address)?
        .with("street", format!("{} Long Street", number % 977))?
        .with(
            "city",
            ["Paris", "London", "Roma", "Wien"].get(number % 4).copied(),
        )?;
    let mut note = String::new();
    if number.is_multiple_of(3) {
        write!(note, "says \"{number}\"")?;
    }
    let id = i64::try_from(number)? * 7_919;
    #[allow(clippy::cast_precision_loss)]
    let amount = number as f64 / 8.0;
    Ok(Struct::new(schema.clone())?
        .with("id", id)?
        .with("customer", format!("customer number {number}"))?
        .with("amount", amount)?
        .with("paid", number.is_multiple_of(2))?
        .with("items", i32::try_from(number % 90)?)?
        .with("tags", Value::array(["new".into(), "express".into()]))?
        .with("address", address)?
        .with("note", (!note.is_empty()).then_some(note))?
        .into())
}

fn sliced(records: &[Bytes]) -> Vec<Bytes> {
    let all = Bytes::from(records.concat());
    let mut at = 0;
    let slice = |record: &Bytes| {
        let slice = all.slice(at..at + record.len());
        at += record.len();
        slice
    };
    records.iter().map(slice).collect()
}

fn read(converter: &JsonConverter, records: &[Bytes]) -> Outcome<Vec<SchemaAndValue>> {
    let read = |bytes: &Bytes| Ok(converter.to_connect(TOPIC, Some(bytes.clone()))?);
    records.iter().map(read).collect()
}

/// Leaves a field out and renames another, masks that, and adds two.
fn chain() -> Outcome<Vec<Box<dyn Transform>>> {
    let step = |class: &str, keys: &[(&str, &str)]| -> Outcome<Box<dyn Transform>> {
        let own = |(key, text): &(&str, &str)| ((*key).to_owned(), (*text).to_owned());
        let config: ConfigMap = keys.iter().map(own).collect();
        (transform::find(class)?.make)(&config).map_err(|problems| format!("{problems:?}").into())
    };
    Ok(vec![
        step(
            "ReplaceField$Value",
            &[("exclude", "note"), ("renames", "customer:client")],
        )?,
        step(
            "MaskField$Value",
            &[("fields", "client"), ("replacement", "***")],
        )?,
        step(
            "InsertField$Value",
            &[
                ("topic.field", "topic"),
                ("static.field", "origin"),
                ("static.value", "bench"),
            ],
        )?,
    ])
}

fn to_connect(converter: &JsonConverter, records: &[Bytes]) -> Outcome<Duration> {
    let began = Instant::now();
    for bytes in records {
        black_box(converter.to_connect(TOPIC, Some(bytes.clone()))?);
    }
    Ok(began.elapsed())
}

fn from_connect(converter: &JsonConverter, values: &[SchemaAndValue]) -> Outcome<Duration> {
    let began = Instant::now();
    for (schema, value) in values {
        black_box(converter.from_connect(TOPIC, schema.as_ref(), value.clone())?);
    }
    Ok(began.elapsed())
}

/// As in a worker, records come from a converter and nobody else has them. To read them is not measured.
fn transform(chain: &[Box<dyn Transform>], values: Vec<SchemaAndValue>) -> Outcome<Duration> {
    let topic: Arc<str> = TOPIC.into();
    let records = values.into_iter().map(|(schema, value)| {
        let mut record = SourceRecord::new(Arc::clone(&topic), value);
        record.value_schema = schema;
        record
    });
    let mut records: Vec<SourceRecord> = records.collect();
    let began = Instant::now();
    for record in &mut records {
        for step in chain {
            if step.apply(&mut RecordView::from(&mut *record))? == Fate::Drop {
                return Err("a record was dropped".into());
            }
        }
    }
    Ok(began.elapsed())
}

/// The JVM with Kafka Connect's classes; ended when dropped.
struct Jvm {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Jvm {
    fn start(folder: &Path, jars: &Path) -> Outcome<Self> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("jvm/Converters.java");
        let mut process = Command::new("java")
            .args(["-Xms512m", "-Xmx512m", "-cp"])
            .arg(jars.join("*"))
            .arg(program)
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("java: {error}"))?;
        let orders = process.stdin.take().ok_or("no input of the JVM")?;
        let answers = process.stdout.take().ok_or("no output of the JVM")?;
        Ok(Jvm {
            process,
            orders,
            answers: BufReader::new(answers),
        })
    }

    fn time(&mut self, case: &str, passes: u32) -> Outcome<Duration> {
        writeln!(self.orders, "{case} {passes}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let nanos = line.trim().parse();
        Ok(Duration::from_nanos(nanos.map_err(
            |_| "the JVM gave no answer; what it printed is above",
        )?))
    }

    /// Until it is compiled; then how many passes take a turn.
    fn warm_up(&mut self, case: &str) -> Outcome<u32> {
        let began = Instant::now();
        while began.elapsed() < WARM_UP {
            self.time(case, 5)?;
        }
        passes(|passes| self.time(case, passes), TURN)
    }
}

impl Drop for Jvm {
    fn drop(&mut self) {
        // Already gone is as good as killed.
        if self.process.kill().is_ok() && self.process.wait().is_err() {
            eprintln!("connect-bench: the JVM could not be waited for");
        }
    }
}
