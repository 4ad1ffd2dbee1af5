//! The quorum that the cluster's metadata is agreed on in: a replicated log of
//! [`MetadataRecord`]s and, on every node, the [`MetadataImage`] they add up to.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::watch;

use super::image::MetadataImage;
use super::journal::{Journal, JournalError};
use super::record::MetadataRecord;

/// Who leads the quorum, as far as this node knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leadership {
    /// Grows with every election.
    pub(crate) term: u64,
    /// The leader: the active controller.
    pub(crate) leader: Option<i32>,
}

/// The quorum at one moment, for operators.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct QuorumStatus {
    pub(crate) term: u64,
    pub(crate) leader: Option<i32>,
    /// Position of the last record known to be agreed on.
    pub(crate) committed: u64,
    pub(crate) voters: Vec<QuorumReplica>,
    /// Members that follow without a vote.
    pub(crate) observers: Vec<QuorumReplica>,
}

/// One member.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct QuorumReplica {
    pub(crate) id: i32,
    pub(crate) address: String,
    /// Position of its last record; none where this node does not know.
    pub(crate) log_end: Option<u64>,
}

/// Why the quorum did not take a change.
#[derive(Clone, Debug, Error)]
pub(crate) enum QuorumError {
    /// Another node leads, or none; the change was not made.
    #[error("this node does not lead the metadata quorum{}", .leader.map(|id| format!("; broker {id} does")).unwrap_or_default())]
    NotLeader { leader: Option<i32> },
    /// The disk refused; the change was not made.
    #[error("{0}")]
    Storage(String),
    /// It was not agreed on in time. It may still be.
    #[error("the metadata quorum did not agree in time; too few of its voters are reachable")]
    Timeout,
}

/// See the module.
pub(crate) struct Quorum {
    me: i32,
    journal: Arc<Mutex<Journal>>,
    image: watch::Sender<Arc<MetadataImage>>,
    leadership: watch::Sender<Leadership>,
}

impl Quorum {
    /// Opens what `folder` holds; it is created if needed.
    ///
    /// # Errors
    /// When it cannot be read or is damaged.
    pub(crate) async fn open(folder: &Path, me: i32) -> Result<(Self, bool), QuorumError> {
        let folder = folder.to_owned();
        let (journal, image, existed) = platform::blocking::run(move || Journal::open(&folder))
            .await
            .map_err(|error| QuorumError::Storage(error.to_string()))?;
        let quorum = Self {
            me,
            journal: Arc::new(Mutex::new(journal)),
            image: watch::Sender::new(Arc::new(image)),
            leadership: watch::Sender::new(Leadership {
                term: 1,
                leader: Some(me),
            }),
        };
        Ok((quorum, existed))
    }

    /// The metadata as of now, on this node.
    pub(crate) fn image(&self) -> Arc<MetadataImage> {
        self.image.borrow().clone()
    }

    /// Follows the metadata.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<MetadataImage>> {
        self.image.subscribe()
    }

    /// Follows who leads.
    pub(crate) fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    /// The members that vote.
    pub(crate) fn voters(&self) -> BTreeSet<i32> {
        BTreeSet::from([self.me])
    }

    /// For operators.
    pub(crate) fn status(&self) -> QuorumStatus {
        let leadership = *self.leadership.borrow();
        QuorumStatus {
            term: leadership.term,
            leader: leadership.leader,
            committed: self.image().version(),
            voters: vec![QuorumReplica {
                id: self.me,
                address: String::new(),
                log_end: Some(self.image().version()),
            }],
            observers: Vec::new(),
        }
    }

    /// Makes records durable on a majority and applies them; gives the image with them. Once begun
    /// it completes, even if the caller is cancelled.
    ///
    /// # Errors
    /// [`QuorumError::NotLeader`] and [`QuorumError::Storage`] when nothing was changed,
    /// [`QuorumError::Timeout`] when that is not known.
    pub(crate) async fn propose(
        &self,
        records: Vec<MetadataRecord>,
    ) -> Result<Arc<MetadataImage>, QuorumError> {
        let journal = self.journal.clone();
        let image = self.image.clone();
        platform::blocking::run(move || {
            let mut journal = journal.lock();
            journal.append(&records)?;
            let mut next = MetadataImage::clone(&image.borrow());
            for record in &records {
                next.apply(record);
            }
            next.set_version(next.version() + 1);
            let next = Arc::new(next);
            image.send_replace(next.clone());
            if let Err(error) = journal.compact(&next) {
                tracing::warn!(%error, "cannot write a snapshot of the metadata; trying again later");
            }
            Ok(next)
        })
        .await
        .map_err(|error: JournalError| QuorumError::Storage(error.to_string()))
    }
}
