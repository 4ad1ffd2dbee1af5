//! What must be true of a history, whatever went wrong during it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::history::{Ending, Event, History, Partition, ReplicaState, Value};

/// What a history has in it, once nothing is wrong with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Records handed to a client.
    pub sent: usize,
    /// Records whose producer was told that they are safe.
    pub acknowledged: usize,
    /// Records in the partitions at the end.
    pub stored: usize,
    /// Records delivered to the group more than once, which is allowed.
    pub redelivered: usize,
    /// Leaders seen, over all partitions.
    pub leaders: usize,
}

/// Checks everything; all that is wrong, each with what it is about.
///
/// # Errors
/// What is wrong.
pub fn check(history: &History, ending: &Ending) -> Result<Summary, Vec<String>> {
    let mut wrong = Vec::new();
    let mut summary = Summary::default();
    let produced = Produced::of(history);
    summary.sent = produced.sent.len();
    summary.acknowledged = produced.acknowledged.len();
    summary.stored = ending.records.values().map(Vec::len).sum();
    produced.check(ending, &mut wrong);
    check_readers(history, ending, &mut wrong);
    summary.redelivered = check_group(history, ending, &mut wrong);
    summary.leaders = check_leaders(history, &mut wrong);
    check_replicas(ending, &mut wrong);
    if wrong.is_empty() {
        Ok(summary)
    } else {
        Err(wrong)
    }
}

/// What producers did and were told.
#[derive(Default)]
struct Produced {
    sent: HashSet<Value>,
    acknowledged: BTreeMap<Value, Option<i64>>,
}

impl Produced {
    fn of(history: &History) -> Self {
        let mut produced = Self::default();
        for event in history.events() {
            match event {
                Event::Sent(value) => {
                    produced.sent.insert(*value);
                }
                Event::Acknowledged { value, offset } => {
                    produced.acknowledged.insert(*value, *offset);
                }
                _ => {}
            }
        }
        produced
    }

    /// Acknowledged ⊆ stored ⊆ sent; once, in order, and where the producer was told.
    fn check(&self, ending: &Ending, wrong: &mut Vec<String>) {
        let mut stored: HashMap<Value, i64> = HashMap::new();
        for (partition, records) in &ending.records {
            let mut last_offset = -1;
            let mut last_numbers: HashMap<u32, u64> = HashMap::new();
            for (offset, record) in records {
                if *offset <= last_offset {
                    wrong.push(format!(
                        "partition {partition}: offset {offset} comes after {last_offset}"
                    ));
                }
                last_offset = *offset;
                let value = match record {
                    Ok(value) if value.partition == *partition && self.sent.contains(value) => {
                        value
                    }
                    other => {
                        wrong.push(format!(
                            "partition {partition}: nobody sent what is at offset {offset}: {other:?}"
                        ));
                        continue;
                    }
                };
                if let Some(first) = stored.insert(*value, *offset) {
                    wrong.push(format!(
                        "partition {partition}: {} is there twice, at {first} and {offset}",
                        value.text()
                    ));
                    continue;
                }
                let last = last_numbers.insert(value.producer, value.number);
                if last.is_some_and(|last| last > value.number) {
                    wrong.push(format!(
                        "partition {partition}: {} at offset {offset} comes after a later one of its producer, {}",
                        value.text(),
                        last.unwrap_or_default()
                    ));
                }
            }
        }
        for (value, told) in &self.acknowledged {
            match (stored.get(value), told) {
                (None, _) => wrong.push(format!(
                    "partition {}: {} was acknowledged (at {told:?}) and is lost",
                    value.partition,
                    value.text()
                )),
                (Some(offset), Some(told)) if offset != told => wrong.push(format!(
                    "partition {}: {} was acknowledged at {told} and is at {offset}",
                    value.partition,
                    value.text()
                )),
                _ => {}
            }
        }
    }
}

/// By partition and offset, what is there at the end.
fn by_offset(ending: &Ending) -> BTreeMap<Partition, BTreeMap<i64, &Result<Value, String>>> {
    let mut content = BTreeMap::new();
    for (partition, records) in &ending.records {
        let records = records.iter().map(|(offset, record)| (*offset, record));
        content.insert(*partition, records.collect());
    }
    content
}

/// What a reader was shown stays, and it was shown everything between its first and last record, in
/// order.
fn check_readers(history: &History, ending: &Ending, wrong: &mut Vec<String>) {
    let content = by_offset(ending);
    let mut positions: BTreeMap<(u32, Partition), i64> = BTreeMap::new();
    for event in history.events() {
        let Event::Read {
            reader,
            partition,
            offset,
            record,
        } = event
        else {
            continue;
        };
        let who = format!("reader {reader} of partition {partition}");
        let records = content.get(partition);
        check_shown(
            &who,
            records.and_then(|records| records.get(offset).copied()),
            *offset,
            record,
            wrong,
        );
        let last = positions.insert((*reader, *partition), *offset);
        let Some(last) = last else { continue };
        if *offset <= last {
            wrong.push(format!("{who} got offset {offset} after {last}"));
        } else if let Some(records) = records
            && let Some((missed, _)) = records.range(last + 1..*offset).next()
        {
            wrong.push(format!(
                "{who} got offset {offset} after {last} and missed {missed}"
            ));
        }
    }
}

fn check_shown(
    who: &str,
    at_the_end: Option<&Result<Value, String>>,
    offset: i64,
    record: &Result<Value, String>,
    wrong: &mut Vec<String>,
) {
    match at_the_end {
        None => wrong.push(format!(
            "{who} was shown {record:?} at offset {offset}, which is gone"
        )),
        Some(other) if other != record => wrong.push(format!(
            "{who} was shown {record:?} at offset {offset}, where {other:?} is now"
        )),
        Some(_) => {}
    }
}

