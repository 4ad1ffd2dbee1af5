//! Follows the metadata and makes this node's partitions agree with it.
//!
//! What an image changed is found by comparing its topics with the former image's: those that are
//! the same object did not change. Of one image, first the roles of partitions that are there are
//! taken, so that leaders change fast; then what is gone is deleted, and then what is new created.
//!
//! Nothing is done before this process is registered: an image from before that may lack topics
//! that are on disk here, and give this node roles that a former process had.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::fetchers::Fetchers;
use super::mailbox::Assignment;
use super::throttle::ThrottledReplicas;
use super::{Key, OutOfService, Throttle, rest_after};
use crate::config::BrokerConfig;
use crate::config::broker_keys::{FOLLOWER_RATE, LEADER_RATE, broker_key};
use crate::config::layers::Layers;
use crate::config::topic::FOLLOWER_THROTTLED;
use crate::controller::record::{PartitionState, TopicId};
use crate::controller::{MetadataImage, TopicImage};
use crate::log::{LogConfig, LogError};
use crate::node::stopped;
use crate::replica::{Leading, Partition, Replicas};

/// Partitions that are created, deleted or given a role at the same time.
const AT_ONCE: usize = 16;
/// The first rest before a partition whose disk failed is tried again; doubles up to ...
const FIRST_REST: Duration = Duration::from_millis(500);
/// ... this.
const REST_MAX: Duration = Duration::from_secs(60);

/// What a partition was told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    leader: i32,
    leader_epoch: i32,
    partition_epoch: i32,
}

#[derive(Clone, Copy, Debug)]
struct Retry {
    at: Instant,
    failures: u32,
}

/// One partition this node keeps, as of one image.
#[derive(Clone, Debug)]
struct Kept {
    topic: Arc<TopicImage>,
    index: i32,
    state: PartitionState,
}

impl Kept {
    fn key(&self) -> Key {
        (self.topic.id, self.index)
    }
}

/// What an image asks for.
#[derive(Default)]
struct Plan {
    roles: Vec<(Arc<Partition>, Kept)>,
    deletions: Vec<Deletion>,
    creations: Vec<Kept>,
}

/// Partitions that are not this node's any more.
enum Deletion {
    /// All of a topic.
    Topic { name: Arc<str>, id: TopicId },
    /// One partition.
    Partition(Arc<Partition>),
}

/// See the module.
pub(super) struct Reconciler {
    me: i32,
    config: Arc<BrokerConfig>,
    replicas: Arc<Replicas>,
    fetchers: Fetchers,
    out_of_service: Arc<OutOfService>,
    leader_throttle: Arc<Throttle>,
    /// The image that was applied last.
    image: Arc<MetadataImage>,
    /// This process is the broker the image knows.
    serving: bool,
    told: BTreeMap<Key, Told>,
    retries: BTreeMap<Key, Retry>,
}

impl Reconciler {
    pub(super) fn new(
        config: Arc<BrokerConfig>,
        replicas: Arc<Replicas>,
        fetchers: Fetchers,
        out_of_service: Arc<OutOfService>,
        leader_throttle: Arc<Throttle>,
    ) -> Self {
        Self {
            me: config.node_id,
            config,
            replicas,
            fetchers,
            out_of_service,
            leader_throttle,
            image: Arc::default(),
            serving: false,
            told: BTreeMap::new(),
            retries: BTreeMap::new(),
        }
    }

