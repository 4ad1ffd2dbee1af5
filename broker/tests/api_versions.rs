//! The handshake, as clients of all ages do it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod wire;

use bytes::Buf;
use kafka_wire::{ApiVersionsRequest, ApiVersionsResponse};
use kafka_wire_core::{ApiVersion, DecodeLimits, KafkaDecode, StrBytes};
use tokio::io::AsyncWriteExt;
use wire::start;

fn request() -> ApiVersionsRequest {
    let mut request = ApiVersionsRequest::default();
    request.client_software_name = StrBytes::from("test");
    request.client_software_version = StrBytes::from("1.0");
    request
}

#[tokio::test]
async fn every_version_gets_the_same_list() {
    let broker = start().await;
    let mut client = broker.client().await;
    let first = client.call(&request(), 0).await;
    assert_eq!(first.error_code, 0);
    for version in 1..=4 {
        let response = client.call(&request(), version).await;
        assert_eq!(response.error_code, 0);
        assert_eq!(response.api_keys, first.api_keys);
    }
    let produce = &first.api_keys[0];
    assert_eq!(
        (produce.api_key, produce.min_version, produce.max_version),
        (0, 0, 13)
    );
    let fetch = &first.api_keys[1];
    assert_eq!(
        (fetch.api_key, fetch.min_version, fetch.max_version),
        (1, 4, 18)
    );
}

#[tokio::test]
async fn the_response_header_has_no_tagged_fields_even_in_flexible_versions() {
    let broker = start().await;
    let mut client = broker.client().await;
    let id = client.send(&request(), 3).await;
    let mut frame = client.receive_frame().await.unwrap();
    assert_eq!(frame.get_i32(), id);
    // What follows is the body: error code 0, then the compact array of keys.
    assert_eq!(frame.get_i16(), 0);
    assert!(frame.get_u8() > 1);
}

#[tokio::test]
async fn an_unknown_version_is_answered_in_version_0_with_the_real_list() {
    let broker = start().await;
    let mut client = broker.client().await;
    for version in [5i16, 99, i16::MAX] {
        let mut frame = vec![0, 0, 0, 11, 0, 18];
        frame.extend_from_slice(&version.to_be_bytes());
        frame.extend_from_slice(&[0, 0, 0, 7, 0xff, 0xff, 0]);
        client.stream.write_all(&frame).await.unwrap();
        let mut body = client.receive_frame().await.unwrap();
        assert_eq!(body.get_i32(), 7);
        let response = ApiVersionsResponse::decode_from_bytes(
            body,
            ApiVersion::new(0),
            DecodeLimits::default(),
        )
        .unwrap();
        assert_eq!(response.error_code, 35);
        assert!(
            response
                .api_keys
                .iter()
                .any(|key| key.api_key == 18 && key.max_version == 4)
        );
    }
    assert_eq!(client.call(&request(), 4).await.error_code, 0);
}

#[tokio::test]
async fn a_software_name_that_breaks_the_rules_is_refused() {
    let broker = start().await;
    let mut client = broker.client().await;
    let mut bad = request();
    bad.client_software_name = StrBytes::from("a b");
    assert_eq!(client.call(&bad, 3).await.error_code, 42);
}
