//! What agreed entries do: each makes a new [`MetadataImage`], for everybody at once. Snapshots of
//! it stand for the entries before them.
//!
//! `<index>.snapshot` holds two pieces: what openraft knows of the snapshot, and the records that
//! rebuild the image.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::storage::RaftStateMachine;
use openraft::{
    AnyError, EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot, StorageIOError,
};
use parking_lot::Mutex;
use platform::fs;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::frames::{self, FileError, Tail, fail};
use super::raft_types::{Entry, LogId, Membership, SnapshotMeta, StorageError, Types};
use crate::controller::image::MetadataImage;
use crate::controller::record::MetadataRecord;

/// What a snapshot's file is called after the index of its last entry.
const SUFFIX: &str = ".snapshot";

/// A snapshot's file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Piece<R> {
    Meta(SnapshotMeta),
    Image { records: R },
}

/// The image's records as they travel.
#[derive(Serialize, Deserialize)]
struct Image<R> {
    records: R,
}

/// What has been applied.
#[derive(Clone, Debug, Default)]
struct Applied {
    last: Option<LogId>,
    membership: Membership,
    image: Arc<MetadataImage>,
}

/// See the module. Clones share the state.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    folder: Arc<PathBuf>,
    applied: Arc<Mutex<Applied>>,
    published: watch::Sender<Arc<MetadataImage>>,
}

impl Machine {
    /// Reads the newest snapshot in `folder`, if there is one. Blocks.
    ///
    /// # Errors
    /// When the disk refuses or the snapshot is damaged.
    pub(super) fn open(folder: &Path) -> Result<Self, FileError> {
        let mut snapshots = frames::files(folder, SUFFIX)?;
        let mut applied = Applied::default();
        if let Some((_, path)) = snapshots.pop() {
            let bytes = fs::read(&path).map_err(fail("read", &path))?;
            let (meta, records) = parse(&path, &bytes)?;
            applied = Applied {
                image: Arc::new(build(&records, &meta)),
                last: meta.last_log_id,
                membership: meta.last_membership,
            };
            for (_, old) in snapshots {
                fs::remove_file(&old).map_err(fail("remove", &old))?;
            }
        }
        Ok(Self {
            folder: Arc::new(folder.to_owned()),
            published: watch::Sender::new(applied.image.clone()),
            applied: Arc::new(Mutex::new(applied)),
        })
    }

    /// The image as it is published.
    pub(super) fn published(&self) -> &watch::Sender<Arc<MetadataImage>> {
        &self.published
    }

    /// Whether nothing was ever applied.
    pub(super) fn is_new(&self) -> bool {
        self.applied.lock().last.is_none()
    }

    fn write(&self, meta: &SnapshotMeta, records: &[MetadataRecord]) -> Result<(), FileError> {
        let index = meta.last_log_id.map_or(0, |last| last.index);
        let path = self.folder.join(format!("{index:020}{SUFFIX}"));
        let mut bytes = Vec::new();
        frames::encode(&Piece::<()>::Meta(meta.clone()), &mut bytes)
            .and_then(|()| frames::encode(&Piece::Image { records }, &mut bytes))
            .and_then(|()| fs::write_atomic(&path, &bytes))
            .map_err(fail("write", &path))?;
        for (_, old) in frames::files(&self.folder, SUFFIX)? {
            if old != path
                && let Err(error) = fs::remove_file(&old)
            {
                tracing::warn!(path = %old.display(), %error, "cannot remove an old metadata snapshot");
            }
        }
        Ok(())
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<(SnapshotMeta, Vec<MetadataRecord>), FileError> {
    let (mut meta, mut records) = (None, None);
    let length = frames::decode(path, bytes, Tail::MustBeWhole, |piece| {
        match piece {
            Piece::Meta(read) => meta = Some(read),
            Piece::Image { records: read } => records = Some(read),
        }
        Ok(())
    })?;
    match (meta, records) {
        (Some(meta), Some(records)) => Ok((meta, records)),
        _ => Err(FileError::Damaged {
            path: path.to_owned(),
            position: length,
            problem: "the end is missing".to_owned(),
        }),
    }
}

fn build(records: &[MetadataRecord], meta: &SnapshotMeta) -> MetadataImage {
    let mut image = MetadataImage::default();
    for record in records {
        image.apply(record);
    }
    image.set_version(meta.last_log_id.map_or(0, |last| last.index));
    image
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotBuilder = Applying;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), StorageError> {
        let applied = self.applied.lock();
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<()>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut applied = self.applied.lock();
        let mut image = MetadataImage::clone(&applied.image);
        let mut answers = Vec::new();
        for entry in entries {
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(records) => {
                    for record in &records {
                        image.apply(record);
                    }
                }
                EntryPayload::Membership(membership) => {
                    applied.membership = Membership::new(Some(entry.log_id), membership);
                }
            }
            image.set_version(entry.log_id.index);
            applied.last = Some(entry.log_id);
            answers.push(());
        }
        applied.image = Arc::new(image);
        self.published.send_replace(applied.image.clone());
        Ok(answers)
    }

