//! The connections of one user: a client's general ones, a producer's, a consumer's.
//!
//! Answers come in the order of requests, so a fetch that waits for records would hold up
//! everything behind it. Therefore each user that waits has a pool of its own.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::connection::Connection;
use crate::{ClientConfig, ClientError};

#[derive(Debug)]
pub(crate) struct Pool {
    config: Arc<ClientConfig>,
    slots: Mutex<HashMap<String, Arc<Slot>>>,
}

/// The one connection to an address, or the wait before the next attempt. The asynchronous mutex
/// makes sure that only one caller connects.
#[derive(Debug)]
struct Slot {
    state: tokio::sync::Mutex<SlotState>,
}

#[derive(Debug)]
struct SlotState {
    connection: Option<Connection>,
    backoff: Backoff,
    not_before: Option<Instant>,
}

/// What to expect of an address; the better ones are smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outlook {
    /// It is connected.
    Good,
    /// Nobody has tried lately.
    Open,
    /// Somebody is trying, or has failed.
    Bad,
}

impl Pool {
    pub(crate) fn new(config: Arc<ClientConfig>) -> Self {
        Self {
            config,
            slots: Mutex::new(HashMap::new()),
        }
    }

    /// The connection to `host:port`, established if needed. After a failure the next attempt waits
    /// for the back-off. Safe to cancel.
    pub(crate) async fn get(&self, addr: &str) -> Result<Connection, ClientError> {
        let slot = {
            let mut slots = self.slots.lock();
            if let Some(slot) = slots.get(addr) {
                Arc::clone(slot)
            } else {
                let backoff = Backoff::new(
                    self.config.reconnect_backoff,
                    self.config.reconnect_backoff_max,
                );
                let slot = Arc::new(Slot {
                    state: tokio::sync::Mutex::new(SlotState {
                        connection: None,
                        backoff,
                        not_before: None,
                    }),
                });
                slots.insert(addr.to_owned(), Arc::clone(&slot));
                slot
            }
        };
        let mut state = slot.state.lock().await;
        if let Some(connection) = &state.connection {
            if !connection.is_closed() {
                return Ok(connection.clone());
            }
            state.connection = None;
        }
        if let Some(not_before) = state.not_before {
            tokio::time::sleep_until(not_before).await;
        }
        match Connection::open(addr, &self.config).await {
            Ok(connection) => {
                state.connection = Some(connection.clone());
                state.backoff.reset();
                // A broker that accepts and then closes at once must not be hammered either.
                state.not_before = Some(Instant::now() + self.config.reconnect_backoff);
                Ok(connection)
            }
            Err(error) => {
                state.not_before = Some(Instant::now() + state.backoff.next());
                Err(error)
            }
        }
    }

    /// What to expect of `host:port`.
    pub(crate) fn outlook(&self, addr: &str) -> Outlook {
        let slot = self.slots.lock().get(addr).cloned();
        let Some(slot) = slot else {
            return Outlook::Open;
        };
        let Ok(state) = slot.state.try_lock() else {
            return Outlook::Bad;
        };
        match &state.connection {
            Some(connection) if !connection.is_closed() => Outlook::Good,
            _ if state.not_before.is_some_and(|at| at > Instant::now()) => Outlook::Bad,
            _ => Outlook::Open,
        }
    }

    /// Closes all connections; whatever is unanswered fails.
    pub(crate) fn close(&self) {
        let slots = std::mem::take(&mut *self.slots.lock());
        for slot in slots.into_values() {
            if let Ok(state) = slot.state.try_lock()
                && let Some(connection) = &state.connection
            {
                connection.close();
            }
        }
    }
}
