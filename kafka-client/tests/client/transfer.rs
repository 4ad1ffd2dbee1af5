//! Producing and reading back.

use std::time::Duration;

use kafka_client::{
    AutoOffsetReset, Client, ClientConfig, ClientError, Compression, ErrorCode, Header, Producer,
    ProducerConfig, ProducerRecord, TopicPartition, partition_for_key,
};

use crate::world::{World, deliver, numbered, read};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_come_back_in_order_and_complete() {
    let world = World::start().await;
    let topic = world.topic("orders", 1).await;
    let producer = world.producer();
    let mut deliveries = Vec::new();
    for start in (0..10_000).step_by(100) {
        deliveries.push(
            producer
                .send(&topic, numbered(start..start + 100))
                .await
                .unwrap(),
        );
    }
    for delivery in deliveries {
        let delivered = delivery.await.unwrap();
        assert_eq!(delivered.records, 100);
    }
    let mut consumer = world.reader("orders", 1);
    let values = read(&mut consumer, 10_000).await;
    let expected: Vec<String> = (0..10_000).map(|number| number.to_string()).collect();
    assert_eq!(values[&0], expected);
    assert_eq!(
        consumer.position(&TopicPartition::new("orders", 0)),
        Some(10_000)
    );
}

#[tokio::test]
async fn key_headers_timestamp_and_tombstone_survive() {
    let world = World::start().await;
    let topic = world.topic("orders", 4).await;
    let producer = world.producer();
    let header = Header {
        key: "h".into(),
        value: Some("v".into()),
    };
    let record = ProducerRecord {
        timestamp: Some(1_700_000_000_123),
        key: Some("foobar".into()),
        value: None,
        headers: vec![header.clone()],
        partition: None,
    };
    let delivered = deliver(&producer, &topic, vec![record]).await;
    let partition = partition_for_key(b"foobar", 4);
    assert_eq!(delivered.last_offsets, [(partition, 0)]);
    let mut consumer = world.reader("orders", 4);
    loop {
        let polled = consumer.poll(Duration::from_secs(5)).await.unwrap();
        let Some(batch) = polled.batches.into_iter().next() else {
            continue;
        };
        let record = &batch.records[0];
        assert_eq!(batch.partition, partition);
        assert_eq!(record.timestamp, 1_700_000_000_123);
        assert_eq!(record.key.as_deref(), Some(&b"foobar"[..]));
        assert_eq!(record.value, None);
        assert_eq!(record.headers, [header]);
        return;
    }
}

#[tokio::test]
async fn every_codec_works() {
    let world = World::start().await;
    for codec in Compression::ALL {
        let topic = world.topic(&format!("topic-{codec}"), 1).await;
        let mut config = ProducerConfig::default();
        config.compression = codec;
        config.batch_bytes = 4096;
        let producer = Producer::new(world.client(), config).unwrap();
        deliver(&producer, &topic, numbered(0..2000)).await;
        let values = read(&mut world.reader(&topic, 1), 2000).await;
        assert_eq!(values[&0][1999], "1999", "{codec}");
        assert!(values[&0].windows(2).all(|pair| {
            pair[0].parse::<usize>().unwrap() + 1 == pair[1].parse::<usize>().unwrap()
        }));
    }
}

#[tokio::test]
async fn records_without_key_reach_all_partitions() {
    let world = World::start().await;
    let topic = world.topic("orders", 3).await;
    let mut config = ProducerConfig::default();
    config.batch_bytes = 1024;
    let producer = Producer::new(world.client(), config).unwrap();
    deliver(&producer, &topic, numbered(0..5000)).await;
    let values = read(&mut world.reader("orders", 3), 5000).await;
    assert_eq!(values.len(), 3);
}

#[tokio::test]
async fn bad_records_fail_alone() {
    let world = World::start().await;
    let topic = world.topic("orders", 1).await;
    let mut config = ProducerConfig::default();
    config.batch_bytes = 10_000;
    config.max_request_bytes = 20_000;
    let producer = Producer::new(world.client(), config).unwrap();
    let mut records = numbered(0..4);
    records[1] = ProducerRecord::value(vec![0; 30_000]);
    records[2].partition = Some(7);
    let error = producer
        .send(&topic, records)
        .await
        .unwrap()
        .await
        .unwrap_err();
    let indexes: Vec<usize> = error.failures.iter().map(|(index, _)| *index).collect();
    assert_eq!(indexes, [1, 2]);
    assert!(matches!(
        error.failures[0].1,
        ClientError::RecordTooLarge { .. }
    ));
    assert!(matches!(
        error.failures[1].1,
        ClientError::UnknownPartition { count: 1, .. }
    ));
    assert_eq!(
        read(&mut world.reader("orders", 1), 2).await[&0],
        ["0", "3"]
    );
}

#[tokio::test]
async fn a_batch_too_large_for_the_topic_is_sent_in_pieces() {
    let world = World::start().await;
    let created =
        kafka_client::NewTopic::new("small", 1, 1).with_config("max.message.bytes", "2000");
    let outcomes = world
        .client()
        .admin()
        .create_topics(&[created], false)
        .await
        .unwrap();
    outcomes
        .into_iter()
        .for_each(|(_, outcome)| outcome.unwrap());
    let producer = world.producer();
    let records = (0..100)
        .map(|_| ProducerRecord::value(vec![b'x'; 200]))
        .collect();
    deliver(&producer, &"small".into(), records).await;
    let error = producer
        .send(
            &"small".into(),
            vec![ProducerRecord::value(vec![b'y'; 5000])],
        )
        .await
        .unwrap()
        .await
        .unwrap_err();
    assert_eq!(
        error.failures[0].1.code(),
        Some(ErrorCode::MESSAGE_TOO_LARGE)
    );
    deliver(&producer, &"small".into(), numbered(0..10)).await;
    assert_eq!(
        read(&mut world.reader("small", 1), 110).await[&0].len(),
        110
    );
}

