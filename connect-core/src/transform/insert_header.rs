//! `InsertHeader`: adds a header.

use bytes::Bytes;

use super::{Fate, RecordView, Transform, registry};
use crate::config::{Config, Problem};
use crate::converter::{HeaderConverter, SimpleHeaderConverter};
use crate::error::ConnectError;
use crate::header::Header;

#[derive(Config)]
pub(super) struct InsertHeaderConfig {
    /// The header's name.
    #[config(importance = "high")]
    header: String,
    /// The header's value; its type is guessed as the simple header converter does.
    #[config(importance = "high")]
    value_literal: String,
}

struct InsertHeader(Header);

registry::register_whole!("InsertHeader", InsertHeader, InsertHeaderConfig);

impl InsertHeader {
    fn new(config: InsertHeaderConfig) -> Result<Self, Vec<Problem>> {
        let literal = Bytes::from(config.value_literal.clone());
        let (schema, value) = SimpleHeaderConverter
            .to_connect_header("", &config.header, Some(literal))
            .map_err(|error| {
                let literal = config.value_literal;
                vec![Problem::with_value(
                    "value.literal",
                    literal,
                    error.report(),
                )]
            })?;
        Ok(InsertHeader(Header {
            key: config.header.into(),
            value,
            schema,
        }))
    }
}

impl Transform for InsertHeader {
    fn apply(&self, record: &mut RecordView<'_>) -> Result<Fate, ConnectError> {
        record.headers.push(self.0.clone());
        Ok(Fate::Keep)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::value::Value;

    #[test]
    fn a_header_of_the_guessed_type_is_added() {
        let keys = [("header", "h"), ("value.literal", "true")];
        let mut record = source(Value::Null);
        assert_eq!(
            apply(&*transform("InsertHeader", &keys), &mut record).unwrap(),
            Fate::Keep
        );
        assert_eq!(
            record.headers.last("h").unwrap().value,
            Value::Boolean(true)
        );
        assert_eq!(problems("InsertHeader", &[]).len(), 2);
    }
}
