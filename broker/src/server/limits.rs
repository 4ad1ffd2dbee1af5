//! What peers may take together: connections in all and per address, and memory for requests that
//! wait to be handled.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Counts the connections of a broker.
#[derive(Debug)]
pub(super) struct ConnectionLimit {
    total_max: usize,
    per_ip_max: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    per_ip: HashMap<IpAddr, usize>,
}

/// The right to be connected; given back when dropped.
#[derive(Debug)]
pub(super) struct Admission {
    limit: Arc<ConnectionLimit>,
    ip: IpAddr,
}

impl ConnectionLimit {
    pub(super) fn new(total_max: usize, per_ip_max: usize) -> Arc<Self> {
        Arc::new(Self {
            total_max,
            per_ip_max,
            open: Mutex::default(),
        })
    }

    /// Lets a peer in.
    ///
    /// # Errors
    /// Which limit is reached.
    pub(super) fn admit(self: &Arc<Self>, ip: IpAddr) -> Result<Admission, &'static str> {
        let ip = ip.to_canonical();
        let mut open = self.open.lock();
        if open.total >= self.total_max {
            return Err("max.connections");
        }
        let from_here = open.per_ip.entry(ip).or_default();
        if *from_here >= self.per_ip_max {
            return Err("max.connections.per.ip");
        }
        *from_here += 1;
        open.total += 1;
        Ok(Admission {
            limit: self.clone(),
            ip,
        })
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut open = self.limit.open.lock();
        open.total = open.total.saturating_sub(1);
        if let Some(count) = open.per_ip.get_mut(&self.ip) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.per_ip.remove(&self.ip);
            }
        }
    }
}

/// Memory of the requests that were read and are not answered yet. It is checked before a request
/// is read, so it can be exceeded by one request per connection, as in Kafka.
#[derive(Debug)]
pub(super) struct RequestMemory {
    bytes_max: usize,
    bytes: AtomicUsize,
    freed: Notify,
}

/// Bytes that a request takes; given back when dropped.
#[derive(Debug)]
pub(super) struct Taken {
    memory: Arc<RequestMemory>,
    bytes: usize,
}

impl RequestMemory {
    pub(super) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes_max,
            bytes: AtomicUsize::new(0),
            freed: Notify::new(),
        })
    }

    /// Waits until another request may be read. Cancel-safe.
    pub(super) async fn room(&self) {
        loop {
            let freed = self.freed.notified();
            if self.bytes.load(Ordering::Acquire) < self.bytes_max {
                return;
            }
            freed.await;
        }
    }

    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Taken {
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        Taken {
            memory: self.clone(),
            bytes,
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let before = self.memory.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        if before >= self.memory.bytes_max {
            self.memory.freed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_limited_in_all_and_per_address() {
        let limit = ConnectionLimit::new(3, 2);
        let a: IpAddr = "10.0.0.1".parse().unwrap();
        let b: IpAddr = "10.0.0.2".parse().unwrap();
        let first = limit.admit(a).unwrap();
        let _second = limit.admit(a).unwrap();
        assert_eq!(limit.admit(a).unwrap_err(), "max.connections.per.ip");
        let _third = limit.admit(b).unwrap();
        assert_eq!(limit.admit(b).unwrap_err(), "max.connections");
        drop(first);
        assert!(limit.admit(a).is_ok());
    }

    #[tokio::test]
    async fn reading_waits_for_memory() {
        let memory = RequestMemory::new(10);
        memory.room().await;
        let taken = memory.take(12);
        let waiting = tokio::spawn({
            let memory = memory.clone();
            async move { memory.room().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(taken);
        waiting.await.unwrap();
    }
}
