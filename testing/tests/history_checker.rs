//! The checker of histories finds what it is there to find: each test is a sound history with one
//! thing made wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use connect_testing::cluster::check::check;
use connect_testing::cluster::history::{Ending, Event, History, ReplicaState, Value};

fn value(number: u64) -> Value {
    Value {
        producer: 1,
        partition: 0,
        number,
    }
}

fn leading(epoch: i32, high_watermark: i64) -> ReplicaState {
    ReplicaState {
        broker: 1,
        life: 1,
        partition: 0,
        leads: true,
        leader_epoch: epoch,
        high_watermark,
        log_end: 10,
    }
}

fn delivered(member: u32, offset: i64) -> Event {
    Event::Delivered {
        member,
        partition: 0,
        offset,
        record: Ok(value(offset.unsigned_abs())),
    }
}

fn read(offset: i64) -> Event {
    Event::Read {
        reader: 1,
        partition: 0,
        offset,
        record: Ok(value(offset.unsigned_abs())),
    }
}

/// Four records: sent, acknowledged, read and delivered to a group whose partition moves once.
fn sound() -> (Vec<Event>, Ending) {
    let mut events = Vec::new();
    for number in 0..4 {
        events.push(Event::Sent(value(number)));
        events.push(Event::Acknowledged {
            value: value(number),
            offset: (number % 2 == 0).then_some(number.cast_signed()),
        });
    }
    events.extend((0..4).map(read));
    let assigned = |member| Event::Assigned {
        member,
        partition: 0,
    };
    events.push(assigned(1));
    events.push(delivered(1, 0));
    events.push(Event::CommitAsked {
        partition: 0,
        next: 1,
    });
    events.push(Event::Committed {
        partition: 0,
        next: 1,
    });
    events.push(delivered(1, 1));
    events.push(assigned(2));
    events.extend((1..4).map(|offset| delivered(2, offset)));
    events.push(Event::Replica(leading(3, 2)));
    events.push(Event::Replica(leading(3, 4)));
    let mut ending = Ending::default();
    let records = (0..4).map(|number: u64| (number.cast_signed(), Ok(value(number))));
    ending.records.insert(0, records.collect());
    let batches = vec![(0, 11), (2, 22)];
    let replicas = BTreeMap::from([(1, batches.clone()), (2, batches)]);
    ending.replicas.insert(0, replicas);
    (events, ending)
}

fn judged(events: Vec<Event>, ending: &Ending) -> Result<(), String> {
    let mut history = History::default();
    for event in events {
        history.note(Duration::ZERO, event);
    }
    check(&history, ending)
        .map(drop)
        .map_err(|wrong| wrong.join("; "))
}

/// What the checker says once the sound history was changed.
fn after(change: impl FnOnce(&mut Vec<Event>, &mut Ending)) -> String {
    let (mut events, mut ending) = sound();
    change(&mut events, &mut ending);
    match judged(events, &ending) {
        Err(wrong) => wrong,
        Ok(summary) => panic!("this history is wrong: {summary:?}"),
    }
}

fn records(ending: &mut Ending) -> &mut Vec<(i64, Result<Value, String>)> {
    ending.records.entry(0).or_default()
}

#[test]
fn a_sound_history_is_accepted() {
    let (events, ending) = sound();
    judged(events, &ending).unwrap();
}

#[test]
fn a_failed_record_may_be_there_or_not() {
    for there in [false, true] {
        let (mut events, mut ending) = sound();
        events.push(Event::Sent(value(4)));
        events.push(Event::Failed(value(4)));
        if there {
            records(&mut ending).push((4, Ok(value(4))));
            events.push(delivered(2, 4));
        }
        judged(events, &ending).unwrap();
    }
}

#[test]
fn finds_a_lost_record() {
    let said = after(|_, ending| drop(records(ending).remove(3)));
    assert!(
        said.contains("1/0/3 was acknowledged (at None) and is lost"),
        "{said}"
    );
}

#[test]
fn finds_a_repeated_record() {
    let said = after(|_, ending| records(ending).push((4, Ok(value(2)))));
    assert!(said.contains("1/0/2 is there twice, at 2 and 4"), "{said}");
}

