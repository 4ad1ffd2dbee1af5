//! The records of `__consumer_offsets`, byte for byte as Kafka writes them.
//!
//! A key starts with an int16 record type, a value with an int16 version of its own. This broker
//! writes type 1 (a committed offset) and type 2 (a classic group); it reads every version of
//! their values and steps over types it doesn't know, as Kafka does. A null value deletes.
//!
//! Everything read here comes from a file and is checked: a length never allocates more than the
//! bytes that are there.

use bytes::Bytes;
use kafka_wire_core::StrBytes;

/// Why a record of the offsets topic can't be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum RecordFormatError {
    /// The bytes end inside a field.
    #[error("the record ends inside \"{0}\"")]
    Truncated(&'static str),
    /// A field holds what it never can.
    #[error("the record's \"{0}\" is not valid")]
    Invalid(&'static str),
    /// A version newer than this broker.
    #[error(
        "version {version} of a {record} record is not known; it was written by a newer broker"
    )]
    Version {
        /// What kind of record.
        record: &'static str,
        /// The version found.
        version: i16,
    },
}

/// The key of a record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum RecordKey {
    /// Type 0 or 1: a committed offset.
    Offset(OffsetKey),
    /// Type 2: a classic group.
    Group(StrBytes),
    /// Any other type: written by a Kafka broker for a feature this one doesn't have.
    Other(i16),
}

/// Whose offset a record of type 1 is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct OffsetKey {
    /// The group.
    pub(crate) group: StrBytes,
    /// The topic's name.
    pub(crate) topic: StrBytes,
    /// The partition's index.
    pub(crate) partition: i32,
}

/// The value of a record of type 1.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct OffsetValue {
    /// The next offset to read.
    pub(crate) offset: i64,
    /// The leader epoch of the last record read; -1 if the client didn't say.
    pub(crate) leader_epoch: i32,
    /// What the client wants to remember with it.
    pub(crate) metadata: StrBytes,
    /// When it was committed, milliseconds since the Unix epoch.
    pub(crate) commit_timestamp: i64,
    /// When it expires, if the client asked for a retention of its own (old clients only).
    pub(crate) expire_timestamp: Option<i64>,
    /// The topic's id when it was committed; all zero if not known.
    pub(crate) topic_id: [u8; 16],
}

/// The value of a record of type 2.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct GroupValue {
    /// `consumer`, `connect`, …; empty for a group that never had members.
    pub(crate) protocol_type: StrBytes,
    /// The generation the members belong to.
    pub(crate) generation: i32,
    /// The chosen protocol.
    pub(crate) protocol: Option<StrBytes>,
    /// The member that computes assignments.
    pub(crate) leader: Option<StrBytes>,
    /// When the group entered its state, milliseconds since the Unix epoch; -1 if not known.
    pub(crate) state_timestamp: i64,
    /// The members; none means the group is empty.
    pub(crate) members: Vec<MemberValue>,
}

/// A member within a record of type 2.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct MemberValue {
    /// The member id.
    pub(crate) member_id: StrBytes,
    /// The static member's instance id.
    pub(crate) instance_id: Option<StrBytes>,
    /// The client id.
    pub(crate) client_id: StrBytes,
    /// The client's address, `/127.0.0.1`.
    pub(crate) client_host: StrBytes,
    /// Milliseconds a rebalance waits for this member.
    pub(crate) rebalance_timeout_ms: i32,
    /// Milliseconds without a heartbeat after which the member is gone.
    pub(crate) session_timeout_ms: i32,
    /// The member's metadata for the chosen protocol.
    pub(crate) subscription: Bytes,
    /// The member's assignment.
    pub(crate) assignment: Bytes,
}

const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;
/// Written when the topic's id is known: the first version with tagged fields.
const OFFSET_VALUE_WITH_TOPIC_ID: i16 = 4;
/// Written otherwise.
const OFFSET_VALUE: i16 = 3;
/// The only version that holds an expiry time.
const OFFSET_VALUE_WITH_EXPIRY: i16 = 1;
const GROUP_VALUE: i16 = 3;
const TOPIC_ID_TAG: u32 = 0;

impl RecordKey {
    /// Reads a key.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordFormatError> {
        let mut reader = Reader(bytes);
        let kind = reader.i16("record type")?;
        Ok(match kind {
            0 | OFFSET_KEY => Self::Offset(OffsetKey {
                group: reader.string("group")?,
                topic: reader.string("topic")?,
                partition: reader.i32("partition")?,
            }),
            GROUP_KEY => Self::Group(reader.string("group")?),
            other => Self::Other(other),
        })
    }
}

