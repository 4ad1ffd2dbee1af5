//! A relay between clients and a broker, which can hold back what tells sink tasks how a rebalance ends.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The key of SyncGroup.
const SYNC_GROUP: [u8; 2] = [0, 14];

pub(crate) struct Relay {
    listener: Option<TcpListener>,
    address: SocketAddr,
    gate: Arc<Gate>,
}

struct Gate {
    holds: watch::Sender<bool>,
    /// How many answers wait.
    waiting: watch::Sender<usize>,
}

impl Relay {
    pub(crate) async fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gate = Gate {
            holds: watch::Sender::new(false),
            waiting: watch::Sender::new(0),
        };
        Self {
            listener: Some(listener),
            address,
            gate: Arc::new(gate),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Relays everything from now on.
    pub(crate) fn run(&mut self, broker: SocketAddr) {
        let listener = self.listener.take().unwrap();
        let gate = Arc::clone(&self.gate);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(broker).await else {
                    continue;
                };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let synced = Arc::new(Mutex::new(HashSet::new()));
                tokio::spawn(requests(from_client, to_server, Arc::clone(&synced)));
                tokio::spawn(answers(from_server, to_client, synced, Arc::clone(&gate)));
            }
        });
    }

    /// No sink task is told its partitions from now on, although the group has agreed on them.
    pub(crate) fn hold(&self) {
        self.gate.holds.send_replace(true);
    }

    pub(crate) fn is_holding(&self) -> bool {
        *self.gate.waiting.borrow() > 0
    }

    pub(crate) fn let_go(&self) {
        self.gate.holds.send_replace(false);
    }
}

async fn frame(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let length = from.read_u32().await.ok()?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.resize(4 + length as usize, 0);
    from.read_exact(&mut frame[4..]).await.ok()?;
    Some(frame)
}

/// Notes the numbers of the requests whose answers may be held back.
async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    synced: Arc<Mutex<HashSet<[u8; 4]>>>,
) {
    while let Some(frame) = frame(&mut from).await {
        let by_sink = frame
            .get(14..)
            .is_some_and(|id| id.starts_with(b"connector-consumer"));
        if frame[4..6] == SYNC_GROUP && by_sink {
            synced
                .lock()
                .unwrap()
                .insert(frame[8..12].try_into().unwrap());
        }
        if to.write_all(&frame).await.is_err() {
            return;
        }
    }
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    synced: Arc<Mutex<HashSet<[u8; 4]>>>,
    gate: Arc<Gate>,
) {
    while let Some(frame) = frame(&mut from).await {
        let held = synced.lock().unwrap().remove(&frame[4..8]);
        if held && *gate.holds.borrow() {
            gate.waiting.send_modify(|waiting| *waiting += 1);
            gate.holds.subscribe().wait_for(|holds| !holds).await.ok();
            gate.waiting.send_modify(|waiting| *waiting -= 1);
        }
        if to.write_all(&frame).await.is_err() {
            return;
        }
    }
}
