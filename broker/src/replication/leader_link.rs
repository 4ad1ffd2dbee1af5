//! How a follower talks to a leader: Kafka's Fetch and OffsetForLeaderEpoch on a connection of its
//! own.

use std::time::Duration;

use futures_util::future::BoxFuture;
use kafka_client::ClientConfig;
use kafka_client::wire::Connection;
use kafka_wire::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_wire::{FetchRequest, FetchResponse, OffsetForLeaderEpochRequest};
use kafka_wire_core::StrBytes;

/// The newest version this follower speaks.
const FETCH_VERSION: i16 = 17;
/// A batch may be as large as a frame.
const RESPONSE_BYTES_MAX: usize = 1 << 30;
/// A leader that takes no connection within this is not there.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);

/// Reaches leaders by their address.
pub(crate) trait Leaders: Send + Sync + 'static {
    /// Connects. The error says what went wrong.
    fn connect<'a>(
        &'a self,
        address: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn LeaderLink>, String>>;
}

/// Where one epoch of a leader's log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EpochEnd {
    pub(crate) epoch: i32,
    pub(crate) end_offset: i64,
}

/// A connection to one leader.
pub(crate) trait LeaderLink: Send + Sync {
    /// Fetches. An error means that the connection is of no use any more.
    fn fetch<'a>(
        &'a self,
        request: &'a FetchRequest,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<FetchResponse, String>>;

    /// The leader's largest epoch that is at most `epoch`, and where it ends.
    fn epoch_end<'a>(
        &'a self,
        question: EpochQuestion<'a>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Result<EpochEnd, i16>, String>>;
}

/// See [`LeaderLink::epoch_end`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct EpochQuestion<'a> {
    pub(crate) me: i32,
    pub(crate) topic: &'a str,
    pub(crate) index: i32,
    pub(crate) leader_epoch: i32,
    pub(crate) epoch: i32,
}

/// Over the network.
pub(crate) struct Tcp {
    config: ClientConfig,
}

impl Tcp {
    /// For the follower `me`.
    pub(crate) fn new(me: i32) -> Self {
        let mut config =
            ClientConfig::new(Vec::<String>::new()).with_client_id(format!("broker-{me}-replica"));
        config.response_bytes_max = RESPONSE_BYTES_MAX;
        config.connection_timeout = CONNECT_TIME_MAX;
        Self { config }
    }
}

impl Leaders for Tcp {
    fn connect<'a>(
        &'a self,
        address: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn LeaderLink>, String>> {
        Box::pin(async move {
            let connection = Connection::open(address, &self.config)
                .await
                .map_err(|error| error.to_string())?;
            let link: Box<dyn LeaderLink> = Box::new(TcpLink { connection });
            Ok(link)
        })
    }
}

struct TcpLink {
    connection: Connection,
}

impl Drop for TcpLink {
    fn drop(&mut self) {
        // A fetch that waits for records would keep it open.
        self.connection.close();
    }
}

impl LeaderLink for TcpLink {
    fn fetch<'a>(
        &'a self,
        request: &'a FetchRequest,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<FetchResponse, String>> {
        Box::pin(async move {
            let version = self
                .connection
                .version::<FetchRequest>(Some(FETCH_VERSION))
                .map_err(|error| error.to_string())?;
            self.connection
                .call(request, version, timeout)
                .await
                .map_err(|error| error.to_string())
        })
    }

    fn epoch_end<'a>(
        &'a self,
        question: EpochQuestion<'a>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Result<EpochEnd, i16>, String>> {
        Box::pin(async move {
            let version = self
                .connection
                .version::<OffsetForLeaderEpochRequest>(None)
                .map_err(|error| error.to_string())?;
            let mut partition = OffsetForLeaderPartition::default();
            partition.partition = question.index;
            partition.current_leader_epoch = question.leader_epoch;
            partition.leader_epoch = question.epoch;
            let mut topic = OffsetForLeaderTopic::default();
            topic.topic = StrBytes::from(question.topic);
            topic.partitions = vec![partition];
            let mut request = OffsetForLeaderEpochRequest::default();
            request.replica_id = question.me;
            request.topics = vec![topic];
            let response = self
                .connection
                .call(&request, version, timeout)
                .await
                .map_err(|error| error.to_string())?;
            let answer = response
                .topics
                .iter()
                .flat_map(|topic| &topic.partitions)
                .find(|answer| answer.partition == question.index)
                .ok_or_else(|| "the leader left out the partition".to_owned())?;
            Ok(match answer.error_code {
                0 => Ok(EpochEnd {
                    epoch: answer.leader_epoch,
                    end_offset: answer.end_offset,
                }),
                code => Err(code),
            })
        })
    }
}
