use std::net::TcpListener;
use std::sync::mpsc;

use connect_core::{Config, ErrorClass};

use super::stand_in::StandIn;
use super::*;

fn registry(stand_in: &StandIn, keys: &[(&str, &str)]) -> Registry {
    let config = RegistryConfig::parse(&stand_in.config(keys)).unwrap();
    config.registry().unwrap()
}

/// An address where nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn schema() -> Json {
    json!({ "schema": "\"string\"" })
}

#[test]
fn a_schema_is_asked_for_once_and_never_again() {
    let stand_in = StandIn::start();
    let id = stand_in.add("a", schema());
    let one = registry(&stand_in, &[]);
    let two = registry(&stand_in, &[]);
    assert_eq!(one.schema(id).unwrap().text, "\"string\"");
    assert!(Arc::ptr_eq(
        &one.schema(id).unwrap(),
        &two.schema(id).unwrap()
    ));
    assert_eq!(stand_in.asked(), ["GET /schemas/ids/1"]);
}

#[test]
fn many_who_ask_the_same_at_once_share_a_request() {
    let stand_in = StandIn::start();
    let id = stand_in.add("a", schema());
    let registry = Arc::new(registry(&stand_in, &[]));
    stand_in.hold();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let registry = Arc::clone(&registry);
            std::thread::spawn(move || registry.schema(id).unwrap())
        })
        .collect();
    let request = Request {
        path: "/schemas/ids/1".to_owned(),
        body: None,
    };
    while registry.client.flights.waiting(&request) < 8 {
        std::thread::yield_now();
    }
    stand_in.release();
    for thread in threads {
        assert_eq!(thread.join().unwrap().id, id);
    }
    assert_eq!(stand_in.asked().len(), 1);
}

#[test]
fn who_is_interrupted_leaves_at_once_and_does_not_wait_again() {
    let stand_in = StandIn::start();
    let id = stand_in.add("a", schema());
    let leaving = Arc::new(registry(&stand_in, &[]));
    stand_in.hold();
    let (sender, left) = mpsc::channel();
    let waiting = Arc::clone(&leaving);
    std::thread::spawn(move || sender.send(waiting.schema(id)));
    stand_in.wait_for(1);
    leaving.interrupt();
    let error = left.recv().unwrap().unwrap_err();
    assert!(error.is_retriable(), "{error}");
    assert!(error.message().contains("the task ends"), "{error}");
    assert!(leaving.schema(id).unwrap_err().is_retriable());
    // Another converter with the same client is not concerned.
    stand_in.release();
    assert_eq!(registry(&stand_in, &[]).schema(id).unwrap().id, id);
}

#[test]
fn the_next_address_is_asked_while_one_is_away_or_broken() {
    let stand_in = StandIn::start();
    let id = stand_in.add("a", schema());
    let broken = StandIn::start();
    broken.script(503, "{\"error_code\": 50003, \"message\": \"no leader\"}");
    let urls = format!("{},{},{}", nobody(), broken.url(), stand_in.url());
    let registry = registry(&stand_in, &[("schema.registry.url", &urls)]);
    assert_eq!(registry.schema(id).unwrap().id, id);
    assert_eq!(broken.asked().len(), 1);
    // From now on, the one that answered is asked first.
    registry.register("b", Language::Avro, "\"long\"").unwrap();
    assert_eq!(broken.asked().len(), 1);
}

#[test]
fn an_outage_is_retriable_and_names_every_address() {
    let broken = StandIn::start();
    broken.script(
        500,
        "{\"error_code\": 50001, \"message\": \"the store is away\"}",
    );
    let nobody = nobody();
    let urls = format!("{nobody},{}", broken.url());
    let registry = registry(&broken, &[("schema.registry.url", &urls)]);
    let error = registry.schema(7).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Retriable);
    let message = error.message();
    assert!(message.contains(&nobody), "{message}");
    assert!(message.contains("HTTP 500: the store is away"), "{message}");
}

#[test]
fn an_unknown_id_is_a_bad_record_and_does_not_flood_the_registry() {
    let stand_in = StandIn::start();
    let registry = registry(&stand_in, &[]);
    for _ in 0..3 {
        let error = registry.schema(7).unwrap_err();
        assert_eq!(error.class(), ErrorClass::Record);
        let message = error.message();
        assert!(
            message.starts_with("schema 7 is unknown to the schema registry"),
            "{message}"
        );
    }
    assert_eq!(stand_in.asked().len(), 1);
}

#[test]
fn a_refusal_says_which_subject_and_what_the_registry_said() {
    let stand_in = StandIn::start();
    let said = "{\"error_code\": 409, \"message\": \"field price has no default\"}";
    stand_in.script(409, said);
    let registry = registry(&stand_in, &[]);
    let error = registry
        .register("orders-value", Language::Avro, "{}")
        .unwrap_err();
    assert_eq!(error.class(), ErrorClass::Record);
    assert_eq!(
        error.message(),
        "a schema for subject \"orders-value\" is not compatible with the versions that are there: field \
         price has no default; change the schema, the subject's compatibility, or the name of the subject"
    );
}

