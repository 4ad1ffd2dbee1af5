//! The consumer of a sink task, and as whom it joins its group.

use std::sync::atomic::Ordering;
use std::time::Duration;

use kafka_client::{Client, ClientError, Consumer, ErrorCode};

use crate::clients;
use crate::config::connector::Topics;
use crate::task::{Setup, TaskFailure};

/// The longest a call may take before the group is told in other ways that the task is alive.
const CALL_PATIENCE_MAX: Duration = Duration::from_secs(3);

/// The consumer, and how long it may go without a poll.
pub(super) fn open(setup: &Setup) -> Result<(Consumer, Duration), TaskFailure> {
    let worker = &setup.shared.config;
    let client_id = format!("connector-consumer-{}", setup.id);
    let group_id = format!("connect-{}", setup.id.connector);
    let client = clients::client_config(
        &setup.shared.bootstrap_servers,
        &worker.connection,
        &client_id,
    );
    let mut settings = clients::sink_consumer(client, &group_id);
    let place = &setup.shared.place;
    settings.consumer.group_instance_id = place.instance_id(&setup.id.connector, setup.id.task);
    // Their problems were reported when the configurations were read.
    settings.apply(&worker.consumer);
    settings.apply(&setup.connector.consumer);
    if setup.name_is_taken.load(Ordering::Relaxed) {
        settings.consumer.group_instance_id = None;
    }
    let patience = (settings.consumer.max_poll_interval / 4).min(CALL_PATIENCE_MAX);
    let client = Client::new(settings.client)?;
    let mut consumer = Consumer::new(client, settings.consumer)?;
    match &setup.connector.topics {
        Topics::Names(names) => consumer.subscribe(names.clone())?,
        Topics::Pattern(pattern) => consumer.subscribe_pattern(pattern)?,
    }
    Ok((consumer, patience))
}

/// What an error of the consumer means for the task.
pub(super) fn failure(setup: &Setup, error: ClientError) -> TaskFailure {
    if error.code() != Some(ErrorCode::FENCED_INSTANCE_ID) {
        return error.into();
    }
    setup.name_is_taken.store(true, Ordering::Relaxed);
    TaskFailure::fresh_start(format!(
        "another worker has the same name in the group, such as one on a copy of this machine in \
         a folder of the same name; the task goes on without a fixed name, so that both share the \
         partitions: {error}"
    ))
}
