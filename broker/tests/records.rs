//! Writing and reading records.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod wire;

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_wire::fetch_request::{FetchPartition, FetchTopic};
use kafka_wire::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_wire::{DeleteTopicsRequest, FetchRequest, ListOffsetsRequest, ProduceRequest};
use kafka_wire_core::{StrBytes, Uuid};
use wire::{batch, fetch_request, produce_request, start, start_with, values};

#[tokio::test]
async fn records_come_back_in_order_in_every_version() {
    let broker = start().await;
    let mut client = broker.client().await;
    let id = client.topic_id("t").await;
    let mut expected = Vec::new();
    for version in 3..=13 {
        let value = format!("v{version}");
        let mut request = produce_request("t", 0, batch(&[&value]));
        if version >= 13 {
            request.topic_data[0].name = StrBytes::default();
            request.topic_data[0].topic_id = id;
        }
        let response = client.call(&request, version).await;
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!(partition.error_code, 0, "version {version}");
        assert_eq!(partition.base_offset, i64::from(version) - 3);
        expected.push(value);
    }
    for version in 4..=18 {
        let mut request = fetch_request("t", 0, 0);
        if version >= 13 {
            request.topics[0].topic = StrBytes::default();
            request.topics[0].topic_id = id;
        }
        let response = client.call(&request, version).await;
        assert_eq!(values(&response), expected, "version {version}");
        assert_eq!(response.responses[0].partitions[0].high_watermark, 11);
    }
}

#[tokio::test]
async fn requests_on_one_connection_are_answered_in_order() {
    let broker = start().await;
    let mut client = broker.client().await;
    client.topic_id("t").await;
    let mut sent = Vec::new();
    for index in 0..20 {
        let records = batch(&[&index.to_string()]);
        sent.push(client.send(&produce_request("t", 0, records), 9).await);
    }
    for (index, id) in sent.into_iter().enumerate() {
        let (received, response) = client.receive::<ProduceRequest>(9).await;
        assert_eq!(received, id);
        assert_eq!(
            response.responses[0].partition_responses[0].base_offset,
            index as i64
        );
    }
    assert_eq!(values(&client.fetch("t", 0).await).len(), 20);
}

#[tokio::test]
async fn acks_0_gets_no_answer_and_a_failure_closes_the_connection() {
    let broker = start().await;
    let mut client = broker.client().await;
    client.topic_id("t").await;
    let mut request = produce_request("t", 0, batch(&["a"]));
    request.acks = 0;
    client.send(&request, 9).await;
    // The next answer is that of the next request.
    assert_eq!(values(&client.fetch("t", 0).await), ["a"]);
    let mut request = produce_request("missing", 0, batch(&["a"]));
    request.acks = 0;
    client.send(&request, 9).await;
    assert!(client.receive_frame().await.is_none());
}

#[tokio::test]
async fn what_cannot_be_written_says_why() {
    let broker = start().await;
    let mut client = broker.client().await;
    client.topic_id("t").await;
    let code = async |client: &mut wire::Client, request: &ProduceRequest| {
        let response = client.call(request, 9).await;
        response.responses[0].partition_responses[0].error_code
    };
    let mut request = produce_request("t", 0, batch(&["a"]));
    request.acks = 2;
    assert_eq!(code(&mut client, &request).await, 21);
    assert_eq!(
        code(&mut client, &produce_request("missing", 0, batch(&["a"]))).await,
        3
    );
    assert_eq!(
        code(&mut client, &produce_request("t", 7, batch(&["a"]))).await,
        3
    );
    let mut damaged = batch(&["abc"]).to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(
        code(&mut client, &produce_request("t", 0, Bytes::from(damaged))).await,
        2
    );
    client.metadata(&["__consumer_offsets"]).await;
    let internal = produce_request("__consumer_offsets", 0, batch(&["a"]));
    assert_eq!(code(&mut client, &internal).await, 17);
    assert_eq!(values(&client.fetch("t", 0).await), Vec::<String>::new());
}

