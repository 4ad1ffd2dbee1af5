//! Topics and configuration, as administrators change them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod wire;

use std::collections::BTreeMap;

use kafka_wire::create_partitions_request::CreatePartitionsTopic;
use kafka_wire::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_wire::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_wire::delete_topics_request::DeleteTopicState;
use kafka_wire::describe_configs_request::DescribeConfigsResource;
use kafka_wire::describe_configs_response::DescribeConfigsResourceResult;
use kafka_wire::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_wire::{
    AlterConfigsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest,
    DeleteTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest, DescribeLogDirsRequest,
    DescribeTopicPartitionsRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest,
    MetadataRequest, alter_configs_request,
};
use kafka_wire_core::{StrBytes, Uuid};
use wire::{Client, start, start_with, values};

fn topic(name: &str) -> CreatableTopic {
    let mut topic = CreatableTopic::default();
    topic.name = StrBytes::from(name);
    topic.num_partitions = 1;
    topic.replication_factor = 1;
    topic
}

fn create(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    let mut request = CreateTopicsRequest::default();
    request.topics = topics;
    request.timeout_ms = 1000;
    request
}

fn with_config(mut topic: CreatableTopic, key: &str, value: &str) -> CreatableTopic {
    let mut config = CreatableTopicConfig::default();
    config.name = StrBytes::from(key);
    config.value = Some(StrBytes::from(value));
    topic.configs.push(config);
    topic
}

async fn describe(
    client: &mut Client,
    kind: i8,
    name: &str,
) -> BTreeMap<String, DescribeConfigsResourceResult> {
    let mut resource = DescribeConfigsResource::default();
    resource.resource_type = kind;
    resource.resource_name = StrBytes::from(name);
    resource.configuration_keys = None;
    let mut request = DescribeConfigsRequest::default();
    request.resources = vec![resource];
    request.include_synonyms = true;
    let mut response = client.call(&request, 4).await;
    let result = response.results.remove(0);
    assert_eq!(result.error_code, 0, "{:?}", result.error_message);
    result
        .configs
        .into_iter()
        .map(|config| (config.name.to_string(), config))
        .collect()
}

async fn alter(
    client: &mut Client,
    kind: i8,
    name: &str,
    changes: &[(&str, i8, Option<&str>)],
) -> (i16, String) {
    let mut resource = AlterConfigsResource::default();
    resource.resource_type = kind;
    resource.resource_name = StrBytes::from(name);
    for (key, operation, value) in changes {
        let mut config = AlterableConfig::default();
        config.name = StrBytes::from(*key);
        config.config_operation = *operation;
        config.value = value.map(StrBytes::from);
        resource.configs.push(config);
    }
    let mut request = IncrementalAlterConfigsRequest::default();
    request.resources = vec![resource];
    let response = client.call(&request, 1).await;
    let result = &response.responses[0];
    (
        result.error_code,
        result
            .error_message
            .as_deref()
            .unwrap_or_default()
            .to_owned(),
    )
}

#[tokio::test]
async fn topics_are_created_each_with_its_own_result() {
    let broker = start().await;
    let mut client = broker.client().await;
    let mut three = topic("three");
    three.num_partitions = 3;
    let mut assigned = topic("assigned");
    assigned.num_partitions = -1;
    assigned.replication_factor = -1;
    let mut assignment = CreatableReplicaAssignment::default();
    assignment.broker_ids = vec![0];
    assigned.assignments = vec![assignment];
    let mut too_many = topic("many.replicas");
    too_many.replication_factor = 3;
    let mut none = topic("no.partitions");
    none.num_partitions = 0;
    let mut foreign = assigned.clone();
    foreign.name = StrBytes::from("foreign");
    foreign.assignments[0].broker_ids = vec![7];
    let request = create(vec![
        three,
        assigned,
        too_many,
        none,
        foreign,
        topic("bad name"),
        topic(".."),
        topic("twice"),
        topic("twice"),
        topic("a.b"),
        topic("a_b"),
        with_config(topic("typo"), "retention.mss", "1"),
        with_config(topic("value"), "retention.ms", "soon"),
        with_config(topic("set"), "retention.ms", "1000"),
    ]);
    let response = client.call(&request, 7).await;
    let codes: BTreeMap<&str, i16> = response
        .topics
        .iter()
        .map(|topic| (&*topic.name, topic.error_code))
        .collect();
    let expected = BTreeMap::from([
        ("three", 0),
        ("assigned", 0),
        ("many.replicas", 38),
        ("no.partitions", 37),
        ("foreign", 39),
        ("bad name", 17),
        ("..", 17),
        ("twice", 42),
        ("a.b", 0),
        ("a_b", 17),
        ("typo", 40),
        ("value", 40),
        ("set", 0),
    ]);
    assert_eq!(codes, expected);
    let set = response
        .topics
        .iter()
        .find(|topic| &*topic.name == "set")
        .unwrap();
    let configs = set.configs.as_ref().unwrap();
    let retention = configs
        .iter()
        .find(|config| &*config.name == "retention.ms")
        .unwrap();
    assert_eq!(
        (retention.value.as_deref(), retention.config_source),
        (Some("1000"), 1)
    );
    let again = client.call(&create(vec![topic("three")]), 7).await;
    assert_eq!(again.topics[0].error_code, 36);
    let metadata = client.metadata(&["three"]).await;
    assert_eq!(metadata.topics[0].partitions.len(), 3);
}