#[test]
fn finds_records_out_of_order() {
    let said = after(|events, ending| {
        events.push(Event::Sent(value(9)));
        records(ending).insert(3, (3, Ok(value(9))));
        records(ending)[4].0 = 4;
    });
    assert!(
        said.contains("1/0/3 at offset 4 comes after a later one of its producer, 9"),
        "{said}"
    );
}

#[test]
fn finds_what_nobody_sent() {
    let said = after(|_, ending| records(ending).push((4, Err("??".to_owned()))));
    assert!(said.contains("nobody sent what is at offset 4"), "{said}");
    let elsewhere = Value {
        partition: 7,
        ..value(3)
    };
    let said = after(|events, ending| {
        events.push(Event::Sent(elsewhere));
        records(ending).push((4, Ok(elsewhere)));
    });
    assert!(said.contains("nobody sent what is at offset 4"), "{said}");
}

#[test]
fn finds_a_record_that_is_not_where_its_producer_was_told() {
    let said = after(|events, _| {
        events.push(Event::Acknowledged {
            value: value(1),
            offset: Some(8),
        });
    });
    assert!(
        said.contains("1/0/1 was acknowledged at 8 and is at 1"),
        "{said}"
    );
}

#[test]
fn finds_a_record_that_was_shown_and_taken_back() {
    let said = after(|events, _| events.push(read(4)));
    assert!(said.contains("at offset 4, which is gone"), "{said}");
    let said = after(|events, _| {
        events.push(Event::Read {
            reader: 2,
            partition: 0,
            offset: 2,
            record: Ok(value(3)),
        });
    });
    assert!(said.contains("reader 2 of partition 0 was shown"), "{said}");
}

#[test]
fn finds_a_reader_that_missed_something_or_went_back() {
    let gap = |events: &mut Vec<Event>, _: &mut Ending| {
        events.retain(|event| *event != read(1));
    };
    let said = after(gap);
    assert!(said.contains("got offset 2 after 0 and missed 1"), "{said}");
    let said = after(|events, _| events.push(read(1)));
    assert!(said.contains("got offset 1 after 3"), "{said}");
}

#[test]
fn finds_a_group_that_forgot_a_commit() {
    let said = after(|events, _| {
        let second = events.iter().position(|event| *event == delivered(2, 1));
        events.insert(second.unwrap(), delivered(2, 0));
    });
    assert!(
        said.contains("starts at offset 0 although 1 was committed before"),
        "{said}"
    );
}

#[test]
fn finds_a_group_that_skipped_a_record() {
    let said = after(|events, _| events.retain(|event| *event != delivered(2, 1)));
    assert!(said.contains("got offset 2 and missed 1"), "{said}");
    let said = after(|events, _| events.retain(|event| *event != delivered(2, 3)));
    assert!(
        said.contains("1 records never reached the group, the first at 3"),
        "{said}"
    );
}

#[test]
fn finds_two_leaders_in_one_epoch() {
    let said = after(|events, _| {
        events.push(Event::Replica(ReplicaState {
            broker: 2,
            ..leading(3, 4)
        }));
    });
    assert!(
        said.contains("brokers 1 and 2 both lead in epoch 3"),
        "{said}"
    );
}

#[test]
fn finds_a_high_watermark_that_goes_back() {
    let said = after(|events, _| events.push(Event::Replica(leading(3, 3))));
    assert!(said.contains("from 4 back to 3 in epoch 3"), "{said}");
    // In another epoch, a new leader may know less.
    let (mut events, ending) = sound();
    events.push(Event::Replica(leading(4, 3)));
    judged(events, &ending).unwrap();
}

#[test]
fn finds_an_epoch_that_goes_back_and_a_watermark_beyond_the_log() {
    let said = after(|events, _| events.push(Event::Replica(leading(2, 4))));
    assert!(said.contains("went from epoch 3 back to 2"), "{said}");
    let said = after(|events, _| events.push(Event::Replica(leading(4, 11))));
    assert!(said.contains("beyond its log's end, 10"), "{said}");
}

#[test]
fn finds_replicas_that_differ() {
    let said = after(|_, ending| {
        let replicas = ending.replicas.get_mut(&0).unwrap();
        replicas.insert(2, vec![(0, 11), (2, 23), (3, 5)]);
    });
    assert!(
        said.contains("brokers 1 and 2 differ at offset 2"),
        "{said}"
    );
}
