//! Offsets that are changed by REST.

use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use crate::connectors::{Journal, SINK};
use crate::numbers;
use crate::rest::{Rest, source};

const NOT_CHECKED: &str = "The Connect framework-managed offsets for this connector have been altered \
    successfully. However, if this connector manages offsets externally, they will need to be manually \
    altered in the system that the connector uses.";

fn stopped_first(name: &str) -> String {
    format!(
        "Connectors must be in the STOPPED state before their offsets can be modified. This can be done \
         for the specified connector by issuing a 'PUT' request to the '/connectors/{name}/stop' endpoint"
    )
}

fn of_numbers(offset: &Value) -> Value {
    json!({"offsets": [{"partition": {"of": "numbers"}, "offset": offset}]})
}

fn of_topic(topic: &str, partition: &Value, offset: &Value) -> Value {
    json!({"offsets": [{
        "partition": {"kafka_topic": topic, "kafka_partition": partition},
        "offset": offset,
    }]})
}

impl Rest {
    async fn patch(&self, name: &str, body: &Value) -> crate::rest::Answer {
        let line = format!("PATCH /connectors/{name}/offsets");
        self.send(&line, &body.to_string()).await
    }

    async fn is_done(&self, answer: crate::rest::Answer, message: &str) {
        assert_eq!(
            (answer.status, answer.json()),
            (200, json!({ "message": message })),
            "{}",
            answer.text
        );
    }

