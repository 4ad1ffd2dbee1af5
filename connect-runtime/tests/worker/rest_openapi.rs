//! The description of the interface at `/openapi.json`, held against what is answered. That every
//! route is described is tested beside it.

use connect_runtime::logging::{self, LogFormat};
use serde_json::{Value, json};

use crate::connectors::{SINK, SOURCE};
use crate::rest::{Answer, Rest, request, source};

/// Looks for what is wrong with a value by a schema, in the part of JSON Schema that the description
/// uses; a word that it does not know is wrong, too.
struct Schemas<'a>(&'a Value);

impl Schemas<'_> {
    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            None => schema,
            Some(reference) => {
                let pointer = reference.strip_prefix('#').unwrap();
                self.0.pointer(pointer).unwrap()
            }
        }
    }

    fn check(&self, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
        let schema = self.resolve(schema);
        for (word, said) in schema.as_object().unwrap() {
            let good = match word.as_str() {
                "description" | "default" | "minimum" => true,
                "type" => match said {
                    Value::Array(kinds) => kinds.iter().any(|kind| is_of(value, kind)),
                    kind => is_of(value, kind),
                },
                "enum" => said.as_array().unwrap().contains(value),
                "oneOf" => {
                    let fitting = said.as_array().unwrap().iter().filter(|schema| {
                        let mut wrong = Vec::new();
                        self.check(schema, value, at, &mut wrong);
                        wrong.is_empty()
                    });
                    fitting.count() == 1
                }
                "required" => {
                    let mut keys = said.as_array().unwrap().iter();
                    !value.is_object() || keys.all(|key| value.get(key.as_str().unwrap()).is_some())
                }
                "properties" => {
                    for (key, value) in value.as_object().into_iter().flatten() {
                        if let Some(schema) = said.get(key) {
                            self.check(schema, value, &format!("{at}.{key}"), wrong);
                        }
                    }
                    true
                }
                "additionalProperties" => {
                    let known = |key: &str| schema["properties"].get(key).is_some();
                    let fields = value.as_object().into_iter().flatten();
                    let mut others = fields.filter(|(key, _)| !known(key)).peekable();
                    match said {
                        Value::Bool(allowed) => *allowed || others.peek().is_none(),
                        said => {
                            for (key, value) in others {
                                self.check(said, value, &format!("{at}.{key}"), wrong);
                            }
                            true
                        }
                    }
                }
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(said, item, &format!("{at}[{index}]"), wrong);
                    }
                    true
                }
                _ => false,
            };
            if !good {
                wrong.push(format!("{at}: {word} {said}: {value}"));
            }
        }
    }
}

fn is_of(value: &Value, kind: &Value) -> bool {
    match kind.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("no kind of JSON: {other}"),
    }
}

/// Whether an answer is one that the description says for this method and path.
fn check(description: &Value, method: &str, path: &str, answer: &Answer) {
    let schemas = Schemas(description);
    let operation = &description["paths"][path][method.to_lowercase()];
    assert!(operation.is_object(), "{method} {path} is not described");
    let described = &operation["responses"][answer.status.to_string()];
    assert!(
        described.is_object(),
        "{method} {path}: {} is not described: {}",
        answer.status,
        answer.text
    );
    let described = schemas.resolve(described);
    let Some(content) = described["content"].as_object() else {
        assert_eq!(answer.text, "", "{method} {path}");
        return;
    };
    let (kind, content) = content.iter().next().unwrap();
    let shown = answer.header("content-type").unwrap();
    assert!(shown.starts_with(kind.as_str()), "{method} {path}: {shown}");
    if kind == "application/json" {
        let mut wrong = Vec::new();
        schemas.check(&content["schema"], &answer.json(), "answer", &mut wrong);
        assert!(wrong.is_empty(), "{method} {path}: {wrong:#?}");
    }
}

