//! Peers that are not what they seem: nothing they send crashes the broker, takes its memory, or
//! bothers others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod wire;

use std::time::Duration;

use kafka_wire::{ApiVersionsRequest, CreateTopicsRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::{Client, TestBroker, batch, fetch_request, frame, produce_request, start, start_with};

/// Sends bytes and waits until the broker closes the connection.
async fn closes_after(broker: &TestBroker, bytes: &[u8]) {
    let mut stream = TcpStream::connect(broker.broker.addr()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut rest = Vec::new();
    // A reset is as good as an end.
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
    assert!(
        read.is_ok(),
        "still open after {:?}",
        &bytes[..bytes.len().min(16)]
    );
}

async fn is_well(broker: &TestBroker) {
    let mut client = broker.client().await;
    assert_eq!(
        client
            .call(&ApiVersionsRequest::default(), 0)
            .await
            .error_code,
        0
    );
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

#[tokio::test]
async fn impossible_lengths_close_the_connection() {
    let broker = start().await;
    for length in [i32::MAX, -1, i32::MIN, 0, 7, 104_857_601] {
        closes_after(&broker, &length.to_be_bytes()).await;
    }
    is_well(&broker).await;
}

#[tokio::test]
async fn other_protocols_and_garbage_close_the_connection() {
    let broker = start().await;
    closes_after(&broker, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    closes_after(
        &broker,
        &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc],
    )
    .await;
    closes_after(&broker, &[0, 0, 0, 9, 0x7f, 0x7f, 0, 0, 0, 0, 0, 0, 0]).await;
    // A known key with an unknown version.
    closes_after(&broker, &[0, 0, 0, 10, 0, 3, 0, 99, 0, 0, 0, 1, 0xff, 0xff]).await;
    let mut state = 1u64;
    for round in 0..200usize {
        let mut bytes = Vec::new();
        for _ in 0..40 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(round as u64 | 1);
            bytes.push((state >> 33) as u8);
        }
        // A plausible length and API in front of garbage.
        bytes[..8].copy_from_slice(&[0, 0, 0, 36, 0, (round % 76) as u8, 0, (round % 13) as u8]);
        let mut stream = TcpStream::connect(broker.broker.addr()).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest));
        assert!(read.await.is_ok(), "round {round}");
    }
    is_well(&broker).await;
}

#[tokio::test]
async fn a_request_cut_at_any_byte_is_harmless() {
    let broker = start().await;
    let mut client = broker.client().await;
    client.topic_id("t").await;
    let whole = [
        frame(1, &produce_request("t", 0, batch(&["abc"])), 9),
        frame(2, &fetch_request("t", 0, 0), 12),
    ];
    for request in &whole {
        for cut in 0..request.len() {
            let mut stream = TcpStream::connect(broker.broker.addr()).await.unwrap();
            stream.write_all(&request[..cut]).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap_or(0);
            assert!(rest.is_empty(), "cut at {cut}");
        }
        // The same bytes with a length that says they are all there.
        for cut in 8..request.len() - 4 {
            let mut bytes = request[..4 + cut].to_vec();
            bytes[..4].copy_from_slice(&(cut as u32).to_be_bytes());
            let mut stream = TcpStream::connect(broker.broker.addr()).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap_or(0);
        }
    }
    is_well(&broker).await;
    assert_eq!(
        wire::values(&client.fetch("t", 0).await),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn a_request_with_any_byte_changed_is_harmless() {
    let broker = start().await;
    let mut client = broker.client().await;
    client.topic_id("t").await;
    let request = frame(1, &produce_request("t", 0, batch(&["abc"])), 9);
    for at in 4..request.len() {
        let mut bytes = request.to_vec();
        bytes[at] ^= 0x55;
        let mut stream = TcpStream::connect(broker.broker.addr()).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest));
        assert!(read.await.is_ok(), "byte {at}");
    }
    is_well(&broker).await;
}

#[tokio::test]
async fn announced_but_unsent_requests_cost_next_to_nothing() {
    let broker = start().await;
    is_well(&broker).await;
    let before = resident_bytes();
    let mut open = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(broker.broker.addr()).await.unwrap();
        // 100 MB of Produce, of which the first bytes come.
        let mut bytes = 100_000_000i32.to_be_bytes().to_vec();
        bytes.extend_from_slice(&[0, 0, 0, 9, 0, 0, 0, 1, 0xff, 0xff]);
        stream.write_all(&bytes).await.unwrap();
        open.push(stream);
    }
    // 100 MB of an API whose requests are small.
    let mut bytes = 100_000_000i32.to_be_bytes().to_vec();
    bytes.extend_from_slice(&[0, 19, 0, 7, 0, 0, 0, 1, 0xff, 0xff]);
    closes_after(&broker, &bytes).await;
    is_well(&broker).await;
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 60 << 20, "{grown} bytes");
}

#[tokio::test]
async fn an_array_count_that_is_not_backed_by_bytes_allocates_nothing() {
    let broker = start().await;
    is_well(&broker).await;
    let before = resident_bytes();
    for _ in 0..20 {
        // CreateTopics v2: client id null, then two thousand million topics.
        let mut bytes = vec![0, 0, 0, 14, 0, 19, 0, 2, 0, 0, 0, 1, 0xff, 0xff];
        bytes.extend_from_slice(&i32::MAX.to_be_bytes());
        closes_after(&broker, &bytes).await;
    }
    assert!(resident_bytes().saturating_sub(before) < 20 << 20);
    is_well(&broker).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let broker = start_with(|b| b.property("connections.max.idle.ms", "300")).await;
    let mut busy = broker.client().await;
    let keep_busy = async {
        for _ in 0..8 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            busy.call(&ApiVersionsRequest::default(), 0).await;
        }
    };
    tokio::join!(keep_busy, closes_after(&broker, b""));
}

#[tokio::test]
async fn a_connection_that_waits_for_an_answer_is_not_idle() {
    let broker = start_with(|b| b.property("connections.max.idle.ms", "200")).await;
    let mut client = broker.client().await;
    client.topic_id("t").await;
    let response = client.call(&fetch_request("t", 0, 700), 11).await;
    assert_eq!(response.error_code, 0);
    client.call(&ApiVersionsRequest::default(), 0).await;
}

#[tokio::test]
async fn connections_over_the_limit_are_refused() {
    let broker = start_with(|b| b.property("max.connections.per.ip", "2")).await;
    let mut first = broker.client().await;
    first.call(&ApiVersionsRequest::default(), 0).await;
    let mut second = broker.client().await;
    second.call(&ApiVersionsRequest::default(), 0).await;
    closes_after(&broker, b"").await;
    drop(first);
    // The place is free again, a moment later.
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let mut third = Client::connect(broker.broker.addr()).await;
        third.send(&ApiVersionsRequest::default(), 0).await;
        if third.receive_frame().await.is_some() {
            return;
        }
    }
    panic!("the place was not given back");
}

#[tokio::test]
async fn a_peer_that_only_asks_for_too_much_gets_an_error_for_each() {
    let broker = start().await;
    let mut client = broker.client().await;
    let mut request = CreateTopicsRequest::default();
    let mut topic = kafka_wire::create_topics_request::CreatableTopic::default();
    topic.name = kafka_wire_core::StrBytes::from("huge");
    topic.num_partitions = i32::MAX;
    topic.replication_factor = 1;
    request.topics = vec![topic];
    let response = client.call(&request, 7).await;
    assert_eq!(response.topics[0].error_code, 44);
}
