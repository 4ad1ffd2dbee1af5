//! The dead letter queue of a sink task: a topic, and the producer that writes to it.
//!
//! Invariant: whoever hands in letters waits until they are acknowledged, before the offsets of their
//! records may be committed.

use std::sync::Arc;

use kafka_client::{Client, ClientError, ErrorCode, NewTopic, Producer, ProducerRecord};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::clients::{self, ProducerSettings};
use crate::config::connector::DeadLetterConfig;
use crate::task::{Setup, TaskFailure};

/// Writes letters; see the module.
pub(crate) struct DeadLetterQueue {
    topic: Arc<str>,
    producer: Arc<Producer>,
    /// Where connections live.
    connections: Handle,
}

impl DeadLetterQueue {
    /// Makes sure of the topic. Must be called within the runtime of the connections.
    pub(crate) async fn open(
        setup: &Setup,
        config: &DeadLetterConfig,
    ) -> Result<Self, TaskFailure> {
        let ProducerSettings { client, producer } = settings(setup);
        ensure_topic(setup, config).await?;
        Ok(Self {
            topic: config.topic.as_str().into(),
            producer: Arc::new(Producer::new(Client::new(client)?, producer)?),
            connections: Handle::current(),
        })
    }

    /// The topic.
    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// Writes letters and waits until they are acknowledged, for as long as that takes. May be called
    /// from any runtime. Once dropped, letters may have been written.
    ///
    /// # Errors
    /// A letter can never be written.
    pub(crate) async fn deliver(&self, letters: Vec<ProducerRecord>) -> Result<(), TaskFailure> {
        if letters.is_empty() {
            return Ok(());
        }
        let (producer, topic) = (Arc::clone(&self.producer), Arc::clone(&self.topic));
        let deliver = async move {
            let delivery = producer.send(&topic, letters).await;
            match delivery {
                Ok(delivery) => delivery.await.map(drop).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            }
        };
        let mut delivering = JoinSet::new();
        delivering.spawn_on(deliver, &self.connections);
        let delivered = match delivering.join_next().await {
            Some(Ok(delivered)) => delivered,
            _ => Err(ClientError::Closed { what: "producer" }.to_string()),
        };
        delivered.map_err(|reason| {
            TaskFailure::new(format!(
                "bad records could not be written to the dead letter queue \"{}\": {reason}",
                self.topic
            ))
        })
    }
}

fn settings(setup: &Setup) -> ProducerSettings {
    let worker = &setup.shared.config;
    let client_id = format!("connector-dlq-producer-{}", setup.id);
    let client = clients::client_config(
        &setup.shared.bootstrap_servers,
        &worker.connection,
        &client_id,
    );
    let mut settings = clients::source_producer(client);
    // Their problems were reported when the configurations were read.
    settings.apply(&worker.producer);
    settings.apply(&setup.connector.producer);
    settings
}

/// Creates the topic if it is missing, with one partition as Kafka does.
pub(crate) async fn ensure_topic(
    setup: &Setup,
    config: &DeadLetterConfig,
) -> Result<(), TaskFailure> {
    let client = Client::new(clients::task_admin(setup, "connector-dlq-adminclient"))?;
    let ensured = ensure(&client, config).await;
    client.close().await;
    ensured
}

async fn ensure(client: &Client, config: &DeadLetterConfig) -> Result<(), TaskFailure> {
    let name = &config.topic;
    let refused = |error: &ClientError| {
        TaskFailure::new(format!(
            "the dead letter queue \"{name}\" could not be created: {error}; create it, or set \
             errors.deadletterqueue.topic.replication.factor to at most the number of brokers"
        ))
    };
    let described = client
        .admin()
        .describe_topics(std::slice::from_ref(name))
        .await?;
    if described.iter().any(|(_, described)| described.is_ok()) {
        return Ok(());
    }
    let topic = NewTopic::new(name, 1, config.replication_factor);
    let created = client.admin().create_topics(&[topic], false).await?;
    match created.into_iter().next() {
        // Another task was faster.
        Some((_, Err(error))) if error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) => Ok(()),
        Some((_, Err(error))) => Err(refused(&error)),
        _ => {
            tracing::info!("created topic \"{name}\" for dead letters");
            Ok(())
        }
    }
}
