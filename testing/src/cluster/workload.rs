//! Clients at work: producers, readers and a group, each on a host that never crashes, with our
//! own client.

use std::sync::Arc;
use std::time::Duration;

use kafka_client::{
    Admin, AutoOffsetReset, Client, ClientConfig, Consumer, ConsumerConfig, FetchedBatch, NewTopic,
    OffsetAndMetadata, OffsetSpec, Polled, Producer, ProducerConfig, ProducerRecord,
    RebalanceEvent, TopicPartition,
};

use super::history::{Event, Value};
use super::room::{Change, Phase, Shared, TOPIC};

/// What the clients are told about the cluster.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) seeds: Vec<String>,
    pub(super) partitions: i32,
    pub(super) copies: i16,
    pub(super) in_sync_min: i16,
}

/// Longest wait of the judge for clients to end their work in peace.
const PATIENCE: Duration = Duration::from_secs(60);

impl World {
    fn client(&self, name: &str) -> Result<Client, String> {
        let mut config = ClientConfig::new(self.seeds.clone()).with_client_id(name);
        // Half of a partitioned network never answers; a test need not wait as long as a user.
        config.request_timeout = Duration::from_secs(4);
        config.connection_timeout = Duration::from_secs(2);
        Client::new(config).map_err(|error| error.to_string())
    }

    fn all(&self) -> Vec<TopicPartition> {
        (0..self.partitions)
            .map(|partition| TopicPartition::new(TOPIC, partition))
            .collect()
    }

    fn reader(&self, name: &str) -> Result<Consumer, String> {
        let mut config = ConsumerConfig::default();
        config.auto_offset_reset = AutoOffsetReset::Earliest;
        config.fetch_max_wait = Duration::from_millis(200);
        let mut consumer =
            Consumer::new(self.client(name)?, config).map_err(|error| error.to_string())?;
        consumer
            .assign(self.all())
            .map_err(|error| error.to_string())?;
        Ok(consumer)
    }
}

