//! The offsets of sources that count: `{"id": task}` → `{"seqno": number}`, as Kafka's tools have them.

use connect_core::{
    ConnectError, SourceOffset, SourcePartition, SourcePosition, SourceTaskContext,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskPartition {
    id: u32,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LastNumber {
    seqno: u64,
}

/// Where one task counts.
#[derive(Debug)]
pub(crate) struct Count {
    partition: SourcePartition,
    /// The next number.
    pub(crate) next: u64,
}

impl Count {
    /// Goes on behind the number that is stored.
    pub(crate) async fn of(context: &SourceTaskContext) -> Result<Self, ConnectError> {
        let id = context.task_id();
        let partition = SourcePartition::of(&TaskPartition { id })?;
        let stored = context.offset(&partition).await?;
        let next = match stored {
            Some(offset) => offset.read::<LastNumber>()?.seqno.saturating_add(1),
            None => 0,
        };
        Ok(Self { partition, next })
    }

    /// Where it stands with a number.
    pub(crate) fn at(&self, seqno: u64) -> Result<SourcePosition, ConnectError> {
        let offset = SourceOffset::of(&LastNumber { seqno })?;
        Ok(SourcePosition::new(self.partition.clone(), offset))
    }

    /// The last number among positions that were committed.
    pub(crate) fn committed(&self, positions: &[SourcePosition]) -> Option<u64> {
        let own = positions
            .iter()
            .filter(|position| position.partition == self.partition);
        let numbers = own.filter_map(|position| position.offset.read::<LastNumber>().ok());
        numbers.map(|last| last.seqno).max()
    }
}

/// Checks offsets that a user wants to store.
pub(crate) fn check(
    offsets: &[(SourcePartition, Option<SourceOffset>)],
) -> Result<bool, ConnectError> {
    let wrong = |(partition, offset): &(SourcePartition, Option<SourceOffset>)| {
        // Anything may be removed.
        let offset = offset.as_ref()?;
        if partition.read::<TaskPartition>().is_err() {
            return Some(format!(
                "source partition {partition} is not of this connector; write {{\"id\":n}}, the number \
                 of a task"
            ));
        }
        offset.read::<LastNumber>().err().map(|_| {
            format!(
                "source offset {offset} is not of this connector; write {{\"seqno\":n}}, the last number \
                 that was written"
            )
        })
    };
    let problems: Vec<String> = offsets.iter().filter_map(wrong).collect();
    match problems.is_empty() {
        true => Ok(true),
        false => Err(ConnectError::configuration(problems.join("\n"))),
    }
}
