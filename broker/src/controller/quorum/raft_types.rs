//! What openraft is made concrete with: ids, entries, and a runtime whose random numbers come from
//! the platform, so that a simulated election repeats.

use std::future::Future;
use std::io::Cursor;
use std::time::Duration;

use openraft::{AsyncRuntime, TokioRuntime};
use serde::{Deserialize, Serialize};

use crate::controller::record::MetadataRecord;

/// A member: where it is reached, and which disk it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// `host:port`.
    pub(crate) address: String,
    /// Id of its first data folder. A message for another one is not for this member: whoever
    /// lost the disk its vote was on has no vote.
    pub(crate) directory: String,
}

openraft::declare_raft_types!(
    /// The quorum's types; an entry is a list of changes that belong together.
    pub(super) Types:
        D = Vec<MetadataRecord>,
        R = (),
        NodeId = u64,
        Node = Member,
        Entry = openraft::Entry<Types>,
        SnapshotData = Cursor<Vec<u8>>,
        AsyncRuntime = Runtime,
);

pub(super) type Entry = openraft::Entry<Types>;
pub(super) type LogId = openraft::LogId<u64>;
pub(super) type Vote = openraft::Vote<u64>;
pub(super) type Membership = openraft::StoredMembership<u64, Member>;
pub(super) type SnapshotMeta = openraft::SnapshotMeta<u64, Member>;
pub(super) type StorageError = openraft::StorageError<u64>;
pub(super) type Raft = openraft::Raft<Types>;
pub(super) type RaftMetrics = openraft::RaftMetrics<u64, Member>;

/// Broker ids are never negative once they are checked; openraft counts without a sign.
pub(super) fn raft_id(broker: i32) -> u64 {
    u64::from(broker.unsigned_abs())
}

/// The inverse of [`raft_id`].
pub(super) fn broker_id(raft: u64) -> i32 {
    i32::try_from(raft).unwrap_or(i32::MAX)
}

/// Tokio, with the platform's random numbers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Runtime;

/// See [`Runtime`].
pub(super) struct Random;

impl rand::RngCore for Random {
    fn next_u32(&mut self) -> u32 {
        let [a, b, c, d, ..] = platform::random::u64().to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    fn next_u64(&mut self) -> u64 {
        platform::random::u64()
    }

    fn fill_bytes(&mut self, buffer: &mut [u8]) {
        platform::random::fill(buffer);
    }

    fn try_fill_bytes(&mut self, buffer: &mut [u8]) -> Result<(), rand::Error> {
        platform::random::fill(buffer);
        Ok(())
    }
}

impl AsyncRuntime for Runtime {
    type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: Send + 'static> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <TokioRuntime as AsyncRuntime>::Sleep;
    type Instant = <TokioRuntime as AsyncRuntime>::Instant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + Send> = <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = Random;
    type OneshotSender<T: Send> = <TokioRuntime as AsyncRuntime>::OneshotSender<T>;
    type OneshotReceiver<T: Send> = <TokioRuntime as AsyncRuntime>::OneshotReceiver<T>;
    type OneshotReceiverError = <TokioRuntime as AsyncRuntime>::OneshotReceiverError;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + Send + 'static,
        T::Output: Send + 'static,
    {
        TokioRuntime::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        TokioRuntime::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + Send>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + Send>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(error: &Self::JoinError) -> bool {
        TokioRuntime::is_panic(error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        Random
    }

    fn oneshot<T>() -> (Self::OneshotSender<T>, Self::OneshotReceiver<T>)
    where
        T: Send,
    {
        TokioRuntime::oneshot()
    }
}