#[test]
fn wrong_credentials_and_other_servers_are_wrong_configuration() {
    let stand_in = StandIn::start();
    let registry = registry(&stand_in, &[]);
    for (status, body, expected) in [
        (401, "", "refuses the credentials"),
        (403, "{\"error_code\": 40301}", "refuses the credentials"),
        (404, "<html>not here</html>", "is no schema registry"),
        (200, "<html>welcome</html>", "is no schema registry"),
        (302, "", "is no schema registry"),
        (200, "{}", "is no schema registry"),
    ] {
        stand_in.script(status, body);
        let error = registry.schema(1).unwrap_err();
        assert_eq!(error.class(), ErrorClass::Configuration, "{status} {body}");
        assert!(error.message().contains(expected), "{error}");
    }
}

#[test]
fn credentials_are_sent_as_they_are_configured() {
    let stand_in = StandIn::start();
    let id = stand_in.add("a", schema());
    let source = ("basic.auth.credentials.source", "USER_INFO");
    let user = ("basic.auth.user.info", "me:secret");
    registry(&stand_in, &[source, user]).schema(id).unwrap();
    assert_eq!(stand_in.authorization(), "Basic bWU6c2VjcmV0");
    let source = ("bearer.auth.credentials.source", "STATIC_TOKEN");
    let token = ("bearer.auth.token", "abc");
    registry(&stand_in, &[source, token]).schema(id).unwrap();
    assert_eq!(stand_in.authorization(), "Bearer abc");
    let url = format!("http://me:secret@{}", stand_in.address);
    registry(&stand_in, &[("schema.registry.url", &url)])
        .schema(id)
        .unwrap();
    assert_eq!(stand_in.authorization(), "Basic bWU6c2VjcmV0");
}

#[test]
fn configurations_that_make_no_sense_are_refused_without_showing_secrets() {
    for (keys, expected) in [
        (
            vec![("schema.registry.url", "registry:8081")],
            "does not begin with http://",
        ),
        (vec![("schema.registry.url", "")], "expected"),
        (
            vec![("basic.auth.credentials.source", "USER_INFO")],
            "is missing",
        ),
        (
            vec![("basic.auth.user.info", "me:hunter2")],
            "must be USER_INFO",
        ),
        (vec![("bearer.auth.token", "hunter2")], "STATIC_TOKEN"),
        (
            vec![("value.subject.name.strategy", "Other")],
            "TopicNameStrategy",
        ),
        (vec![("schema.registry.ssl.truststore.type", "JKS")], "PEM"),
    ] {
        let mut map = connect_core::ConfigMap::from([(
            "schema.registry.url".to_owned(),
            "http://me:hunter2@localhost".to_owned(),
        )]);
        map.extend(
            keys.into_iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        let problems = RegistryConfig::parse(&map).unwrap_err();
        let text = problems
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n");
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn references_come_before_what_refers_to_them() {
    let stand_in = StandIn::start();
    stand_in.add("cents", json!({ "schema": "\"long\"" }));
    let cents = json!([{ "name": "Cents", "subject": "cents", "version": 1 }]);
    stand_in.add("money", json!({ "schema": "\"int\"", "references": cents }));
    let both = json!([
        { "name": "Money", "subject": "money", "version": 1 },
        { "name": "Cents", "subject": "cents", "version": 1 },
    ]);
    let id = stand_in.add(
        "order",
        json!({ "schema": "\"string\"", "references": both }),
    );
    let stored = registry(&stand_in, &[]).schema(id).unwrap();
    let names: Vec<&str> = stored
        .references
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    assert_eq!(names, ["Cents", "Money"]);
    assert_eq!(stand_in.asked().len(), 3);
}

#[test]
fn subjects_are_escaped_and_normalization_is_asked_for() {
    let stand_in = StandIn::start();
    let registry = registry(&stand_in, &[("normalize.schemas", "true")]);
    let id = registry
        .register(":.ctx:a/b", Language::Json, "{}")
        .unwrap();
    assert_eq!(stand_in.schema(id)["schemaType"], "JSON");
    assert_eq!(
        registry.lookup(":.ctx:a/b", Language::Json, "{}").unwrap(),
        id
    );
    assert_eq!(
        stand_in.asked(),
        [
            "POST /subjects/%3A.ctx%3Aa%2Fb/versions?normalize=true",
            "POST /subjects/%3A.ctx%3Aa%2Fb?normalize=true"
        ]
    );
    let error = registry.lookup("other", Language::Avro, "{}").unwrap_err();
    assert!(
        error.message().contains("auto.register.schemas=true"),
        "{error}"
    );
}
