//! Every partition on this node, and the checkpoints of its data folders.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use super::barrier::Barrier;
use super::candidates::Candidates;
use super::disk::DiskHealth;
use super::maintenance::Maintenance;
use super::{Partition, ReadError};
use crate::error_code;
use crate::log::{
    self, LogConfig, LogError, LogOptions, Offsets as OffsetMap, Opening, checkpoint_name as name,
    read_offsets, read_topic_id, write_offsets, write_topic_id,
};

/// What a data folder's clean-shutdown marker says; Kafka reads it too.
const CLEAN_SHUTDOWN: &[u8] = b"{\"version\":0,\"brokerEpoch\":-1}";
/// Suffix of a partition's folder that is being removed.
const DELETE_SUFFIX: &str = "-delete";
/// Suffix of a partition's folder that nobody claims; it is left to the operator.
const STRAY_SUFFIX: &str = "-stray";
/// Kafka's own metadata log, which is none of our partitions.
const METADATA_TOPIC: &str = "__cluster_metadata";

type Topics = HashMap<Arc<str>, BTreeMap<i32, Arc<Partition>>>;
/// Offsets by checkpoint and partition.
type Unopened = HashMap<(PathBuf, (String, i32)), i64>;

/// What all partitions of a node share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) barrier: Barrier,
    pub(super) candidates: Candidates,
    pub(super) disk: DiskHealth,
    pub(super) owner: Weak<Replicas>,
}