#[tokio::test]
async fn validate_only_creates_nothing() {
    let broker = start().await;
    let mut client = broker.client().await;
    let mut request = create(vec![topic("t")]);
    request.validate_only = true;
    let response = client.call(&request, 7).await;
    assert_eq!(response.topics[0].error_code, 0);
    assert!(response.topics[0].topic_id.is_zero());
    let mut all = MetadataRequest::default();
    all.topics = None;
    assert!(client.call(&all, 9).await.topics.is_empty());
}

#[tokio::test]
async fn metadata_creates_topics_only_where_that_is_allowed() {
    let broker = start().await;
    let mut client = broker.client().await;
    let metadata = client
        .metadata(&["new", "bad name", "__consumer_offsets"])
        .await;
    let codes: Vec<i16> = metadata
        .topics
        .iter()
        .map(|topic| topic.error_code)
        .collect();
    assert_eq!(codes, [0, 17, 0]);
    assert!(metadata.topics[2].is_internal);
    let broker = start_with(|b| b.property("auto.create.topics.enable", "false")).await;
    let mut client = broker.client().await;
    assert_eq!(client.metadata(&["new"]).await.topics[0].error_code, 3);
    for version in 0..=13 {
        let mut request = MetadataRequest::default();
        if version == 0 {
            request.topics = Some(Vec::new());
        } else {
            request.topics = None;
        }
        request.allow_auto_topic_creation = true;
        assert_eq!(
            client.call(&request, version).await.brokers.len(),
            1,
            "version {version}"
        );
    }
}

#[tokio::test]
async fn topics_are_deleted_by_name_and_by_id() {
    let broker = start().await;
    let mut client = broker.client().await;
    client.topic_id("a").await;
    let id = client.topic_id("b").await;
    let mut by_id = DeleteTopicState::default();
    by_id.topic_id = id;
    let mut by_name = DeleteTopicState::default();
    by_name.name = Some(StrBytes::from("a"));
    let mut unknown = DeleteTopicState::default();
    unknown.topic_id = Uuid::from_bytes([9; 16]);
    let mut request = DeleteTopicsRequest::default();
    request.topics = vec![by_id, by_name, unknown];
    let response = client.call(&request, 6).await;
    let codes: Vec<i16> = response
        .responses
        .iter()
        .map(|topic| topic.error_code)
        .collect();
    assert_eq!(codes, [0, 0, 100]);
    assert_eq!(response.responses[0].name.as_deref(), Some("b"));
    let mut all = MetadataRequest::default();
    all.topics = None;
    assert!(client.call(&all, 9).await.topics.is_empty());
    let broker = broker.restart().await;
    assert!(broker.client().await.call(&all, 9).await.topics.is_empty());
}

#[tokio::test]
async fn partitions_are_added() {
    let broker = start().await;
    let mut client = broker.client().await;
    client.topic_id("t").await;
    let ask = |name: &str, count| {
        let mut topic = CreatePartitionsTopic::default();
        topic.name = StrBytes::from(name);
        topic.count = count;
        topic.assignments = None;
        topic
    };
    let mut request = CreatePartitionsRequest::default();
    request.topics = vec![ask("t", 4), ask("missing", 2)];
    let response = client.call(&request, 3).await;
    let codes: Vec<i16> = response
        .results
        .iter()
        .map(|topic| topic.error_code)
        .collect();
    assert_eq!(codes, [0, 3]);
    assert_eq!(client.metadata(&["t"]).await.topics[0].partitions.len(), 4);
    request.topics = vec![ask("t", 4)];
    assert_eq!(client.call(&request, 3).await.results[0].error_code, 37);
    let broker = broker.restart().await;
    assert_eq!(
        broker.client().await.metadata(&["t"]).await.topics[0]
            .partitions
            .len(),
        4
    );
}

