//! Which broker speaks on a connection of this node's. When a connection that carried heartbeats
//! ends, its broker's process may be gone, and the controller hears of it at once.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

/// Kept by a connection's context; see the module.
#[derive(Clone)]
pub(crate) struct Presence(Arc<Inner>);

struct Inner {
    /// Broker and its epoch.
    broker: Mutex<Option<(i32, i64)>>,
    lost: Box<dyn Fn(i32, i64) + Send + Sync>,
}

impl Presence {
    /// For a new connection. `lost` is called once, with broker and epoch, when the connection
    /// ends, if it carried heartbeats.
    pub(crate) fn new(lost: impl Fn(i32, i64) + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            broker: Mutex::new(None),
            lost: Box::new(lost),
        }))
    }

    /// This connection carries the heartbeats of `broker`.
    pub(crate) fn heard(&self, broker: i32, epoch: i64) {
        *self.0.broker.lock() = Some((broker, epoch));
    }
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Presence")
            .field(&*self.0.broker.lock())
            .finish()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some((broker, epoch)) = self.broker.get_mut().take() {
            (self.lost)(broker, epoch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_a_connection_that_carried_heartbeats_is_told() {
        let lost = Arc::new(Mutex::new(Vec::new()));
        let told = lost.clone();
        let presence = Presence::new(move |broker, epoch| told.lock().push((broker, epoch)));
        let request = presence.clone();
        request.heard(2, 7);
        drop(request);
        assert!(lost.lock().is_empty());
        drop(presence);
        assert_eq!(*lost.lock(), [(2, 7)]);
        let told = lost.clone();
        drop(Presence::new(move |broker, epoch| {
            told.lock().push((broker, epoch))
        }));
        assert_eq!(lost.lock().len(), 1);
    }
}
