//! Members on simulated hosts that crash and lose what they had not flushed.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use platform::net::{TcpListener, TcpStream};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};

use super::{Member, Quorum, QuorumNetwork, QuorumTiming};
use crate::controller::record::MetadataRecord;
use crate::peer::PeerError;

const PORT: u16 = 9000;
const VOTERS: i32 = 3;

/// A connection per message; a length and JSON in each direction.
struct Wire;

async fn exchange(host: &str, message: &Value) -> std::io::Result<Value> {
    let Some(address) = platform::net::resolve(host, PORT).await?.pop() else {
        return Err(std::io::ErrorKind::NotFound.into());
    };
    let mut stream = TcpStream::connect(address).await?;
    write(&mut stream, message).await?;
    read(&mut stream).await
}

async fn write(stream: &mut TcpStream, message: &Value) -> std::io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    stream.write_u32(bytes.len() as u32).await?;
    stream.write_all(&bytes).await
}

async fn read(stream: &mut TcpStream) -> std::io::Result<Value> {
    let length = stream.read_u32().await?;
    let mut bytes = vec![0; length as usize];
    stream.read_exact(&mut bytes).await?;
    Ok(serde_json::from_slice(&bytes)?)
}

impl QuorumNetwork for Wire {
    fn send(
        &self,
        address: String,
        message: Value,
        within: Duration,
    ) -> BoxFuture<'static, Result<Value, PeerError>> {
        async move {
            match timeout(within, exchange(&address, &message)).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(error)) => Err(PeerError::Lost(error.to_string())),
                Err(error) => Err(PeerError::Timeout(error.to_string())),
            }
        }
        .boxed()
    }
}

fn host(id: i32) -> String {
    format!("node-{id}")
}

fn member(id: i32) -> Member {
    Member {
        address: host(id),
        directory: format!("disk-{id}"),
    }
}

/// What the hosts tell the test.
#[derive(Default)]
struct Seen {
    agreed: i64,
    rounds: u32,
    wrong: Option<String>,
}

/// One node, until it crashes: serves, and while it leads, changes something again and again.
async fn run(id: i32, seen: Rc<RefCell<Seen>>) -> turmoil::Result {
    let timing = QuorumTiming::default();
    let folder = Path::new("/data/metadata");
    let quorum = Arc::new(Quorum::open(folder, id, member(id), Arc::new(Wire), timing).await?);
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT))).await?;
    let answering = quorum.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let quorum = answering.clone();
            tokio::spawn(async move {
                if let Ok(message) = read(&mut stream).await {
                    write(&mut stream, &quorum.answer(message).await).await.ok();
                }
            });
        }
    });
    if id == 1 && quorum.is_new() {
        quorum.found().await?;
    }
    loop {
        sleep(Duration::from_millis(20)).await;
        if quorum.leadership().borrow().leader != Some(id) {
            continue;
        }
        for other in 1..=VOTERS {
            quorum.add_learner(other, member(other)).await.ok();
        }
        let all: BTreeSet<i32> = (1..=VOTERS).collect();
        quorum.set_voters(all).await.ok();
        let agreed = seen.borrow().agreed;
        let known = quorum.image().next_producer_id();
        // Only one that still leads has to know.
        let next = agreed + 1;
        let records = vec![MetadataRecord::ProducerIds { next }];
        if quorum.propose(records).await.is_ok() {
            let mut seen = seen.borrow_mut();
            if known < agreed {
                seen.wrong = Some(format!("node {id} leads with {known}, after {agreed}"));
            }
            seen.agreed = seen.agreed.max(next);
            seen.rounds += 1;
        }
    }
}

fn simulate(seed: u64) {
    platform::random::seed(seed);
    let mut builder = turmoil::Builder::new();
    builder
        .rng_seed(seed)
        .simulation_duration(Duration::from_secs(600))
        .max_message_latency(Duration::from_millis(20))
        .tcp_capacity(1 << 16);
    builder.fs().sync_probability(0.02);
    let mut sim = builder.build();
    let seen = Rc::new(RefCell::new(Seen::default()));
    for id in 1..=VOTERS {
        let seen = Rc::clone(&seen);
        sim.host(host(id), move || run(id, Rc::clone(&seen)));
    }
    let mut crashes = 12;
    let mut down: Option<i32> = None;
    let mut next = 3000;
    for step in 0.. {
        sim.step().unwrap();
        if let Some(wrong) = seen.borrow_mut().wrong.take() {
            panic!("seed {seed}: {wrong}");
        }
        if step < next {
            continue;
        }
        match down.take() {
            Some(id) => sim.bounce(host(id)),
            None if crashes == 0 => break,
            None => {
                let id = i32::try_from(platform::random::below(3)).unwrap() + 1;
                sim.crash(host(id));
                down = Some(id);
                crashes -= 1;
            }
        }
        next = step + 200 + platform::random::below(4000);
    }
    platform::random::unseed();
    let seen = seen.borrow();
    println!(
        "seed {seed}: {} changes agreed on in {:?}",
        seen.rounds,
        sim.elapsed()
    );
    assert!(
        seen.rounds > 100,
        "seed {seed}: only {} changes",
        seen.rounds
    );
}

#[test]
fn members_that_crash_and_lose_what_was_not_flushed_keep_what_was_agreed_on() {
    for seed in 1..=4 {
        simulate(seed);
    }
}
