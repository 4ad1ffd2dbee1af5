//! The group coordinator as the APIs see it.

use std::{sync::Arc, time::Duration};

use kafka_wire_core::StrBytes;
use tokio::sync::oneshot;

use super::{
    answer::{Description, Identity, Join, Joined, Listing, Sync, Synced},
    committed::TopicPartition,
    error::GroupError,
    placement::partition_for,
    record::OffsetValue,
    settings::{GroupSettings, STRING_BYTES_MAX},
    shard::Shard,
    shards::Shards,
    storage::{GroupStorage, StorageError},
};

/// How long a request waits for the shards of an offsets topic that was just created.
const CREATION_WAIT: Duration = Duration::from_secs(5);

/// The classic groups this broker coordinates and their committed offsets.
///
/// Each group lives in the shard of its partition of `__consumer_offsets`, on the broker that
/// leads it; the topic is created when the first group needs it. Requests of different groups
/// share nothing but the shard's map, for the moment of a look-up, and its log.
pub(crate) struct GroupCoordinator {
    settings: Arc<GroupSettings>,
    storage: Arc<dyn GroupStorage>,
    shards: Arc<Shards>,
}

impl GroupCoordinator {
    /// A coordinator over `storage`. It answers after [`GroupCoordinator::start`].
    pub(crate) fn over(settings: GroupSettings, storage: Arc<dyn GroupStorage>) -> Self {
        let settings = Arc::new(settings);
        let shards = Arc::new(Shards::new(Arc::clone(&settings), Arc::clone(&storage)));
        Self {
            settings,
            storage,
            shards,
        }
    }

    /// Starts to replay the partitions of the offsets topic this node leads, and those it will
    /// lead later. Requests that come before that is done are told so.
    pub(crate) async fn start(&self) {
        self.shards.start();
    }

    /// Writes what is queued and stops. Parked requests are told to look for the coordinator
    /// again.
    pub(crate) async fn shutdown(&self) {
        self.shards.shutdown().await;
    }

    /// The coordinator's configuration.
    pub(crate) fn settings(&self) -> &GroupSettings {
        &self.settings
    }

    /// The broker that coordinates `group`; none while its partition has no leader. Creates the
    /// offsets topic if need be.
    ///
    /// # Errors
    /// When the topic can't be created; the message says why.
    pub(crate) async fn find(&self, group: &str) -> Result<Option<i32>, StorageError> {
        let partitions = self.prepare().await?;
        Ok(self.storage.leader(partition_for(group, partitions)))
    }

    /// Makes sure that the offsets topic exists; says how many partitions it has.
    ///
    /// # Errors
    /// When the topic can't be created; the message says why.
    pub(crate) async fn prepare(&self) -> Result<i32, StorageError> {
        if let Some(partitions) = self.storage.partitions() {
            return Ok(partitions);
        }
        let partitions = self.ensure_topic().await?;
        // Rather than telling the first client of a new broker to come again.
        self.shards.catch_up();
        let shards = self.shards.open();
        let all = futures_util::future::join_all(shards.iter().map(|shard| shard.loaded()));
        if tokio::time::timeout(CREATION_WAIT, all).await.is_err() {
            tracing::warn!("the offsets topic was created but is not readable yet");
        }
        Ok(partitions)
    }

    /// Creates the offsets topic in a task of its own, so that a client that hangs up doesn't
    /// leave it half created.
    async fn ensure_topic(&self) -> Result<i32, StorageError> {
        let (answer, answered) = oneshot::channel();
        let storage = Arc::clone(&self.storage);
        self.shards.spawn(async move {
            // The client that asked first may be gone; the next one finds the topic.
            drop(answer.send(storage.ensure().await));
        });
        answered.await.unwrap_or_else(|_| {
            Err(StorageError::new(
                GroupError::NotCoordinator,
                "the broker stops",
            ))
        })
    }

    /// The shard of a group, once it can answer. Creates the offsets topic if need be.
    async fn shard(&self, group: &StrBytes) -> Result<Arc<Shard>, GroupError> {
        let partitions = self.prepare().await.map_err(|error| {
            tracing::error!(%error, "\"__consumer_offsets\" can't be created");
            error.answer
        })?;
        self.pick(partitions, group)
    }

