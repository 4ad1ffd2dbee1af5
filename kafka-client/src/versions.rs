//! Which version of each API to speak with one broker.

use std::collections::HashMap;

use kafka_wire::{ApiVersionsResponse, KafkaRequest};
use kafka_wire_core::ApiVersion;

/// The version ranges one broker offers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Versions {
    ranges: HashMap<i16, (i16, i16)>,
    /// The version of the broker's software, if it says so.
    software: Option<String>,
}

/// Tag of the field of an ApiVersions answer with the broker's version; Kafka has none.
const SOFTWARE_VERSION_TAG: u32 = 10_000;

impl Versions {
    pub(crate) fn from_response(response: &ApiVersionsResponse) -> Self {
        let ranges = response
            .api_keys
            .iter()
            .map(|api| (api.api_key, (api.min_version, api.max_version)))
            .collect();
        let software = response
            .unknown_tagged_fields
            .iter()
            .find(|field| field.tag() == SOFTWARE_VERSION_TAG)
            .map(|field| String::from_utf8_lossy(field.data()).into_owned());
        Self { ranges, software }
    }

    /// The newest version of `R` that both sides speak and that is not above `ceiling`.
    pub(crate) fn pick<R: KafkaRequest>(&self, ceiling: Option<i16>) -> Option<ApiVersion> {
        let descriptor = R::API_DESCRIPTOR;
        let ours_min = descriptor.supported_versions.min().value();
        let ours_max = descriptor.latest_stable_version()?.value();
        let ours_max = ceiling.map_or(ours_max, |ceiling| ours_max.min(ceiling));
        let (theirs_min, theirs_max) = self.ranges.get(&R::API_KEY.value()).copied()?;
        let version = ours_max.min(theirs_max);
        (version >= ours_min.max(theirs_min)).then(|| ApiVersion::new(version))
    }

    /// The version of the broker's software, which those of this project say.
    pub(crate) fn software(&self) -> Option<&str> {
        self.software.as_deref()
    }

    /// The range the broker offers for an API, if it knows the API.
    pub(crate) fn offered(&self, api_key: i16) -> Option<(i16, i16)> {
        self.ranges.get(&api_key).copied()
    }
}

#[cfg(test)]
mod tests {
    use kafka_wire::{FetchRequest, ProduceRequest};

    use super::*;

    #[test]
    fn the_newest_common_version_wins() {
        let mut versions = Versions::default();
        versions.ranges.insert(0, (0, 9));
        versions.ranges.insert(1, (0, 99));
        assert_eq!(
            versions.pick::<ProduceRequest>(None),
            Some(ApiVersion::new(9))
        );
        assert_eq!(
            versions.pick::<ProduceRequest>(Some(7)),
            Some(ApiVersion::new(7))
        );
        assert_eq!(
            versions.pick::<FetchRequest>(None),
            Some(ApiVersion::new(18))
        );
    }

    #[test]
    fn no_common_version_is_none() {
        let mut versions = Versions::default();
        assert_eq!(versions.pick::<ProduceRequest>(None), None);
        versions.ranges.insert(0, (0, 2));
        assert_eq!(versions.pick::<ProduceRequest>(None), None);
        versions.ranges.insert(0, (20, 30));
        assert_eq!(versions.pick::<ProduceRequest>(None), None);
    }
}