    /// Follows the images until it is told to stop, or nobody makes them any more.
    pub(super) async fn run(
        mut self,
        mut images: watch::Receiver<Arc<MetadataImage>>,
        mut broker_epoch: watch::Receiver<Option<i64>>,
        applied: watch::Sender<u64>,
        mut stop: watch::Receiver<bool>,
    ) {
        loop {
            let epoch = *broker_epoch.borrow_and_update();
            let image = images.borrow_and_update().clone();
            self.follow(&image, epoch).await;
            if self.serving {
                applied.send_replace(image.version());
            }
            let retry = self.retries.values().map(|retry| retry.at).min();
            let due = async {
                match retry {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let replicas = self.replicas.clone();
            tokio::select! {
                () = stopped(&mut stop) => break,
                changed = images.changed() => if changed.is_err() { break },
                changed = broker_epoch.changed() => if changed.is_err() { break },
                () = due => self.try_again().await,
                () = replicas.damage_noted.notified() => self.repair().await,
            }
        }
        self.fetchers.stop().await;
    }

    /// Applies one image.
    async fn follow(&mut self, image: &Arc<MetadataImage>, epoch: Option<i64>) {
        let serving = epoch.is_some_and(|epoch| {
            image
                .broker(self.me)
                .is_some_and(|known| known.epoch == epoch)
        });
        if !serving {
            if std::mem::take(&mut self.serving) {
                tracing::warn!(
                    "another process is registered under this broker's id; this one leads and copies nothing any more"
                );
                self.stand_down().await;
            }
            return;
        }
        let former = std::mem::replace(&mut self.image, image.clone());
        let begins = !std::mem::replace(&mut self.serving, true);
        let names = [self.me.to_string(), String::new()];
        let everything = begins
            || names
                .iter()
                .any(|name| former.broker_config(name) != image.broker_config(name));
        if everything {
            self.set_throttles(image);
        }
        let mut plan = Plan::default();
        if begins {
            self.sort_out(image, &mut plan).await;
        }
        for topic in former.topics() {
            if image.topic_by_id(&topic.id).is_none() {
                self.plan_removal(topic, &mut plan);
            }
        }
        for topic in image.topics() {
            let known = former
                .topic(&topic.name)
                .filter(|known| known.id == topic.id);
            if known.is_some_and(|known| Arc::ptr_eq(known, topic)) && !everything {
                continue;
            }
            if everything || known.is_none_or(|known| known.config != topic.config) {
                let config = self.log_config(image, topic);
                self.replicas.update_config(&topic.name, config);
            }
            for (index, state) in &topic.partitions {
                self.plan_partition(topic, *index, state, &mut plan);
            }
        }
        self.carry_out(image, plan).await;
    }

    /// Decides about what is on disk when this process begins to serve. Topics that were deleted
    /// while it was away go; what nobody knows is set aside.
    async fn sort_out(&self, image: &MetadataImage, plan: &mut Plan) {
        for partition in self.replicas.list() {
            let id = partition.topic_id();
            let name = partition.topic();
            let known = image.topic_by_id(&id).is_some_and(|topic| {
                topic.name == *name && topic.partitions.contains_key(&partition.index())
            });
            if known {
                continue;
            }
            if image.is_removed(&id) {
                plan.deletions.push(Deletion::Partition(partition));
                continue;
            }
            let (topic, index) = (name.clone(), partition.index());
            drop(partition);
            match self.replicas.set_aside(&topic, index).await {
                Ok(kept) => {
                    let folder = kept.map(|(folder, _)| folder.display().to_string());
                    tracing::warn!(
                        %topic, partition = index, folder = folder.unwrap_or_default(),
                        "the cluster does not know the topic of these records; they are set aside, remove the folder if nobody needs them"
                    );
                }
                Err(error) => {
                    tracing::error!(%topic, partition = index, %error, "cannot set aside records of an unknown topic");
                }
            }
        }
    }

    fn plan_removal(&self, topic: &TopicImage, plan: &mut Plan) {
        let mine = topic
            .partitions
            .values()
            .any(|state| state.replicas.contains(&self.me));
        if mine {
            plan.deletions.push(Deletion::Topic {
                name: topic.name.clone(),
                id: topic.id,
            });
        }
    }

    /// Plans what has to be done about one partition of the cluster.
    fn plan_partition(
        &self,
        topic: &Arc<TopicImage>,
        index: i32,
        state: &PartitionState,
        plan: &mut Plan,
    ) {
        let local = self
            .replicas
            .get(&topic.name, index)
            .filter(|partition| partition.topic_id() == topic.id);
        if !state.replicas.contains(&self.me) {
            plan.deletions.extend(local.map(Deletion::Partition));
            return;
        }
        let kept = || Kept {
            topic: topic.clone(),
            index,
            state: state.clone(),
        };
        match local {
            Some(partition) => plan.roles.push((partition, kept())),
            None => plan.creations.push(kept()),
        }
    }

    async fn carry_out(&mut self, image: &Arc<MetadataImage>, plan: Plan) {
        self.take_roles(plan.roles).await;
        self.delete(plan.deletions).await;
        let created = self.create(image, plan.creations).await;
        self.take_roles(created).await;
        self.fetchers.end_idle();
    }

    /// Tells partitions what this node is to them, as far as that is news.
    async fn take_roles(&mut self, partitions: Vec<(Arc<Partition>, Kept)>) {
        let mut changed = Vec::new();
        for (partition, kept) in partitions {
            let (key, state) = (kept.key(), &kept.state);
            let told = Told {
                leader: state.leader,
                leader_epoch: state.leader_epoch,
                partition_epoch: state.partition_epoch,
            };
            let former = self.told.get(&key).copied();
            let follows = state.leader != self.me;
            let same_leader = former.is_some_and(|former| {
                former.leader == told.leader && former.leader_epoch == told.leader_epoch
            });
            let renewed = partition.is_damaged() && is_replaceable(self.me, state);
            if follows && same_leader && !renewed {
                // It may have come into sync, which ends its throttling.
                self.copy(&partition, &kept);
            } else if former != Some(told) || renewed {
                if !follows || state.leader < 0 || renewed {
                    self.fetchers.forget(&key);
                }
                changed.push((partition, kept, told));
            }
        }
        let me = self.me;
        let results: Vec<_> = stream::iter(changed)
            .map(|(partition, kept, told)| async move {
                let result = take_role(me, &partition, &kept.state).await;
                (partition, kept, told, result)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for (partition, kept, told, result) in results {
            let key = kept.key();
            match result {
                Ok(()) => {
                    self.told.insert(key, told);
                    self.works(&kept);
                    self.copy(&partition, &kept);
                }
                Err(error) => {
                    self.told.remove(&key);
                    self.fails(&kept, &error);
                }
            }
        }
    }

    /// Has a follower copied from its leader, if there is one.
    fn copy(&mut self, partition: &Arc<Partition>, kept: &Kept) {
        let state = &kept.state;
        if state.leader == self.me || state.leader < 0 {
            return;
        }
        let throttled = !state.isr.contains(&self.me)
            && ThrottledReplicas::of(&kept.topic.config, FOLLOWER_THROTTLED)
                .contains(kept.index, self.me);
        let assignment = Assignment {
            partition: partition.clone(),
            leader_epoch: state.leader_epoch,
            throttled,
        };
        self.fetchers.follow(kept.key(), state.leader, assignment);
    }

    async fn delete(&mut self, deletions: Vec<Deletion>) {
        for deletion in &deletions {
            match deletion {
                Deletion::Topic { id, .. } => {
                    let keys = (*id, i32::MIN)..=(*id, i32::MAX);
                    let told = self.told.range(keys.clone()).map(|(key, _)| *key);
                    let tried_again = self.retries.range(keys).map(|(key, _)| *key);
                    let keys: BTreeSet<Key> = told.chain(tried_again).collect();
                    keys.iter().for_each(|key| self.let_go(key));
                }
                Deletion::Partition(partition) => {
                    self.let_go(&(partition.topic_id(), partition.index()));
                }
            }
        }
        let replicas = &self.replicas;
        stream::iter(deletions)
            .for_each_concurrent(AT_ONCE, |deletion| async move {
                let (topic, result) = match deletion {
                    Deletion::Topic { name, .. } => {
                        tracing::debug!(topic = %name, "deleting the records of a removed topic");
                        let result = replicas.delete(&name).await;
                        (name, result)
                    }
                    Deletion::Partition(partition) => {
                        let (topic, index) = (partition.topic().clone(), partition.index());
                        drop(partition);
                        tracing::debug!(%topic, partition = index, "deleting records that are not this node's any more");
                        let result = replicas.delete_partition(&topic, index).await;
                        (topic, result)
                    }
                };
                if let Err(error) = result {
                    // Nobody sees it any more; its files are tried again at the next start.
                    tracing::error!(%topic, %error, "cannot delete the records of a removed partition yet");
                }
            })
            .await;
    }

    fn let_go(&mut self, key: &Key) {
        self.fetchers.forget(key);
        self.told.remove(key);
        self.retries.remove(key);
        self.out_of_service.clear(key);
    }

    /// Creates partitions this node does not have yet; gives those that are there now.
    async fn create(
        &mut self,
        image: &MetadataImage,
        missing: Vec<Kept>,
    ) -> Vec<(Arc<Partition>, Kept)> {
        let mut configs: BTreeMap<TopicId, LogConfig> = BTreeMap::new();
        for kept in &missing {
            configs
                .entry(kept.topic.id)
                .or_insert_with(|| self.log_config(image, &kept.topic));
        }
        let (me, replicas, configs) = (self.me, &self.replicas, &configs);
        let results: Vec<_> = stream::iter(missing)
            .map(|kept| async move {
                let config = configs.get(&kept.topic.id).cloned().unwrap_or_default();
                let created = create_one(me, replicas, &kept, config).await;
                (kept, created)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut there = Vec::with_capacity(results.len());
        for (kept, created) in results {
            match created {
                Ok(partition) => there.push((partition, kept)),
                Err(error) => self.fails(&kept, &error),
            }
        }
        there
    }

    /// A partition can be used. What kept a follower from being written says nothing about a leader.
    fn works(&mut self, kept: &Kept) {
        let key = kept.key();
        self.retries.remove(&key);
        if self.out_of_service.clear(&key) {
            tracing::info!(topic = %kept.topic.name, partition = kept.index, "a partition is in service again");
        }
    }

    /// A partition cannot be used, and is tried again; the others go on.
    fn fails(&mut self, kept: &Kept, error: &LogError) {
        let key = kept.key();
        let failures = self.retries.get(&key).map_or(0, |retry| retry.failures) + 1;
        let retry = Retry {
            at: Instant::now() + rest_after(failures, FIRST_REST, REST_MAX),
            failures,
        };
        self.retries.insert(key, retry);
        self.fetchers.forget(&key);
        let (topic, index) = (&kept.topic.name, kept.index);
        if self.out_of_service.note(key, &error.to_string()) {
            tracing::error!(%topic, partition = index, %error, "a partition is out of service; trying again");
        } else {
            tracing::debug!(%topic, partition = index, %error, "a partition is still out of service");
        }
    }

    /// Tries partitions again whose time has come.
    async fn try_again(&mut self) {
        let now = Instant::now();
        let due = self.retries.iter();
        let due = due.filter(|(_, retry)| retry.at <= now);
        let due = due.map(|(key, _)| *key).collect();
        self.look_again(due).await;
    }

    /// Has damaged replicas copied anew that may be. Others may be once they are not in sync any more, which is a
    /// new image.
    async fn repair(&mut self) {
        let damaged = self.told.keys().filter(|(id, index)| {
            let partition = self.replicas.get_by_id(*id, *index);
            partition.is_some_and(|partition| partition.is_damaged())
        });
        let damaged = damaged.copied().collect();
        self.look_again(damaged).await;
    }

    async fn look_again(&mut self, keys: Vec<Key>) {
        let image = self.image.clone();
        let mut plan = Plan::default();
        for key in keys {
            let (id, index) = key;
            let state = image
                .topic_by_id(&id)
                .and_then(|topic| Some((topic, topic.partitions.get(&index)?)))
                .filter(|(_, state)| state.replicas.contains(&self.me));
            match state {
                Some((topic, state)) => self.plan_partition(topic, index, state, &mut plan),
                None => self.let_go(&key),
            }
        }
        self.carry_out(&image, plan).await;
    }

    /// Leads and copies nothing any more.
    async fn stand_down(&mut self) {
        self.retries.clear();
        let told = std::mem::take(&mut self.told);
        for key in told.keys() {
            self.fetchers.forget(key);
        }
        self.fetchers.end_idle();
        let replicas = &self.replicas;
        stream::iter(told)
            .for_each_concurrent(AT_ONCE, |((id, index), told)| async move {
                if let Some(partition) = replicas.get_by_id(id, index) {
                    partition.become_follower(None, told.leader_epoch).await;
                }
            })
            .await;
    }

    fn layers<'a>(&'a self, image: &'a MetadataImage, topic: Option<&'a TopicImage>) -> Layers<'a> {
        Layers {
            topic: topic.map(|topic| &topic.config),
            broker: image.broker_config(&self.me.to_string()),
            all_brokers: image.broker_config(""),
            ..self.config.layers()
        }
    }

    /// What `topic`'s logs are configured with.
    fn log_config(&self, image: &MetadataImage, topic: &TopicImage) -> LogConfig {
        crate::config::log_config(&self.layers(image, Some(topic)))
    }

    fn set_throttles(&self, image: &MetadataImage) {
        let layers = self.layers(image, None);
        let rate = |key: &str| {
            let value = layers.broker_value(broker_key(key)?)?.value;
            let rate: u64 = value.parse().ok()?;
            // The default, which is for ever.
            (rate < i64::MAX.unsigned_abs()).then_some(rate)
        };
        self.fetchers.throttle().set_rate(rate(FOLLOWER_RATE));
        self.leader_throttle.set_rate(rate(LEADER_RATE));
    }
}

async fn take_role(me: i32, partition: &Partition, state: &PartitionState) -> Result<(), LogError> {
    if state.leader == me {
        let leading = Leading {
            me,
            leader_epoch: state.leader_epoch,
            partition_epoch: state.partition_epoch,
            replicas: state.replicas.clone(),
            isr: state.isr.clone(),
        };
        return partition.become_leader(leading).await;
    }
    let leader = (state.leader >= 0).then_some(state.leader);
    partition.become_follower(leader, state.leader_epoch).await;
    if partition.is_damaged() && is_replaceable(me, state) {
        partition.replace_damaged(state.leader_epoch).await?;
    }
    Ok(())
}

/// Whether this replica may begin with nothing. While it counts as in sync or eligible, it might be elected with that.
fn is_replaceable(me: i32, state: &PartitionState) -> bool {
    state.leader >= 0 && state.leader != me && !state.isr.contains(&me) && !state.elr.contains(&me)
}

/// Creates or opens one partition. One whose log is damaged begins anew if others have its records.
async fn create_one(
    me: i32,
    replicas: &Arc<Replicas>,
    kept: &Kept,
    config: LogConfig,
) -> Result<Arc<Partition>, LogError> {
    let (topic, index, state) = (&kept.topic, kept.index, &kept.state);
    let create = async |config| replicas.create(&topic.name, topic.id, index, config).await;
    let error = match create(config.clone()).await {
        Err(error @ LogError::Corrupt { .. }) => error,
        result => return result,
    };
    if !is_replaceable(me, state) {
        return Err(error);
    }
    let Some((folder, bytes)) = replicas.set_aside(&topic.name, index).await? else {
        return Err(error);
    };
    tracing::error!(
        topic = %topic.name, partition = index, %error, bytes, folder = %folder.display(), leader = state.leader,
        "a replica's log is damaged; it is set aside and copied from the leader again, remove the folder when it has caught up"
    );
    create(config).await
}