    /// The shard of a group for a request that needs no group to exist. Without an offsets topic
    /// this node knows of there is none: another one may know more, so nothing may be concluded.
    fn existing_shard(&self, group: &StrBytes) -> Result<Arc<Shard>, GroupError> {
        let partitions = self.storage.partitions();
        self.pick(partitions.ok_or(GroupError::NotCoordinator)?, group)
    }

    fn pick(&self, partitions: i32, group: &StrBytes) -> Result<Arc<Shard>, GroupError> {
        let shard = self
            .shards
            .get(partition_for(group, partitions))
            .ok_or(GroupError::NotCoordinator)?;
        shard.check_ready()?;
        Ok(shard)
    }

    /// A member joins. Waits until the generation is complete, which may take as long as the
    /// slowest member's rebalance timeout.
    pub(crate) async fn join(&self, group: &StrBytes, request: Join) -> Joined {
        let member_id = request.member_id.clone();
        match self.try_join(group, request).await {
            Ok(joined) => joined,
            Err(error) => Joined::refused(error, member_id),
        }
    }

    async fn try_join(&self, id: &StrBytes, request: Join) -> Result<Joined, GroupError> {
        check_group_id(id)?;
        if request.session_timeout < self.settings.min_session_timeout
            || request.session_timeout > self.settings.max_session_timeout
        {
            return Err(GroupError::InvalidSessionTimeout);
        }
        let shard = self.shard(id).await?;
        let (answer, answered) = oneshot::channel();
        if request.member_id.is_empty() {
            shard.with_group_or_new(id, |_, group, moment| {
                group.join(request, answer, &self.settings, moment);
            })?;
        } else {
            shard
                .with_group(id, |_, group, moment| {
                    group.join(request, answer, &self.settings, moment);
                })?
                .ok_or(GroupError::UnknownMemberId)?;
        }
        // The group was dropped with the request in it: the broker stops, or another one has
        // taken over.
        answered.await.map_err(|_| GroupError::NotCoordinator)
    }

    /// A member asks for its assignment; the leader brings them all.
    pub(crate) async fn sync(&self, group: &StrBytes, request: Sync) -> Synced {
        match self.try_sync(group, request).await {
            Ok(synced) => synced,
            Err(error) => Synced::refused(error),
        }
    }

    async fn try_sync(&self, id: &StrBytes, request: Sync) -> Result<Synced, GroupError> {
        check_group_id(id)?;
        let shard = self.existing_shard(id)?;
        let (answer, answered) = oneshot::channel();
        shard
            .with_group(id, |_, group, moment| group.sync(request, answer, moment))?
            .ok_or(GroupError::UnknownMemberId)?;
        answered.await.map_err(|_| GroupError::NotCoordinator)
    }

    /// A member says that it is alive.
    pub(crate) fn heartbeat(
        &self,
        id: &StrBytes,
        identity: &Identity,
        generation: i32,
    ) -> Result<(), GroupError> {
        check_group_id(id)?;
        self.existing_shard(id)?
            .with_group(id, |_, group, moment| {
                group.heartbeat(identity, generation, moment)
            })?
            .unwrap_or(Err(GroupError::UnknownMemberId))
    }

    /// Members leave; says for each why it couldn't.
    pub(crate) fn leave(
        &self,
        id: &StrBytes,
        leaving: &[Identity],
    ) -> Result<Vec<Option<GroupError>>, GroupError> {
        check_group_id(id)?;
        let nobody = || vec![Some(GroupError::UnknownMemberId); leaving.len()];
        let outcomes = self
            .existing_shard(id)?
            .with_group(id, |_, group, moment| {
                group.leave(leaving, &self.settings, moment)
            })?;
        Ok(outcomes.unwrap_or_else(nobody))
    }

    /// Commits offsets; returns when they are durable.
    pub(crate) async fn commit(
        &self,
        id: &StrBytes,
        identity: &Identity,
        generation: i32,
        offsets: Vec<(TopicPartition, OffsetValue)>,
    ) -> Result<(), GroupError> {
        check_id_length(id)?;
        let shard = self.shard(id).await?;
        let (done, written) = oneshot::channel();
        let commit = |cell: &Arc<_>, group: &mut super::group::Group, moment| {
            group.check_commit(identity, generation, moment)?;
            shard.commit(cell, group, offsets, done);
            Ok(())
        };
        if generation < 0 {
            shard.with_group_or_new(id, commit)??;
        } else {
            shard
                .with_group(id, commit)?
                .unwrap_or(Err(GroupError::IllegalGeneration))?;
        }
        written.await.unwrap_or(Err(GroupError::NotCoordinator))
    }