async fn while_before(room: &Shared, phase: Phase) {
    while room.borrow().phase < phase {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Creates the topic; the troubles may begin then.
pub(super) async fn create_topic(room: &Shared, world: &World) -> Result<(), String> {
    let client = world.client("admin")?;
    let topic = NewTopic::new(TOPIC, world.partitions, world.copies)
        .with_config("min.insync.replicas", world.in_sync_min.to_string());
    loop {
        let created = client
            .admin()
            .create_topics(std::slice::from_ref(&topic), false)
            .await;
        let outcome =
            created.and_then(|mut each| each.pop().map_or(Ok(()), |(_, outcome)| outcome));
        match outcome {
            Ok(()) => return Ok(()),
            // It was created although the answer was lost.
            Err(error) if error.code() == Some(kafka_client::ErrorCode::TOPIC_ALREADY_EXISTS) => {
                return Ok(());
            }
            Err(error) => {
                tracing::info!("the topic cannot be created yet: {error}");
                room.borrow_mut().client_error(&error);
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
}

/// Sends until the end, and waits for the fate of everything.
pub(super) async fn produce(room: Shared, world: World, producer: u32) -> Result<(), String> {
    room.borrow_mut().producers_at_work += 1;
    while_before(&room, Phase::Troubles).await;
    let mut config = ProducerConfig::default();
    config.batch_bytes = 2048;
    config.linger = Duration::from_millis(3);
    // Every other one gives up after a while, and goes on with what comes next.
    config.delivery_timeout = if producer.is_multiple_of(2) {
        Duration::from_secs(8)
    } else {
        Duration::MAX
    };
    let name = format!("producer-{producer}");
    let client = Producer::new(world.client(&name)?, config).map_err(|error| error.to_string())?;
    let topic: Arc<str> = TOPIC.into();
    let mut numbers = vec![0_u64; usize::try_from(world.partitions).unwrap_or(0)];
    let mut fates = tokio::task::JoinSet::new();
    while room.borrow().phase < Phase::Ending {
        let mut values = Vec::new();
        for _ in 0..=platform::random::below(6) {
            let chosen = platform::random::below(numbers.len() as u64);
            let partition = i32::try_from(chosen).unwrap_or(0);
            let Some(number) = usize::try_from(chosen)
                .ok()
                .and_then(|at| numbers.get_mut(at))
            else {
                continue;
            };
            values.push(Value {
                producer,
                partition,
                number: *number,
            });
            *number += 1;
        }
        let record = |value: &Value| ProducerRecord {
            partition: Some(value.partition),
            ..ProducerRecord::value(value.text())
        };
        let records = values.iter().map(record).collect();
        for value in &values {
            room.borrow_mut().note(Event::Sent(*value));
        }
        match client.send(&topic, records).await {
            Ok(delivery) => {
                let room = room.clone();
                fates.spawn_local(async move {
                    let outcome = delivery.await;
                    note_fate(&room, &values, outcome);
                });
            }
            Err(error) => {
                let mut room = room.borrow_mut();
                room.client_error(&error);
                for value in values {
                    room.note(Event::Failed(value));
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(2 + platform::random::below(30))).await;
    }
    let all = async { while fates.join_next().await.is_some() {} };
    if tokio::time::timeout(PATIENCE, all).await.is_err() {
        room.borrow_mut().fail(format!(
            "producer {producer} was not told about its records within {PATIENCE:?} of peace"
        ));
    }
    room.borrow_mut().producers_at_work -= 1;
    Ok(())
}

fn note_fate(
    room: &Shared,
    values: &[Value],
    outcome: Result<kafka_client::Delivered, kafka_client::DeliveryError>,
) {
    let mut room = room.borrow_mut();
    match outcome {
        Ok(delivered) => {
            for (at, value) in values.iter().enumerate() {
                let later = values.iter().skip(at + 1);
                let is_last = later
                    .into_iter()
                    .all(|other| other.partition != value.partition);
                let offset = delivered
                    .last_offsets
                    .iter()
                    .find(|(partition, offset)| *partition == value.partition && *offset >= 0)
                    .filter(|_| is_last)
                    .map(|(_, offset)| *offset);
                room.note(Event::Acknowledged {
                    value: *value,
                    offset,
                });
            }
        }
        Err(failed) => {
            for (at, value) in values.iter().enumerate() {
                match failed.failures.iter().find(|(index, _)| *index == at) {
                    Some((_, error)) => {
                        room.client_error(error);
                        room.note(Event::Failed(*value));
                    }
                    None => room.note(Event::Acknowledged {
                        value: *value,
                        offset: None,
                    }),
                }
            }
        }
    }
}

fn records(batch: &FetchedBatch) -> impl Iterator<Item = (i64, Result<Value, String>)> {
    batch.records.iter().map(|record| {
        let bytes = record.value.as_deref().unwrap_or_default();
        let value = Value::parse(bytes).ok_or_else(|| String::from_utf8_lossy(bytes).into_owned());
        (record.offset, value)
    })
}

/// Reads all partitions from the start, until the end.
pub(super) async fn read(room: Shared, world: World, reader: u32) -> Result<(), String> {
    while_before(&room, Phase::Troubles).await;
    let mut consumer = world.reader(&format!("reader-{reader}"))?;
    while room.borrow().phase < Phase::Ending {
        let polled = polled(&room, &mut consumer).await;
        for batch in &polled.batches {
            for (offset, record) in records(batch) {
                room.borrow_mut().note(Event::Read {
                    reader,
                    partition: batch.partition,
                    offset,
                    record,
                });
            }
        }
    }
    consumer.close().await;
    Ok(())
}

async fn polled(room: &Shared, consumer: &mut Consumer) -> Polled {
    match consumer.poll(Duration::from_millis(300)).await {
        Ok(polled) => polled,
        Err(error) => {
            tracing::info!("a consumer was told: {error}");
            room.borrow_mut().client_error(&error);
            tokio::time::sleep(Duration::from_millis(100)).await;
            Polled::default()
        }
    }
}

/// A place in a group; whoever has it goes away now and then and another comes.
pub(super) async fn take_part(room: Shared, world: World, place: u32) -> Result<(), String> {
    while_before(&room, Phase::Troubles).await;
    let mut member = place;
    loop {
        let mut config = ConsumerConfig::group("readers");
        config.auto_offset_reset = AutoOffsetReset::Earliest;
        config.session_timeout = Duration::from_secs(6);
        config.heartbeat_interval = Duration::from_millis(500);
        // Joining waits that long for an answer that a broken network has swallowed.
        config.max_poll_interval = Duration::from_secs(10);
        config.fetch_max_wait = Duration::from_millis(200);
        let client = world.client(&format!("member-{member}"))?;
        let mut consumer = Consumer::new(client, config).map_err(|error| error.to_string())?;
        consumer
            .subscribe(vec![TOPIC.to_owned()])
            .map_err(|error| error.to_string())?;
        let mut turns = 20 + platform::random::below(100);
        while turns > 0 {
            let polled = polled(&room, &mut consumer).await;
            let phase = room.borrow().phase;
            match phase {
                Phase::Done => return Ok(()),
                // In peace everyone stays.
                Phase::Peace | Phase::Ending => {}
                Phase::Beginning | Phase::Troubles => turns -= 1,
            }
            work_on(&room, &mut consumer, member, &polled).await;
        }
        if platform::random::below(2) == 0 {
            consumer.close_and_leave().await;
        } else {
            drop(consumer);
        }
        member += 100;
    }
}

async fn work_on(room: &Shared, consumer: &mut Consumer, member: u32, polled: &Polled) {
    for event in &polled.events {
        if let RebalanceEvent::Assigned(partitions) = event {
            for partition in partitions {
                room.borrow_mut().note(Event::Assigned {
                    member,
                    partition: partition.partition,
                });
            }
        }
    }
    let mut offsets = Vec::new();
    for batch in &polled.batches {
        let mut room = room.borrow_mut();
        for (offset, record) in records(batch) {
            room.note(Event::Delivered {
                member,
                partition: batch.partition,
                offset,
                record,
            });
        }
        let position = room.group_positions.entry(batch.partition).or_default();
        *position = (*position).max(batch.next_offset);
        let partition = TopicPartition::new(TOPIC, batch.partition);
        let position = OffsetAndMetadata {
            leader_epoch: (batch.leader_epoch >= 0).then_some(batch.leader_epoch),
            ..OffsetAndMetadata::new(batch.next_offset)
        };
        offsets.push((partition, position));
    }
    if offsets.is_empty() {
        return;
    }
    let note = |event: fn(i32, i64) -> Event| {
        for (partition, offset) in &offsets {
            room.borrow_mut()
                .note(event(partition.partition, offset.offset));
        }
    };
    note(|partition, next| Event::CommitAsked { partition, next });
    match consumer.commit(&offsets).await {
        Ok(()) => note(|partition, next| Event::Committed { partition, next }),
        Err(error) => room.borrow_mut().client_error(&error),
    }
}

/// Puts another broker in the place of one, whenever that is asked for.
pub(super) async fn operate(room: Shared, world: World) -> Result<(), String> {
    let admin = world.client("operator")?.admin();
    while room.borrow().phase < Phase::Ending {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let Some(Change { joins, leaves, .. }) = room.borrow().change else {
            continue;
        };
        if let Some(seat) = room.borrow_mut().seats.get_mut(&joins) {
            seat.belongs = true;
        }
        while !room.borrow().is_live(joins) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        room.borrow_mut()
            .note(Event::Fault(format!("broker-{joins} joined")));
        take_out(&room, &admin, leaves).await;
        if let Some(change) = &mut room.borrow_mut().change {
            change.left = true;
        }
        room.borrow_mut()
            .note(Event::Fault(format!("broker-{leaves} left")));
        while room.borrow().members().contains(&leaves) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // With an empty disk it may have joined again before it was stopped.
        take_out(&room, &admin, leaves).await;
        room.borrow_mut().change = None;
    }
    Ok(())
}

async fn take_out(room: &Shared, admin: &Admin, id: i32) {
    loop {
        match admin.unregister_broker(id).await {
            Ok(()) => return,
            Err(error)
                if error.code() == Some(kafka_client::ErrorCode::BROKER_ID_NOT_REGISTERED) =>
            {
                return;
            }
            Err(error) => {
                tracing::debug!("broker {id} is not taken out yet: {error}");
                room.borrow_mut().client_error(&error);
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// Waits for the producers' end, reads everything, and waits until the group has, too.
pub(super) async fn judge(room: &Shared, world: &World) -> Result<(), String> {
    while_before(room, Phase::Ending).await;
    while room.borrow().producers_at_work > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Each broker looks at its replicas once more, now that nothing is written.
    tokio::time::sleep(Duration::from_secs(2)).await;
    room.borrow_mut().collected.clear();
    let client = world.client("judge")?;
    let asked: Vec<_> = world
        .all()
        .into_iter()
        .map(|partition| (partition, OffsetSpec::Latest))
        .collect();
    let listed = client
        .admin()
        .list_offsets(&asked)
        .await
        .map_err(|error| format!("nobody tells where the partitions end: {error}"))?;
    let mut ends = Vec::new();
    for (partition, listed) in listed {
        let listed =
            listed.map_err(|error| format!("nobody tells where {partition:?} ends: {error}"))?;
        ends.push((partition.partition, listed.offset));
    }
    let mut consumer = world.reader("judge")?;
    let reading = async {
        for (partition, end) in &ends {
            room.borrow_mut()
                .ending
                .records
                .entry(*partition)
                .or_default();
            while consumer
                .position(&TopicPartition::new(TOPIC, *partition))
                .unwrap_or(0)
                < *end
            {
                let polled = polled(room, &mut consumer).await;
                let mut room = room.borrow_mut();
                for batch in &polled.batches {
                    let into = room.ending.records.entry(batch.partition).or_default();
                    into.extend(records(batch));
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading)
        .await
        .map_err(|_| format!("not everything could be read within {PATIENCE:?}"))?;
    let group = async {
        for (partition, end) in &ends {
            while room
                .borrow()
                .group_positions
                .get(partition)
                .copied()
                .unwrap_or(0)
                < *end
            {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, group)
        .await
        .map_err(|_| format!("the group did not read everything within {PATIENCE:?}"))?;
    let brokers = room.borrow().members().len();
    let collecting = async {
        while room.borrow().collected.len() < brokers {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, collecting)
        .await
        .map_err(|_| "not all replicas could be looked at".to_owned())?;
    room.borrow_mut().phase = Phase::Done;
    Ok(())
}
