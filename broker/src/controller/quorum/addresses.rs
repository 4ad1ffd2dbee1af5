//! Where members are reached now. The membership says where they were when they joined; a process
//! that came back elsewhere says so in every message it sends, and when it registers.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::raft_types::{Member, broker_id};
use crate::controller::image::MetadataImage;

/// See the module.
pub(super) struct Addresses {
    me: Mutex<Member>,
    /// What members themselves said.
    heard: Mutex<HashMap<u64, Member>>,
    image: watch::Receiver<Arc<MetadataImage>>,
}

impl Addresses {
    pub(super) fn new(me: Member, image: watch::Receiver<Arc<MetadataImage>>) -> Self {
        Self {
            me: Mutex::new(me),
            heard: Mutex::new(HashMap::new()),
            image,
        }
    }

    /// This node.
    pub(super) fn me(&self) -> Member {
        self.me.lock().clone()
    }

    /// This node is reached at `address`.
    #[cfg(test)]
    pub(super) fn moved(&self, address: String) {
        self.me.lock().address = address;
    }

    /// Member `id` said who it is.
    pub(super) fn hear(&self, id: u64, member: Member) {
        if !member.address.is_empty() {
            self.heard.lock().insert(id, member);
        }
    }

    /// Where `member` with `id` is reached.
    pub(super) fn of(&self, id: u64, member: &Member) -> String {
        if let Some(heard) = self.heard.lock().get(&id)
            && heard.directory == member.directory
        {
            return heard.address.clone();
        }
        self.image
            .borrow()
            .broker(broker_id(id))
            .filter(|broker| broker.directory == member.directory)
            .and_then(|broker| broker.endpoints.first())
            .map_or_else(|| member.address.clone(), |endpoint| endpoint.address())
    }
}