#[tokio::test]
async fn a_record_without_key_fails_alone_on_a_compacted_topic() {
    let world = World::start().await;
    let created =
        kafka_client::NewTopic::new("table", 1, 1).with_config("cleanup.policy", "compact");
    let outcomes = world
        .client()
        .admin()
        .create_topics(&[created], false)
        .await
        .unwrap();
    outcomes
        .into_iter()
        .for_each(|(_, outcome)| outcome.unwrap());
    let producer = world.producer();
    let records = vec![
        ProducerRecord::keyed("a", "1"),
        ProducerRecord::value("no key"),
        ProducerRecord::keyed("b", "2"),
    ];
    let error = producer
        .send(&"table".into(), records)
        .await
        .unwrap()
        .await
        .unwrap_err();
    assert_eq!(error.failures.len(), 1, "{error}");
    assert_eq!(error.failures[0].0, 1);
    assert_eq!(error.failures[0].1.code(), Some(ErrorCode::INVALID_RECORD));
    assert_eq!(read(&mut world.reader("table", 1), 2).await[&0], ["1", "2"]);
}

#[tokio::test]
async fn a_full_buffer_makes_send_wait_and_loses_nothing() {
    let world = World::start().await;
    let topic = world.topic("orders", 2).await;
    let mut config = ProducerConfig::default();
    config.batch_bytes = 2048;
    config.buffer_bytes = 4096;
    let producer = Producer::new(world.client(), config).unwrap();
    let mut deliveries = Vec::new();
    for start in (0..2000).step_by(50) {
        deliveries.push(
            producer
                .send(&topic, numbered(start..start + 50))
                .await
                .unwrap(),
        );
    }
    // Larger than the whole buffer.
    deliveries.push(producer.send(&topic, numbered(2000..3000)).await.unwrap());
    producer.flush().await.unwrap();
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    let values = read(&mut world.reader("orders", 2), 3000).await;
    assert_eq!(values.values().map(Vec::len).sum::<usize>(), 3000);
}

#[tokio::test]
async fn acks_none_and_leader_deliver_too() {
    let world = World::start().await;
    let topic = world.topic("orders", 1).await;
    for acks in [kafka_client::Acks::None, kafka_client::Acks::Leader] {
        let mut config = ProducerConfig::default();
        config.acks = acks;
        config.idempotence = false;
        let producer = Producer::new(world.client(), config).unwrap();
        deliver(&producer, &topic, numbered(0..10)).await;
        producer.close(Duration::from_secs(5)).await;
    }
    assert_eq!(read(&mut world.reader("orders", 1), 20).await[&0].len(), 20);
}

#[tokio::test]
async fn seek_pause_and_resume_decide_what_is_read() {
    let world = World::start().await;
    let topic = world.topic("orders", 1).await;
    let producer = world.producer();
    deliver(&producer, &topic, numbered(0..100)).await;
    let partition = TopicPartition::new("orders", 0);
    let mut consumer = world.reader("orders", 1);
    read(&mut consumer, 100).await;
    consumer.seek(&partition, 98).unwrap();
    assert_eq!(read(&mut consumer, 2).await[&0], ["98", "99"]);
    consumer.pause(std::slice::from_ref(&partition));
    deliver(&producer, &topic, numbered(100..101)).await;
    assert!(
        consumer
            .poll(Duration::from_millis(300))
            .await
            .unwrap()
            .is_empty()
    );
    consumer.resume(std::slice::from_ref(&partition));
    assert_eq!(read(&mut consumer, 1).await[&0], ["100"]);
    // Beyond the end: the configured reset applies.
    consumer.seek(&partition, 5000).unwrap();
    assert_eq!(read(&mut consumer, 101).await[&0][0], "0");
    consumer
        .seek_to(&partition, AutoOffsetReset::Latest)
        .unwrap();
    assert!(
        consumer
            .poll(Duration::from_millis(300))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(consumer.position(&partition), Some(101));
}

/// As of `2147483647`, which Kafka's users write for "never", and of a zero.
#[tokio::test]
async fn the_largest_times_and_no_metadata_age_work() {
    let world = World::start().await;
    let topic = world.topic("extreme", 1).await;
    let mut config = ClientConfig::new([world.addr.to_string()]);
    config.request_timeout = Duration::MAX;
    config.metadata_max_age = Duration::ZERO;
    let mut settings = ProducerConfig::default();
    settings.linger = Duration::MAX;
    settings.delivery_timeout = Duration::MAX;
    let producer = Producer::new(Client::new(config).unwrap(), settings).unwrap();
    let sending = async {
        let delivery = producer.send(&topic, numbered(0..3)).await.unwrap();
        producer.flush().await.unwrap();
        delivery.await.unwrap()
    };
    let sent = tokio::time::timeout(Duration::from_secs(20), sending).await;
    assert_eq!(sent.unwrap().records, 3);
}