#[test]
fn the_check_of_answers_finds_what_is_wrong() {
    let description = json!({"components": {"schemas": {"A": {
        "type": "object", "required": ["b"], "additionalProperties": false,
        "properties": {"b": {"type": ["integer", "null"]}, "c": {"type": "array", "items": {"enum": ["x"]}}},
    }}}});
    let schema = json!({"$ref": "#/components/schemas/A"});
    let wrong = |value: Value| {
        let mut wrong = Vec::new();
        Schemas(&description).check(&schema, &value, "it", &mut wrong);
        wrong.len()
    };
    assert_eq!(wrong(json!({"b": 1, "c": ["x", "x"]})), 0);
    assert_eq!(wrong(json!({"b": null})), 0);
    for bad in [
        json!([]),
        json!({}),
        json!({"b": "1"}),
        json!({"b": 1, "d": 1}),
        json!({"b": 1, "c": ["y"]}),
    ] {
        assert!(wrong(bad.clone()) > 0, "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_is_described_is_there() {
    let rest = Rest::start().await;
    let description = rest.get("/openapi.json").await;
    for (path, item) in description["paths"].as_object().unwrap() {
        let asked = path
            .replace("{connector}", "none")
            .replace("{task}", "0")
            .replace("{plugin}", "None")
            .replace("{logger}", "root");
        for method in item.as_object().unwrap().keys() {
            if method == "parameters" {
                continue;
            }
            let method = method.to_uppercase();
            let answer = rest.send(&format!("{method} {asked}"), "{}").await;
            let message = answer.json()["message"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            assert_ne!(answer.status, 405, "{method} {path}");
            assert_ne!(message, "HTTP 404 Not Found", "{method} {path}");
            check(&description, &method, path, &answer);
        }
    }
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_as_they_are_described() {
    // As the test of loggers has it: it is for all tests of this process.
    logging::init(LogFormat::Text, "off,example::quiet=error");
    let rest = Rest::start().await;
    let description = rest.get("/openapi.json").await;
    let name = "described";
    let sink = json!({"connector.class": SINK, "topics": name});
    rest.create("broken", &source("broken", "configuration"))
        .await;
    rest.until("broken", "RUNNING", &["FAILED"]).await;
    let steps = [
        (
            "POST",
            "/connectors",
            json!({"name": name, "config": source(name, "")}),
        ),
        ("PUT", "/connectors/{connector}/config", source(name, "")),
        (
            "PATCH",
            "/connectors/{connector}/config",
            json!({"count": 200}),
        ),
        ("GET", "/", Value::Null),
        ("GET", "/health", Value::Null),
        ("GET", "/metrics", Value::Null),
        ("GET", "/connectors", Value::Null),
        ("GET", "/connectors?expand=info&expand=status", Value::Null),
        ("GET", "/connectors/{connector}", Value::Null),
        ("GET", "/connectors/{connector}/config", Value::Null),
        ("GET", "/connectors/{connector}/status", Value::Null),
        ("GET", "/connectors/broken/status", Value::Null),
        ("GET", "/connectors/broken/history", Value::Null),
        ("GET", "/connectors/{connector}/history", Value::Null),
        ("GET", "/connectors/{connector}/topics", Value::Null),
        ("GET", "/connectors/{connector}/tasks", Value::Null),
        ("GET", "/connectors/{connector}/tasks/0/status", Value::Null),
        ("GET", "/connectors/broken/tasks/0/status", Value::Null),
        ("POST", "/connectors/{connector}/restart", Value::Null),
        (
            "POST",
            "/connectors/{connector}/restart?includeTasks=true",
            Value::Null,
        ),
        (
            "POST",
            "/connectors/{connector}/tasks/0/restart",
            Value::Null,
        ),
        ("GET", "/connector-plugins", Value::Null),
        (
            "GET",
            "/connector-plugins?connectorsOnly=false",
            Value::Null,
        ),
        (
            "GET",
            "/connector-plugins/NumbersSource/config",
            Value::Null,
        ),
        (
            "PUT",
            "/connector-plugins/NumbersSource/config/validate",
            json!({"connector.class": SOURCE, "count": "many"}),
        ),
        ("GET", "/admin/loggers", Value::Null),
        ("GET", "/admin/loggers/root", Value::Null),
        ("PUT", "/admin/loggers/openapi", json!({"level": "WARN"})),
        ("PUT", "/connectors/{connector}/pause", Value::Null),
        ("PUT", "/connectors/{connector}/resume", Value::Null),
        ("PUT", "/connectors/{connector}/topics/reset", Value::Null),
        ("PUT", "/connectors/{connector}/stop", Value::Null),
        ("GET", "/connectors/{connector}/offsets", Value::Null),
        (
            "PATCH",
            "/connectors/{connector}/offsets",
            json!({"offsets": [{"partition": {"of": "numbers"}, "offset": {"next": 3}}]}),
        ),
        ("GET", "/connectors/{connector}/offsets", Value::Null),
        ("DELETE", "/connectors/{connector}/offsets", Value::Null),
        ("DELETE", "/connectors/{connector}", Value::Null),
        ("PUT", "/connectors/{connector}/config", sink),
        ("GET", "/connectors/{connector}/offsets", Value::Null),
    ];
    for (method, path, body) in steps {
        let asked = path.replace("{connector}", name);
        let answer = match body {
            Value::Null => rest.call(&format!("{method} {asked}")).await,
            body => {
                let json = "Content-Type: application/json";
                let line = format!("{method} {asked}");
                rest.raw(&request(&line, &[json], &body.to_string())).await
            }
        };
        let shown = answer.status;
        assert!(
            (200..300).contains(&shown),
            "{method} {path}: {}",
            answer.text
        );
        check(&description, method, &described(path), &answer);
    }
    rest.end().await;
}

/// The path in the description of one with real names in it.
fn described(path: &str) -> String {
    let path = path.split('?').next().unwrap();
    let path = path
        .replace("/connectors/broken", "/connectors/{connector}")
        .replace("/tasks/0", "/tasks/{task}")
        .replace("/NumbersSource", "/{plugin}");
    match path.strip_prefix("/admin/loggers/") {
        Some(_) => "/admin/loggers/{logger}".to_owned(),
        None => path,
    }
}
