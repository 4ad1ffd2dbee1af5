//! What the languages of schemas differ in.

use std::fmt::Debug;

use bytes::Bytes;
use connect_core::converter::SchemaAndValue;
use connect_core::{SchemaRef, Value};

use crate::client::{Language, Referred};

/// A schema's text and the texts it refers to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Registered<'a> {
    pub(crate) text: &'a str,
    pub(crate) references: &'a [Referred],
}

/// A language of schemas: how Connect's schemas are said in it, and how data goes both ways.
///
/// Errors are what does not fit, in words; who calls says where.
pub(crate) trait Format: Debug + Send + Sync {
    /// Its name.
    const LANGUAGE: Language;
    /// What reads the data of one schema.
    type Reader: Debug + Send + Sync;
    /// What writes values of one schema.
    type Writer: Debug + Send + Sync;

    /// A Connect schema in this language.
    fn text(&self, schema: &SchemaRef) -> Result<String, String>;

    /// The full name of the outermost record.
    fn record_name(&self, registered: &Registered<'_>) -> Option<String>;

    /// Makes ready to read data.
    fn reader(&self, registered: &Registered<'_>) -> Result<Self::Reader, String>;

    /// Reads what is behind the frame.
    fn read(&self, reader: &Self::Reader, data: &Bytes) -> Result<SchemaAndValue, String>;

    /// Makes ready to write values of a Connect schema; with `strict`, a field that the registered schema
    /// does not have is an error.
    fn writer(
        &self,
        schema: &SchemaRef,
        registered: &Registered<'_>,
        strict: bool,
    ) -> Result<Self::Writer, String>;

    /// Appends a value behind the frame.
    fn write(&self, out: &mut Vec<u8>, writer: &Self::Writer, value: &Value) -> Result<(), String>;
}
