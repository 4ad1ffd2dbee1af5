//! Why the group coordinator refuses a request, as the codes of the Kafka protocol.

/// A refusal, one variant for each Kafka error code the coordinator answers with.
///
/// The discriminant is the code on the wire.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[repr(i16)]
pub(crate) enum GroupError {
    /// Something failed on this side that the client can't act on.
    #[error("the server could not store the group; see the broker's log")]
    UnknownServerError = -1,
    /// The topic or partition of an offset doesn't exist.
    #[error("this topic or partition does not exist")]
    UnknownTopicOrPartition = 3,
    /// A member's metadata is larger than a group may store.
    #[error("the member's metadata is larger than a group may store; send less")]
    MessageTooLarge = 10,
    /// The metadata string of a committed offset is longer than `offset.metadata.max.bytes`.
    #[error("the offset's metadata is longer than \"offset.metadata.max.bytes\"; shorten it")]
    OffsetMetadataTooLarge = 12,
    /// The offsets partition of the group is still being replayed.
    #[error("the coordinator is loading the group; try again")]
    CoordinatorLoadInProgress = 14,
    /// The group's storage can't be reached now.
    #[error("the coordinator is not available now; try again")]
    CoordinatorNotAvailable = 15,
    /// This broker can't or can no longer answer for the group.
    #[error("this broker is not the group's coordinator; find it again")]
    NotCoordinator = 16,
    /// The request comes from another generation than the group's.
    #[error("the generation is not the group's current one; rejoin")]
    IllegalGeneration = 22,
    /// No protocol is supported by all members, or the protocol type differs.
    #[error(
        "no group protocol is supported by every member; use the assignors of the other members"
    )]
    InconsistentGroupProtocol = 23,
    /// The group id is empty or longer than the log format can hold.
    #[error("the group id is empty or too long; configure \"group.id\"")]
    InvalidGroupId = 24,
    /// The group has no such member.
    #[error("the group has no member with this id; rejoin")]
    UnknownMemberId = 25,
    /// The session timeout is outside the broker's bounds.
    #[error(
        "the session timeout is outside \"group.min.session.timeout.ms\" and \"group.max.session.timeout.ms\""
    )]
    InvalidSessionTimeout = 26,
    /// The group is rebalancing.
    #[error("the group is rebalancing; rejoin")]
    RebalanceInProgress = 27,
    /// The offsets of one commit don't fit into one batch of the log.
    #[error("the offsets of this commit are larger than one batch may be; commit fewer at a time")]
    InvalidCommitOffsetSize = 28,
    /// The request contradicts itself.
    #[error("the request is malformed")]
    InvalidRequest = 42,
    /// The group still has members.
    #[error("the group is not empty; stop its members first")]
    NonEmptyGroup = 68,
    /// There is no such group.
    #[error("the group does not exist")]
    GroupIdNotFound = 69,
    /// The member must join again with the id it was just given (KIP-394).
    #[error("the member has to join again with the id in this answer")]
    MemberIdRequired = 79,
    /// The group holds as many members as `group.max.size` allows.
    #[error("the group is full; raise \"group.max.size\" or start fewer members")]
    GroupMaxSizeReached = 81,
    /// Another process took over the static member's instance id (KIP-345).
    #[error("another member now uses this \"group.instance.id\"; give each process its own")]
    FencedInstanceId = 82,
    /// A live member of the group reads the topic whose offset should be deleted.
    #[error("the group is subscribed to this topic; stop its members first")]
    GroupSubscribedToTopic = 86,
    /// No topic has this id.
    #[error("no topic has this id")]
    UnknownTopicId = 100,
}

impl GroupError {
    /// The code on the wire.
    pub(crate) const fn code(self) -> i16 {
        self as i16
    }
}

/// The wire code of an optional refusal: 0 for none.
pub(crate) fn code_of(error: Option<GroupError>) -> i16 {
    error.map_or(0, GroupError::code)
}
