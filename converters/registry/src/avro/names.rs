//! The names by which Confluent's converters note in Avro what only Connect knows.

pub(super) const NAMESPACE: &str = "io.confluent.connect.avro";
/// The record of a struct without a name; those within it have a number behind it.
pub(super) const DEFAULT_RECORD: &str = "ConnectDefault";
/// The record of a map's entry, where keys are not text.
pub(super) const MAP_ENTRY: &str = "MapEntry";
/// The struct that stands for a union, a field a member.
pub(super) const UNION: &str = "io.confluent.connect.avro.Union";

pub(super) const CONNECT_TYPE: &str = "connect.type";
pub(super) const CONNECT_NAME: &str = "connect.name";
pub(super) const CONNECT_DOC: &str = "connect.doc";
pub(super) const CONNECT_VERSION: &str = "connect.version";
pub(super) const CONNECT_DEFAULT: &str = "connect.default";
pub(super) const CONNECT_PARAMETERS: &str = "connect.parameters";
pub(super) const CONNECT_INTERNAL_TYPE: &str = "connect.internal.type";

/// A parameter: the precision of a decimal number, unless it is [`PRECISION_DEFAULT`].
pub(super) const PRECISION: &str = "connect.decimal.precision";
pub(super) const PRECISION_DEFAULT: i64 = 64;
/// A parameter: the full name of an enum; its symbols follow behind a dot.
pub(super) const ENUM: &str = "io.confluent.connect.avro.Enum";
pub(super) const ENUM_DOC: &str = "io.confluent.connect.avro.enum.doc.";
pub(super) const ENUM_DEFAULT: &str = "io.confluent.connect.avro.enum.default.";
pub(super) const RECORD_DOC: &str = "io.confluent.connect.avro.record.doc";
pub(super) const FIELD_DOC: &str = "io.confluent.connect.avro.field.doc.";
/// A parameter: the default is that of the record's field, and not noted once more.
pub(super) const FIELD_DEFAULT: &str = "io.confluent.connect.avro.field.default";
/// Properties that begin like this are parameters.
pub(super) const AVRO_PROPERTY: &str = "avro";

/// Whether this is the record of a struct without a name.
pub(super) fn is_default_record(full_name: &str) -> bool {
    full_name
        .strip_prefix(NAMESPACE)
        .and_then(|rest| rest.strip_prefix('.'))
        .and_then(|rest| rest.strip_prefix(DEFAULT_RECORD))
        .is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}
