//! The topics that connectors have used, shown and forgotten by REST.

use kafka_client::{OffsetSpec, TopicPartition};
use serde_json::json;

use crate::connectors::SINK;
use crate::rest::{Rest, source};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn used_topics_are_shown_until_they_are_reset() {
    let rest = Rest::start().await;
    let none = json!({"used": {"topics": []}});
    assert_eq!(rest.get("/connectors/used/topics").await, none);
    rest.create("used", &source("first", "")).await;
    let sink = json!({"connector.class": SINK, "topics": "first,never-written"});
    rest.create("user", &sink).await;
    rest.until_get(
        "/connectors/used/topics",
        &json!({"used": {"topics": ["first"]}}),
    )
    .await;
    rest.until_get(
        "/connectors/user/topics",
        &json!({"user": {"topics": ["first"]}}),
    )
    .await;

    let mut config = source("second", "");
    config["count"] = json!(200);
    let config = config.to_string();
    let answer = rest.send("PUT /connectors/used/config", &config).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    rest.until_get(
        "/connectors/used/topics",
        &json!({"used": {"topics": ["first", "second"]}}),
    )
    .await;
    let answer = rest.call("PUT /connectors/used/topics/reset").await;
    assert_eq!((answer.status, answer.text.as_str()), (202, ""));
    assert_eq!(rest.get("/connectors/used/topics").await, none);

    assert_eq!(rest.call("DELETE /connectors/user").await.status, 204);
    let gone = json!({"user": {"topics": []}});
    assert_eq!(rest.get("/connectors/user/topics").await, gone);
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_queue_is_no_used_topic() {
    let rest = Rest::start().await;
    let mut config = source("alive", "");
    // Texts are no dates.
    config["transforms"] = json!("date");
    config["transforms.date.type"] = json!("TimestampConverter$Value");
    config["transforms.date.target.type"] = json!("unix");
    config["transforms.date.format"] = json!("yyyy-MM-dd");
    config["errors.tolerance"] = json!("all");
    config["errors.deadletterqueue.topic.name"] = json!("dead");
    rest.create("living", &config).await;
    let read = json!({"offsets": [{"partition": {"of": "numbers"}, "offset": {"next": 100}}]});
    rest.until_get("/connectors/living/offsets", &read).await;
    let letters = [(TopicPartition::new("dead", 0), OffsetSpec::Latest)];
    let client = rest.world.client();
    let listed = client.admin().list_offsets(&letters).await.unwrap();
    client.close().await;
    assert_eq!(listed[0].1.as_ref().unwrap().offset, 100);
    let none = json!({"living": {"topics": []}});
    assert_eq!(rest.get("/connectors/living/topics").await, none);
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_tracked_and_reset_only_where_the_worker_allows_it() {
    let rest = Rest::start_with(&[("topic.tracking.enable", "false")]).await;
    let disabled = "Topic tracking is disabled.";
    for line in [
        "GET /connectors/any/topics",
        "PUT /connectors/any/topics/reset",
    ] {
        rest.call(line).await.is_error(403, disabled);
    }
    rest.end().await;
    let rest = Rest::start_with(&[("topic.tracking.allow.reset", "false")]).await;
    rest.get("/connectors/any/topics").await;
    let answer = rest.call("PUT /connectors/any/topics/reset").await;
    answer.is_error(403, "Topic tracking reset is disabled.");
    rest.end().await;
}
