//! The groups of one partition of `__consumer_offsets`.
//!
//! One task per partition replays the log, then writes what the groups queue, in the order they
//! queued it, many writes to a batch; it also fires the groups' deadlines and expires offsets.
//! Requests run elsewhere: they lock their group, change it and queue its records under that
//! lock, so the log has the order of the changes. Nothing is awaited under a lock.
//!
//! What a write is for takes effect once it is in the log: an offset isn't visible, an
//! assignment isn't given out, before that. The queue is bounded by the requests that wait for
//! it (one write each) and one write per state change of a group.
//!
//! A shard lives for one [`Term`] at most: it is closed when this node no longer leads the
//! partition, or when a write failed that may be in the log all the same, because then its
//! groups are not what the log says. Another one is loaded in its place, after its last write has
//! come to an end.
//!
//! Locks are taken in the order group, then map, queue or deadlines.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use kafka_records::{BatchBuilder, RecordRef};
use kafka_wire_core::StrBytes;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, oneshot, watch},
    time::Instant,
};

use super::{
    committed::TopicPartition,
    error::GroupError,
    group::{AfterStore, Group},
    moment::Moment,
    record::{OffsetKey, OffsetValue, encode_group_key},
    replay::Replay,
    settings::GroupSettings,
    storage::{GroupStorage, StorageError, Term},
};

/// Bytes of records after which a batch is closed. One write is never split, so a batch may be
/// larger; the partition's `max.message.bytes` has the last word.
const BATCH_BYTES: usize = 512 * 1024;

/// The first pause before a failed replay is tried again; doubled up to the second.
const REPLAY_BACKOFF: Duration = Duration::from_millis(5);
/// For this long the partition may simply not be open yet, as after its creation.
const REPLAY_QUIET: Duration = Duration::from_secs(15);
const REPLAY_BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Who waits for a write.
type Done = oneshot::Sender<Result<(), GroupError>>;

/// Whether a shard answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ShardStatus {
    /// The log is being replayed.
    Loading,
    /// Groups are served.
    Ready,
    /// The broker stops, or another one has taken over.
    Closed,
    /// Closed, and nothing of it will be written any more.
    Finished,
}

/// A group and its lock.
#[derive(Debug)]
pub(crate) struct GroupCell(pub(crate) Mutex<Group>);

/// A record to be written.
type PendingRecord = (Vec<u8>, Option<Vec<u8>>);

struct Write {
    cell: Arc<GroupCell>,
    records: Vec<PendingRecord>,
    effect: Effect,
}

/// What takes effect when a write is in the log.
enum Effect {
    Membership(AfterStore),
    Commit(Vec<(TopicPartition, OffsetValue)>, Done),
    Forget(Vec<TopicPartition>, Option<Done>),
    /// The group and all its offsets go. Its records are made when it is written, alone in its
    /// batch, when everything queued before has taken effect.
    Remove(Option<Done>),
}

/// One partition's groups.
pub(crate) struct Shard {
    partition: i32,
    term: Term,
    storage: Arc<dyn GroupStorage>,
    settings: Arc<GroupSettings>,
    status: watch::Sender<ShardStatus>,
    groups: Mutex<BTreeMap<StrBytes, Arc<GroupCell>>>,
    queue: Mutex<VecDeque<Write>>,
    deadlines: Mutex<BinaryHeap<Reverse<(Instant, StrBytes)>>>,
    wake: Notify,
}

impl Shard {
    /// A shard that still has to be run.
    pub(crate) fn new(
        partition: i32,
        term: Term,
        storage: Arc<dyn GroupStorage>,
        settings: Arc<GroupSettings>,
    ) -> Self {
        Self {
            partition,
            term,
            storage,
            settings,
            status: watch::Sender::new(ShardStatus::Loading),
            groups: Mutex::default(),
            queue: Mutex::default(),
            deadlines: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// Refuses while the shard can't answer.
    pub(crate) fn check_ready(&self) -> Result<(), GroupError> {
        match *self.status.borrow() {
            ShardStatus::Ready => Ok(()),
            ShardStatus::Loading => Err(GroupError::CoordinatorLoadInProgress),
            ShardStatus::Closed | ShardStatus::Finished => Err(GroupError::NotCoordinator),
        }
    }

    /// When this node began to lead the partition.
    pub(crate) fn term(&self) -> Term {
        self.term
    }

    /// Whether it answers nobody any more.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(
            *self.status.borrow(),
            ShardStatus::Closed | ShardStatus::Finished
        )
    }

