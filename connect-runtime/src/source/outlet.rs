//! From a poll to the producer, on the task's own thread: records are converted and encoded where
//! they were made, and only whole batches go to other threads.

use std::sync::{Arc, Weak};

use connect_core::{SourcePosition, SourceRecord};
use kafka_client::{ClientError, Delivery, Producer};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::OnTheWay;
use super::batch::{Batcher, Send};
use super::submitted::Carried;
use super::topic_creation::TopicCreator;
use crate::metrics::TaskMeter;
use crate::task::TaskFailure;

/// What became of one poll.
#[derive(Debug)]
pub(super) struct Sent {
    /// Where each source partition stands after the poll.
    pub(super) positions: Vec<SourcePosition>,
    pub(super) sends: Vec<OneSend>,
}

/// The records of one poll for one topic, given to the producer.
#[derive(Debug)]
pub(super) struct OneSend {
    pub(super) topic: Arc<str>,
    pub(super) records: usize,
    pub(super) delivery: Delivery,
    /// What depends on these records.
    pub(super) carried: Carried,
}

/// Converts polls and gives them to the producer.
pub(super) struct Outlet {
    pub(super) batcher: Batcher,
    /// Weak, so that a room that was abandoned does not keep it.
    pub(super) producer: Weak<Producer>,
    /// Creates topics that the producer does not know; otherwise the broker does.
    pub(super) creator: Option<Arc<TopicCreator>>,
    pub(super) on_the_way: Arc<Mutex<OnTheWay>>,
    pub(super) meter: Arc<TaskMeter>,
    /// Where connections live; the room's own runtime is the task's, which may block it.
    pub(super) connections: Handle,
}

impl Outlet {
    /// Converts the records of one poll and gives them to the producer, waiting while its buffer is
    /// full. Not cancel-safe: the poll is then lost to this run of the task.
    ///
    /// # Errors
    /// A bad record that may not be skipped, or a topic that cannot be written to.
    pub(super) async fn send(&self, records: Vec<SourceRecord>) -> Result<Sent, TaskFailure> {
        let batch = self.batcher.convert(records).await?;
        let mut sends = Vec::with_capacity(batch.sends.len());
        for Send {
            topic,
            records,
            carried,
        } in batch.sends
        {
            let Some(producer) = self.producer.upgrade() else {
                return Err(ClientError::Closed { what: "producer" }.into());
            };
            self.on_the_way.lock().sending();
            self.look_up(&producer, &topic).await?;
            let count = records.len();
            let delivery = producer.send(&topic, records).await?;
            self.meter.sending(count);
            self.meter.set_buffered_bytes(producer.buffered_bytes());
            sends.push(OneSend {
                topic,
                records: count,
                delivery,
                carried,
            });
        }
        Ok(Sent {
            positions: batch.positions,
            sends,
        })
    }

    /// Has the topic created by the connector's rules, if it has any, and the producer ask for it, if it
    /// does not know it yet. Cancel-safe.
    async fn look_up(&self, producer: &Arc<Producer>, topic: &Arc<str>) -> Result<(), TaskFailure> {
        if producer.knows(topic) {
            return Ok(());
        }
        let mut asking = JoinSet::new();
        let (producer, topic) = (Arc::clone(producer), Arc::clone(topic));
        let creator = self.creator.clone();
        let ask = async move {
            if let Some(creator) = creator {
                creator.ensure(&topic).await?;
            }
            producer.look_up(&topic).await.map_err(TaskFailure::from)
        };
        asking.spawn_on(ask, &self.connections);
        match asking.join_next().await {
            Some(Ok(asked)) => asked,
            _ => Err(ClientError::Closed { what: "producer" }.into()),
        }
    }
}
