//! Converters that keep their schemas in a Confluent-compatible Schema Registry.
//!
//! | class | short | bytes behind the schema's id |
//! |---|---|---|
//! | `io.confluent.connect.avro.AvroConverter` | `avro` | Avro |
//! | `io.confluent.connect.json.JsonSchemaConverter` | `jsonschema` | JSON |
//!
//! Link the crate by name (`use connect_schema_registry as _;`) and they are found as `key.converter` and
//! `value.converter`. They are apart from `connect-core` because they speak HTTP, which no author of
//! connectors needs.
//!
//! [`client`] asks the registry, [`schemas`] keeps what is known and puts ids before data, and each
//! language of schemas is a [`format`](crate::format) of its own.

mod avro;
mod client;
mod format;
mod json_schema;
mod schemas;
mod subject;
mod wire;

pub use avro::AvroConverter;
pub use json_schema::JsonSchemaConverter;

use connect_core::converter::ConverterInfo;

inventory::submit! {
    ConverterInfo {
        class: "io.confluent.connect.avro.AvroConverter",
        alias: "avro",
        version: env!("CARGO_PKG_VERSION"),
        make: || Box::new(AvroConverter::default()),
    }
}

inventory::submit! {
    ConverterInfo {
        class: "io.confluent.connect.json.JsonSchemaConverter",
        alias: "jsonschema",
        version: env!("CARGO_PKG_VERSION"),
        make: || Box::new(JsonSchemaConverter::default()),
    }
}
