//! Three broker processes on this machine, measured by a client: how long a dead node is felt, what
//! a thousand partitions cost, what copies cost.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_client::{
    Client, ClientConfig, NewTopic, Producer, ProducerConfig, ProducerRecord, TopicDescription,
};

use crate::figures::{cpu_ticks, median, status_kb};
use crate::worker::spawn;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const NODES: usize = 3;

/// Longest wait for anything before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(180);

/// One broker process; killed when dropped.
struct Node {
    folder: PathBuf,
    port: u16,
    process: Option<Child>,
}

impl Node {
    fn start(&mut self) -> Outcome<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))?;
        let arguments = ["broker", "start", "server.properties"];
        self.process = Some(spawn("connect", arguments, &self.folder, log)?);
        Ok(())
    }

    /// Stops the process where it is, or lets it go on: its connections stay open, and nothing is said.
    fn signal(&self, name: &str) -> Outcome<()> {
        let process = self.process.as_ref().ok_or("no process")?;
        let sent = std::process::Command::new("kill")
            .args([name, &process.id().to_string()])
            .status()?;
        sent.success()
            .then_some(())
            .ok_or_else(|| "kill failed".into())
    }

    fn kill(&mut self) -> Outcome<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    fn wait(&mut self) -> Outcome<()> {
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if let Some(process) = &mut self.process
                && let Some(status) = process.try_wait()?
            {
                let log = fs::read_to_string(self.folder.join("log"))?;
                return Err(format!("a broker ended with {status}:\n{log}").into());
            }
            if began.elapsed() > PATIENCE {
                return Err(
                    format!("nothing listens on port {} after {PATIENCE:?}", self.port).into(),
                );
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("connect-bench: a broker could not be killed: {error}");
        }
    }
}

struct Cluster {
    nodes: Vec<Node>,
    client: Client,
}

impl Cluster {
    /// Starts `size` nodes that make up a cluster.
    fn start(folder: &Path, size: usize) -> Outcome<Self> {
        // Ports that were free a moment ago.
        let listeners = (0..size)
            .map(|_| std::net::TcpListener::bind("127.0.0.1:0"))
            .collect::<Result<Vec<_>, _>>()?;
        let ports = listeners
            .iter()
            .map(|listener| listener.local_addr().map(|address| address.port()))
            .collect::<Result<Vec<_>, _>>()?;
        drop(listeners);
        let seeds: Vec<String> = ports
            .iter()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        let mut nodes = Vec::new();
        for (index, port) in ports.iter().enumerate() {
            let folder = folder.join(format!("node-{}", index + 1));
            fs::create_dir_all(&folder)?;
            let keys = format!(
                "broker.id={}\nlisteners=PLAINTEXT://127.0.0.1:{port}\nlog.dirs=data\n\
                 controller.quorum.bootstrap.servers={}\n",
                index + 1,
                seeds.join(",")
            );
            fs::write(folder.join("server.properties"), keys)?;
            nodes.push(Node {
                folder,
                port: *port,
                process: None,
            });
        }
        for node in &mut nodes {
            node.start()?;
        }
        for node in &mut nodes {
            node.wait()?;
        }
        Ok(Self {
            nodes,
            client: Client::new(ClientConfig::new(seeds))?,
        })
    }

