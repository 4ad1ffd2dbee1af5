//! How many nanoseconds a record costs in each converter with a registry.
//!
//! `cargo run --release -p connect-schema-registry --example converter_speed [ROUNDS]`
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use connect_core::{ConfigMap, Decimal, Schema, SchemaRef, Struct, Value, converter};
use connect_schema_registry as _;

fn main() {
    let rounds = std::env::args().nth(1);
    let rounds: usize = rounds.map_or(1_000_000, |rounds| rounds.parse().unwrap());
    let url = registry();
    let schema = order();
    let values: Vec<Value> = (0..1000).map(|number| an_order(&schema, number)).collect();
    for name in ["avro", "jsonschema"] {
        let Ok(mut converter) = converter::find(name) else {
            continue;
        };
        let config = ConfigMap::from([("schema.registry.url".to_owned(), url.clone())]);
        converter.configure(&config, false).unwrap();
        let write = |value: &Value| {
            let written = converter.from_connect(name, Some(&schema), value.clone());
            written.unwrap().unwrap()
        };
        let records: Vec<Bytes> = values.iter().map(write).collect();
        let size: usize = records.iter().map(Bytes::len).sum();
        let encode = nanoseconds(rounds, |at| {
            black_box(write(&values[at % values.len()]));
        });
        let decode = nanoseconds(rounds, |at| {
            let record = records[at % records.len()].clone();
            black_box(converter.to_connect(name, Some(record)).unwrap());
        });
        let size = size / records.len();
        println!("{name}: {size} bytes a record, encode {encode} ns, decode {decode} ns");
    }
}

fn nanoseconds(rounds: usize, mut work: impl FnMut(usize)) -> u128 {
    let start = Instant::now();
    (0..rounds).for_each(&mut work);
    start.elapsed().as_nanos() / rounds.max(1) as u128
}

/// The record that other implementations were measured with: a number, text, text that may be missing, a
/// decimal, a time and some tags.
fn order() -> SchemaRef {
    Schema::structure()
        .name("com.example.Order")
        .field("id", SchemaRef::INT64)
        .field("customer", SchemaRef::STRING)
        .field("note", SchemaRef::OPTIONAL_STRING)
        .field("price", Schema::decimal(2).build())
        .field("at", Schema::timestamp().build())
        .field("tags", Schema::array(SchemaRef::STRING).build())
        .build()
}

fn an_order(schema: &SchemaRef, number: i64) -> Value {
    let note = (number % 2 == 0).then(|| format!("note {number}"));
    let order = Struct::new(schema.clone())
        .and_then(|order| order.with("id", number))
        .and_then(|order| order.with("customer", format!("customer {number}")))
        .and_then(|order| order.with("note", note))
        .and_then(|order| order.with("price", Decimal::new(number * 7, 2)))
        .and_then(|order| order.with("at", Value::Timestamp(1_700_000_000_000 + number)))
        .and_then(|order| order.with("tags", Value::array(["new".into(), "gift".into()])));
    Value::from(order.unwrap())
}

/// Gives every schema that is registered the next id.
fn registry() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let schemas = Arc::new(Mutex::new(Vec::new()));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.unwrap(), &mut schemas.lock().unwrap());
        }
    });
    url
}

fn answer(mut stream: TcpStream, schemas: &mut Vec<Vec<u8>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().unwrap(),
            None => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body = match first.split('/').nth(3).and_then(|id| id.split(' ').next()) {
        Some(id) if first.starts_with("GET /schemas/ids/") => {
            let id: usize = id.parse().unwrap();
            schemas[id - 1].clone()
        }
        _ => {
            schemas.push(body);
            format!("{{\"id\": {}}}", schemas.len()).into_bytes()
        }
    };
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    stream
        .write_all(&[head.into_bytes(), body].concat())
        .unwrap();
}
