//! Batches as a whole: what is built comes back, what is damaged is noticed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use bytes::Bytes;
use kafka_records::{
    Batch, BatchBuilder, Compression, Header, ProducerIdentity, Record, RecordError, RecordRef,
    assign_offsets, batches, set_log_append_time, stamp_producer,
};
use proptest::prelude::*;

const MAX: usize = 64 << 20;

fn build(compression: Compression, records: &[Record]) -> Bytes {
    let mut builder = BatchBuilder::new(compression, 256);
    let mut bound = builder.encoded_bytes();
    for record in records {
        let record = RecordRef {
            timestamp: record.timestamp,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &record.headers,
        };
        bound += BatchBuilder::estimate(record);
        builder.push(record);
        assert!(builder.encoded_bytes() <= bound);
    }
    let bytes = builder.finish().unwrap();
    assert!(builder.is_empty());
    bytes
}

fn read(bytes: &Bytes) -> Result<Vec<Record>, RecordError> {
    let mut records = Vec::new();
    for batch in batches(bytes.clone()) {
        let batch = batch?;
        batch.verify()?;
        for record in batch.records(MAX)? {
            records.push(record?);
        }
    }
    Ok(records)
}

fn sample(count: i64) -> Vec<Record> {
    (0..count)
        .map(|offset| Record {
            offset,
            timestamp: 1_700_000_000_000 + offset,
            key: (offset % 3 != 0).then(|| Bytes::from(format!("key-{offset}"))),
            value: (offset % 5 != 4).then(|| Bytes::from(format!("value number {offset}"))),
            headers: (0..offset % 3)
                .map(|n| Header {
                    key: Bytes::from(format!("h{n}")),
                    value: (n == 0).then(|| Bytes::from("v")),
                })
                .collect(),
        })
        .collect()
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

fn record() -> impl Strategy<Value = Record> {
    let header =
        (bytes(), prop::option::of(bytes())).prop_map(|(key, value)| Header { key, value });
    (
        any::<i64>(),
        prop::option::of(bytes()),
        prop::option::of(bytes()),
        prop::collection::vec(header, 0..3),
    )
        .prop_map(|(timestamp, key, value, headers)| Record {
            offset: 0,
            timestamp,
            key,
            value,
            headers,
        })
}

proptest! {
    #[test]
    fn records_come_back_as_they_were_pushed(mut records in prop::collection::vec(record(), 1..40), codec in 0..5i16) {
        for (offset, record) in records.iter_mut().enumerate() {
            record.offset = offset as i64;
        }
        let bytes = build(Compression::try_from(codec).unwrap(), &records);
        prop_assert_eq!(read(&bytes).unwrap(), records);
    }

    #[test]
    fn no_bytes_make_it_panic(noise in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(records) = read(&Bytes::from(noise)) {
            prop_assert!(records.is_empty());
        }
    }

    #[test]
    fn damaged_blocks_behind_a_right_checksum_never_panic(
        noise in prop::collection::vec(any::<u8>(), 0..300), codec in 0..8u8, count in -1..100i32,
    ) {
        let mut bytes = build(Compression::None, &sample(1)).to_vec();
        bytes.truncate(61);
        bytes.extend_from_slice(&noise);
        let length = (bytes.len() - 12) as i32;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[22] = codec;
        bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
        bytes[57..61].copy_from_slice(&count.to_be_bytes());
        stamp_producer(&mut bytes, ProducerIdentity::NONE, false);
        let result = read(&Bytes::from(bytes));
        prop_assert!(result.is_err() || result.unwrap().len() as i32 == count);
    }
}

#[test]
fn a_flip_of_any_byte_is_noticed_or_harmless() {
    for codec in Compression::ALL {
        let records = sample(20);
        let bytes = build(codec, &records);
        for at in 0..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 0x10;
            match read(&Bytes::from(damaged)) {
                // Base offset and leader epoch are not covered by the checksum, the broker sets them.
                Ok(_) if at < 8 || (12..16).contains(&at) => {}
                // A larger length looks like a batch that is not all there yet.
                Ok(read) => assert!(
                    (8..12).contains(&at) && read.is_empty(),
                    "{codec} byte {at}"
                ),
                Err(_) => {}
            }
        }
    }
}