    async fn closed(&self) {
        self.reached(|now| matches!(now, ShardStatus::Closed | ShardStatus::Finished))
            .await;
    }

    async fn reached(&self, wanted: impl FnMut(&ShardStatus) -> bool) {
        let mut status = self.status.subscribe();
        // The sender lives as long as `self`, so this can't fail.
        drop(status.wait_for(wanted).await);
    }

    /// Waits until the log is replayed (or the shard is closed).
    pub(crate) async fn loaded(&self) {
        self.reached(|now| *now != ShardStatus::Loading).await;
    }

    /// Waits until nothing of it will be written any more.
    async fn finished(&self) {
        self.reached(|now| *now == ShardStatus::Finished).await;
    }

    /// Every group, for listings.
    pub(crate) fn cells(&self) -> Vec<Arc<GroupCell>> {
        self.groups.lock().values().cloned().collect()
    }

    /// Runs `change` on a group if it exists, then queues what it wants written.
    pub(crate) fn with_group<R>(
        &self,
        id: &StrBytes,
        change: impl FnOnce(&Arc<GroupCell>, &mut Group, Moment) -> R,
    ) -> Result<Option<R>, GroupError> {
        let cell = self.groups.lock().get(id).cloned();
        match cell {
            Some(cell) => match self.enter(&cell, change) {
                Ok(result) => result.map(Some),
                Err(_dead) => Ok(None),
            },
            None => Ok(None),
        }
    }

    /// Like [`Shard::with_group`] for a group that is created if it doesn't exist.
    pub(crate) fn with_group_or_new<R>(
        &self,
        id: &StrBytes,
        mut change: impl FnOnce(&Arc<GroupCell>, &mut Group, Moment) -> R,
    ) -> Result<R, GroupError> {
        loop {
            let cell = {
                let mut groups = self.groups.lock();
                if self.is_closed() {
                    return Err(GroupError::NotCoordinator);
                }
                let cell = groups.entry(id.clone()).or_insert_with(|| {
                    // An id that is a slice of a request would keep all of it in memory.
                    let owned = StrBytes::from(id.as_str());
                    Arc::new(GroupCell(Mutex::new(Group::new(owned, Moment::now()))))
                });
                Arc::clone(cell)
            };
            match self.enter(&cell, change) {
                Ok(result) => return result,
                // It was removed between the two locks: look again.
                Err(unused) => change = unused,
            }
        }
    }

    /// Runs `change` unless the group is dead, in which case it is given back.
    fn enter<R, F>(&self, cell: &Arc<GroupCell>, change: F) -> Result<Result<R, GroupError>, F>
    where
        F: FnOnce(&Arc<GroupCell>, &mut Group, Moment) -> R,
    {
        let moment = Moment::now();
        let mut group = cell.0.lock();
        if group.state() == super::state::GroupState::Dead {
            return Err(change);
        }
        if group.removing {
            return Ok(Err(GroupError::CoordinatorNotAvailable));
        }
        let result = change(cell, &mut group, moment);
        self.settle(cell, &mut group, moment);
        Ok(Ok(result))
    }

    /// Queues a commit; `done` is told when it is in the log.
    pub(crate) fn commit(
        &self,
        cell: &Arc<GroupCell>,
        group: &mut Group,
        offsets: Vec<(TopicPartition, OffsetValue)>,
        done: Done,
    ) {
        let records = offsets
            .iter()
            .map(|(partition, value)| (offset_key(group, partition), Some(value.encode())))
            .collect();
        self.push(cell, group, records, Effect::Commit(offsets, done));
    }

    /// Queues the deletion of offsets.
    pub(crate) fn forget(
        &self,
        cell: &Arc<GroupCell>,
        group: &mut Group,
        partitions: Vec<TopicPartition>,
        done: Option<Done>,
    ) {
        let records = partitions
            .iter()
            .map(|partition| (offset_key(group, partition), None))
            .collect();
        self.push(cell, group, records, Effect::Forget(partitions, done));
    }

