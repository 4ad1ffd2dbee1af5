//! The Kafka APIs this broker answers: one file each, named after the API.
//!
//! A handler decodes nothing and writes nothing: it gets a typed request and gives a typed
//! response, and says in `VERSIONS` which versions of the API it means. The table below is the
//! whole of what is routed; [`api_versions`] advertises exactly it.

use bytes::Bytes;
use kafka_wire::{KafkaRequest, RequestHeader, RequestResponsePair};
use kafka_wire_core::{ApiVersion, DecodeLimits, Decoder, KafkaDecode, KafkaEncode};

use crate::node::RequestContext;
use crate::peer::CLUSTER_API;
pub(crate) use message::message;
pub(crate) use response::{RequestError, Response};

/// Declares the APIs that are a plain "typed request in, typed response out".
macro_rules! apis {
    ($($module:ident: $request:ident,)*) => {
        /// (API key, lowest version, highest version) of each routed API but ApiVersions, Produce
        /// and Fetch.
        const PLAIN: &[(i16, i16, i16)] = &[
            $((
                <kafka_wire::$request as KafkaRequest>::API_KEY.value(),
                $module::VERSIONS.0,
                $module::VERSIONS.1,
            ),)*
        ];

        /// Answers one request of a plain API; `None` when the key is none of them.
        async fn dispatch_plain(
            ctx: &RequestContext,
            header: &Preamble,
            frame: Bytes,
            limits: DecodeLimits,
        ) -> Option<Result<Response, RequestError>> {
            $(
                if header.api_key == <kafka_wire::$request as KafkaRequest>::API_KEY.value() {
                    // Boxed, so that a connection at rest does not carry room for the largest
                    // handler.
                    return Some(Box::pin(async move {
                        let (ctx, request) =
                            decode::<kafka_wire::$request>(ctx, header, frame, limits)?;
                        let response = $module::handle(&ctx, request, header.version()).await;
                        encode::<kafka_wire::$request>(header, &response)
                    }).await);
                }
            )*
            None
        }
    };
}

mod alter_configs;
mod alter_partition_reassignments;
pub(crate) mod api_versions;
mod cluster;
mod create_partitions;
mod create_topics;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_log_dirs;
mod describe_quorum;
mod describe_topic_partitions;
mod elect_leaders;
pub(crate) mod fetch;
mod fetch_encoding;
pub(crate) mod fetch_memory;
pub(crate) mod fetch_session;
mod incremental_alter_configs;
mod leader;
mod list_config_resources;
mod list_offsets;
mod list_partition_reassignments;
mod message;
mod metadata;
mod offset_for_leader_epoch;
pub(crate) mod produce;
mod remove_raft_voter;
mod response;
mod unregister_broker;

mod delete_groups;
mod describe_groups;
mod find_coordinator;
mod heartbeat;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_groups;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod sync_group;

apis! {
    list_offsets: ListOffsetsRequest,
    metadata: MetadataRequest,
    create_topics: CreateTopicsRequest,
    delete_topics: DeleteTopicsRequest,
    delete_records: DeleteRecordsRequest,
    offset_for_leader_epoch: OffsetForLeaderEpochRequest,
    describe_configs: DescribeConfigsRequest,
    alter_configs: AlterConfigsRequest,
    incremental_alter_configs: IncrementalAlterConfigsRequest,
    describe_log_dirs: DescribeLogDirsRequest,
    create_partitions: CreatePartitionsRequest,
    describe_cluster: DescribeClusterRequest,
    list_config_resources: ListConfigResourcesRequest,
    describe_topic_partitions: DescribeTopicPartitionsRequest,
    elect_leaders: ElectLeadersRequest,
    alter_partition_reassignments: AlterPartitionReassignmentsRequest,
    list_partition_reassignments: ListPartitionReassignmentsRequest,
    describe_quorum: DescribeQuorumRequest,
    unregister_broker: UnregisterBrokerRequest,
    remove_raft_voter: RemoveRaftVoterRequest,

    offset_commit: OffsetCommitRequest,
    offset_fetch: OffsetFetchRequest,
    find_coordinator: FindCoordinatorRequest,
    join_group: JoinGroupRequest,
    heartbeat: HeartbeatRequest,
    leave_group: LeaveGroupRequest,
    sync_group: SyncGroupRequest,
    describe_groups: DescribeGroupsRequest,
    list_groups: ListGroupsRequest,
    delete_groups: DeleteGroupsRequest,
    offset_delete: OffsetDeleteRequest,
    init_producer_id: InitProducerIdRequest,
}

