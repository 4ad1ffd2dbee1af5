//! `DropHeaders`: removes headers.

use super::{Fate, RecordView, Transform, registry};
use crate::config::{Config, Problem};
use crate::error::ConnectError;

#[derive(Config)]
pub(super) struct DropHeadersConfig {
    /// The names of the headers.
    #[config(importance = "high", non_empty)]
    headers: Vec<String>,
}

struct DropHeaders(Vec<String>);

registry::register_whole!("DropHeaders", DropHeaders, DropHeadersConfig);

impl DropHeaders {
    fn new(config: DropHeadersConfig) -> Result<Self, Vec<Problem>> {
        Ok(DropHeaders(config.headers))
    }
}

impl Transform for DropHeaders {
    fn apply(&self, record: &mut RecordView<'_>) -> Result<Fate, ConnectError> {
        for name in &self.0 {
            record.headers.remove(name);
        }
        Ok(Fate::Keep)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::value::Value;

    #[test]
    fn all_headers_of_the_names_go() {
        let drop = transform("DropHeaders", &[("headers", "a,b")]);
        let mut record = source(Value::Null);
        for name in ["a", "b", "c", "a"] {
            record.headers.add(name, 1, None);
        }
        assert_eq!(apply(&*drop, &mut record).unwrap(), Fate::Keep);
        assert_eq!(record.headers.len(), 1);
        assert_eq!(problems("DropHeaders", &[]).len(), 1);
    }
}