    /// Queues the removal of a group without members. Nothing may change in it from now on.
    pub(crate) fn remove(&self, cell: &Arc<GroupCell>, group: &mut Group, done: Option<Done>) {
        group.removing = true;
        self.push(cell, group, Vec::new(), Effect::Remove(done));
    }

    fn push(
        &self,
        cell: &Arc<GroupCell>,
        group: &mut Group,
        records: Vec<PendingRecord>,
        effect: Effect,
    ) {
        group.writes_in_flight += 1;
        let write = Write {
            cell: Arc::clone(cell),
            records,
            effect,
        };
        {
            // Checked under the lock that `close` takes after it has changed the status, so that
            // no write is left in a queue that nobody empties.
            let mut queue = self.queue.lock();
            if self.is_closed() {
                return;
            }
            queue.push_back(write);
        }
        self.wake.notify_one();
    }

    /// Queues what the group wants written, keeps its next deadline, and drops it if there is
    /// nothing to it.
    fn settle(&self, cell: &Arc<GroupCell>, group: &mut Group, moment: Moment) {
        for store in group.take_stores() {
            let record = (encode_group_key(group.id()), Some(store.value.encode()));
            let effect = Effect::Membership(store.after);
            self.push(cell, group, vec![record], effect);
        }
        if let Some(at) = group.next_deadline()
            && group.scheduled.is_none_or(|known| at < known)
        {
            group.scheduled = Some(at);
            self.deadlines
                .lock()
                .push(Reverse((at, group.id().clone())));
            self.wake.notify_one();
        }
        if group.is_vacuous() {
            self.bury(cell, group, moment);
        }
    }

    fn bury(&self, cell: &Arc<GroupCell>, group: &mut Group, moment: Moment) {
        group.bury(moment);
        let mut groups = self.groups.lock();
        if groups
            .get(group.id())
            .is_some_and(|known| Arc::ptr_eq(known, cell))
        {
            groups.remove(group.id());
        }
    }

    /// Serves the shard, once `predecessor` has written its last, until `stop` says so or it is
    /// closed. Not cancel-safe: a dropped future leaves waiting requests without their answer
    /// (they are told to look for the coordinator again).
    pub(crate) async fn run(
        self: Arc<Self>,
        predecessor: Option<Arc<Self>>,
        stop: watch::Receiver<bool>,
    ) {
        /// However the task ends.
        struct Finish(Arc<Shard>);
        impl Drop for Finish {
            fn drop(&mut self) {
                self.0.close();
                self.0.status.send_replace(ShardStatus::Finished);
            }
        }
        let shard = Finish(self);
        if let Some(predecessor) = predecessor {
            predecessor.finished().await;
        }
        shard.0.serve(stop).await;
    }

