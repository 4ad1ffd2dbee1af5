//! Taps: live records through the REST interface.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};

use crate::connectors::{Journal, SINK};
use crate::rest::Rest;

/// Generous, because test machines are slow and busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer that goes on.
struct Tap {
    stream: BufReader<TcpStream>,
}

impl Tap {
    /// Begins to read; the first line has come.
    async fn open(rest: &Rest, path: &str) -> Self {
        let mut stream = TcpStream::connect(rest.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", rest.address);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut tap = Self {
            stream: BufReader::new(stream),
        };
        let opened = tap.next().await;
        assert_eq!(opened["tap"], "open", "{opened}");
        tap
    }

    /// The next line of JSON, whatever chunks are around it.
    async fn next(&mut self) -> Value {
        let mut line = String::new();
        loop {
            line.clear();
            let read = timeout(PATIENCE, self.stream.read_line(&mut line)).await;
            assert!(read.unwrap().unwrap() > 0, "the tap is closed");
            if line.starts_with('{') {
                return serde_json::from_str(&line).unwrap();
            }
        }
    }

    /// The next record.
    async fn record(&mut self) -> Value {
        loop {
            let line = self.next().await;
            if line["tap"].is_null() {
                return line;
            }
        }
    }
}

fn masking(topic: &str) -> Value {
    json!({
        "connector.class": SINK, "topics": topic,
        "transforms": "wrap,tag,unwrap",
        "transforms.wrap.type": "HoistField$Value", "transforms.wrap.field": "line",
        "transforms.tag.type": "InsertField$Value",
        "transforms.tag.static.field": "token", "transforms.tag.static.value": "t0p-s3cret",
        "transforms.unwrap.type": "ExtractField$Value", "transforms.unwrap.field": "line",
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_seen_at_every_stage_of_a_sink_and_of_a_source() {
    let rest = Rest::start().await;
    rest.create("tapped-sink", &masking("tapped")).await;
    let mut sink = Tap::open(&rest, "/connectors/tapped-sink/tap").await;
    let source = rest.world.source("tapped-source", "tapped", 3, "");
    // A tap of a connector outlives its tasks, and is there before them.
    let paused = connect_runtime::config::connector::ConnectorConfig {
        initial_state: connect_runtime::config::connector::InitialState::Paused,
        ..source
    };
    rest.worker.create(paused).await.unwrap();
    let mut sent = Tap::open(&rest, "/connectors/tapped-source/tap?stage=sent").await;
    rest.worker.resume("tapped-source").await.unwrap();

    let line = sent.record().await;
    assert_eq!(line["steps"].as_array().unwrap().len(), 1, "{line}");
    assert_eq!(line["steps"][0]["record"]["topic"], "tapped");
    assert_eq!(line["steps"][0]["record"]["value"], "0");

    let line = sink.record().await;
    assert_eq!(line["task"], 0);
    let steps = line["steps"].as_array().unwrap();
    let stages: Vec<&str> = steps
        .iter()
        .map(|step| {
            step["transform"]
                .as_str()
                .or(step["stage"].as_str())
                .unwrap()
        })
        .collect();
    assert_eq!(
        stages,
        ["consumed", "converted", "wrap", "tag", "unwrap", "put"]
    );
    assert_eq!(steps[0]["record"]["value"], "0");
    assert_eq!(steps[2]["record"]["value"], json!({"line": "0"}));
    assert_eq!(
        steps[3]["record"]["value"],
        json!({"line": "0", "token": "[hidden]"}),
        "it is named like a secret"
    );
    // The connector has what it is to have.
    let journal = Journal::of("tapped-sink");
    rest.world
        .until("all records are in the sink", || {
            journal.values().len() >= 3
        })
        .await;
    assert_eq!(steps[5]["record"]["value"], "0");
    assert_eq!(journal.values(), ["0", "1", "2"]);

    // It ends with the connector.
    let deleted = rest.call("DELETE /connectors/tapped-sink").await;
    assert_eq!(deleted.status, 204);
    loop {
        let line = sink.next().await;
        if line["tap"] == "ended" {
            break;
        }
    }
    let mut rest_of_it = String::new();
    drop(sent);
    let closed = timeout(PATIENCE, sink.stream.read_line(&mut rest_of_it)).await;
    closed.unwrap().unwrap();
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_does_not_read_slows_nobody_and_one_that_leaves_is_gone() {
    const COUNT: usize = 20_000;
    let rest = Rest::start().await;
    rest.create("slow-tap-sink", &masking("slow-tap")).await;
    let path = "/connectors/slow-tap-sink/tap?rate=1000&stage=put";
    let mut tap = Tap::open(&rest, path).await;
    let source = rest.world.source("slow-tap-source", "slow-tap", COUNT, "");
    rest.worker.create(source).await.unwrap();
    let journal = Journal::of("slow-tap-sink");
    rest.world
        .until("all records are in the sink", || {
            journal.values().len() >= COUNT
        })
        .await;
    assert_eq!(journal.values().len(), COUNT);
    assert_eq!(tap.record().await["steps"][0]["stage"], "put");
    drop(tap);
    // Places are free again once it is noticed.
    let mut taps = Vec::new();
    for _ in 0..15 {
        taps.push(Tap::open(&rest, path).await);
    }
    let begun = tokio::time::Instant::now();
    loop {
        let mut stream = TcpStream::connect(rest.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", rest.address);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        if head.ends_with(b"200") {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "the place stays taken");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(taps);
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_tapped_is_refused_with_the_reason() {
    let rest = Rest::start_with(&[("tap.enable", "true")]).await;
    let missing = rest.call("GET /connectors/nobody/tap").await;
    missing.is_error(404, "Connector nobody not found");
    rest.create("refused-tap", &masking("refused-tap")).await;
    for (query, reason) in [
        (
            "stage=sent",
            "there are consumed, converted, transform:wrap, transform:tag, transform:unwrap, put",
        ),
        ("every=0", "every is \"0\""),
        ("rate=1001", "from 1 to 1000"),
        ("task=x", "task is \"x\""),
    ] {
        let answer = rest
            .call(&format!("GET /connectors/refused-tap/tap?{query}"))
            .await;
        assert_eq!(answer.status, 400, "{query}");
        assert!(
            answer.text.contains(reason.replace('"', "\\\"").as_str()),
            "{}",
            answer.text
        );
    }
    rest.end().await;
    let rest = Rest::start_with(&[("tap.enable", "false")]).await;
    rest.create("closed-tap", &masking("closed-tap")).await;
    let answer = rest.call("GET /connectors/closed-tap/tap").await;
    assert_eq!(answer.status, 403, "{}", answer.text);
    assert!(answer.text.contains("tap.enable=true"), "{}", answer.text);
    rest.end().await;
}