/// The most bytes a request other than Produce may have. Such requests are lists of names and
/// numbers, which take several times their size once decoded.
pub(crate) const CONTROL_REQUEST_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Whether a request may have more bytes than [`CONTROL_REQUEST_BYTES_MAX`]: it carries records, or
/// metadata for another broker.
pub(crate) fn may_be_large(api_key: i16) -> bool {
    matches!(api_key, PRODUCE | CLUSTER_API)
}

/// API key of Produce, the only request that carries record data.
pub(crate) const PRODUCE: i16 = <kafka_wire::ProduceRequest as KafkaRequest>::API_KEY.value();
const FETCH: i16 = <kafka_wire::FetchRequest as KafkaRequest>::API_KEY.value();
const API_VERSIONS: i16 = <kafka_wire::ApiVersionsRequest as KafkaRequest>::API_KEY.value();

/// (API key, lowest version, highest version) of everything that is routed.
pub(crate) fn catalog() -> impl Iterator<Item = (i16, i16, i16)> {
    [
        (PRODUCE, produce::VERSIONS.0, produce::VERSIONS.1),
        (FETCH, fetch::VERSIONS.0, fetch::VERSIONS.1),
        (
            API_VERSIONS,
            api_versions::VERSIONS.0,
            api_versions::VERSIONS.1,
        ),
    ]
    .into_iter()
    .chain(PLAIN.iter().copied())
}

/// Whether `api_key` is one this broker routes, advertised or not: the first thing that tells a Kafka client from
/// anything else that may have connected.
pub(crate) fn is_known(api_key: i16) -> bool {
    api_key == CLUSTER_API || catalog().any(|(key, _, _)| key == api_key)
}

/// The start of every request, which has the same shape in every version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Preamble {
    pub(crate) api_key: i16,
    pub(crate) api_version: i16,
    pub(crate) correlation_id: i32,
}

impl Preamble {
    /// Bytes it takes on the wire.
    pub(crate) const BYTES: usize = 8;

    /// Reads it off the start of a frame; `None` if the frame is shorter.
    pub(crate) fn parse(frame: &[u8]) -> Option<Self> {
        let (api_key, rest) = frame.split_first_chunk::<2>()?;
        let (api_version, rest) = rest.split_first_chunk::<2>()?;
        let (correlation_id, _) = rest.split_first_chunk::<4>()?;
        Some(Self {
            api_key: i16::from_be_bytes(*api_key),
            api_version: i16::from_be_bytes(*api_version),
            correlation_id: i32::from_be_bytes(*correlation_id),
        })
    }

    fn version(&self) -> ApiVersion {
        ApiVersion::new(self.api_version)
    }
}

/// Answers one request. `Ok(None)` means that the protocol wants no answer (Produce with
/// `acks=0`).
///
/// # Errors
/// When the request cannot be answered in a way the client would understand; the connection has
/// to be closed then.
pub(crate) async fn dispatch(
    ctx: &RequestContext,
    frame: Bytes,
) -> Result<Option<Response>, RequestError> {
    let header = Preamble::parse(&frame).ok_or(RequestError::Truncated { bytes: frame.len() })?;
    if header.api_key == CLUSTER_API {
        // To the end, because it may change what the cluster agrees on.
        let ctx = ctx.clone();
        let answering = async move { cluster::dispatch(&ctx, &header, &frame).await };
        return to_the_end(answering).await.map(Some);
    }
    let supported =
        catalog()
            .find(|(key, _, _)| *key == header.api_key)
            .ok_or(RequestError::UnknownApi {
                key: header.api_key,
            })?;
    let in_range = (supported.1..=supported.2).contains(&header.api_version);
    if header.api_key == API_VERSIONS {
        // The one request a client sends before it knows our versions, so it gets an answer
        // whatever its version is.
        if !in_range {
            return api_versions::unsupported(&header).map(Some);
        }
    } else if !in_range {
        return Err(RequestError::UnsupportedVersion {
            key: header.api_key,
            version: header.api_version,
            lowest: supported.1,
            highest: supported.2,
        });
    }

    if header.api_key != API_VERSIONS && !ctx.broker.is_ready().await {
        return Err(RequestError::NotReady);
    }

    let mut limits = DecodeLimits::default();
    limits.max_frame_bytes = ctx.broker.config.socket_request_bytes_max;
    limits.max_bytes_bytes = frame.len();
    limits.max_string_bytes = STRING_BYTES_MAX;
    limits.max_array_elements = ARRAY_ELEMENTS_MAX;

    match header.api_key {
        PRODUCE => {
            Box::pin(async move {
                let (ctx, request) =
                    decode::<kafka_wire::ProduceRequest>(ctx, &header, frame, limits)?;
                match produce::handle(&ctx, request, header.version()).await? {
                    Some(response) => {
                        encode::<kafka_wire::ProduceRequest>(&header, &response).map(Some)
                    }
                    None => Ok(None),
                }
            })
            .await
        }
        FETCH => {
            Box::pin(async move {
                let (ctx, request) =
                    decode::<kafka_wire::FetchRequest>(ctx, &header, frame, limits)?;
                let response = fetch::handle(&ctx, request, header.version()).await;
                let mut response = fetch_encoding::encode(&header, response)?;
                response.held = Some(ctx.broker.fetch_memory.hold(response.len()));
                Ok(Some(response))
            })
            .await
        }
        API_VERSIONS => {
            let (ctx, request) =
                decode::<kafka_wire::ApiVersionsRequest>(ctx, &header, frame, limits)?;
            let response = api_versions::handle(&ctx, request, header.version()).await;
            encode::<kafka_wire::ApiVersionsRequest>(&header, &response).map(Some)
        }
        _ => {
            let answered = if CHANGING.contains(&header.api_key) {
                let ctx = ctx.clone();
                to_the_end(async move { dispatch_plain(&ctx, &header, frame, limits).await }).await
            } else {
                dispatch_plain(ctx, &header, frame, limits).await
            };
            match answered {
                Some(result) => result.map(Some),
                None => Err(RequestError::UnknownApi {
                    key: header.api_key,
                }),
            }
        }
    }
}

