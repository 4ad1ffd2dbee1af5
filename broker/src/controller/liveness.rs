//! Which brokers the active controller hears of. It is all in memory: a new active controller
//! begins by giving everybody a full session, except its predecessor, whose silence made it the
//! controller.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::image::MetadataImage;
use crate::peer::Heartbeat;

/// What is known of one broker.
#[derive(Clone, Debug)]
struct Session {
    epoch: i64,
    /// Version of the metadata with its registration: it may be counted on when it has that.
    registered_at: u64,
    heard_at: Instant,
    /// Up to where it has the metadata.
    applied: u64,
    /// It has sent heartbeats, and the connection they came by did not end since.
    connected: bool,
    /// Version of the metadata in which nothing depends on it any more.
    stopped_at: Option<u64>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Sessions(BTreeMap<i32, Session>);

impl Sessions {
    /// Forgets what an earlier term left.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Gives a full session to everybody who was not heard of in this term yet; to the `former` active
    /// controller only what is left since it was heard.
    pub(super) fn begin(
        &mut self,
        image: &MetadataImage,
        now: Instant,
        former: Option<(i32, Instant)>,
    ) {
        self.0.retain(|id, session| {
            let broker = image.broker(*id);
            broker.is_some_and(|broker| broker.epoch == session.epoch)
        });
        for broker in image.brokers() {
            if !self.0.contains_key(&broker.id) {
                let heard_at = former.filter(|(id, _)| *id == broker.id);
                let heard_at = heard_at.map_or(now, |(_, heard_at)| heard_at.min(now));
                self.registered(broker.id, broker.epoch, image.version(), heard_at);
            }
        }
    }

    /// A broker registered.
    pub(super) fn registered(&mut self, id: i32, epoch: i64, version: u64, now: Instant) {
        let session = Session {
            epoch,
            registered_at: version,
            heard_at: now,
            applied: 0,
            connected: false,
            stopped_at: None,
        };
        self.0.insert(id, session);
    }

    pub(super) fn forget(&mut self, id: i32) {
        self.0.remove(&id);
    }

    /// Notes a heartbeat, whose epoch was checked. Says whether the broker has the metadata in
    /// which it registered.
    pub(super) fn heard(&mut self, heartbeat: &Heartbeat, version: u64, now: Instant) -> bool {
        let known = self.0.get(&heartbeat.broker);
        if known.is_none_or(|session| session.epoch != heartbeat.broker_epoch) {
            self.registered(heartbeat.broker, heartbeat.broker_epoch, version, now);
        }
        let Some(session) = self.0.get_mut(&heartbeat.broker) else {
            return false;
        };
        session.heard_at = now;
        session.connected = true;
        session.applied = session.applied.max(heartbeat.version);
        session.applied >= session.registered_at
    }

    /// The connection that carried a broker's heartbeats ended. Says whether that is news.
    pub(super) fn disconnected(&mut self, id: i32, epoch: i64) -> bool {
        match self.0.get_mut(&id) {
            Some(session) if session.epoch == epoch => {
                std::mem::replace(&mut session.connected, false)
            }
            _ => false,
        }
    }

    /// Whether the broker sent a heartbeat after `since`, on a connection that did not end. What a
    /// new term gives it is none.
    pub(super) fn heard_since(&self, id: i32, since: Instant) -> bool {
        self.0
            .get(&id)
            .is_some_and(|session| session.connected && session.heard_at > since)
    }

    /// Until when a broker that has not been heard of again may still be alive; none if its
    /// connection ended.
    pub(super) fn alive_until(&self, id: i32, timeout: Duration) -> Option<Instant> {
        let session = self.0.get(&id).filter(|session| session.connected)?;
        Some(session.heard_at + timeout)
    }

    /// Notes from which version on nothing depends on a broker that stops.
    pub(super) fn stops(&mut self, id: i32, version: u64) {
        if let Some(session) = self.0.get_mut(&id) {
            session.stopped_at.get_or_insert(version);
        }
    }

    /// Whether every other live broker knows that nothing depends on `id` any more.
    pub(super) fn may_stop(&self, id: i32, image: &MetadataImage) -> bool {
        let Some(version) = self.0.get(&id).and_then(|session| session.stopped_at) else {
            return false;
        };
        self.0.iter().all(|(other, session)| {
            *other == id || !image.is_live(*other) || session.applied >= version
        })
    }

    /// Live brokers that have not been heard of for `timeout`.
    pub(super) fn expired(
        &self,
        image: &MetadataImage,
        timeout: Duration,
        now: Instant,
    ) -> Vec<i32> {
        self.0
            .iter()
            .filter(|(id, session)| image.is_live(**id) && session.heard_at + timeout <= now)
            .map(|(id, _)| *id)
            .collect()
    }

    /// When the next session ends, if nothing is heard until then.
    pub(super) fn next_expiry(&self, image: &MetadataImage, timeout: Duration) -> Option<Instant> {
        self.0
            .iter()
            .filter(|(id, _)| image.is_live(**id))
            .map(|(_, session)| session.heard_at + timeout)
            .min()
    }

    /// This node stood still for `pause`, and heard nobody because of that.
    pub(super) fn forgive(&mut self, pause: Duration) {
        for session in self.0.values_mut() {
            session.heard_at += pause;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::record::{BrokerRegistration, MetadataRecord};

    #[test]
    fn a_session_that_a_new_term_gave_is_no_heartbeat() {
        let mut image = MetadataImage::default();
        image.apply(&MetadataRecord::Broker(BrokerRegistration::live(2, 7)));
        let before = Instant::now();
        let begun = before + Duration::from_millis(1);
        let mut sessions = Sessions::default();
        sessions.begin(&image, begun, None);
        let timeout = Duration::from_secs(3);
        assert!(sessions.expired(&image, timeout, begun).is_empty());
        assert!(!sessions.heard_since(2, before));
        let heartbeat = Heartbeat {
            broker: 2,
            broker_epoch: 7,
            version: 0,
            shutting_down: false,
            disk_refuses: false,
        };
        sessions.heard(&heartbeat, 0, begun);
        assert!(sessions.heard_since(2, before));
        sessions.disconnected(2, 7);
        assert!(!sessions.heard_since(2, before), "it may be gone");
    }

    #[test]
    fn a_former_controller_that_fell_silent_gets_no_session_anew() {
        let mut image = MetadataImage::default();
        for id in [1, 2] {
            image.apply(&MetadataRecord::Broker(BrokerRegistration::live(id, 7)));
        }
        let heard = Instant::now();
        let begun = heard + Duration::from_secs(2);
        let mut sessions = Sessions::default();
        sessions.begin(&image, begun, Some((1, heard)));
        let timeout = Duration::from_secs(3);
        assert!(sessions.expired(&image, timeout, begun).is_empty());
        let over = heard + timeout;
        assert_eq!(sessions.expired(&image, timeout, over), [1]);
        assert_eq!(sessions.next_expiry(&image, timeout), Some(over));
    }
}