    async fn serve(&self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            biased;
            () = self.closed() => return,
            _stopped = stop.wait_for(|stopped| *stopped) => return,
            () = self.load() => {}
        }
        let mut next_expiry = Instant::now() + self.settings.offsets_retention_check_interval;
        loop {
            let wrote = self.write_batch().await;
            if self.is_closed() {
                return;
            }
            let now = Instant::now();
            self.fire_deadlines(now);
            if wrote {
                continue;
            }
            if *stop.borrow() {
                return;
            }
            if next_expiry <= now {
                self.expire();
                next_expiry = now + self.settings.offsets_retention_check_interval;
            }
            let deadline = self.deadlines.lock().peek().map(|Reverse((at, _))| *at);
            let until = deadline.map_or(next_expiry, |at| at.min(next_expiry));
            tokio::select! {
                () = self.wake.notified() => {}
                () = self.closed() => return,
                () = tokio::time::sleep_until(until) => {}
                _stopped = stop.wait_for(|stopped| *stopped) => {}
            }
        }
    }

    /// Answers nobody any more. Requests that are parked in groups are dropped with them and so
    /// told to look for the coordinator again.
    pub(crate) fn close(&self) {
        self.status.send_if_modified(|status| {
            let open = matches!(status, ShardStatus::Loading | ShardStatus::Ready);
            if open {
                *status = ShardStatus::Closed;
            }
            open
        });
        // Dropped outside the locks: a waiting request may look at the shard at once.
        let groups = std::mem::take(&mut *self.groups.lock());
        let queue = std::mem::take(&mut *self.queue.lock());
        drop((groups, queue));
    }

    async fn load(&self) {
        let mut pause = REPLAY_BACKOFF;
        let begun = tokio::time::Instant::now();
        loop {
            match self.replay().await {
                Ok(replay) => {
                    self.adopt(replay);
                    return;
                }
                Err(error) => {
                    let partition = self.partition;
                    let what =
                        "groups could not be loaded from \"__consumer_offsets\"; trying again";
                    match begun.elapsed() >= REPLAY_QUIET {
                        true => tracing::error!(partition, error = %error, "{what}"),
                        false => tracing::debug!(partition, error = %error, "{what}"),
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(REPLAY_BACKOFF_MAX);
                }
            }
        }
    }

    /// Reads the log, and waits until what was read cannot be lost any more, for another
    /// coordinator would not know it.
    async fn replay(&self) -> Result<Replay, StorageError> {
        let (partition, term) = (self.partition, self.term);
        let (replay, end) = Replay::of(self.storage.as_ref(), partition, term).await?;
        self.storage.committed(partition, term, end).await?;
        Ok(replay)
    }

    fn adopt(&self, replay: Replay) {
        let moment = Moment::now();
        for group in replay.into_groups(moment) {
            let id = group.id().clone();
            let cell = Arc::new(GroupCell(Mutex::new(group)));
            self.groups.lock().insert(id, Arc::clone(&cell));
            let mut group = cell.0.lock();
            self.settle(&cell, &mut group, moment);
        }
        self.status.send_if_modified(|status| {
            let loading = *status == ShardStatus::Loading;
            if loading {
                *status = ShardStatus::Ready;
            }
            loading
        });
    }

    fn fire_deadlines(&self, now: Instant) {
        loop {
            let due = {
                let mut deadlines = self.deadlines.lock();
                match deadlines.peek() {
                    Some(Reverse((at, _))) if *at <= now => deadlines.pop(),
                    _ => None,
                }
            };
            let Some(Reverse((at, id))) = due else {
                return;
            };
            let outcome = self.with_group(&id, |_, group, moment| {
                if group.scheduled == Some(at) {
                    group.scheduled = None;
                }
                group.tick(&self.settings, moment);
            });
            if let Err(error) = outcome {
                tracing::debug!(group = id.as_str(), %error, "group is being removed");
            }
        }
    }

    /// Deletes offsets whose time is over and groups that nothing is left of.
    pub(crate) fn expire(&self) {
        for cell in self.cells() {
            let id = cell.0.lock().id().clone();
            let outcome = self.with_group(&id, |cell, group, moment| {
                self.expire_group(cell, group, moment);
            });
            if let Err(error) = outcome {
                tracing::debug!(group = id.as_str(), %error, "group is being removed already");
            }
        }
    }

    fn expire_group(&self, cell: &Arc<GroupCell>, group: &mut Group, moment: Moment) {
        // A commit on its way would be deleted by a tombstone that follows it.
        if group.writes_in_flight > 0 {
            return;
        }
        let mut expired: BTreeSet<TopicPartition> = group
            .expired_offsets(&self.settings, moment.unix_millis)
            .into_iter()
            .collect();
        // Those of a topic that was deleted are hidden already.
        let gone = group.offsets.iter().filter(|(partition, value)| {
            !self.storage.is_same_topic(&partition.topic, value.topic_id)
        });
        expired.extend(gone.map(|(partition, _)| partition.clone()));
        let nothing_left = expired.len() == group.offsets.len();
        if nothing_left && group.refuse_deletion().is_none() {
            tracing::info!(group = group.id().as_str(), "empty group expired");
            self.remove(cell, group, None);
        } else if !expired.is_empty() {
            tracing::info!(
                group = group.id().as_str(),
                offsets = expired.len(),
                "committed offsets expired"
            );
            self.forget(cell, group, expired.into_iter().collect(), None);
        }
    }

    /// Writes the next batch of what is queued; says whether there was any.
    async fn write_batch(&self) -> bool {
        let mut writes = self.next_batch();
        if writes.is_empty() {
            return false;
        }
        for write in &mut writes {
            if let Effect::Remove(_) = write.effect {
                write.records = removal_records(&write.cell.0.lock());
            }
        }
        let outcome = match encode(&writes, &self.settings) {
            Ok(None) => Ok(()),
            Ok(Some(batch)) => {
                let appended = self.storage.append(self.partition, self.term, batch);
                appended.await
            }
            Err(error) => Err(error),
        };
        if outcome.as_ref().is_err_and(|error| error.in_doubt) {
            // Before anything is answered: nobody may see groups that differ from the log.
            self.close();
        }
        let outcome = outcome.map_err(|error| {
            tracing::error!(
                partition = self.partition,
                error = %error,
                "a write to \"__consumer_offsets\" failed; its requests are refused"
            );
            error.answer
        });
        for write in writes {
            self.apply(write, outcome);
        }
        true
    }

    fn next_batch(&self) -> Vec<Write> {
        let mut queue = self.queue.lock();
        let mut writes = Vec::new();
        let mut bytes = 0;
        while let Some(write) = queue.pop_front() {
            let alone = matches!(write.effect, Effect::Remove(_));
            let size: usize = write
                .records
                .iter()
                .map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len) + 16)
                .sum();
            if !writes.is_empty() && (alone || bytes + size > BATCH_BYTES) {
                queue.push_front(write);
                break;
            }
            bytes += size;
            writes.push(write);
            if alone {
                break;
            }
        }
        writes
    }

    fn apply(&self, write: Write, outcome: Result<(), GroupError>) {
        let moment = Moment::now();
        let cell = write.cell;
        let mut group = cell.0.lock();
        group.writes_in_flight = group.writes_in_flight.saturating_sub(1);
        let done = match write.effect {
            Effect::Membership(after) => {
                let outcome = outcome.map_err(membership_refusal);
                group.store_finished(after, outcome, &self.settings, moment);
                None
            }
            Effect::Commit(offsets, done) => {
                if outcome.is_ok() {
                    for (partition, value) in offsets {
                        group.offsets.insert(partition, value);
                    }
                }
                Some((done, outcome.map_err(commit_refusal)))
            }
            Effect::Forget(partitions, done) => {
                if outcome.is_ok() {
                    for partition in &partitions {
                        group.offsets.remove(partition);
                    }
                }
                done.map(|done| (done, outcome))
            }
            Effect::Remove(done) => {
                group.removing = false;
                if outcome.is_ok() {
                    self.bury(&cell, &mut group, moment);
                }
                done.map(|done| (done, outcome))
            }
        };
        if group.state() != super::state::GroupState::Dead {
            self.settle(&cell, &mut group, moment);
        }
        drop(group);
        if let Some((done, outcome)) = done
            && done.send(outcome).is_err()
        {
            tracing::trace!("the client of a written request has hung up");
        }
    }
}