#[test]
fn a_cut_at_any_byte_gives_the_whole_batches_before_it() {
    let first = build(Compression::None, &sample(3));
    let second = build(Compression::Lz4, &sample(4));
    let both = Bytes::from([first.clone(), second].concat());
    for cut in 0..both.len() {
        let records = read(&both.slice(..cut)).unwrap();
        assert_eq!(
            records.len(),
            if cut < first.len() { 0 } else { 3 },
            "cut at {cut}"
        );
    }
    assert_eq!(read(&both).unwrap().len(), 7);
}

#[test]
fn a_cut_inside_the_block_of_records_is_a_malformed_record() {
    let bytes = build(Compression::None, &sample(5));
    for cut in 61..bytes.len() {
        let mut short = bytes[..cut].to_vec();
        let length = (cut - 12) as i32;
        short[8..12].copy_from_slice(&length.to_be_bytes());
        stamp_producer(&mut short, ProducerIdentity::NONE, false);
        let short = Bytes::from(short);
        assert!(
            matches!(read(&short), Err(RecordError::BadRecord { .. })),
            "cut at {cut}"
        );
        let batch = Batch::parse(&short).unwrap();
        assert!(batch.inspect(MAX, |_| {}).is_err());
    }
}

#[test]
fn uncompressed_records_share_the_batchs_buffer() {
    let bytes = build(Compression::None, &sample(5));
    let range = bytes.as_ptr_range();
    for record in read(&bytes).unwrap() {
        if let Some(value) = record.value {
            assert!(range.contains(&value.as_ptr()));
        }
    }
}

#[test]
fn a_broker_places_a_batch_without_touching_the_checksum() {
    let mut bytes = build(Compression::Zstd, &sample(5)).to_vec();
    assign_offsets(&mut bytes, 1000, 7);
    let batch = Batch::parse(&Bytes::from(bytes)).unwrap();
    batch.verify().unwrap();
    assert_eq!(
        (
            batch.header.base_offset,
            batch.header.partition_leader_epoch
        ),
        (1000, 7)
    );
    assert_eq!(batch.header.next_offset(), 1005);
    let offsets: Vec<i64> = batch
        .records(MAX)
        .unwrap()
        .map(|record| record.unwrap().offset)
        .collect();
    assert_eq!(offsets, [1000, 1001, 1002, 1003, 1004]);
}

#[test]
fn append_time_holds_for_all_records() {
    let mut bytes = build(Compression::None, &sample(3)).to_vec();
    set_log_append_time(&mut bytes, 42);
    let batch = Batch::parse(&Bytes::from(bytes)).unwrap();
    batch.verify().unwrap();
    assert!(
        batch
            .records(MAX)
            .unwrap()
            .all(|record| record.unwrap().timestamp == 42)
    );
}

#[test]
fn an_identity_stamped_late_is_the_same_as_one_given_at_the_end() {
    let identity = ProducerIdentity {
        producer_id: 9,
        producer_epoch: 2,
        base_sequence: 100,
    };
    let record = RecordRef {
        timestamp: 5,
        key: None,
        value: Some(b"x"),
        headers: &[],
    };
    let mut builder = BatchBuilder::new(Compression::Gzip, 0);
    builder.push(record);
    let mut late = builder.finish().unwrap().to_vec();
    stamp_producer(&mut late, identity, true);
    builder.push(record);
    let direct = builder.finish_with(identity, true).unwrap();
    assert_eq!(late, direct);
    let batch = Batch::parse(&direct).unwrap();
    assert!(batch.header.is_transactional());
    assert_eq!(batch.header.producer(), identity);
}

#[test]
fn shapes_say_what_the_records_are() {
    let records = sample(10);
    for codec in Compression::ALL {
        let batch = Batch::parse(&build(codec, &records)).unwrap();
        let mut shapes = Vec::new();
        batch.inspect(MAX, |shape| shapes.push(shape)).unwrap();
        assert_eq!(shapes.len(), records.len());
        for (shape, record) in shapes.iter().zip(&records) {
            assert_eq!(i64::from(shape.offset_delta), record.offset);
            assert_eq!(shape.timestamp, record.timestamp);
            assert_eq!(shape.has_key, record.key.is_some());
            assert_eq!(shape.has_value, record.value.is_some());
        }
    }
}