#[tokio::test]
async fn a_topics_configuration_shows_every_key_and_who_set_it() {
    let broker = start_with(|b| b.property("log.retention.hours", "2")).await;
    let mut client = broker.client().await;
    client
        .call(
            &create(vec![with_config(topic("t"), "cleanup.policy", "compact")]),
            7,
        )
        .await;
    let configs = describe(&mut client, 2, "t").await;
    assert_eq!(configs.len(), 25);
    let policy = &configs["cleanup.policy"];
    assert_eq!(
        (
            policy.value.as_deref(),
            policy.config_source,
            policy.config_type
        ),
        (Some("compact"), 1, 7)
    );
    assert_eq!(&*policy.synonyms[1].name, "log.cleanup.policy");
    let retention = &configs["retention.ms"];
    assert_eq!(
        (retention.value.as_deref(), retention.config_source),
        (Some("7200000"), 4)
    );
    let segment = &configs["segment.bytes"];
    assert_eq!(
        (segment.value.as_deref(), segment.config_source),
        (Some("1073741824"), 5)
    );
    let of_broker = describe(&mut client, 4, "0").await;
    assert_eq!(of_broker["log.retention.hours"].config_source, 4);
    assert!(of_broker["listeners"].read_only);
}

#[tokio::test]
async fn configuration_changes_merge_or_replace() {
    let broker = start().await;
    let mut client = broker.client().await;
    client.topic_id("t").await;
    let set = [
        ("retention.ms", 0, Some("5000")),
        ("cleanup.policy", 2, Some("compact")),
    ];
    assert_eq!(alter(&mut client, 2, "t", &set).await, (0, String::new()));
    let configs = describe(&mut client, 2, "t").await;
    assert_eq!(configs["retention.ms"].value.as_deref(), Some("5000"));
    assert_eq!(
        configs["cleanup.policy"].value.as_deref(),
        Some("delete,compact")
    );
    let (code, message) = alter(&mut client, 2, "t", &[("retention.mz", 0, Some("1"))]).await;
    assert_eq!(code, 40);
    assert!(
        message.contains("did you mean \"retention.ms\"?"),
        "{message}"
    );
    assert_eq!(alter(&mut client, 2, "missing", &set).await.0, 3);
    assert_eq!(
        alter(&mut client, 2, "t", &[("retention.ms", 1, None)])
            .await
            .0,
        0
    );

    let mut config = alter_configs_request::AlterableConfig::default();
    config.name = StrBytes::from("max.message.bytes");
    config.value = Some(StrBytes::from("2000"));
    let mut resource = alter_configs_request::AlterConfigsResource::default();
    resource.resource_type = 2;
    resource.resource_name = StrBytes::from("t");
    resource.configs = vec![config];
    let mut replace = AlterConfigsRequest::default();
    replace.resources = vec![resource];
    assert_eq!(client.call(&replace, 2).await.responses[0].error_code, 0);
    let broker = broker.restart().await;
    let mut client = broker.client().await;
    let configs = describe(&mut client, 2, "t").await;
    assert_eq!(configs["cleanup.policy"].value.as_deref(), Some("delete"));
    assert_eq!(configs["max.message.bytes"].value.as_deref(), Some("2000"));
    // It takes effect: this batch is too large now.
    let response = client.produce("t", &["x".repeat(3000).as_str()]).await;
    assert_eq!(response.responses[0].partition_responses[0].error_code, 10);
}

#[tokio::test]
async fn a_brokers_defaults_can_change_while_it_runs() {
    let broker = start().await;
    let mut client = broker.client().await;
    client.topic_id("t").await;
    assert_eq!(
        alter(&mut client, 4, "", &[("log.retention.ms", 0, Some("9000"))])
            .await
            .0,
        0
    );
    let configs = describe(&mut client, 2, "t").await;
    let retention = &configs["retention.ms"];
    assert_eq!(
        (retention.value.as_deref(), retention.config_source),
        (Some("9000"), 3)
    );
    assert_eq!(describe(&mut client, 4, "").await.len(), 1);
    assert_eq!(
        alter(&mut client, 4, "0", &[("listeners", 0, Some("x:1"))])
            .await
            .0,
        40
    );
}

