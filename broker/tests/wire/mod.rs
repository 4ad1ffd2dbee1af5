//! A client that sends exactly what a test says, for talking to a broker at the level of frames.
#![allow(dead_code, missing_docs, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::net::SocketAddr;
use std::time::Duration;

use broker::{Broker, BrokerBuilder};
use bytes::{Buf, Bytes, BytesMut};
use kafka_records::{BatchBuilder, Compression, RecordRef};
use kafka_wire::fetch_request::{FetchPartition, FetchTopic};
use kafka_wire::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_wire::{
    FetchRequest, FetchResponse, MetadataRequest, MetadataResponse, OutboundFrameLimits,
    ProduceRequest, ProduceResponse, RequestResponsePair, encode_request,
    response_header_version_for,
};
use kafka_wire_core::{ApiVersion, DecodeLimits, KafkaDecode, KafkaEncode, StrBytes, Uuid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub struct TestBroker {
    pub broker: Broker,
    pub folder: tempfile::TempDir,
}

/// A broker on a free port with an empty folder.
pub async fn start() -> TestBroker {
    start_with(|builder| builder).await
}

pub async fn start_with(change: impl FnOnce(BrokerBuilder) -> BrokerBuilder) -> TestBroker {
    let folder = tempfile::tempdir().unwrap();
    let builder = Broker::builder()
        .listen("127.0.0.1:0")
        .data_dir(folder.path())
        .property("offsets.topic.num.partitions", "2")
        .property("group.initial.rebalance.delay.ms", "0");
    let broker = change(builder).start().await.unwrap();
    TestBroker { broker, folder }
}

impl TestBroker {
    pub async fn client(&self) -> Client {
        Client::connect(self.broker.addr()).await
    }

    /// Stops it and starts it again on the same folder.
    pub async fn restart(self) -> Self {
        self.broker.shutdown().await;
        let broker = Broker::builder()
            .listen("127.0.0.1:0")
            .data_dir(self.folder.path())
            .start()
            .await
            .unwrap();
        Self {
            broker,
            folder: self.folder,
        }
    }
}

pub struct Client {
    pub stream: TcpStream,
    correlation_id: i32,
}

const LIMIT: Duration = Duration::from_secs(20);

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            correlation_id: 100,
        }
    }

    /// Sends a request and does not wait.
    pub async fn send<R>(&mut self, request: &R, version: i16) -> i32
    where
        R: RequestResponsePair + KafkaEncode,
    {
        self.correlation_id += 1;
        let frame = frame(self.correlation_id, request, version);
        self.stream.write_all(&frame).await.unwrap();
        self.correlation_id
    }

    /// Receives the response to a request of type `R`.
    pub async fn receive<R>(&mut self, version: i16) -> (i32, R::Response)
    where
        R: RequestResponsePair,
    {
        let mut body = self.receive_frame().await.expect("an answer");
        let correlation_id = body.get_i32();
        let api_version = ApiVersion::new(version);
        if response_header_version_for::<R>(api_version).unwrap() == 1 {
            assert_eq!(body.get_u8(), 0, "no tagged fields in the header");
        }
        let response =
            R::Response::decode_from_bytes(body, api_version, DecodeLimits::default()).unwrap();
        (correlation_id, response)
    }

    pub async fn call<R>(&mut self, request: &R, version: i16) -> R::Response
    where
        R: RequestResponsePair + KafkaEncode,
    {
        let sent = self.send(request, version).await;
        let (received, response) = self.receive::<R>(version).await;
        assert_eq!(sent, received);
        response
    }

    /// The next frame; `None` when the broker closed the connection.
    pub async fn receive_frame(&mut self) -> Option<Bytes> {
        tokio::time::timeout(LIMIT, async {
            let length = self.stream.read_u32().await.ok()?;
            let mut frame = BytesMut::zeroed(length as usize);
            self.stream.read_exact(&mut frame).await.ok()?;
            Some(frame.freeze())
        })
        .await
        .expect("an answer in time")
    }

    pub async fn metadata(&mut self, topics: &[&str]) -> MetadataResponse {
        let mut request = MetadataRequest::default();
        request.allow_auto_topic_creation = true;
        request.topics = Some(
            topics
                .iter()
                .map(|name| {
                    let mut topic = kafka_wire::metadata_request::MetadataRequestTopic::default();
                    topic.name = Some(StrBytes::from(*name));
                    topic
                })
                .collect(),
        );
        self.call(&request, 12).await
    }

    /// The id of a topic, which is created if needed.
    pub async fn topic_id(&mut self, topic: &str) -> Uuid {
        let metadata = self.metadata(&[topic]).await;
        assert_eq!(metadata.topics[0].error_code, 0);
        metadata.topics[0].topic_id
    }

    pub async fn produce(&mut self, topic: &str, values: &[&str]) -> ProduceResponse {
        self.call(&produce_request(topic, 0, batch(values)), 9)
            .await
    }

    pub async fn fetch(&mut self, topic: &str, offset: i64) -> FetchResponse {
        self.call(&fetch_request(topic, offset, 0), 11).await
    }
}

pub fn frame<R>(correlation_id: i32, request: &R, version: i16) -> BytesMut
where
    R: RequestResponsePair + KafkaEncode,
{
    let mut frame = BytesMut::new();
    encode_request(
        &mut frame,
        correlation_id,
        Some(StrBytes::from("test")),
        request,
        ApiVersion::new(version),
        OutboundFrameLimits::new(64 << 20),
    )
    .unwrap();
    frame
}

pub fn batch(values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None, 1 << 20);
    for value in values {
        builder.push(RecordRef {
            timestamp: platform::clock::unix_millis(),
            key: None,
            value: Some(value.as_bytes()),
            headers: &[],
        });
    }
    builder.finish().unwrap()
}

pub fn produce_request(topic: &str, partition: i32, records: Bytes) -> ProduceRequest {
    let mut data = PartitionProduceData::default();
    data.index = partition;
    data.records = Some(records);
    let mut topic_data = TopicProduceData::default();
    topic_data.name = StrBytes::from(topic);
    topic_data.partition_data = vec![data];
    let mut request = ProduceRequest::default();
    request.acks = -1;
    request.timeout_ms = 1000;
    request.topic_data = vec![topic_data];
    request
}

pub fn fetch_request(topic: &str, offset: i64, wait_ms: i32) -> FetchRequest {
    let mut partition = FetchPartition::default();
    partition.fetch_offset = offset;
    partition.partition_max_bytes = 1 << 20;
    let mut fetch_topic = FetchTopic::default();
    fetch_topic.topic = StrBytes::from(topic);
    fetch_topic.partitions = vec![partition];
    let mut request = FetchRequest::default();
    request.replica_id = -1;
    request.max_wait_ms = wait_ms;
    request.min_bytes = 1;
    request.max_bytes = 10 << 20;
    request.session_epoch = -1;
    request.topics = vec![fetch_topic];
    request
}

/// The values of all records in the first partition of a fetch response.
pub fn values(response: &FetchResponse) -> Vec<String> {
    let records = response.responses[0].partitions[0].records.clone();
    kafka_records::batches(records.unwrap_or_default())
        .flat_map(|batch| {
            let batch = batch.unwrap();
            batch.verify().unwrap();
            batch.records(1 << 20).unwrap().map(|record| {
                let value = record.unwrap().value.unwrap();
                String::from_utf8(value.to_vec()).unwrap()
            })
        })
        .collect()
}
