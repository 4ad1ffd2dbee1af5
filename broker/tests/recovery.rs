//! Starting on data folders that something happened to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod wire;

use std::path::{Path, PathBuf};

use broker::Broker;
use wire::{Client, TestBroker, start, values};

/// A stopped broker's folder with topic "t" and the record "a" in it.
async fn stopped() -> tempfile::TempDir {
    let broker = start().await;
    let mut client = broker.client().await;
    client.topic_id("t").await;
    client.produce("t", &["a"]).await;
    let TestBroker { broker, folder } = broker;
    broker.shutdown().await;
    folder
}

async fn start_on(folder: &Path) -> Result<Broker, String> {
    Broker::builder()
        .listen("127.0.0.1:0")
        .data_dir(folder)
        .start()
        .await
        .map_err(|error| error.to_string())
}

fn journal(folder: &Path) -> PathBuf {
    std::fs::read_dir(folder.join("__cluster_metadata"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "log"))
        .unwrap()
}

#[tokio::test]
async fn topics_are_there_again_when_the_metadata_is_lost() {
    let folder = stopped().await;
    std::fs::remove_dir_all(folder.path().join("__cluster_metadata")).unwrap();
    for _ in 0..2 {
        let broker = start_on(folder.path()).await.unwrap();
        let mut client = Client::connect(broker.addr()).await;
        let metadata = client.metadata(&["t"]).await;
        assert_eq!(metadata.topics[0].partitions.len(), 1);
        assert_eq!(values(&client.fetch("t", 0).await), ["a"]);
        broker.shutdown().await;
    }
}

#[tokio::test]
async fn damaged_metadata_is_refused_and_named() {
    let folder = stopped().await;
    let path = journal(folder.path());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = start_on(folder.path()).await.unwrap_err();
    assert!(error.contains("is damaged at byte 0"), "{error}");
    assert!(error.contains(&path.display().to_string()), "{error}");
    // It says so every time, and releases the folder.
    assert_eq!(start_on(folder.path()).await.unwrap_err(), error);
}

#[tokio::test]
async fn a_partition_whose_folder_is_gone_starts_empty() {
    let folder = stopped().await;
    std::fs::remove_dir_all(folder.path().join("t-0")).unwrap();
    let broker = start_on(folder.path()).await.unwrap();
    let mut client = Client::connect(broker.addr()).await;
    assert_eq!(values(&client.fetch("t", 0).await), Vec::<String>::new());
    let response = client.produce("t", &["b"]).await;
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
}

#[tokio::test]
async fn a_partition_that_cannot_be_opened_harms_no_other() {
    let folder = stopped().await;
    let broken = folder.path().join("t-0");
    std::fs::remove_dir_all(&broken).unwrap();
    // A file where the folder should be.
    std::fs::write(&broken, b"").unwrap();
    let broker = start_on(folder.path()).await.unwrap();
    let mut client = Client::connect(broker.addr()).await;
    let response = client.produce("t", &["b"]).await;
    assert_eq!(response.responses[0].partition_responses[0].error_code, 56);
    let response = client.fetch("t", 0).await;
    assert_eq!(response.responses[0].partitions[0].error_code, 56);
    client.topic_id("other").await;
    client.produce("other", &["b"]).await;
    assert_eq!(values(&client.fetch("other", 0).await), ["b"]);
}

#[tokio::test]
async fn producer_ids_are_never_handed_out_twice() {
    let broker = start().await;
    let ask = async |client: &mut Client| {
        let mut request = kafka_wire::InitProducerIdRequest::default();
        request.transactional_id = None;
        request.transaction_timeout_ms = 1000;
        let response = client.call(&request, 4).await;
        assert_eq!(response.error_code, 0);
        response.producer_id
    };
    let mut client = broker.client().await;
    let mut ids = vec![ask(&mut client).await, ask(&mut client).await];
    let broker = broker.restart().await;
    let mut client = broker.client().await;
    ids.push(ask(&mut client).await);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}
