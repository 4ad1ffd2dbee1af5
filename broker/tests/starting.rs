//! Starting and stopping, and what is said when that is not possible.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod wire;

use std::time::{Duration, Instant};

use broker::{Broker, BrokerError};
use wire::{fetch_request, start, start_with};

#[tokio::test]
async fn a_port_in_use_is_named_with_the_way_out() {
    let broker = start().await;
    let folder = tempfile::tempdir().unwrap();
    let address = broker.broker.addr().to_string();
    let error = Broker::builder()
        .listen(&address)
        .data_dir(folder.path())
        .start()
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "address \"PLAINTEXT://{address}\" is in use by another program; stop that one, or set listeners to another port"
        )
    );
    // Nothing was left behind in the folder of the broker that did not start.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_folder_in_use_is_named_with_the_way_out() {
    let broker = start().await;
    let error = Broker::builder()
        .listen("127.0.0.1:0")
        .data_dir(broker.folder.path())
        .start()
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("is in use by another broker; stop that one"),
        "{error}"
    );
    assert!(
        error.contains(&broker.folder.path().display().to_string()),
        "{error}"
    );
}

#[tokio::test]
async fn another_brokers_folder_is_refused() {
    let broker = start().await;
    let wire::TestBroker { broker, folder } = broker;
    broker.shutdown().await;
    let error = Broker::builder()
        .node_id(4)
        .listen("127.0.0.1:0")
        .data_dir(folder.path())
        .start()
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("has node.id \"0\", not \"4\""), "{error}");
}

#[tokio::test]
async fn an_unknown_host_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = Broker::builder()
        .listen("no-such-host.invalid:0")
        .data_dir(folder.path())
        .start()
        .await
        .unwrap_err();
    assert!(
        matches!(error, BrokerError::UnknownHost { .. }),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("host \"no-such-host.invalid\""),
        "{error}"
    );
}

#[tokio::test]
async fn all_mistakes_in_the_configuration_are_listed() {
    let error = Broker::builder()
        .listen("nowhere")
        .property("num.partitions", "0")
        .start()
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("listeners: ") && error.contains("num.partitions: "),
        "{error}"
    );
}

#[tokio::test]
async fn the_address_the_client_reached_is_advertised_unless_one_is_set() {
    let broker = start().await;
    let metadata = broker.client().await.metadata(&[]).await;
    let node = &metadata.brokers[0];
    assert_eq!(&*node.host, "127.0.0.1");
    assert_eq!(node.port, i32::from(broker.broker.addr().port()));
    assert_eq!(metadata.controller_id, 0);
    assert_eq!(
        metadata.cluster_id.as_deref(),
        Some(broker.broker.cluster_id())
    );

    let broker = start_with(|b| b.advertised(Some("PLAINTEXT://example.org:19092"))).await;
    let metadata = broker.client().await.metadata(&[]).await;
    assert_eq!(&*metadata.brokers[0].host, "example.org");
    assert_eq!(metadata.brokers[0].port, 19092);
}

#[tokio::test]
async fn stopping_answers_waiting_requests_and_is_quick() {
    let broker = start().await;
    let mut client = broker.client().await;
    client.topic_id("t").await;
    client.send(&fetch_request("t", 0, 60_000), 11).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let began = Instant::now();
    let wire::TestBroker { broker, folder } = broker;
    let address = broker.addr();
    let (_, answer) = tokio::join!(broker.shutdown(), client.receive_frame());
    assert!(answer.is_some());
    assert!(began.elapsed() < Duration::from_secs(5));
    // The port and the folder are free again.
    let again = Broker::builder()
        .listen(&address.to_string())
        .data_dir(folder.path())
        .start()
        .await
        .unwrap();
    again.shutdown().await;
}

#[tokio::test]
async fn a_dropped_broker_leaves_everything_acknowledged() {
    let broker = start().await;
    let mut client = broker.client().await;
    client.topic_id("t").await;
    client.produce("t", &["a"]).await;
    let wire::TestBroker { broker, folder } = broker;
    drop(broker);
    // What was running on other threads ends a moment later.
    let mut again = None;
    for _ in 0..100 {
        match Broker::builder()
            .listen("127.0.0.1:0")
            .data_dir(folder.path())
            .start()
            .await
        {
            Ok(broker) => {
                again = Some(broker);
                break;
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    let again = again.unwrap();
    let mut client = wire::Client::connect(again.addr()).await;
    assert_eq!(wire::values(&client.fetch("t", 0).await), ["a"]);
}