impl OffsetKey {
    /// The bytes of the key.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(10 + self.group.len() + self.topic.len());
        put_i16(&mut out, OFFSET_KEY);
        put_string(&mut out, &self.group);
        put_string(&mut out, &self.topic);
        put_i32(&mut out, self.partition);
        out
    }
}

/// The bytes of a group's key.
pub(crate) fn encode_group_key(group: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + group.len());
    put_i16(&mut out, GROUP_KEY);
    put_string(&mut out, group);
    out
}

impl OffsetValue {
    /// The bytes of the value, in the version Kafka chooses: 1 with an expiry time, 4 with a
    /// topic id, else 3.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(48 + self.metadata.len());
        if let Some(expire) = self.expire_timestamp {
            put_i16(&mut out, OFFSET_VALUE_WITH_EXPIRY);
            put_i64(&mut out, self.offset);
            put_string(&mut out, &self.metadata);
            put_i64(&mut out, self.commit_timestamp);
            put_i64(&mut out, expire);
        } else if self.topic_id == [0; 16] {
            put_i16(&mut out, OFFSET_VALUE);
            put_i64(&mut out, self.offset);
            put_i32(&mut out, self.leader_epoch);
            put_string(&mut out, &self.metadata);
            put_i64(&mut out, self.commit_timestamp);
        } else {
            put_i16(&mut out, OFFSET_VALUE_WITH_TOPIC_ID);
            put_i64(&mut out, self.offset);
            put_i32(&mut out, self.leader_epoch);
            put_unsigned(&mut out, self.metadata.len() as u64 + 1);
            out.extend_from_slice(self.metadata.as_bytes());
            put_i64(&mut out, self.commit_timestamp);
            put_unsigned(&mut out, 1);
            put_unsigned(&mut out, u64::from(TOPIC_ID_TAG));
            put_unsigned(&mut out, 16);
            out.extend_from_slice(&self.topic_id);
        }
        out
    }

    /// Reads any version of the value.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordFormatError> {
        let mut reader = Reader(bytes);
        let version = reader.i16("version")?;
        if !(0..=4).contains(&version) {
            return Err(RecordFormatError::Version {
                record: "committed offset",
                version,
            });
        }
        let offset = reader.i64("offset")?;
        let leader_epoch = if version >= 3 {
            reader.i32("leader epoch")?
        } else {
            -1
        };
        let metadata = if version >= 4 {
            reader.compact_string("metadata")?
        } else {
            reader.string("metadata")?
        };
        let commit_timestamp = reader.i64("commit timestamp")?;
        let expire_timestamp = if version == 1 {
            Some(reader.i64("expire timestamp")?).filter(|at| *at >= 0)
        } else {
            None
        };
        let mut topic_id = [0; 16];
        if version >= 4 {
            reader.tags(|tag, value| {
                if tag == TOPIC_ID_TAG {
                    topic_id = value
                        .try_into()
                        .map_err(|_| RecordFormatError::Invalid("topic id"))?;
                }
                Ok(())
            })?;
        }
        Ok(Self {
            offset,
            leader_epoch,
            metadata,
            commit_timestamp,
            expire_timestamp,
            topic_id,
        })
    }
}