/// APIs that change what the cluster agrees on. Half of a change, such as a topic without its logs, would stay until
/// the next start, so it is ended also when the client is gone.
const CHANGING: &[i16] = &[
    <kafka_wire::MetadataRequest as KafkaRequest>::API_KEY.value(),
    <kafka_wire::CreateTopicsRequest as KafkaRequest>::API_KEY.value(),
    <kafka_wire::DeleteTopicsRequest as KafkaRequest>::API_KEY.value(),
    <kafka_wire::CreatePartitionsRequest as KafkaRequest>::API_KEY.value(),
    <kafka_wire::AlterConfigsRequest as KafkaRequest>::API_KEY.value(),
    <kafka_wire::IncrementalAlterConfigsRequest as KafkaRequest>::API_KEY.value(),
    <kafka_wire::ElectLeadersRequest as KafkaRequest>::API_KEY.value(),
    <kafka_wire::AlterPartitionReassignmentsRequest as KafkaRequest>::API_KEY.value(),
    <kafka_wire::UnregisterBrokerRequest as KafkaRequest>::API_KEY.value(),
    <kafka_wire::RemoveRaftVoterRequest as KafkaRequest>::API_KEY.value(),
];

/// Runs `work` in a task of its own and waits for it; cancelling the wait does not end it.
///
/// # Panics
/// Resumes a panic of `work` on the caller.
async fn to_the_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and so does everything after us.
            Err(_) => std::future::pending().await,
        },
    }
}

/// The longest string in a request; Kafka's own limit for most of them.
const STRING_BYTES_MAX: usize = 64 * 1024;
/// The longest list in a request.
const ARRAY_ELEMENTS_MAX: usize = 256 * 1024;

/// Decodes header and body; the context it gives back carries the request's client id.
/// Bytes after the body are ignored, as Kafka does.
fn decode<R: KafkaRequest>(
    ctx: &RequestContext,
    header: &Preamble,
    frame: Bytes,
    limits: DecodeLimits,
) -> Result<(RequestContext, R), RequestError> {
    let bad = |source| RequestError::Malformed {
        api: R::NAME,
        version: header.api_version,
        source,
    };
    let version = header.version();
    let header_version = ApiVersion::new(if R::is_flexible(version) { 2 } else { 1 });
    let mut decoder = Decoder::new(frame, limits).map_err(bad)?;
    let request_header = RequestHeader::decode(&mut decoder, header_version).map_err(bad)?;
    let request = R::decode(&mut decoder, version).map_err(bad)?;
    let mut ctx = ctx.clone();
    ctx.client_id = request_header.client_id.map(|id| id.into_string());
    Ok((ctx, request))
}

/// Encodes the response to a request of type `R`.
fn encode<R>(header: &Preamble, response: &R::Response) -> Result<Response, RequestError>
where
    R: RequestResponsePair,
    R::Response: KafkaEncode,
{
    Response::encode::<R::Response>(header, response)
}