    /// The committed offsets of the partitions asked for, or of all. A partition without one, or
    /// whose topic was deleted since, is left out.
    pub(crate) fn committed(
        &self,
        id: &StrBytes,
        wanted: Option<&[TopicPartition]>,
    ) -> Result<Vec<(TopicPartition, OffsetValue)>, GroupError> {
        let shard = self.existing_shard(id)?;
        let same = |partition: &TopicPartition, value: &OffsetValue| {
            self.storage.is_same_topic(&partition.topic, value.topic_id)
        };
        let found = shard.with_group(id, |_, group, _| match wanted {
            Some(wanted) => wanted
                .iter()
                .filter_map(|partition| {
                    let value = group.offsets.get(partition)?;
                    same(partition, value).then(|| (partition.clone(), value.clone()))
                })
                .collect(),
            None => group
                .offsets
                .iter()
                .filter(|(partition, value)| same(partition, value))
                .map(|(partition, value)| (partition.clone(), value.clone()))
                .collect(),
        })?;
        Ok(found.unwrap_or_default())
    }

    /// Deletes committed offsets; says for each partition why it wasn't, in order.
    pub(crate) async fn delete_offsets(
        &self,
        id: &StrBytes,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<GroupError>>, GroupError> {
        let shard = self.existing_shard(id)?;
        let (done, written) = oneshot::channel();
        let refusals = shard
            .with_group(id, |cell, group, _| {
                let refusals = group.refuse_offset_deletion(partitions)?;
                let deleted: Vec<TopicPartition> = partitions
                    .iter()
                    .zip(&refusals)
                    .filter(|(_, refusal)| refusal.is_none())
                    .map(|(partition, _)| partition.clone())
                    .collect();
                shard.forget(cell, group, deleted, Some(done));
                Ok(refusals)
            })?
            .unwrap_or(Err(GroupError::GroupIdNotFound))?;
        written.await.unwrap_or(Err(GroupError::NotCoordinator))?;
        Ok(refusals)
    }

    /// A group as it is; none if there is no such group.
    pub(crate) fn describe(&self, id: &StrBytes) -> Result<Option<Description>, GroupError> {
        self.existing_shard(id)?
            .with_group(id, |_, group, _| group.describe())
    }

    /// All groups this broker coordinates.
    pub(crate) fn list(&self) -> Result<Vec<Listing>, GroupError> {
        let mut listings = Vec::new();
        for shard in self.shards.open() {
            shard.check_ready()?;
            for cell in shard.cells() {
                let group = cell.0.lock();
                listings.push(Listing {
                    group_id: group.id().clone(),
                    protocol_type: group.protocol_type(),
                    state: group.state().name(),
                });
            }
        }
        Ok(listings)
    }

    /// Deletes a group without members, and its offsets.
    pub(crate) async fn delete(&self, id: &StrBytes) -> Result<(), GroupError> {
        let shard = self.existing_shard(id)?;
        let (done, written) = oneshot::channel();
        shard
            .with_group(id, |cell, group, _| match group.refuse_deletion() {
                Some(error) => Err(error),
                None => {
                    shard.remove(cell, group, Some(done));
                    Ok(())
                }
            })?
            .unwrap_or(Err(GroupError::GroupIdNotFound))?;
        written.await.unwrap_or(Err(GroupError::NotCoordinator))
    }

    /// Waits until the log is replayed.
    #[cfg(test)]
    pub(crate) async fn loaded(&self) {
        for shard in self.shards.open() {
            shard.loaded().await;
        }
    }

    /// Looks for expired offsets now instead of at the next interval.
    #[cfg(test)]
    pub(crate) fn expire_now(&self) {
        for shard in self.shards.open() {
            shard.expire();
        }
    }
}

/// Members need a group id that isn't empty.
fn check_group_id(id: &StrBytes) -> Result<(), GroupError> {
    if id.is_empty() {
        return Err(GroupError::InvalidGroupId);
    }
    check_id_length(id)
}

/// Offsets may be committed for the empty group id, as in Kafka, but the log must be able to hold
/// the id.
fn check_id_length(id: &StrBytes) -> Result<(), GroupError> {
    if id.len() > STRING_BYTES_MAX {
        return Err(GroupError::InvalidGroupId);
    }
    Ok(())
}