#[tokio::test]
async fn records_are_deleted_up_to_an_offset() {
    let broker = start().await;
    let mut client = broker.client().await;
    client.topic_id("t").await;
    for value in ["a", "b", "c"] {
        client.produce("t", &[value]).await;
    }
    let delete = |offset| {
        let mut partition = DeleteRecordsPartition::default();
        partition.offset = offset;
        let mut topic = DeleteRecordsTopic::default();
        topic.name = StrBytes::from("t");
        topic.partitions = vec![partition];
        let mut request = DeleteRecordsRequest::default();
        request.topics = vec![topic];
        request
    };
    let response = client.call(&delete(2), 2).await;
    let partition = &response.topics[0].partitions[0];
    assert_eq!((partition.error_code, partition.low_watermark), (0, 2));
    assert_eq!(
        client.fetch("t", 1).await.responses[0].partitions[0].error_code,
        1
    );
    assert_eq!(values(&client.fetch("t", 2).await), ["c"]);
    assert_eq!(
        client.call(&delete(9), 2).await.topics[0].partitions[0].error_code,
        1
    );
    assert_eq!(
        client.call(&delete(-1), 2).await.topics[0].partitions[0].low_watermark,
        3
    );
}

/// Kafka's own tool asks for the configuration of every group that it finds.
#[tokio::test]
async fn groups_and_client_metrics_have_nothing_configured() {
    let broker = start().await;
    let mut client = broker.client().await;
    for (kind, name) in [(32, "group"), (16, "metrics")] {
        assert!(describe(&mut client, kind, name).await.is_empty());
    }
}

#[tokio::test]
async fn the_cluster_its_topics_and_folders_are_described() {
    let broker = start_with(|b| b.property("num.partitions", "3")).await;
    let mut client = broker.client().await;
    for name in ["b", "a"] {
        client.topic_id(name).await;
    }
    let mut cluster = DescribeClusterRequest::default();
    cluster.endpoint_type = 1;
    for version in 0..=2 {
        let response = client.call(&cluster, version).await;
        assert_eq!((response.error_code, response.brokers.len()), (0, 1));
        assert_eq!(response.cluster_authorized_operations, i32::MIN);
    }
    let mut page = DescribeTopicPartitionsRequest::default();
    page.response_partition_limit = 4;
    let response = client.call(&page, 0).await;
    let got: Vec<(&str, usize)> = response
        .topics
        .iter()
        .map(|topic| (topic.name.as_deref().unwrap(), topic.partitions.len()))
        .collect();
    assert_eq!(got, [("a", 3), ("b", 1)]);
    let next = response.next_cursor.unwrap();
    let mut cursor = kafka_wire::describe_topic_partitions_request::Cursor::default();
    cursor.topic_name = next.topic_name;
    cursor.partition_index = next.partition_index;
    page.cursor = Some(cursor);
    let response = client.call(&page, 0).await;
    assert_eq!(response.topics[0].partitions.len(), 2);
    assert!(response.next_cursor.is_none());

    client.produce("a", &["x"]).await;
    let mut folders = DescribeLogDirsRequest::default();
    folders.topics = None;
    for version in 1..=5 {
        let response = client.call(&folders, version).await;
        assert_eq!(response.results.len(), 1);
        let (total, usable) = (
            response.results[0].total_bytes,
            response.results[0].usable_bytes,
        );
        if version >= 4 {
            assert!(0 < usable && usable <= total, "{usable} of {total}");
        } else {
            assert_eq!((total, usable), (-1, -1));
        }
        let topics = &response.results[0].topics;
        assert_eq!(topics.len(), 2);
        assert!(
            topics[0]
                .partitions
                .iter()
                .any(|partition| partition.partition_size > 0)
        );
    }
    let resources = client.call(&ListConfigResourcesRequest::default(), 1).await;
    let topics = resources
        .config_resources
        .iter()
        .filter(|r| r.resource_type == 2)
        .count();
    assert_eq!((resources.error_code, topics), (0, 2));
}
