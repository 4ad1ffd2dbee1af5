//! ApiVersions (key 18): which APIs and versions this broker answers. The client's first request.

use bytes::Bytes;
use kafka_wire::api_versions_response::ApiVersion as ApiRange;
use kafka_wire::{ApiVersionsRequest, ApiVersionsResponse};
use kafka_wire_core::{ApiVersion, TaggedField, TaggedFields};

use super::{PRODUCE, Preamble, RequestError, Response, catalog, message};
use crate::error_code;
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (0, 4);

/// The lowest Produce version that is *advertised*, as Kafka does (KAFKA-18659): older librdkafka
/// decides from it whether the broker knows compression at all. Versions under 3 are refused.
const PRODUCE_LOWEST_ADVERTISED: i16 = 0;

/// Tag of the field, of no API of Kafka's, in which this broker says its version to this project's client. Others
/// should skip it, but an old librdkafka gives up on the broker instead.
const SOFTWARE_VERSION_TAG: u32 = 10_000;
/// What this project's client calls itself.
const OWN_CLIENT: &str = "kafka-client-rust";

pub(crate) async fn handle(
    _ctx: &RequestContext,
    request: ApiVersionsRequest,
    version: ApiVersion,
) -> ApiVersionsResponse {
    let valid = version.value() < 3
        || (is_software_name(&request.client_software_name)
            && is_software_name(&request.client_software_version));
    if !valid {
        return message!(ApiVersionsResponse {
            error_code: error_code::INVALID_REQUEST,
        });
    }
    // Nobody gives a name before version 3, whose answers have such fields.
    let software = Bytes::from_static(env!("CARGO_PKG_VERSION").as_bytes());
    let own = (&*request.client_software_name == OWN_CLIENT)
        .then(|| TaggedField::new(SOFTWARE_VERSION_TAG, software));
    message!(ApiVersionsResponse {
        api_keys: ranges(),
        finalized_features_epoch: if version.value() >= 3 { 0 } else { -1 },
        unknown_tagged_fields: TaggedFields::from_sorted(own.into_iter().collect())
            .unwrap_or_default(),
    })
}

/// The answer to a version we don't know: shaped as version 0, which every client reads, with the
/// error and yet the real list, from which the client picks its next try.
pub(super) fn unsupported(header: &Preamble) -> Result<Response, RequestError> {
    let response = message!(ApiVersionsResponse {
        error_code: error_code::UNSUPPORTED_VERSION,
        api_keys: ranges(),
    });
    let header = Preamble {
        api_version: 0,
        ..*header
    };
    Response::encode(&header, &response)
}

fn ranges() -> Vec<ApiRange> {
    let mut ranges: Vec<ApiRange> = catalog()
        .map(|(api_key, lowest, max_version)| {
            let min_version = if api_key == PRODUCE {
                PRODUCE_LOWEST_ADVERTISED
            } else {
                lowest
            };
            message!(ApiRange {
                api_key,
                min_version,
                max_version,
            })
        })
        .collect();
    ranges.sort_by_key(|range| range.api_key);
    ranges
}

/// KIP-511: letters, digits, dots and dashes, not at the ends.
fn is_software_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let edge = |c: char| c.is_ascii_alphanumeric();
    name.chars().all(inner) && name.starts_with(edge) && name.ends_with(edge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_follow_kip_511() {
        assert!(is_software_name("apache-kafka-java"));
        assert!(is_software_name("1"));
        for bad in ["", "-a", "a.", "a b", "a/b"] {
            assert!(!is_software_name(bad), "{bad}");
        }
    }

    #[test]
    fn produce_is_advertised_from_zero_and_nothing_twice() {
        let ranges = ranges();
        assert_eq!(ranges[0].api_key, 0);
        assert_eq!(ranges[0].min_version, 0);
        assert!(
            ranges
                .windows(2)
                .all(|pair| pair[0].api_key < pair[1].api_key)
        );
    }
}