    /// A sink that has taken all numbers and is stopped.
    async fn stopped_sink(&self, topic: &str) -> (String, Journal) {
        let name = format!("{topic}-sink");
        self.create(&format!("{topic}-source"), &source(topic, ""))
            .await;
        let config = json!({"connector.class": SINK, "topics": topic});
        self.create(&name, &config).await;
        let journal = Journal::of(&name);
        let all = || journal.values().len() >= 100;
        self.world.until("all records are in the sink", all).await;
        let committed = of_topic(topic, &json!(0), &json!({"kafka_offset": 100}));
        self.until_get(&format!("/connectors/{name}/offsets"), &committed)
            .await;
        self.stop(&name).await;
        (name, journal)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_source_goes_on_where_its_offset_was_set() {
    let rest = Rest::start().await;
    rest.create("moved", &source("moved", "checks-offsets"))
        .await;
    let path = "/connectors/moved/offsets";
    rest.until_get(path, &of_numbers(&json!({"next": 100})))
        .await;
    let answer = rest.patch("moved", &of_numbers(&json!({"next": 40}))).await;
    answer.is_error(400, &stopped_first("moved"));
    rest.call("PUT /connectors/moved/pause").await;
    let answer = rest.call("DELETE /connectors/moved/offsets").await;
    answer.is_error(400, &stopped_first("moved"));
    rest.stop("moved").await;

    let altered = "The offsets for this connector have been altered successfully";
    let answer = rest.patch("moved", &of_numbers(&json!({"next": 40}))).await;
    rest.is_done(answer, altered).await;
    assert_eq!(rest.get(path).await, of_numbers(&json!({"next": 40})));
    let config = json!({"connector.class": SINK, "topics": "moved"});
    rest.create("moved-sink", &config).await;
    rest.call("PUT /connectors/moved/resume").await;
    let journal = Journal::of("moved-sink");
    let again = || journal.values().len() >= 160;
    rest.world.until("60 numbers come again", again).await;
    assert_eq!(journal.values()[100..], numbers(40..100));
    rest.until_get(path, &of_numbers(&json!({"next": 100})))
        .await;

    rest.stop("moved").await;
    let answer = rest.patch("moved", &of_numbers(&Value::Null)).await;
    rest.is_done(answer, altered).await;
    assert_eq!(rest.get(path).await, json!({"offsets": []}));
    // A worker that starts later reads what was stored.
    let later = rest.world.worker().await;
    assert!(later.offsets("moved").is_empty());
    later.stop().await;
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connector_is_asked_with_what_references_stand_for_by_then() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mode");
    std::fs::write(&file, "").unwrap();
    let rest = Rest::start_with(&[
        ("config.providers", "dir"),
        ("config.providers.dir.class", "DirectoryConfigProvider"),
    ])
    .await;
    let mode = format!("${{dir:{}:mode}}", folder.path().display());
    rest.create("asked", &source("asked", &mode)).await;
    rest.stop("asked").await;
    let changes = of_numbers(&json!({"next": 40}));
    rest.is_done(rest.patch("asked", &changes).await, NOT_CHECKED)
        .await;
    std::fs::write(&file, "checks-offsets").unwrap();
    let altered = "The offsets for this connector have been altered successfully";
    rest.is_done(rest.patch("asked", &changes).await, altered)
        .await;
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_whose_offsets_are_removed_begins_anew() {
    let rest = Rest::start().await;
    rest.create("anew", &source("anew", "")).await;
    let path = "/connectors/anew/offsets";
    rest.until_get(path, &of_numbers(&json!({"next": 100})))
        .await;
    rest.stop("anew").await;
    let answer = rest.patch("anew", &of_numbers(&json!({"next": 7}))).await;
    rest.is_done(answer, NOT_CHECKED).await;
    for _ in 0..2 {
        let answer = rest.call("DELETE /connectors/anew/offsets").await;
        rest.is_done(answer, &NOT_CHECKED.replace("altered", "reset"))
            .await;
        assert_eq!(rest.get(path).await, json!({"offsets": []}));
    }
    rest.call("PUT /connectors/anew/resume").await;
    rest.until_get(path, &of_numbers(&json!({"next": 100})))
        .await;
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_is_found_whatever_the_order_of_its_fields() {
    let rest = Rest::start().await;
    rest.create("order", &source("order", "")).await;
    rest.stop("order").await;
    let of = |partition: Value, next: u64| json!({"offsets": [{"partition": partition, "offset": {"next": next}}]});
    let first = of(json!({"shard": 1, "of": "others"}), 1);
    for changes in [&first, &of(json!({"of": "others", "shard": 1}), 2)] {
        let answer = rest.patch("order", changes).await;
        rest.is_done(answer, NOT_CHECKED).await;
    }
    let shown = rest.get("/connectors/order/offsets").await;
    let of_others = shown["offsets"].as_array().unwrap().iter();
    let of_others: Vec<&Value> = of_others
        .filter(|it| it["partition"]["of"] == "others")
        .collect();
    assert_eq!(
        of_others,
        [&json!({
            "partition": {"shard": 1, "of": "others"}, "offset": {"next": 2},
        })]
    );
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_sink_goes_on_where_its_offset_was_set() {
    let rest = Rest::start().await;
    let (name, journal) = rest.stopped_sink("back").await;
    // As in Kafka, numbers may come as text.
    let changes = of_topic("back", &json!("0"), &json!({"kafka_offset": "60"}));
    let answer = rest.patch(&name, &changes).await;
    rest.is_done(answer, NOT_CHECKED).await;
    let path = format!("/connectors/{name}/offsets");
    let shown = of_topic("back", &json!(0), &json!({"kafka_offset": 60}));
    assert_eq!(rest.get(&path).await, shown);
    rest.call(&format!("PUT /connectors/{name}/resume")).await;
    let again = || journal.values().len() >= 140;
    rest.world.until("40 records come again", again).await;
    assert_eq!(journal.values()[100..], numbers(60..100));

    rest.stop(&name).await;
    for changes in [
        of_topic("back", &json!(0), &Value::Null),
        // As often as somebody likes, and of topics that are gone.
        of_topic("back", &json!(0), &Value::Null),
        of_topic("gone", &json!(3), &Value::Null),
    ] {
        let answer = rest.patch(&name, &changes).await;
        rest.is_done(answer, NOT_CHECKED).await;
        assert_eq!(rest.get(&path).await, json!({"offsets": []}));
    }
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_whose_offsets_are_removed_begins_anew() {
    let rest = Rest::start().await;
    let (name, journal) = rest.stopped_sink("afresh").await;
    for _ in 0..2 {
        let answer = rest
            .call(&format!("DELETE /connectors/{name}/offsets"))
            .await;
        rest.is_done(answer, &NOT_CHECKED.replace("altered", "reset"))
            .await;
    }
    rest.call(&format!("PUT /connectors/{name}/resume")).await;
    let again = || journal.values().len() >= 200;
    rest.world.until("all records come again", again).await;
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_that_make_no_sense_are_refused_all_at_once() {
    let rest = Rest::start().await;
    let none = "Partitions / offsets need to be provided for an alter offsets request";
    for body in [json!({}), json!({"offsets": []}), json!({"offsets": null})] {
        rest.patch("any", &body).await.is_error(400, none);
    }
    let answer = rest.send("PATCH /connectors/any/offsets", "{").await;
    assert_eq!(
        (answer.status, &answer.json()["error_code"]),
        (400, &json!(400))
    );
    let some = of_numbers(&Value::Null);
    let answer = rest.patch("any", &some).await;
    answer.is_error(404, "Connector any not found");
    let answer = rest.call("DELETE /connectors/any/offsets").await;
    answer.is_error(404, "Connector any not found");

    rest.create("picky", &source("picky", "")).await;
    rest.stop("picky").await;
    let answer = rest
        .patch(
            "picky",
            &json!({"offsets": [
                {"offset": {"next": 1}},
                {"partition": {"of": ["a"]}, "offset": {"next": 1}},
                {"partition": {"of": "a"}, "offset": 5},
                {"partition": {"of": "a"}, "offsets": {"next": 5}},
            ]}),
        )
        .await;
    answer.is_error(
        400,
        "offsets[0]: The partition of an offset cannot be null or missing\n\
         offsets[1]: field \"of\" of a source partition is an array or object; only text, numbers, \
         booleans and null can be stored\n\
         offsets[2]: The offset 5 must be null or an object\n\
         offsets[3]: Unrecognized field 'offsets'; there are 'partition' and 'offset'",
    );
    let answer = rest
        .patch(
            "picky",
            &json!({"offsets": [
                {"partition": {"of": "a"}, "offset": {"next": "one"}},
                {"partition": {"of": "b"}, "offset": {}},
                {"partition": {"of": "c"}, "offset": {"next": 1}},
            ]}),
        )
        .await;
    answer.is_error(
        400,
        "{\"of\":\"a\"} needs a number \"next\"\n{\"of\":\"b\"} needs a number \"next\"",
    );
    assert!(
        !rest
            .get("/connectors/picky/offsets")
            .await
            .to_string()
            .contains("\"c\"")
    );

    let (name, _) = rest.stopped_sink("strict").await;
    let at = |partition: Value| json!({"partition": partition, "offset": {"kafka_offset": 1}});
    let answer = rest.patch(&name, &json!({"offsets": [
        at(json!({"kafka_topic": "strict"})),
        at(json!({"kafka_topic": null, "kafka_partition": 0})),
        at(json!({"kafka_topic": "strict", "kafka_partition": null})),
        at(json!({"kafka_topic": "strict", "kafka_partition": "first"})),
        {"partition": {"kafka_topic": "strict", "kafka_partition": 0}, "offset": {}},
        {"partition": {"kafka_topic": "strict", "kafka_partition": 0}, "offset": {"kafka_offset": -1}},
    ]})).await;
    answer.is_error(
        400,
        "offsets[0]: The partition for a sink connector offset must contain the keys 'kafka_topic' and \
         'kafka_partition'\n\
         offsets[1]: Kafka topic names must be valid strings and may not be null\n\
         offsets[2]: Kafka partitions must be valid numbers and may not be null\n\
         offsets[3]: Failed to parse the following Kafka partition value in the provided offsets: \
         'first'. Partition values for sink connectors need to be integers.\n\
         offsets[4]: The offset for a sink connector should either be null or contain the key \
         'kafka_offset'\n\
         offsets[5]: Failed to parse the following Kafka offset value in the provided offsets: '-1'. \
         Offset values for sink connectors need to be integers.",
    );
    let answer = rest
        .patch(
            &name,
            &json!({"offsets": [
                at(json!({"kafka_topic": "nowhere", "kafka_partition": 0})),
                at(json!({"kafka_topic": "strict", "kafka_partition": 7})),
            ]}),
        )
        .await;
    answer.is_error(
        400,
        "there is no topic \"nowhere\"\ntopic \"strict\" has 1 partitions, so there is no partition 7",
    );
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connector_that_breaks_when_asked_changes_nothing() {
    let rest = Rest::start().await;
    rest.create("breaks", &source("breaks", "")).await;
    let path = "/connectors/breaks/offsets";
    rest.until_get(path, &of_numbers(&json!({"next": 100})))
        .await;
    rest.stop("breaks").await;
    for (mode, reason) in [("panic", "no more"), ("fatal", "it broke")] {
        let config = source("breaks", mode).to_string();
        rest.send("PUT /connectors/breaks/config", &config).await;
        let answer = rest.patch("breaks", &of_numbers(&json!({"next": 1}))).await;
        assert_eq!(answer.status, 500, "{}", answer.text);
        assert!(answer.text.contains(reason), "{}", answer.text);
        assert_eq!(rest.get(path).await, of_numbers(&json!({"next": 100})));
    }
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connector_that_hangs_when_asked_delays_no_answer_and_no_stop() {
    let rest = Rest::start_with(&[("task.shutdown.graceful.timeout.ms", "500")]).await;
    let config = source("hangs", "hang");
    let body = json!({"name": "hangs", "config": config, "initial_state": "STOPPED"});
    let answer = rest.send("POST /connectors", &body.to_string()).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let next = of_numbers(&json!({"next": 1}));
    let others = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let begun = Instant::now();
        rest.create("goes-on", &source("goes-on", "")).await;
        rest.call("PUT /connectors/goes-on/pause").await;
        rest.until("goes-on", "PAUSED", &["PAUSED"]).await;
        rest.stop("goes-on").await;
        rest.worker.stop().await;
        begun.elapsed()
    };
    tokio::select! {
        answer = rest.patch("hangs", &next) => panic!("{}", answer.text),
        took = others => assert!(took < Duration::from_secs(10), "{took:?}"),
    }
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_somebody_is_in_keeps_its_offsets() {
    let rest = Rest::start().await;
    let (name, _) = rest.stopped_sink("zombie").await;
    let mut settings = kafka_client::ConsumerConfig::default();
    settings.group_id = Some(format!("connect-{name}"));
    let client = kafka_client::ClientConfig::new([rest.world.address().to_owned()]);
    let client = kafka_client::Client::new(client).unwrap();
    let mut zombie = kafka_client::Consumer::new(client, settings).unwrap();
    zombie.subscribe(vec!["zombie".to_owned()]).unwrap();
    while zombie.assignment().is_empty() {
        zombie.poll(Duration::from_millis(100)).await.unwrap();
    }
    let changes = of_topic("zombie", &json!(0), &json!({"kafka_offset": 1}));
    let removal = of_topic("zombie", &json!(0), &Value::Null);
    for answer in [
        rest.patch(&name, &changes).await,
        rest.patch(&name, &removal).await,
        rest.call(&format!("DELETE /connectors/{name}/offsets"))
            .await,
    ] {
        assert_eq!(answer.status, 500, "{}", answer.text);
        assert!(answer.text.contains("zombie sink tasks"), "{}", answer.text);
    }
    let kept = of_topic("zombie", &json!(0), &json!({"kafka_offset": 100}));
    assert_eq!(rest.get(&format!("/connectors/{name}/offsets")).await, kept);
    zombie.close().await;
    rest.end().await;
}