impl GroupValue {
    /// The bytes of the value, version 3 like Kafka's.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.members.len() * 256);
        put_i16(&mut out, GROUP_VALUE);
        put_string(&mut out, &self.protocol_type);
        put_i32(&mut out, self.generation);
        put_nullable_string(&mut out, self.protocol.as_deref());
        put_nullable_string(&mut out, self.leader.as_deref());
        put_i64(&mut out, self.state_timestamp);
        put_i32(&mut out, length_i32(self.members.len()));
        for member in &self.members {
            put_string(&mut out, &member.member_id);
            put_nullable_string(&mut out, member.instance_id.as_deref());
            put_string(&mut out, &member.client_id);
            put_string(&mut out, &member.client_host);
            put_i32(&mut out, member.rebalance_timeout_ms);
            put_i32(&mut out, member.session_timeout_ms);
            put_bytes(&mut out, &member.subscription);
            put_bytes(&mut out, &member.assignment);
        }
        out
    }

    /// Reads any version of the value.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordFormatError> {
        let mut reader = Reader(bytes);
        let version = reader.i16("version")?;
        if !(0..=4).contains(&version) {
            return Err(RecordFormatError::Version {
                record: "group",
                version,
            });
        }
        let flexible = version >= 4;
        let protocol_type = reader.text(flexible, "protocol type")?;
        let generation = reader.i32("generation")?;
        let protocol = reader.nullable_text(flexible, "protocol")?;
        let leader = reader.nullable_text(flexible, "leader")?;
        let state_timestamp = if version >= 2 {
            reader.i64("state timestamp")?
        } else {
            -1
        };
        let count = if flexible {
            reader.unsigned("members")?.saturating_sub(1)
        } else {
            u32::try_from(reader.i32("members")?)
                .map_err(|_| RecordFormatError::Invalid("members"))?
        };
        let mut members = Vec::new();
        for _ in 0..count {
            members.push(MemberValue::decode(&mut reader, version)?);
        }
        if flexible {
            reader.tags(|_, _| Ok(()))?;
        }
        Ok(Self {
            protocol_type,
            generation,
            protocol,
            leader,
            state_timestamp,
            members,
        })
    }
}

impl MemberValue {
    fn decode(reader: &mut Reader<'_>, version: i16) -> Result<Self, RecordFormatError> {
        let flexible = version >= 4;
        let member_id = reader.text(flexible, "member id")?;
        let instance_id = if version >= 3 {
            reader.nullable_text(flexible, "instance id")?
        } else {
            None
        };
        let client_id = reader.text(flexible, "client id")?;
        let client_host = reader.text(flexible, "client host")?;
        let rebalance_timeout = if version >= 1 {
            Some(reader.i32("rebalance timeout")?)
        } else {
            None
        };
        let session_timeout_ms = reader.i32("session timeout")?;
        let subscription = reader.blob(flexible, "subscription")?;
        let assignment = reader.blob(flexible, "assignment")?;
        if flexible {
            reader.tags(|_, _| Ok(()))?;
        }
        Ok(Self {
            member_id,
            instance_id,
            client_id,
            client_host,
            rebalance_timeout_ms: rebalance_timeout.unwrap_or(session_timeout_ms),
            session_timeout_ms,
            subscription,
            assignment,
        })
    }
}