    async fn get_snapshot_builder(&mut self) -> Applying {
        Applying {
            machine: self.clone(),
            applied: self.applied.lock().clone(),
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError> {
        let received: Image<Vec<MetadataRecord>> = serde_json::from_slice(snapshot.get_ref())
            .map_err(|error| {
                StorageIOError::read_snapshot(Some(meta.signature()), AnyError::new(&error))
            })?;
        let applied = Applied {
            image: Arc::new(build(&received.records, meta)),
            last: meta.last_log_id,
            membership: meta.last_membership.clone(),
        };
        let (machine, kept) = (self.clone(), meta.clone());
        platform::blocking::run(move || machine.write(&kept, &received.records))
            .await
            .map_err(|error| {
                StorageIOError::write_snapshot(Some(meta.signature()), AnyError::new(&error))
            })?;
        tracing::info!(
            version = applied.image.version(),
            "took over a snapshot of the metadata"
        );
        self.published.send_replace(applied.image.clone());
        *self.applied.lock() = applied;
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, StorageError> {
        let folder = self.folder.clone();
        let read = move || {
            let Some((_, path)) = frames::files(&folder, SUFFIX)?.pop() else {
                return Ok(None);
            };
            let bytes = fs::read(&path).map_err(fail("read", &path))?;
            parse(&path, &bytes).map(Some)
        };
        let failed = |error: AnyError| StorageIOError::read_snapshot(None, error);
        let found = platform::blocking::run(read)
            .await
            .map_err(|error: FileError| failed(AnyError::new(&error)))?;
        let Some((meta, records)) = found else {
            return Ok(None);
        };
        let bytes = serde_json::to_vec(&Image { records })
            .map_err(|error| failed(AnyError::new(&error)))?;
        Ok(Some(Snapshot {
            meta,
            snapshot: Box::new(Cursor::new(bytes)),
        }))
    }
}

/// The state at one moment, to be written while entries go on being applied.
pub(super) struct Applying {
    machine: Machine,
    applied: Applied,
}

impl RaftSnapshotBuilder<Types> for Applying {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, StorageError> {
        let Applied {
            last,
            membership,
            image,
        } = self.applied.clone();
        let meta = SnapshotMeta {
            last_log_id: last,
            last_membership: membership,
            snapshot_id: format!(
                "{}-{:016x}",
                last.map_or(0, |last| last.index),
                platform::random::u64()
            ),
        };
        let (machine, kept) = (self.machine.clone(), meta.clone());
        let written = move || {
            let records = image.to_records();
            machine.write(&kept, &records)?;
            serde_json::to_vec(&Image { records })
                .map_err(|error| fail("encode", &machine.folder)(error.into()))
        };
        let bytes = platform::blocking::run(written).await.map_err(|error| {
            StorageIOError::write_snapshot(Some(meta.signature()), AnyError::new(&error))
        })?;
        Ok(Snapshot {
            meta,
            snapshot: Box::new(Cursor::new(bytes)),
        })
    }
}