/// A batch that is too large has a code of its own in the answer to a commit.
fn commit_refusal(error: GroupError) -> GroupError {
    match error {
        GroupError::MessageTooLarge => GroupError::InvalidCommitOffsetSize,
        other => other,
    }
}

/// A member can do nothing about a group that is too large for one record.
fn membership_refusal(error: GroupError) -> GroupError {
    match error {
        GroupError::MessageTooLarge => GroupError::UnknownServerError,
        other => other,
    }
}

fn offset_key(group: &Group, partition: &TopicPartition) -> Vec<u8> {
    OffsetKey {
        group: group.id().clone(),
        topic: partition.topic.clone(),
        partition: partition.partition,
    }
    .encode()
}

fn removal_records(group: &Group) -> Vec<PendingRecord> {
    let mut records: Vec<PendingRecord> = group
        .offsets
        .iter()
        .map(|(partition, _)| (offset_key(group, partition), None))
        .collect();
    records.push((encode_group_key(group.id()), None));
    records
}

fn encode(writes: &[Write], settings: &GroupSettings) -> Result<Option<Bytes>, StorageError> {
    let timestamp = platform::clock::unix_millis();
    let mut builder = BatchBuilder::new(settings.compression, BATCH_BYTES.min(16 * 1024));
    for (key, value) in writes.iter().flat_map(|write| &write.records) {
        builder.push(RecordRef {
            timestamp,
            key: Some(key),
            value: value.as_deref(),
            headers: &[],
        });
    }
    if builder.is_empty() {
        return Ok(None);
    }
    builder.finish().map(Some).map_err(|error| {
        StorageError::new(
            GroupError::UnknownServerError,
            format!("the batch could not be built: {error}"),
        )
    })
}