fn put_i16(out: &mut Vec<u8>, value: i16) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_i32(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Lengths reach here only after the request was checked against the format's limits; a length
/// that still doesn't fit would make the record unreadable, so it is cut to the limit.
fn length_i32(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

fn put_string(out: &mut Vec<u8>, value: &str) {
    debug_assert!(value.len() <= super::settings::STRING_BYTES_MAX);
    let mut end = value.len().min(super::settings::STRING_BYTES_MAX);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    let cut = value.get(..end).unwrap_or_default();
    put_i16(out, i16::try_from(cut.len()).unwrap_or(i16::MAX));
    out.extend_from_slice(cut.as_bytes());
}

fn put_nullable_string(out: &mut Vec<u8>, value: Option<&str>) {
    match value {
        Some(value) => put_string(out, value),
        None => put_i16(out, -1),
    }
}

fn put_bytes(out: &mut Vec<u8>, value: &[u8]) {
    put_i32(out, length_i32(value.len()));
    out.extend_from_slice(value);
}

fn put_unsigned(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Takes fields off the front of a record.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize, field: &'static str) -> Result<&'a [u8], RecordFormatError> {
        let (head, tail) = self
            .0
            .split_at_checked(length)
            .ok_or(RecordFormatError::Truncated(field))?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], RecordFormatError> {
        self.take(N, field)?
            .try_into()
            .map_err(|_| RecordFormatError::Truncated(field))
    }

    fn i16(&mut self, field: &'static str) -> Result<i16, RecordFormatError> {
        self.array(field).map(i16::from_be_bytes)
    }

    fn i32(&mut self, field: &'static str) -> Result<i32, RecordFormatError> {
        self.array(field).map(i32::from_be_bytes)
    }

    fn i64(&mut self, field: &'static str) -> Result<i64, RecordFormatError> {
        self.array(field).map(i64::from_be_bytes)
    }

    fn unsigned(&mut self, field: &'static str) -> Result<u32, RecordFormatError> {
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array::<1>(field)?;
            let bits = u32::from(byte & 0x7f);
            value |= bits
                .checked_shl(shift)
                .filter(|shifted| shifted >> shift == bits)
                .ok_or(RecordFormatError::Invalid(field))?;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(RecordFormatError::Invalid(field))
    }

    fn utf8(&mut self, length: usize, field: &'static str) -> Result<StrBytes, RecordFormatError> {
        let bytes = self.take(length, field)?;
        std::str::from_utf8(bytes)
            .map(StrBytes::from)
            .map_err(|_| RecordFormatError::Invalid(field))
    }

    fn nullable_text(
        &mut self,
        flexible: bool,
        field: &'static str,
    ) -> Result<Option<StrBytes>, RecordFormatError> {
        let length = if flexible {
            i64::from(self.unsigned(field)?) - 1
        } else {
            i64::from(self.i16(field)?)
        };
        match usize::try_from(length) {
            Ok(length) => self.utf8(length, field).map(Some),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(RecordFormatError::Invalid(field)),
        }
    }

    fn text(&mut self, flexible: bool, field: &'static str) -> Result<StrBytes, RecordFormatError> {
        self.nullable_text(flexible, field)?
            .ok_or(RecordFormatError::Invalid(field))
    }

    fn string(&mut self, field: &'static str) -> Result<StrBytes, RecordFormatError> {
        self.text(false, field)
    }

    fn compact_string(&mut self, field: &'static str) -> Result<StrBytes, RecordFormatError> {
        self.text(true, field)
    }

    fn blob(&mut self, flexible: bool, field: &'static str) -> Result<Bytes, RecordFormatError> {
        let length = if flexible {
            i64::from(self.unsigned(field)?) - 1
        } else {
            i64::from(self.i32(field)?)
        };
        let length = usize::try_from(length).map_err(|_| RecordFormatError::Invalid(field))?;
        self.take(length, field).map(Bytes::copy_from_slice)
    }

    fn tags(
        &mut self,
        mut each: impl FnMut(u32, &'a [u8]) -> Result<(), RecordFormatError>,
    ) -> Result<(), RecordFormatError> {
        for _ in 0..self.unsigned("tagged fields")? {
            let tag = self.unsigned("tag")?;
            let length = self.unsigned("tag length")?;
            let length =
                usize::try_from(length).map_err(|_| RecordFormatError::Invalid("tag length"))?;
            each(tag, self.take(length, "tag value")?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset_value() -> OffsetValue {
        OffsetValue {
            offset: 42,
            leader_epoch: 7,
            metadata: "m".into(),
            commit_timestamp: 1000,
            expire_timestamp: None,
            topic_id: [0; 16],
        }
    }

    fn group_value() -> GroupValue {
        GroupValue {
            protocol_type: "consumer".into(),
            generation: 3,
            protocol: Some("range".into()),
            leader: Some("m-1".into()),
            state_timestamp: 5,
            members: vec![MemberValue {
                member_id: "m-1".into(),
                instance_id: None,
                client_id: "c".into(),
                client_host: "/h".into(),
                rebalance_timeout_ms: 300,
                session_timeout_ms: 45,
                subscription: Bytes::from_static(b"sub"),
                assignment: Bytes::from_static(b"as"),
            }],
        }
    }

    #[test]
    fn an_offset_key_has_kafkas_bytes() {
        let key = OffsetKey {
            group: "g".into(),
            topic: "to".into(),
            partition: 258,
        };
        let bytes = [0, 1, 0, 1, b'g', 0, 2, b't', b'o', 0, 0, 1, 2];
        assert_eq!(key.encode(), bytes);
        assert_eq!(RecordKey::decode(&bytes), Ok(RecordKey::Offset(key)));
    }

    #[test]
    fn a_group_key_has_kafkas_bytes() {
        let bytes = [0, 2, 0, 2, b'g', b'1'];
        assert_eq!(encode_group_key("g1"), bytes);
        assert_eq!(RecordKey::decode(&bytes), Ok(RecordKey::Group("g1".into())));
    }

    #[test]
    fn keys_of_other_types_are_recognised_as_such() {
        assert_eq!(RecordKey::decode(&[0, 5, 1, 2]), Ok(RecordKey::Other(5)));
    }

    #[test]
    fn an_offset_value_has_kafkas_bytes_in_each_written_version() {
        let value = offset_value();
        let v3 = [
            0, 3, 0, 0, 0, 0, 0, 0, 0, 42, 0, 0, 0, 7, 0, 1, b'm', 0, 0, 0, 0, 0, 0, 3, 232,
        ];
        assert_eq!(value.encode(), v3);
        assert_eq!(OffsetValue::decode(&v3), Ok(value));

        let value = OffsetValue {
            topic_id: [9; 16],
            ..offset_value()
        };
        let mut v4 = vec![
            0, 4, 0, 0, 0, 0, 0, 0, 0, 42, 0, 0, 0, 7, 2, b'm', 0, 0, 0, 0, 0, 0, 3, 232, 1, 0, 16,
        ];
        v4.extend([9; 16]);
        assert_eq!(value.encode(), v4);
        assert_eq!(OffsetValue::decode(&v4), Ok(value));

        let value = OffsetValue {
            leader_epoch: -1,
            expire_timestamp: Some(2000),
            ..offset_value()
        };
        let v1 = [
            0, 1, 0, 0, 0, 0, 0, 0, 0, 42, 0, 1, b'm', 0, 0, 0, 0, 0, 0, 3, 232, 0, 0, 0, 0, 0, 0,
            7, 208,
        ];
        assert_eq!(value.encode(), v1);
        assert_eq!(OffsetValue::decode(&v1), Ok(value));
    }

    #[test]
    fn old_offset_values_are_read() {
        let v0 = [
            0, 0, 0, 0, 0, 0, 0, 0, 0, 42, 0, 0, 0, 0, 0, 0, 0, 0, 3, 232,
        ];
        let value = OffsetValue::decode(&v0).unwrap();
        assert_eq!((value.offset, value.leader_epoch), (42, -1));
        let without_expiry = [
            0, 1, 0, 0, 0, 0, 0, 0, 0, 42, 0, 0, 0, 0, 0, 0, 0, 0, 3, 232, 255, 255, 255, 255, 255,
            255, 255, 255,
        ];
        let value = OffsetValue::decode(&without_expiry).unwrap();
        assert_eq!(value.expire_timestamp, None);
    }

    #[test]
    fn a_group_value_has_kafkas_bytes() {
        let value = group_value();
        let mut bytes = vec![0, 3, 0, 8];
        bytes.extend(b"consumer");
        bytes.extend([0, 0, 0, 3, 0, 5]);
        bytes.extend(b"range");
        bytes.extend([0, 3]);
        bytes.extend(b"m-1");
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 5]);
        bytes.extend([0, 0, 0, 1, 0, 3]);
        bytes.extend(b"m-1");
        bytes.extend([255, 255, 0, 1, b'c', 0, 2, b'/', b'h']);
        bytes.extend([0, 0, 1, 44, 0, 0, 0, 45]);
        bytes.extend([0, 0, 0, 3]);
        bytes.extend(b"sub");
        bytes.extend([0, 0, 0, 2]);
        bytes.extend(b"as");
        assert_eq!(value.encode(), bytes);
        assert_eq!(GroupValue::decode(&bytes), Ok(value));
    }

    #[test]
    fn the_flexible_group_value_is_read() {
        let mut bytes = vec![0, 4, 9];
        bytes.extend(b"consumer");
        bytes.extend([0, 0, 0, 3, 6]);
        bytes.extend(b"range");
        bytes.extend([4]);
        bytes.extend(b"m-1");
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 5]);
        bytes.extend([2, 4]);
        bytes.extend(b"m-1");
        bytes.extend([0, 2, b'c', 3, b'/', b'h']);
        bytes.extend([0, 0, 1, 44, 0, 0, 0, 45]);
        bytes.extend([4]);
        bytes.extend(b"sub");
        bytes.extend([3]);
        bytes.extend(b"as");
        bytes.extend([0, 0]);
        assert_eq!(GroupValue::decode(&bytes), Ok(group_value()));
    }

    #[test]
    fn every_truncation_is_an_error_and_nothing_panics_on_flipped_bytes() {
        let group = group_value().encode();
        let offset = OffsetValue {
            topic_id: [9; 16],
            ..offset_value()
        }
        .encode();
        for end in 0..group.len() {
            assert!(GroupValue::decode(&group[..end]).is_err());
        }
        for end in 0..offset.len() {
            assert!(OffsetValue::decode(&offset[..end]).is_err());
        }
        for position in 0..group.len() {
            let mut bytes = group.clone();
            bytes[position] ^= 0xff;
            let _outcome = GroupValue::decode(&bytes);
        }
    }
}
