//! The brokers' hosts: a machine whose operator starts the broker again whenever it ended.

use std::path::Path;
use std::time::Duration;

use broker::Broker;
use platform::{faults, fs};

use super::room::{Command, Phase, Shared, TOPIC};

/// The port on every host.
pub(super) const PORT: u16 = 9092;

/// Wait before a broker that did not start is started again.
const START_AGAIN: Duration = Duration::from_millis(500);

/// A graceful stop that takes longer than this ends with a kill, as an operator would do.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// Files of a broker, on its own host.
const FOLDER: &str = "/data";

/// Name of a broker's host.
pub(super) fn host(id: i32) -> String {
    format!("broker-{id}")
}

/// The seeds of a cluster of so many.
pub(super) fn seeds(brokers: i32) -> Vec<String> {
    (1..=brokers)
        .map(|id| format!("{}:{PORT}", host(id)))
        .collect()
}

/// Runs on broker `id`'s host, again after each crash of the machine. `known` are the ids whose
/// addresses brokers start with.
pub(super) async fn run(room: Shared, id: i32, known: i32, begin: Duration) -> turmoil::Result {
    faults::name_host(&host(id))?;
    let since_start = turmoil::sim_elapsed().unwrap_or_default();
    tokio::time::sleep(begin.saturating_sub(since_start)).await;
    if room.borrow_mut().replaced_disks.remove(&id) {
        clear()?;
    }
    loop {
        if has_left(&room, id) {
            make_spare(&room, id)?;
        }
        while !belongs(&room, id) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let broker = match start(id, known).await {
            Ok(broker) => broker,
            Err(error) => {
                tracing::warn!("broker {id} does not start: {error}");
                tokio::time::sleep(START_AGAIN).await;
                continue;
            }
        };
        if let Some(seat) = room.borrow_mut().seats.get_mut(&id) {
            seat.inspector = Some(broker.inspector());
            seat.life += 1;
            seat.serves = true;
        }
        let asked = tokio::select! {
            command = serve(&room, id, &broker) => Ok(command),
            why = broker.refused() => Err(why),
        };
        if let Some(seat) = room.borrow_mut().seats.get_mut(&id) {
            seat.serves = false;
        }
        // A process that stops in order may still lead for a while, so it stays in view.
        let pause = match asked {
            Ok(Command::Stop(pause)) => {
                stop(id, broker).await;
                pause
            }
            Ok(Command::Kill(pause)) => {
                drop(broker);
                pause
            }
            Err(why) => {
                tracing::info!("broker {id} ends: {why}");
                stop(id, broker).await;
                START_AGAIN
            }
        };
        if let Some(seat) = room.borrow_mut().seats.get_mut(&id) {
            seat.inspector = None;
        }
        tokio::time::sleep(pause).await;
    }
}

async fn stop(id: i32, broker: Broker) {
    if tokio::time::timeout(STOP_PATIENCE, broker.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("broker {id} did not stop within {STOP_PATIENCE:?}");
    }
}

fn belongs(room: &Shared, id: i32) -> bool {
    let room = room.borrow();
    room.seats.get(&id).is_some_and(|seat| seat.belongs)
}

/// Whether the operator has taken this broker out.
fn has_left(room: &Shared, id: i32) -> bool {
    let room = room.borrow();
    room.change
        .is_some_and(|change| change.left && change.leaves == id)
}

/// From now on the machine waits, with nothing on its disk, until it is needed.
fn make_spare(room: &Shared, id: i32) -> std::io::Result<()> {
    faults::set_disk(&host(id), None);
    clear()?;
    if let Some(seat) = room.borrow_mut().seats.get_mut(&id) {
        seat.belongs = false;
        seat.left_at = turmoil::sim_elapsed();
        seat.command = None;
    }
    Ok(())
}

/// Removes all the broker's files.
fn clear() -> std::io::Result<()> {
    let folder = Path::new(FOLDER);
    if fs::exists(folder) {
        clear_folder(folder)?;
    }
    Ok(())
}

/// Removes all that is in a folder, durably.
fn clear_folder(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        if entry.is_dir {
            clear_folder(&entry.path)?;
            fs::remove_dir_all(&entry.path)?;
        } else {
            fs::remove_file(&entry.path)?;
        }
    }
    fs::sync_dir(folder)
}

async fn start(id: i32, known: i32) -> Result<Broker, String> {
    let mut builder = Broker::builder()
        .node_id(id)
        .listen(&format!("{}:{PORT}", host(id)))
        .data_dir(FOLDER)
        .property("group.initial.rebalance.delay.ms", "0")
        .property("offsets.topic.num.partitions", "3")
        .property("replica.lag.time.max.ms", "3000")
        // Segments roll during the run, so that recovery meets more than one.
        .property("log.segment.bytes", "16384")
        // Where no offsets are kept nothing else flushes, and simulated files get slow with what is not.
        .property("log.flush.interval.messages", "300");
    if known > 1 {
        builder = builder.property(
            "controller.quorum.bootstrap.servers",
            &seeds(known).join(","),
        );
    }
    builder.start().await.map_err(|error| error.to_string())
}

/// Serves until something is asked of the host.
async fn serve(room: &Shared, id: i32, broker: &Broker) -> Command {
    loop {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let (phase, command) = {
            let mut room = room.borrow_mut();
            let command = room.seats.get_mut(&id).and_then(|seat| seat.command.take());
            (room.phase, command)
        };
        // Its disk was replaced before the operator heard that it had left, and it joined again.
        if has_left(room, id) {
            return Command::Stop(Duration::ZERO);
        }
        if let Some(command) = command {
            return command;
        }
        if phase == Phase::Ending && !room.borrow().collected.contains(&id) {
            collect(room, id, broker).await;
        }
    }
}

/// Gives the judge what the replicas of this host hold.
async fn collect(room: &Shared, id: i32, broker: &Broker) {
    let inspector = broker.inspector();
    for replica in inspector.replicas() {
        if &*replica.topic != TOPIC {
            continue;
        }
        let stored = match inspector.stored(TOPIC, replica.partition).await {
            Ok(Some(stored)) => stored,
            Ok(None) => continue,
            Err(error) => {
                let reason = format!(
                    "broker {id} cannot read its replica {}: {error}",
                    replica.partition
                );
                room.borrow_mut().fail(reason);
                return;
            }
        };
        let batches = kafka_records::batches(stored.batches)
            .filter_map(Result::ok)
            .filter(|batch| batch.header.next_offset() <= stored.high_watermark)
            .map(|batch| (batch.header.base_offset, crc32c::crc32c(&batch.bytes)))
            .collect();
        let mut room = room.borrow_mut();
        let replicas = room.ending.replicas.entry(replica.partition).or_default();
        replicas.insert(id, batches);
    }
    room.borrow_mut().collected.insert(id);
}
