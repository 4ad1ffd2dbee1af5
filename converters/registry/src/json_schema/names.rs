//! The words by which Confluent's converters note in JSON Schema what only Connect knows.

pub(super) const CONNECT_TYPE: &str = "connect.type";
pub(super) const CONNECT_VERSION: &str = "connect.version";
pub(super) const CONNECT_PARAMETERS: &str = "connect.parameters";
/// The place of a property among the fields, because members of an object have no order.
pub(super) const CONNECT_INDEX: &str = "connect.index";
/// Parameters that begin like this are not noted, because the schema says them itself.
pub(super) const NAMESPACE: &str = "io.confluent.connect.json";
/// A parameter: text with a few values; they follow behind a dot.
pub(super) const ENUM: &str = "io.confluent.connect.json.Enum";

/// How deep schemas may be nested.
pub(super) const DEPTH_MAX: usize = 100;