impl Shared {
    /// Notes an error, given its code, which may be the disk's.
    pub(super) fn note_failure(&self, code: i16) {
        if code == error_code::KAFKA_STORAGE_ERROR {
            self.disk.note_failure();
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Replicas {
    folders: Vec<PathBuf>,
    options: Arc<LogOptions>,
    topics: RwLock<Topics>,
    names: RwLock<HashMap<[u8; 16], Arc<str>>>,
    shared: Arc<Shared>,
    /// Offset up to which each compacted partition is clean.
    clean_up_to: Mutex<OffsetMap>,
    /// Partitions with damage in what would be cleaned, by folder; they are left alone until the next start, so that
    /// the others have their turn.
    uncleanable: Mutex<HashSet<PathBuf>>,
    /// Whenever damage was found in a partition.
    pub(crate) damage_noted: Notify,
    /// What the checkpoints say of partitions that are there but could not be opened; it stays in them.
    unopened: Mutex<Unopened>,
    /// What the checkpoints say, to write them only when they change.
    written: Mutex<HashMap<PathBuf, OffsetMap>>,
}

/// Topic and number in a partition folder's name.
fn parse_folder(folder_name: &str) -> Option<(&str, i32)> {
    let (topic, index) = folder_name.rsplit_once('-')?;
    let index: i32 = index.parse().ok()?;
    (!topic.is_empty() && topic != METADATA_TOPIC && index >= 0).then_some((topic, index))
}

/// Removes a topic's partitions, or one of them, from a data folder, also those that could not be opened, which would
/// come back as a topic nobody knows. That they are gone is durable.
fn remove_from(folder: &Path, topic: &str, only: Option<i32>) -> Result<(), LogError> {
    let entries = platform::fs::read_dir(folder).map_err(LogError::io("list", folder))?;
    let mut removed = false;
    let mut result = Ok(());
    for entry in entries {
        let Some((name, index)) = parse_folder(&entry.file_name) else {
            continue;
        };
        if !entry.is_dir || name != topic || only.is_some_and(|only| only != index) {
            continue;
        }
        let renamed = folder.join(format!(
            "{topic}-{index}.{:016x}{DELETE_SUFFIX}",
            platform::random::u64()
        ));
        let gone = platform::fs::rename(&entry.path, &renamed)
            .map_err(LogError::io("rename", &entry.path))
            .and_then(|()| {
                platform::fs::remove_dir_all(&renamed).map_err(LogError::io("remove", &renamed))
            });
        result = result.and(gone);
        removed = true;
    }
    if removed {
        platform::fs::sync_dir(folder).map_err(LogError::io("sync", folder))?;
    }
    result
}

impl Replicas {
    /// Opens every partition in the data folders; after a crash, what was not durable is checked.
    ///
    /// A partition that cannot be opened is reported in the log and left out; [`Replicas::create`] tries it again.
    ///
    /// # Errors
    /// When a data folder or its checkpoints cannot be read.
    pub async fn open(folders: Vec<PathBuf>, options: LogOptions) -> Result<Arc<Self>, LogError> {
        platform::blocking::run(move || Self::open_blocking(folders, options)).await
    }

    fn open_blocking(folders: Vec<PathBuf>, options: LogOptions) -> Result<Arc<Self>, LogError> {
        let replicas = Arc::new_cyclic(|owner| Self {
            folders,
            options: Arc::new(options),
            topics: RwLock::default(),
            names: RwLock::default(),
            shared: Arc::new(Shared {
                barrier: Barrier::default(),
                candidates: Candidates::default(),
                disk: DiskHealth::default(),
                owner: Weak::clone(owner),
            }),
            clean_up_to: Mutex::default(),
            uncleanable: Mutex::default(),
            damage_noted: Notify::new(),
            unopened: Mutex::default(),
            written: Mutex::default(),
        });
        for folder in &replicas.folders {
            replicas.open_folder(folder)?;
        }
        // Entries of partitions that are gone must not meet new ones of the same name.
        replicas.write_checkpoints()?;
        Ok(replicas)
    }

    fn open_folder(&self, folder: &Path) -> Result<(), LogError> {
        platform::fs::create_dir_all(folder).map_err(LogError::io("create", folder))?;
        let marker = folder.join(name::CLEAN_SHUTDOWN);
        let clean = platform::fs::exists(&marker);
        if clean {
            platform::fs::remove_file(&marker).map_err(LogError::io("remove", &marker))?;
            platform::fs::sync_dir(folder).map_err(LogError::io("sync", folder))?;
        }
        let recovery_points = read_offsets(&folder.join(name::RECOVERY_POINT))?;
        let log_starts = read_offsets(&folder.join(name::LOG_START))?;
        let clean_up_to = read_offsets(&folder.join(name::CLEANER))?;
        let high_watermarks = read_offsets(&folder.join(name::HIGH_WATERMARK))?;
        self.clean_up_to.lock().extend(clean_up_to.clone());
        for entry in platform::fs::read_dir(folder).map_err(LogError::io("list", folder))? {
            if !entry.is_dir {
                continue;
            }
            if entry.file_name.ends_with(DELETE_SUFFIX) {
                platform::fs::remove_dir_all(&entry.path)
                    .map_err(LogError::io("remove", &entry.path))?;
                continue;
            }
            let Some((topic, index)) = parse_folder(&entry.file_name) else {
                continue;
            };
            let key = (topic.to_owned(), index);
            let offset = |offsets: &OffsetMap| offsets.get(&key).copied().unwrap_or(0);
            let opening = Opening {
                folder: entry.path.clone(),
                config: self.options.defaults.clone(),
                options: Arc::clone(&self.options),
                clean: clean && recovery_points.contains_key(&key),
                recovery_point: offset(&recovery_points),
                log_start: offset(&log_starts),
                clean_up_to: offset(&clean_up_to),
                now_ms: platform::clock::unix_millis(),
            };
            if let Err(error) = self.open_partition(topic, index, opening, offset(&high_watermarks))
            {
                tracing::error!(%error, topic, partition = index, "partition cannot be opened");
            }
            if self.get(topic, index).is_none() {
                let checkpoints = [
                    (name::RECOVERY_POINT, &recovery_points),
                    (name::LOG_START, &log_starts),
                    (name::HIGH_WATERMARK, &high_watermarks),
                ];
                let known = checkpoints.into_iter().filter_map(|(name, offsets)| {
                    Some(((folder.join(name), key.clone()), *offsets.get(&key)?))
                });
                self.unopened.lock().extend(known);
            }
        }
        Ok(())
    }

    fn open_partition(
        &self,
        topic: &str,
        index: i32,
        opening: Opening,
        high_watermark: i64,
    ) -> Result<(), LogError> {
        let folder = opening.folder.clone();
        let topic_id = match read_topic_id(&folder.join(name::PARTITION_METADATA)) {
            Ok(Some(topic_id)) => topic_id,
            // A crash took the file before it was durable. Who owns the topic creates the partition again, with its
            // id, and then what the folder has is kept.
            Ok(None) | Err(LogError::Malformed { .. }) => {
                tracing::warn!(folder = %folder.display(), "the folder does not say whose records it has; it waits for its topic");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let log = opening.open()?;
        self.insert(Partition::new(
            Arc::from(topic),
            index,
            topic_id,
            high_watermark,
            log,
            Arc::clone(&self.shared),
        ));
        Ok(())
    }

    fn insert(&self, partition: Arc<Partition>) {
        self.names
            .write()
            .insert(partition.topic_id(), Arc::clone(partition.topic()));
        let mut topics = self.topics.write();
        topics
            .entry(Arc::clone(partition.topic()))
            .or_default()
            .insert(partition.index(), partition);
    }

    /// A partition by name.
    pub fn get(&self, topic: &str, partition: i32) -> Option<Arc<Partition>> {
        self.topics.read().get(topic)?.get(&partition).cloned()
    }

    /// A partition by its topic's id.
    pub fn get_by_id(&self, topic_id: [u8; 16], partition: i32) -> Option<Arc<Partition>> {
        let topic = self.names.read().get(&topic_id).cloned()?;
        self.get(&topic, partition)
            .filter(|partition| partition.topic_id() == topic_id)
    }

    /// All partitions, in no order.
    pub fn list(&self) -> Vec<Arc<Partition>> {
        self.topics
            .read()
            .values()
            .flat_map(BTreeMap::values)
            .cloned()
            .collect()
    }

    /// The data folders.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.folders.clone()
    }

    /// The data folders and the partitions in each, for DescribeLogDirs.
    pub fn folders(&self) -> Vec<(PathBuf, Vec<Arc<Partition>>)> {
        let partitions = self.list();
        self.folders
            .iter()
            .map(|folder| {
                let inside = partitions
                    .iter()
                    .filter(|partition| partition.log().folder().parent() == Some(folder));
                (folder.clone(), inside.cloned().collect())
            })
            .collect()
    }

    /// Creates a partition in the data folder that has the fewest; if it is there already, it gets the configuration.
    /// It neither leads nor follows before it is told.
    ///
    /// # Errors
    /// [`LogError::TopicId`] if it is there with another topic id, [`LogError::Io`].
    pub async fn create(
        self: &Arc<Self>,
        topic: &str,
        topic_id: [u8; 16],
        partition: i32,
        config: LogConfig,
    ) -> Result<Arc<Partition>, LogError> {
        let replicas = Arc::clone(self);
        let topic: Arc<str> = Arc::from(topic);
        platform::blocking::run(move || {
            let created = replicas.create_blocking(topic, topic_id, partition, config);
            created.inspect_err(|error| replicas.note_failure(error))
        })
        .await
    }

    fn create_blocking(
        &self,
        topic: Arc<str>,
        topic_id: [u8; 16],
        index: i32,
        config: LogConfig,
    ) -> Result<Arc<Partition>, LogError> {
        let same_id = |found: [u8; 16], path: &Path| {
            if found == topic_id {
                Ok(())
            } else {
                Err(LogError::TopicId {
                    path: path.to_owned(),
                })
            }
        };
        if let Some(partition) = self.get(&topic, index) {
            same_id(partition.topic_id(), partition.log().folder())?;
            partition.log().set_config(config);
            return Ok(partition);
        }
        let folder_name = format!("{topic}-{index}");
        let existing = self
            .folders
            .iter()
            .map(|folder| folder.join(&folder_name))
            .find(|path| platform::fs::exists(path));
        let key = (topic.to_string(), index);
        let (folder, recovery_point, log_start, clean_up_to, high_watermark) = match existing {
            Some(folder) => {
                // It could not be opened at the start; its checkpoints are still there.
                let parent = folder.parent().unwrap_or(Path::new(".")).to_owned();
                let offset = |name: &str| {
                    read_offsets(&parent.join(name))
                        .map(|offsets| offsets.get(&key).copied().unwrap_or(0))
                };
                let (recovery_point, log_start) =
                    (offset(name::RECOVERY_POINT)?, offset(name::LOG_START)?);
                let (clean_up_to, high_watermark) =
                    (offset(name::CLEANER)?, offset(name::HIGH_WATERMARK)?);
                (
                    folder,
                    recovery_point,
                    log_start,
                    clean_up_to,
                    high_watermark,
                )
            }
            None => {
                self.forget_offsets(&key)?;
                (self.roomiest_folder().join(&folder_name), 0, 0, 0, 0)
            }
        };
        let metadata = folder.join(name::PARTITION_METADATA);
        match read_topic_id(&metadata) {
            Ok(Some(found)) => same_id(found, &folder)?,
            Ok(None) | Err(LogError::Malformed { .. }) => {
                platform::fs::create_dir_all(&folder).map_err(LogError::io("create", &folder))?;
                write_topic_id(&metadata, topic_id)?;
            }
            Err(error) => return Err(error),
        }
        let opening = Opening {
            folder,
            config,
            options: Arc::clone(&self.options),
            clean: false,
            recovery_point,
            log_start,
            clean_up_to,
            now_ms: platform::clock::unix_millis(),
        };
        let log = opening.open()?;
        let partition = Partition::new(
            topic,
            index,
            topic_id,
            high_watermark,
            log,
            Arc::clone(&self.shared),
        );
        self.insert(Arc::clone(&partition));
        self.unopened.lock().retain(|(_, known), _| *known != key);
        Ok(partition)
    }

    /// Writes the checkpoints again if they still have the offsets of a deleted partition: after a crash, those would
    /// be taken for the new one's, and its records for deleted ones.
    fn forget_offsets(&self, key: &(String, i32)) -> Result<(), LogError> {
        self.unopened.lock().retain(|(_, known), _| known != key);
        let remembered = self
            .written
            .lock()
            .values()
            .any(|offsets| offsets.contains_key(key));
        if remembered {
            self.write_checkpoints()?;
        }
        Ok(())
    }

    /// Waits until followers of some of the partitions this node leads may be in sync and are not known as such, and
    /// answers these partitions: it is time for [`Partition::propose_isr`]. Cancel-safe; for a single waiter.
    pub(crate) async fn joining(&self) -> Vec<Arc<Partition>> {
        self.shared.candidates.wait().await
    }

    /// Whether the disks take what is written.
    pub(crate) fn disk(&self) -> &DiskHealth {
        &self.shared.disk
    }

    /// Notes an error, which may be the disk's.
    pub(super) fn note_failure(&self, error: &LogError) {
        self.shared.note_failure(error.code());
    }

    fn roomiest_folder(&self) -> PathBuf {
        let mut folders = self.folders();
        folders.sort_by_key(|(_, partitions)| partitions.len());
        folders
            .into_iter()
            .next()
            .map_or_else(PathBuf::new, |(folder, _)| folder)
    }

    /// Deletes a topic's partitions with all their records.
    ///
    /// # Errors
    /// [`LogError::Io`]; partitions that could not be removed are gone from the node all the same, and their folders
    /// are tried again at the next start.
    pub async fn delete(self: &Arc<Self>, topic: &str) -> Result<(), LogError> {
        let replicas = Arc::clone(self);
        let topic = topic.to_owned();
        platform::blocking::run(move || replicas.delete_blocking(&topic)).await
    }

    fn delete_blocking(&self, topic: &str) -> Result<(), LogError> {
        let removed = self.topics.write().remove(topic).unwrap_or_default();
        self.names.write().retain(|_, name| &**name != topic);
        self.clean_up_to.lock().retain(|(name, _), _| name != topic);
        self.unopened
            .lock()
            .retain(|(_, (name, _)), _| name != topic);
        for partition in removed.values() {
            self.uncleanable.lock().remove(partition.folder());
        }
        for partition in removed.values() {
            partition.mark_deleted();
        }
        let mut result = Ok(());
        for folder in &self.folders {
            result = result.and(remove_from(folder, topic, None));
        }
        // Before a topic of that name can be created again, nothing may remember the old offsets.
        result.and(self.write_checkpoints())
    }

    /// Deletes one partition of a topic with all its records.
    ///
    /// # Errors
    /// As [`Replicas::delete`].
    pub(crate) async fn delete_partition(
        self: &Arc<Self>,
        topic: &str,
        index: i32,
    ) -> Result<(), LogError> {
        let replicas = Arc::clone(self);
        let topic = topic.to_owned();
        platform::blocking::run(move || {
            replicas.take_out(&topic, index);
            let mut result = Ok(());
            for folder in &replicas.folders {
                result = result.and(remove_from(folder, &topic, Some(index)));
            }
            result.and(replicas.write_checkpoints())
        })
        .await
    }

    /// Takes a partition out of service and keeps its folder under another name. Answers that name and how many bytes
    /// are in it; none if there is no such folder.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub(crate) async fn set_aside(
        self: &Arc<Self>,
        topic: &str,
        index: i32,
    ) -> Result<Option<(PathBuf, u64)>, LogError> {
        let replicas = Arc::clone(self);
        let topic = topic.to_owned();
        platform::blocking::run(move || replicas.set_aside_blocking(&topic, index)).await
    }

    fn set_aside_blocking(
        &self,
        topic: &str,
        index: i32,
    ) -> Result<Option<(PathBuf, u64)>, LogError> {
        self.take_out(topic, index);
        let folder_name = format!("{topic}-{index}");
        let mut kept = None;
        for folder in &self.folders {
            let path = folder.join(&folder_name);
            if !platform::fs::exists(&path) {
                continue;
            }
            let files = platform::fs::read_dir(&path).map_err(LogError::io("list", &path))?;
            let bytes = files.iter().map(|file| file.len).sum();
            let aside = folder.join(format!(
                "{folder_name}.{:016x}{STRAY_SUFFIX}",
                platform::random::u64()
            ));
            platform::fs::rename(&path, &aside).map_err(LogError::io("rename", &path))?;
            platform::fs::sync_dir(folder).map_err(LogError::io("sync", folder))?;
            kept = Some((aside, bytes));
        }
        self.write_checkpoints()?;
        Ok(kept)
    }

    /// Forgets a partition; its files are still there. Blocks until an append that runs is done.
    fn take_out(&self, topic: &str, index: i32) {
        let key = (topic.to_owned(), index);
        let removed = {
            let mut topics = self.topics.write();
            let removed = topics
                .get_mut(topic)
                .and_then(|partitions| partitions.remove(&index));
            if topics.get(topic).is_some_and(BTreeMap::is_empty) {
                topics.remove(topic);
                self.names.write().retain(|_, name| &**name != topic);
            }
            removed
        };
        self.clean_up_to.lock().remove(&key);
        self.unopened.lock().retain(|(_, known), _| *known != key);
        if let Some(partition) = removed {
            self.uncleanable.lock().remove(partition.folder());
            partition.mark_deleted();
        }
    }

    /// Changes the configuration of a topic's partitions.
    pub fn update_config(&self, topic: &str, config: LogConfig) {
        if let Some(partitions) = self.topics.read().get(topic) {
            for partition in partitions.values() {
                partition.log().set_config(config.clone());
            }
        }
    }

    /// Removes the records of a partition before `before`; -1 is the high watermark. Answers the log's new start,
    /// which is durable then.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`] beyond the high watermark, [`LogError::Policy`] for a topic that is only
    /// compacted, [`LogError::Io`].
    pub async fn delete_records(
        self: &Arc<Self>,
        partition: &Arc<Partition>,
        before: i64,
    ) -> Result<i64, ReadError> {
        let replicas = Arc::clone(self);
        let offsets = partition.offsets();
        let topic = Arc::clone(partition.topic());
        partition
            .blocking(move |log| {
                let policy = log.config().cleanup_policy;
                if policy.compact && !policy.delete {
                    return Err(LogError::Policy(format!(
                        "records of topic \"{topic}\" cannot be deleted by offset as it is compacted; add delete to its cleanup.policy"
                    )));
                }
                let before = if before == -1 { offsets.high_watermark } else { before };
                if before < 0 || before > offsets.high_watermark {
                    return Err(LogError::OffsetOutOfRange {
                        offset: before,
                        log_start: offsets.log_start,
                        log_end: offsets.high_watermark,
                    });
                }
                let start = log.raise_start(before);
                // The start may be remembered only when the records before it are: a log that ends before its start
                // would begin anew.
                log.flush()?;
                replicas.write_checkpoints()?;
                log.remove_below_start(platform::clock::unix_millis())?;
                Ok(start)
            })
            .await
    }

    /// Makes every partition durable, writes the checkpoints and the mark of an orderly end. Appends after this are
    /// not covered, so the caller stops them first.
    ///
    /// # Errors
    /// The first partition's that could not be closed; the others are closed, and the next start checks all.
    pub async fn shutdown(self: &Arc<Self>) -> Result<(), LogError> {
        let replicas = Arc::clone(self);
        platform::blocking::run(move || {
            let mut result = Ok(());
            for partition in replicas.list() {
                let closed = partition.log().close();
                if let Err(error) = &closed {
                    tracing::error!(%error, topic = %partition.topic(), partition = partition.index(), "cannot close a log");
                }
                result = result.and(closed);
            }
            result?;
            replicas.write_checkpoints()?;
            for folder in &replicas.folders {
                let marker = folder.join(name::CLEAN_SHUTDOWN);
                platform::fs::write_atomic(&marker, CLEAN_SHUTDOWN).map_err(LogError::io("write", &marker))?;
            }
            Ok(())
        })
        .await
    }

    /// Starts flushing, retention, compaction and checkpoints; they end when the result is stopped or dropped.
    pub fn start_maintenance(self: &Arc<Self>) -> Maintenance {
        Maintenance::start(self)
    }

    pub(crate) fn options(&self) -> &LogOptions {
        &self.options
    }

    fn offsets_in(&self, folder: &Path, offset: impl Fn(&Partition) -> i64) -> OffsetMap {
        self.list()
            .iter()
            .filter(|partition| partition.log().folder().parent() == Some(folder))
            .map(|partition| {
                (
                    (partition.topic().to_string(), partition.index()),
                    offset(partition),
                )
            })
            .collect()
    }

    fn write_if_changed(&self, path: PathBuf, mut offsets: OffsetMap) -> Result<(), LogError> {
        for ((of, key), offset) in &*self.unopened.lock() {
            if *of == path {
                offsets.entry(key.clone()).or_insert(*offset);
            }
        }
        let mut written = self.written.lock();
        if written.get(&path) != Some(&offsets) {
            write_offsets(&path, &offsets)?;
            written.insert(path, offsets);
        }
        Ok(())
    }

    /// Has the checkpoints say no more than is still there, before a log that was cut grows again. Blocks.
    pub(super) fn checkpoint_cut(&self, partition: &Partition) -> Result<(), LogError> {
        let key = (partition.topic().to_string(), partition.index());
        if let Some(clean_up_to) = self.clean_up_to.lock().get_mut(&key) {
            *clean_up_to = partition.log().end().min(*clean_up_to);
        }
        self.write_checkpoints()
    }

    /// A partition that was damaged is not any more.
    pub(super) fn repaired(&self, partition: &Partition) {
        self.uncleanable.lock().remove(partition.folder());
    }

    /// Writes recovery points, log starts, high watermarks and the cleaner's offsets, as far as they changed. Blocks.
    pub(crate) fn write_checkpoints(&self) -> Result<(), LogError> {
        for folder in &self.folders {
            let recovery_points = self.offsets_in(folder, |partition| partition.log().flushed());
            self.write_if_changed(folder.join(name::RECOVERY_POINT), recovery_points)?;
            let log_starts = self.offsets_in(folder, |partition| partition.log().start());
            self.write_if_changed(folder.join(name::LOG_START), log_starts)?;
            let clean_up_to = self.clean_up_to.lock().clone();
            self.write_if_changed(folder.join(name::CLEANER), clean_up_to)?;
        }
        self.write_high_watermarks()
    }

    /// Writes the high watermarks, if they changed. Blocks.
    pub(crate) fn write_high_watermarks(&self) -> Result<(), LogError> {
        self.folders.iter().try_for_each(|folder| {
            let offsets = self.offsets_in(folder, |partition| partition.offsets().high_watermark);
            self.write_if_changed(folder.join(name::HIGH_WATERMARK), offsets)
        })
    }

    /// Flushes every partition with records that are not durable, and checkpoints. Blocks.
    pub(crate) fn checkpoint(&self) -> Result<(), LogError> {
        let mut result = Ok(());
        for partition in self.list() {
            if partition.log().flushed() < partition.log().end() {
                result = result.and(partition.log().checkpoint().map(|_| ()));
            }
        }
        result.and(self.write_checkpoints())
    }

    /// Compacts the log that wants it most. Blocks; answers whether one was cleaned.
    pub(crate) fn clean_one(&self) -> Result<bool, LogError> {
        let now_ms = platform::clock::unix_millis();
        let mut dirtiest: Option<(f64, Arc<Partition>, i64)> = None;
        for partition in self.list() {
            let config = partition.config();
            if !config.cleanup_policy.compact
                || partition.is_deleted()
                || self.uncleanable.lock().contains(partition.folder())
            {
                continue;
            }
            let key = (partition.topic().to_string(), partition.index());
            let first_dirty = self
                .clean_up_to
                .lock()
                .get(&key)
                .copied()
                .unwrap_or(0)
                .max(partition.log().start());
            let Some(dirtiness) = log::dirtiness(partition.log(), first_dirty, now_ms) else {
                continue;
            };
            if !dirtiness.overdue && dirtiness.ratio < config.min_cleanable_dirty_ratio {
                continue;
            }
            if dirtiest
                .as_ref()
                .is_none_or(|(ratio, ..)| *ratio < dirtiness.ratio)
            {
                dirtiest = Some((dirtiness.ratio, partition, first_dirty));
            }
        }
        let Some((_, partition, first_dirty)) = dirtiest else {
            return Ok(false);
        };
        let cleaned = match log::clean(partition.log(), first_dirty, now_ms) {
            Ok(cleaned) => cleaned,
            Err(error @ LogError::Io { .. }) => return Err(error),
            Err(error) => {
                tracing::error!(
                    %error, topic = %partition.topic(), partition = partition.index(),
                    "a partition cannot be compacted and grows, until it is copied from another replica or, at the next start, is whole again"
                );
                let folder = partition.folder().to_owned();
                self.uncleanable.lock().insert(folder);
                partition.note_damage();
                return Ok(true);
            }
        };
        tracing::debug!(
            topic = %partition.topic(), partition = partition.index(),
            before = cleaned.bytes.0, after = cleaned.bytes.1, "compacted"
        );
        let key = (partition.topic().to_string(), partition.index());
        if !partition.is_deleted() {
            self.clean_up_to.lock().insert(key, cleaned.clean_up_to);
        }
        self.write_checkpoints()?;
        Ok(cleaned.clean_up_to > first_dirty)
    }
}