    async fn until_all_are_there(&self) -> Outcome<()> {
        let began = Instant::now();
        while self.client.cluster().await?.brokers.len() < self.nodes.len() {
            if began.elapsed() > PATIENCE {
                return Err("not all brokers are in the cluster".into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Creates a topic; the only copy of each partition is on node 1.
    async fn create(&self, topic: &str, partitions: i32, copies: i16) -> Outcome<()> {
        let in_sync = if copies > 1 { "2" } else { "1" };
        let mut topic =
            NewTopic::new(topic, partitions, copies).with_config("min.insync.replicas", in_sync);
        if copies == 1 {
            topic.assignments = (0..partitions).map(|_| vec![1]).collect();
        }
        for (_, created) in self.client.admin().create_topics(&[topic], false).await? {
            created?;
        }
        Ok(())
    }

    async fn describe(&self, topic: &str) -> Outcome<TopicDescription> {
        let described = self
            .client
            .admin()
            .describe_topics(&[topic.to_owned()])
            .await?;
        let (_, topic) = described.into_iter().next().ok_or("no description")?;
        Ok(topic?)
    }

    /// Waits until all replicas of a topic are in sync.
    async fn until_whole(&self, topic: &str) -> Outcome<()> {
        let began = Instant::now();
        loop {
            // Right after a death, the one that is asked may not know yet.
            if let Ok(topic) = self.describe(topic).await
                && topic.partitions.iter().all(|partition| {
                    partition.leader >= 0 && partition.isr.len() == partition.replicas.len()
                })
            {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("{topic} is not in sync after {PATIENCE:?}").into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The node that leads most partitions of a topic.
    async fn busiest(&self, topic: &str) -> Outcome<usize> {
        let topic = self.describe(topic).await?;
        let led = |node: &usize| {
            let id = i32::try_from(*node + 1).unwrap_or(0);
            let partitions = topic.partitions.iter();
            partitions
                .filter(|partition| partition.leader == id)
                .count()
        };
        (0..self.nodes.len())
            .max_by_key(led)
            .ok_or_else(|| "no nodes".into())
    }

    fn node(&mut self, index: usize) -> Outcome<&mut Node> {
        self.nodes
            .get_mut(index)
            .ok_or_else(|| "no such node".into())
    }
}

fn producer(client: &Client) -> Outcome<Producer> {
    let mut config = ProducerConfig::default();
    config.linger = Duration::ZERO;
    Ok(Producer::new(client.clone(), config)?)
}

/// Writes one record to each partition; until all are acknowledged.
async fn write_to_each(
    producer: &Producer,
    topic: &Arc<str>,
    partitions: i32,
) -> Outcome<Duration> {
    let began = Instant::now();
    producer.send(topic, to_each(partitions)).await?.await?;
    Ok(began.elapsed())
}

fn to_each(partitions: i32) -> Vec<ProducerRecord> {
    let record = |partition| ProducerRecord {
        partition: Some(partition),
        ..ProducerRecord::value("x")
    };
    (0..partitions).map(record).collect()
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
}

/// A cluster of three.
pub(crate) fn measure(folder: &Path, mib: u64, rounds: usize) -> Outcome<()> {
    let runtime = runtime()?;
    let began = Instant::now();
    let mut cluster = Cluster::start(folder, NODES)?;
    runtime.block_on(async {
        cluster.until_all_are_there().await?;
        println!(
            "three brokers from nothing: {:.0} ms",
            milliseconds(began.elapsed())
        );
        idle(&cluster).await?;
        failover(&mut cluster, rounds).await?;
        silence(&mut cluster, rounds.div_ceil(2)).await?;
        throughput(&cluster, mib).await?;
        thousand(&mut cluster).await
    })
}

/// What nodes need that have nothing to do.
#[allow(clippy::cast_precision_loss)]
async fn idle(cluster: &Cluster) -> Outcome<()> {
    tokio::time::sleep(Duration::from_secs(5)).await;
    let processes = || {
        cluster
            .nodes
            .iter()
            .filter_map(|node| node.process.as_ref())
    };
    let before: Vec<u64> = processes().map(cpu_ticks).collect::<Outcome<_>>()?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    for (process, before) in processes().zip(before) {
        println!(
            "idle node: {:.1} MB resident (goal under 30), {} ms CPU in 10 s",
            status_kb(process, "VmRSS:")? as f64 / 1000.0,
            (cpu_ticks(process)? - before) * 10
        );
    }
    Ok(())
}

/// Partitions of the topics whose leaders die.
const LED: i32 = 100;

/// A topic with [`LED`] partitions and three copies that was written to, and the load on it: all the
/// time, about 10,000 records a second to all partitions.
async fn loaded(cluster: &Cluster, topic: &Arc<str>) -> Outcome<tokio::task::JoinHandle<()>> {
    cluster.create(topic, LED, 3).await?;
    cluster.until_whole(topic).await?;
    let producer = producer(&cluster.client)?;
    write_to_each(&producer, topic, LED).await?;
    let topic = topic.clone();
    Ok(tokio::spawn(async move {
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        loop {
            pace.tick().await;
            // Acknowledged or not: the producer's own buffer bounds what is under way.
            if producer.send(&topic, to_each(LED)).await.is_err() {
                return;
            }
        }
    }))
}

fn print_times(what: &str, times: Vec<Duration>) {
    let each: Vec<String> = times
        .iter()
        .map(|time| format!("{:.0}", milliseconds(*time)))
        .collect();
    let worst = times.iter().max().copied().unwrap_or_default();
    println!("{what}, each: {} ms", each.join(" "));
    println!(
        "{what}, median of {}: {:.0} ms (worst {:.0})",
        times.len(),
        milliseconds(median(times)),
        milliseconds(worst)
    );
}

/// From kill -9 of the busiest node until every one of 100 partitions under load took a write with acks=all.
async fn failover(cluster: &mut Cluster, rounds: usize) -> Outcome<()> {
    let topic: Arc<str> = "failover".into();
    let load = loaded(cluster, &topic).await?;
    let producer = producer(&cluster.client)?;
    let (mut times, mut back) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let busiest = cluster.busiest(&topic).await?;
        let node = cluster.node(busiest)?;
        node.kill()?;
        times.push(write_to_each(&producer, &topic, LED).await?);
        let node = cluster.node(busiest)?;
        let began = Instant::now();
        node.start()?;
        node.wait()?;
        cluster.until_whole(&topic).await?;
        back.push(began.elapsed());
    }
    load.abort();
    print_times(
        &format!("kill -9 to a write in each of {LED} partitions under load"),
        times,
    );
    println!(
        "start of the killed node to all in sync, median: {:.0} ms",
        milliseconds(median(back))
    );
    Ok(())
}

/// From SIGSTOP of the busiest node until the first write with acks=all that needed another leader, and
/// until every one of 100 partitions took one: nothing tells that the node is gone but that it says
/// nothing for a session (`broker.session.timeout.ms`, 3 s).
async fn silence(cluster: &mut Cluster, rounds: usize) -> Outcome<()> {
    let topic: Arc<str> = "silence".into();
    let load = loaded(cluster, &topic).await?;
    let (mut first, mut times) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let busiest = cluster.busiest(&topic).await?;
        let id = i32::try_from(busiest + 1)?;
        let described = cluster.describe(&topic).await?;
        let led = described.partitions.iter().find(|it| it.leader == id);
        let led = led.ok_or("nothing is led")?.index;
        let producer = producer(&cluster.client)?;
        write_to_each(&producer, &topic, LED).await?;
        cluster.node(busiest)?.signal("-STOP")?;
        let began = Instant::now();
        let record = ProducerRecord {
            partition: Some(led),
            ..ProducerRecord::value("x")
        };
        producer.send(&topic, vec![record]).await?.await?;
        first.push(began.elapsed());
        write_to_each(&producer, &topic, LED).await?;
        times.push(began.elapsed());
        cluster.node(busiest)?.signal("-CONT")?;
        cluster.until_whole(&topic).await?;
    }
    load.abort();
    print_times(
        "silence of a leader to a write in one of its partitions under load",
        first,
    );
    print_times(
        &format!("silence of a leader to a write in each of {LED} partitions under load"),
        times,
    );
    Ok(())
}

/// The same records into one copy, all on one node, and into three, in turn.
async fn throughput(cluster: &Cluster, mib: u64) -> Outcome<()> {
    const PARTITIONS: i32 = 6;
    const ROUNDS: usize = 5;
    let mut times = [(1, Vec::new()), (3, Vec::new())];
    for round in 0..ROUNDS {
        for (copies, times) in &mut times {
            let topic: Arc<str> = format!("copies-{copies}-{round}").into();
            cluster.create(&topic, PARTITIONS, *copies).await?;
            cluster.until_whole(&topic).await?;
            times.push(fill(cluster, &topic, mib).await?);
            // What is gone need not be written to the disk while the next round is measured.
            for (_, deleted) in cluster
                .client
                .admin()
                .delete_topics(&[topic.to_string()])
                .await?
            {
                deleted?;
            }
        }
    }
    let mut rates = Vec::new();
    for (copies, times) in times {
        let seconds = median(times).as_secs_f64();
        #[allow(clippy::cast_precision_loss)]
        let rate = mib as f64 / seconds;
        println!(
            "{mib} MiB of 100-byte records, acks=all, {copies} copies, median of {ROUNDS}: {seconds:.2} s, {rate:.0} MiB/s"
        );
        rates.push(rate);
    }
    if let [one, three] = rates.as_slice() {
        println!(
            "three copies reach {:.2} of one (goal 0.25), on one machine that does all the work",
            three / one
        );
    }
    Ok(())
}

/// Writes so many MiB of 100-byte records.
async fn fill(cluster: &Cluster, topic: &Arc<str>, mib: u64) -> Outcome<Duration> {
    const LINE: [u8; 100] = [b'x'; 100];
    let count = (mib << 20) / LINE.len() as u64;
    let producer = Producer::new(cluster.client.clone(), ProducerConfig::default())?;
    let record = ProducerRecord::value(bytes::Bytes::from_static(&LINE));
    let began = Instant::now();
    let mut sent = 0;
    while sent < count {
        let part = 1000.min(count - sent);
        let records = (0..part).map(|_| record.clone()).collect();
        drop(producer.send(topic, records).await?);
        sent += part;
    }
    producer.flush().await?;
    let took = began.elapsed();
    producer.close(Duration::from_secs(1)).await;
    Ok(took)
}

/// One node with a thousand partitions and so many MiB in them, killed right after the last write and started again.
pub(crate) fn restart(folder: &Path, mib: u64) -> Outcome<()> {
    const PARTITIONS: i32 = 1000;
    let mut cluster = Cluster::start(folder, 1)?;
    runtime()?.block_on(async {
        let topic: Arc<str> = "full".into();
        cluster.create(&topic, PARTITIONS, 1).await?;
        let took = fill(&cluster, &topic, mib).await?;
        println!(
            "{mib} MiB in {PARTITIONS} partitions, written in {:.1} s",
            took.as_secs_f64()
        );
        let producer = producer(&cluster.client)?;
        let node = cluster.node(0)?;
        node.kill()?;
        let began = Instant::now();
        node.start()?;
        node.wait()?;
        let listens = began.elapsed();
        write_to_each(&producer, &topic, PARTITIONS).await?;
        println!(
            "kill -9 and start: listens after {:.0} ms, every partition was written to after {:.0} ms (goal 5000)",
            milliseconds(listens),
            milliseconds(began.elapsed())
        );
        Ok(())
    })
}

/// A thousand partitions with three copies: made, written to, and a node of theirs restarted.
async fn thousand(cluster: &mut Cluster) -> Outcome<()> {
    const PARTITIONS: i32 = 1000;
    let topic: Arc<str> = "thousand".into();
    let began = Instant::now();
    cluster.create(&topic, PARTITIONS, 3).await?;
    let answered = began.elapsed();
    cluster.until_whole(&topic).await?;
    let producer = producer(&cluster.client)?;
    write_to_each(&producer, &topic, PARTITIONS).await?;
    println!(
        "{PARTITIONS} partitions with three copies: created in {:.0} ms, all written to after {:.0} ms",
        milliseconds(answered),
        milliseconds(began.elapsed())
    );
    let busiest = cluster.busiest(&topic).await?;
    let node = cluster.node(busiest)?;
    node.kill()?;
    let gone = write_to_each(&producer, &topic, PARTITIONS).await?;
    let began = Instant::now();
    let node = cluster.node(busiest)?;
    node.start()?;
    node.wait()?;
    let listens = began.elapsed();
    cluster.until_whole(&topic).await?;
    println!(
        "kill -9 of a node with {PARTITIONS} partitions: all written to after {:.0} ms; started again it listens after {:.0} ms and is in sync after {:.0} ms",
        milliseconds(gone),
        milliseconds(listens),
        milliseconds(began.elapsed())
    );
    Ok(())
}
