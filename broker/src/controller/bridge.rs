//! This node's partitions, as long as nothing else makes them follow the metadata.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::quorum::{Member, Quorum, QuorumTiming};
use super::record::{ConfigResource, Endpoint, MetadataRecord, PartitionState, TopicId};
use super::{Controller, ControllerError, MetadataImage, image, internal_settings, topic_name};
use crate::config::BrokerConfig;
use crate::config::layers::Layers;
use crate::error_code;
use crate::peer::{ClusterRequest, ClusterResponse, Peers, Registration};
use crate::replica::Replicas;

/// Partitions created at the same time.
const CREATIONS_AT_ONCE: usize = 16;
/// The folder of the journal, beside those of the partitions.
const JOURNAL_FOLDER: &str = "__cluster_metadata";

/// The running task.
pub(super) struct Bridge(JoinHandle<()>);

impl Drop for Bridge {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Controller {
    /// A cluster of this node alone, whose partitions follow the metadata.
    ///
    /// # Errors
    /// When the metadata cannot be read.
    pub(crate) async fn open(
        config: Arc<BrokerConfig>,
        cluster_id: String,
        data_folder: &Path,
        replicas: Arc<Replicas>,
    ) -> Result<Self, ControllerError> {
        let folder = data_folder.join(JOURNAL_FOLDER);
        let (me, network) = (config.node_id, Peers::new());
        let member = Member::default();
        let timing = QuorumTiming::default();
        let quorum = Quorum::open(&folder, me, member, Arc::new(network.clone()), timing).await?;
        let new = quorum.is_new();
        if new {
            quorum.found().await?;
        }
        let mut controller = Self::new(config.clone(), Arc::new(quorum), Arc::new(network));
        let lost_records = replicas
            .list()
            .iter()
            .any(|partition| partition.tail_in_doubt());
        let registration = Registration {
            cluster_id,
            broker: me,
            incarnation: platform::random::uuid(),
            directory: String::new(),
            endpoints: vec![Endpoint {
                listener: "PLAINTEXT".to_owned(),
                host: "localhost".to_owned(),
                port: 0,
            }],
            rack: config.rack.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            lost_records,
        };
        match controller
            .answer(ClusterRequest::Register(registration))
            .await
        {
            ClusterResponse::Registered { .. } => {}
            ClusterResponse::Refused(refusal) => {
                return Err(ControllerError::new(refusal.code, refusal.message));
            }
            _ => return Err(ControllerError::odd_answer()),
        }
        let records = strays(&replicas, &controller.image(), &config, new)?;
        if !records.is_empty() {
            controller.take_in(records).await?;
        }
        let image = controller.watch();
        let (applied, receiver) = watch::channel(0);
        controller.wait_for_partitions(receiver);
        let first = controller.image();
        apply(&config, &replicas, &first).await;
        applied.send_replace(first.version());
        controller._bridge = Some(Bridge(tokio::spawn(follow(
            config, replicas, image, applied,
        ))));
        Ok(controller)
    }
}

async fn follow(
    config: Arc<BrokerConfig>,
    replicas: Arc<Replicas>,
    mut image: watch::Receiver<Arc<MetadataImage>>,
    applied: watch::Sender<u64>,
) {
    while image.changed().await.is_ok() {
        let now = image.borrow_and_update().clone();
        apply(&config, &replicas, &now).await;
        applied.send_replace(now.version());
    }
}

async fn apply(config: &BrokerConfig, replicas: &Arc<Replicas>, image: &MetadataImage) {
    let mut gone: Vec<Arc<str>> = replicas
        .list()
        .iter()
        .filter(|partition| image.topic_by_id(&partition.topic_id()).is_none())
        .map(|partition| partition.topic().clone())
        .collect();
    gone.dedup();
    for topic in gone {
        if let Err(error) = replicas.delete(&topic).await {
            tracing::error!(%topic, %error, "cannot delete the records of a removed topic yet");
        }
    }
    for topic in image.topics() {
        let layers = Layers {
            topic: Some(&topic.config),
            broker: image.broker_config(&config.node_id.to_string()),
            all_brokers: image.broker_config(""),
            ..config.layers()
        };
        let log_config = crate::config::log_config(&layers);
        let missing = topic
            .partitions
            .iter()
            .filter(|(index, _)| replicas.get(&topic.name, **index).is_none());
        let missing: Vec<(i32, i32)> = missing
            .map(|(index, state)| (*index, state.leader_epoch))
            .collect();
        let created: Vec<_> = stream::iter(missing)
            .map(|(index, epoch)| {
                replicas.create(&topic.name, topic.id, index, log_config.clone(), epoch)
            })
            .buffer_unordered(CREATIONS_AT_ONCE)
            .collect()
            .await;
        for error in created.iter().filter_map(|created| created.as_ref().err()) {
            tracing::error!(topic = %topic.name, %error, "a partition is out of service");
        }
        replicas.update_config(&topic.name, log_config);
        for (index, state) in &topic.partitions {
            if let Some(partition) = replicas.get(&topic.name, *index) {
                partition.lead(state.leader_epoch);
            }
        }
    }
}

/// Topics whose records are there although the metadata does not know them.
fn strays(
    replicas: &Replicas,
    image: &MetadataImage,
    config: &BrokerConfig,
    new: bool,
) -> Result<Vec<MetadataRecord>, ControllerError> {
    let mut found: BTreeMap<(String, TopicId), BTreeMap<i32, i32>> = BTreeMap::new();
    for partition in replicas.list() {
        let id = partition.topic_id();
        if image.topic_by_id(&id).is_none() && !image.is_removed(&id) {
            found
                .entry((partition.topic().to_string(), id))
                .or_default()
                .insert(partition.index(), partition.leader_epoch().max(0));
        }
    }
    let mut records = Vec::new();
    if new && !found.is_empty() {
        // Ids of the lost journal may be remembered in these logs. The clock is ahead of every
        // block that was handed out one by one.
        let next = platform::clock::unix_millis();
        records.push(MetadataRecord::ProducerIds { next });
    }
    for ((name, id), epochs) in found {
        if image.topic(&name).is_some() || topic_name::check(&name).is_err() {
            return Err(ControllerError::new(
                error_code::INCONSISTENT_TOPIC_ID,
                format!(
                    "the folders of topic \"{name}\" belong to another topic of that name; move them out of the data folder"
                ),
            ));
        }
        tracing::warn!(
            topic = name,
            "found records of a topic the metadata does not know; it is a topic again"
        );
        records.push(MetadataRecord::Topic {
            name: name.clone(),
            id,
        });
        let count = epochs.last_key_value().map_or(0, |(last, _)| last + 1);
        records.extend((0..count).map(|index| MetadataRecord::Partition {
            topic: id,
            index,
            state: PartitionState {
                leader_epoch: epochs.get(&index).copied().unwrap_or(0),
                ..PartitionState::new(vec![config.node_id])
            },
        }));
        if image::is_internal(&name) {
            let settings = internal_settings(config).into_iter();
            records.extend(settings.map(|(key, value)| MetadataRecord::Config {
                resource: ConfigResource::Topic(name.clone()),
                key,
                value: Some(value),
            }));
        }
    }
    Ok(records)
}