#[tokio::test]
async fn one_bad_partition_does_not_block_the_others() {
    let broker = start().await;
    let mut client = broker.client().await;
    client.topic_id("t").await;
    client.produce("t", &["a"]).await;
    let mut request = fetch_request("t", 0, 10_000);
    let mut bad = FetchPartition::default();
    bad.partition = 5;
    bad.partition_max_bytes = 1000;
    request.topics[0].partitions.insert(0, bad);
    let began = Instant::now();
    let response = client.call(&request, 11).await;
    let partitions = &response.responses[0].partitions;
    assert_eq!(partitions[0].error_code, 3);
    assert!(!partitions[1].records.as_ref().unwrap().is_empty());
    assert!(began.elapsed() < Duration::from_secs(5));
    let response = client.fetch("t", 99).await;
    assert_eq!(response.responses[0].partitions[0].error_code, 1);
}

#[tokio::test]
async fn a_waiting_fetch_answers_when_records_arrive_or_time_is_up() {
    let broker = start().await;
    let mut reader = broker.client().await;
    let mut writer = broker.client().await;
    writer.topic_id("t").await;
    let began = Instant::now();
    let response = reader.call(&fetch_request("t", 0, 200), 11).await;
    assert!(values(&response).is_empty());
    assert!(began.elapsed() >= Duration::from_millis(190));

    let began = Instant::now();
    reader.send(&fetch_request("t", 0, 15_000), 11).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    writer.produce("t", &["now"]).await;
    let (_, response) = reader.receive::<FetchRequest>(11).await;
    assert_eq!(values(&response), ["now"]);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_waiting_fetch_waits_for_the_bytes_asked_for() {
    let broker = start().await;
    let mut reader = broker.client().await;
    let mut writer = broker.client().await;
    writer.topic_id("t").await;
    let mut request = fetch_request("t", 0, 15_000);
    request.min_bytes = 200;
    reader.send(&request, 11).await;
    for _ in 0..4 {
        writer.produce("t", &["x"]).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (_, response) = reader.receive::<FetchRequest>(11).await;
    assert!(values(&response).len() >= 2);
}

#[tokio::test]
async fn a_batch_larger_than_the_limits_is_given_whole() {
    let broker = start().await;
    let mut client = broker.client().await;
    client.topic_id("t").await;
    let large = "x".repeat(50_000);
    client.produce("t", &[&large, &large]).await;
    let mut request = fetch_request("t", 1, 0);
    request.max_bytes = 1;
    request.topics[0].partitions[0].partition_max_bytes = 1;
    // From the middle of the batch, yet all of it.
    let response = client.call(&request, 11).await;
    assert_eq!(values(&response), [large.clone(), large]);
}

#[tokio::test]
async fn a_session_tells_only_what_changed() {
    let broker = start_with(|b| b.property("num.partitions", "3")).await;
    let mut client = broker.client().await;
    client.topic_id("t").await;
    let mut open = fetch_request("t", 0, 0);
    open.session_epoch = 0;
    for index in 1..3 {
        let mut partition = open.topics[0].partitions[0].clone();
        partition.partition = index;
        open.topics[0].partitions.push(partition);
    }
    let response = client.call(&open, 11).await;
    assert_ne!(response.session_id, 0);
    assert_eq!(response.responses[0].partitions.len(), 3);

    let mut next = fetch_request("t", 0, 0);
    next.topics.clear();
    next.session_id = response.session_id;
    next.session_epoch = 1;
    let response = client.call(&next, 11).await;
    assert_eq!(response.error_code, 0);
    assert!(response.responses.is_empty());

    client
        .call(&produce_request("t", 1, batch(&["a"])), 9)
        .await;
    next.session_epoch = 2;
    let response = client.call(&next, 11).await;
    assert_eq!(response.responses[0].partitions.len(), 1);
    assert_eq!(response.responses[0].partitions[0].partition_index, 1);
    assert_eq!(values(&response), ["a"]);

    // The same epoch again, and a session nobody has.
    assert_eq!(client.call(&next, 11).await.error_code, 71);
    next.session_id += 1;
    assert_eq!(client.call(&next, 11).await.error_code, 70);
}

#[tokio::test]
async fn a_topic_created_again_is_another_topic() {
    let broker = start().await;
    let mut client = broker.client().await;
    let old = client.topic_id("t").await;
    client.produce("t", &["old"]).await;
    let mut delete = DeleteTopicsRequest::default();
    delete.topic_names = vec![StrBytes::from("t")];
    assert_eq!(client.call(&delete, 4).await.responses[0].error_code, 0);
    let new = client.topic_id("t").await;
    assert_ne!(old, new);
    let by_id = |id: Uuid| {
        let mut request = fetch_request("", 0, 0);
        request.topics[0].topic_id = id;
        request
    };
    let response = client.call(&by_id(old), 13).await;
    assert_eq!(response.responses[0].partitions[0].error_code, 100);
    assert_eq!(response.responses[0].topic_id, old);
    let response = client.call(&by_id(new), 13).await;
    assert_eq!(response.responses[0].partitions[0].error_code, 0);
    assert!(values(&response).is_empty());
    let mut produce = produce_request("", 0, batch(&["a"]));
    produce.topic_data[0].topic_id = old;
    let response = client.call(&produce, 13).await;
    assert_eq!(response.responses[0].partition_responses[0].error_code, 100);
}

#[tokio::test]
async fn a_topic_deleted_under_a_waiting_fetch_ends_it() {
    let broker = start().await;
    let mut client = broker.client().await;
    let mut admin = broker.client().await;
    client.topic_id("t").await;
    client.send(&fetch_request("t", 0, 15_000), 11).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let began = Instant::now();
    let mut delete = DeleteTopicsRequest::default();
    delete.topic_names = vec![StrBytes::from("t")];
    admin.call(&delete, 4).await;
    let (_, response) = client.receive::<FetchRequest>(11).await;
    assert_eq!(response.responses[0].partitions[0].error_code, 3);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn offsets_are_listed_at_both_ends_and_at_a_time() {
    let broker = start().await;
    let mut client = broker.client().await;
    client.topic_id("t").await;
    client.produce("t", &["a", "b"]).await;
    client.produce("t", &["c"]).await;
    let list = |timestamp| {
        let mut partition = ListOffsetsPartition::default();
        partition.timestamp = timestamp;
        let mut topic = ListOffsetsTopic::default();
        topic.name = StrBytes::from("t");
        topic.partitions = vec![partition];
        let mut request = ListOffsetsRequest::default();
        request.topics = vec![topic];
        request
    };
    for version in 1..=11 {
        for (timestamp, offset) in [(-1, 3), (-2, 0), (0, 0), (i64::MAX, -1)] {
            let response = client.call(&list(timestamp), version).await;
            let partition = &response.topics[0].partitions[0];
            assert_eq!(partition.error_code, 0);
            assert_eq!(
                partition.offset, offset,
                "time {timestamp} version {version}"
            );
        }
        let response = client.call(&list(-3), version).await;
        let expected = if version >= 7 { 0 } else { 35 };
        assert_eq!(response.topics[0].partitions[0].error_code, expected);
    }
}

#[tokio::test]
async fn records_topics_and_offsets_survive_a_restart() {
    let broker = start().await;
    let mut client = broker.client().await;
    let id = client.topic_id("t").await;
    client.produce("t", &["a", "b"]).await;
    let cluster = broker.broker.cluster_id().to_owned();
    let broker = broker.restart().await;
    assert_eq!(broker.broker.cluster_id(), cluster);
    let mut client = broker.client().await;
    assert_eq!(client.topic_id("t").await, id);
    assert_eq!(values(&client.fetch("t", 0).await), ["a", "b"]);
    let response = client.produce("t", &["c"]).await;
    assert_eq!(response.responses[0].partition_responses[0].base_offset, 2);
}

#[tokio::test]
async fn a_fetch_of_many_topics_keeps_their_order() {
    let broker = start().await;
    let mut client = broker.client().await;
    let names = ["c", "a", "b"];
    for name in names {
        client.topic_id(name).await;
        client.produce(name, &[name]).await;
    }
    let mut request = fetch_request("c", 0, 0);
    for name in &names[1..] {
        let mut topic = FetchTopic::default();
        topic.topic = StrBytes::from(*name);
        topic.partitions = request.topics[0].partitions.clone();
        request.topics.push(topic);
    }
    let response = client.call(&request, 12).await;
    let got: Vec<&str> = response
        .responses
        .iter()
        .map(|topic| &*topic.topic)
        .collect();
    assert_eq!(got, names);
}
