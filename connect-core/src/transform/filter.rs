//! `Filter`: drops every record that its predicate lets it see.

use super::{Fate, RecordView, Transform, registry};
use crate::config::{Config, Problem};
use crate::error::ConnectError;

#[derive(Config)]
pub(super) struct FilterConfig {}

struct Filter;

registry::register_whole!("Filter", Filter, FilterConfig);

impl Filter {
    fn new(_: FilterConfig) -> Result<Self, Vec<Problem>> {
        Ok(Filter)
    }
}

impl Transform for Filter {
    fn apply(&self, _: &mut RecordView<'_>) -> Result<Fate, ConnectError> {
        Ok(Fate::Drop)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::value::Value;

    #[test]
    fn every_record_is_dropped() {
        let filter = transform("Filter", &[]);
        for value in [Value::Null, map(), pair()] {
            assert_eq!(apply(&*filter, &mut source(value)).unwrap(), Fate::Drop);
        }
    }
}