/// Offsets are committed behind what was delivered, a new owner starts at or after the last commit
/// that was confirmed and skips nothing, and everything is delivered in the end.
fn check_group(history: &History, ending: &Ending, wrong: &mut Vec<String>) -> usize {
    let content = by_offset(ending);
    let mut delivered: BTreeMap<Partition, BTreeSet<i64>> = BTreeMap::new();
    let mut asked: BTreeMap<Partition, i64> = BTreeMap::new();
    let mut confirmed: BTreeMap<Partition, i64> = BTreeMap::new();
    // Owners that have not got a record yet: the lowest offset they may start at.
    let mut starting: BTreeMap<(u32, Partition), i64> = BTreeMap::new();
    let mut positions: BTreeMap<(u32, Partition), i64> = BTreeMap::new();
    let mut has_group = false;
    let mut redelivered = 0;
    for event in history.events() {
        match event {
            Event::Assigned { member, partition } => {
                has_group = true;
                let lowest = confirmed.get(partition).copied().unwrap_or(0);
                starting.insert((*member, *partition), lowest);
                positions.remove(&(*member, *partition));
            }
            Event::Delivered {
                member,
                partition,
                offset,
                record,
            } => {
                let who = format!("member {member} with partition {partition}");
                let records = content.get(partition);
                let now = records.and_then(|records| records.get(offset).copied());
                check_shown(&who, now, *offset, record, wrong);
                let from = match starting.remove(&(*member, *partition)) {
                    Some(lowest) if *offset < lowest => {
                        wrong.push(format!(
                            "{who} starts at offset {offset} although {lowest} was committed before it got the partition"
                        ));
                        *offset
                    }
                    Some(_) => {
                        // Anything that was asked for may have been committed.
                        let highest = asked.get(partition).copied().unwrap_or(0);
                        highest.min(*offset)
                    }
                    None => positions
                        .get(&(*member, *partition))
                        .map_or(*offset, |last| last + 1),
                };
                if let Some(records) = records
                    && let Some((missed, _)) = records.range(from.min(*offset)..*offset).next()
                {
                    wrong.push(format!("{who} got offset {offset} and missed {missed}"));
                }
                if from > *offset {
                    wrong.push(format!("{who} got offset {offset} where {from} was due"));
                }
                positions.insert((*member, *partition), *offset);
                if !delivered.entry(*partition).or_default().insert(*offset) {
                    redelivered += 1;
                }
            }
            Event::CommitAsked { partition, next } => {
                let highest = asked.entry(*partition).or_default();
                *highest = (*highest).max(*next);
            }
            Event::Committed { partition, next } => {
                let highest = confirmed.entry(*partition).or_default();
                *highest = (*highest).max(*next);
            }
            _ => {}
        }
    }
    if has_group {
        for (partition, records) in &content {
            let got = delivered.get(partition);
            let missing = |offset: &&i64| !got.is_some_and(|got| got.contains(offset));
            let mut missing = records.keys().filter(missing);
            if let Some(first) = missing.next() {
                wrong.push(format!(
                    "partition {partition}: {} records never reached the group, the first at {first}",
                    missing.count() + 1
                ));
            }
        }
    }
    redelivered
}

/// One leader per epoch, epochs that only grow on a broker, and a high watermark that never goes
/// back while a leader leads in an epoch.
fn check_leaders(history: &History, wrong: &mut Vec<String>) -> usize {
    let mut leaders: BTreeMap<(Partition, i32), i32> = BTreeMap::new();
    let mut last: BTreeMap<(i32, u32, Partition), ReplicaState> = BTreeMap::new();
    for event in history.events() {
        let Event::Replica(now) = event else { continue };
        let who = format!("broker {} with partition {}", now.broker, now.partition);
        if now.high_watermark > now.log_end {
            wrong.push(format!(
                "{who} has a high watermark of {} beyond its log's end, {}",
                now.high_watermark, now.log_end
            ));
        }
        if now.leads {
            let leader = leaders
                .entry((now.partition, now.leader_epoch))
                .or_insert(now.broker);
            if *leader != now.broker {
                wrong.push(format!(
                    "partition {}: brokers {leader} and {} both lead in epoch {}",
                    now.partition, now.broker, now.leader_epoch
                ));
            }
        }
        let Some(before) = last.insert((now.broker, now.life, now.partition), *now) else {
            continue;
        };
        if now.leader_epoch < before.leader_epoch {
            wrong.push(format!(
                "{who} went from epoch {} back to {}",
                before.leader_epoch, now.leader_epoch
            ));
        }
        if before.leads
            && now.leads
            && before.leader_epoch == now.leader_epoch
            && now.high_watermark < before.high_watermark
        {
            wrong.push(format!(
                "{who}: the high watermark went from {} back to {} in epoch {}",
                before.high_watermark, now.high_watermark, now.leader_epoch
            ));
        }
    }
    leaders.len()
}

/// All replicas have the same bytes up to the lowest of their high watermarks.
fn check_replicas(ending: &Ending, wrong: &mut Vec<String>) {
    for (partition, replicas) in &ending.replicas {
        let Some((first, model)) = replicas.first_key_value() else {
            continue;
        };
        for (broker, batches) in replicas.iter().skip(1) {
            let differs = model.iter().zip(batches).find(|(a, b)| a != b);
            if let Some((a, b)) = differs {
                wrong.push(format!(
                    "partition {partition}: brokers {first} and {broker} differ at offset {}",
                    a.0.min(b.0)
                ));
            }
        }
    }
}
