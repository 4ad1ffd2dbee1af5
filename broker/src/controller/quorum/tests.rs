//! Several members in one process, and a network between them that can be cut.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::{Member, Quorum, QuorumError, QuorumNetwork, QuorumTiming};
use crate::controller::record::MetadataRecord;
use crate::peer::PeerError;

#[derive(Default)]
struct Wires {
    nodes: BTreeMap<String, Arc<Quorum>>,
    /// From and to.
    cut: HashSet<(String, String)>,
}

/// One node's end of the network.
struct Wire {
    me: String,
    wires: Arc<Mutex<Wires>>,
}

impl QuorumNetwork for Wire {
    fn send(
        &self,
        address: String,
        message: Value,
        within: Duration,
    ) -> BoxFuture<'static, Result<Value, PeerError>> {
        let (me, wires) = (self.me.clone(), self.wires.clone());
        async move {
            let cut =
                |from: &str, to: &str| wires.lock().cut.contains(&(from.to_owned(), to.to_owned()));
            let silence = async {
                sleep(within).await;
                Err(PeerError::Timeout("silence".to_owned()))
            };
            if cut(&me, &address) {
                return silence.await;
            }
            let node = wires.lock().nodes.get(&address).cloned();
            let Some(node) = node else {
                return Err(PeerError::Refused(format!("{address} refuses")));
            };
            let answer = node.answer(message).await;
            if cut(&address, &me) {
                return silence.await;
            }
            Ok(answer)
        }
        .boxed()
    }
}

struct World {
    wires: Arc<Mutex<Wires>>,
    folders: BTreeMap<i32, tempfile::TempDir>,
}

fn address(id: i32) -> String {
    format!("node-{id}:9092")
}

fn change(next: i64) -> Vec<MetadataRecord> {
    vec![MetadataRecord::ProducerIds { next }]
}

impl World {
    fn new() -> Self {
        Self {
            wires: Arc::default(),
            folders: BTreeMap::new(),
        }
    }

    /// Members 1 to `count`, all of them voters.
    async fn of_voters(count: i32) -> Self {
        let mut world = Self::new();
        world.start(1, "disk-1").await.found().await.unwrap();
        for id in 2..=count {
            world.join(id, &format!("disk-{id}")).await;
        }
        let leader = world.leader().await;
        leader.set_voters((1..=count).collect()).await.unwrap();
        world
    }

    async fn start(&mut self, id: i32, directory: &str) -> Arc<Quorum> {
        let folder = self
            .folders
            .entry(id)
            .or_insert_with(|| tempfile::tempdir().unwrap());
        let network = Arc::new(Wire {
            me: address(id),
            wires: self.wires.clone(),
        });
        let member = Member {
            address: address(id),
            directory: directory.to_owned(),
        };
        let timing = QuorumTiming::default();
        let quorum = Quorum::open(folder.path(), id, member, network, timing)
            .await
            .unwrap();
        let quorum = Arc::new(quorum);
        self.wires.lock().nodes.insert(address(id), quorum.clone());
        quorum
    }

    /// A new member without a vote.
    async fn join(&mut self, id: i32, directory: &str) -> Arc<Quorum> {
        let quorum = self.start(id, directory).await;
        let member = Member {
            address: address(id),
            directory: directory.to_owned(),
        };
        let leader = self.leader().await;
        leader.add_learner(id, member).await.unwrap();
        let begun = Instant::now();
        caught_up(&quorum, leader.image().version()).await;
        println!("member {id} has caught up after {:?}", begun.elapsed());
        quorum
    }

    async fn stop(&self, id: i32) {
        let node = self.wires.lock().nodes.remove(&address(id));
        node.unwrap().shutdown().await;
    }

    fn node(&self, id: i32) -> Arc<Quorum> {
        self.wires.lock().nodes[&address(id)].clone()
    }

    fn nodes(&self) -> Vec<Arc<Quorum>> {
        self.wires.lock().nodes.values().cloned().collect()
    }

    /// The node that says it leads, waited for.
    async fn leader(&self) -> Arc<Quorum> {
        self.leader_among(|_| true).await
    }

    async fn leader_among(&self, eligible: impl Fn(i32) -> bool) -> Arc<Quorum> {
        let found = async {
            loop {
                for node in self.nodes() {
                    let leader = node.leadership().borrow().leader;
                    if leader == Some(node.core.me) && eligible(node.core.me) {
                        return node;
                    }
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(30), found).await.unwrap()
    }

    fn cut(&self, from: i32, to: i32) {
        self.wires.lock().cut.insert((address(from), address(to)));
    }

    fn isolate(&self, id: i32) {
        for other in (1..=9).filter(|other| *other != id) {
            self.cut(id, other);
            self.cut(other, id);
        }
    }

    fn heal(&self) {
        self.wires.lock().cut.clear();
    }
}

async fn caught_up(quorum: &Quorum, version: u64) {
    let mut image = quorum.watch();
    let reached = image.wait_for(|image| image.version() >= version);
    timeout(Duration::from_secs(30), reached)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_quorum_of_one_leads_at_once_and_again_after_a_restart() {
    let mut world = World::new();
    let begun = std::time::Instant::now();
    let node = world.start(1, "disk").await;
    println!("created after {:?}", begun.elapsed());
    assert!(node.is_new());
    node.found().await.unwrap();
    println!("founded after {:?}", begun.elapsed());
    let begun = std::time::Instant::now();
    let image = node.propose(change(1000)).await.unwrap();
    println!("agreed in {:?}", begun.elapsed());
    assert_eq!(image.next_producer_id(), 1000);
    assert_eq!(image.version(), node.status().committed);
    world.stop(1).await;
    let begun = std::time::Instant::now();
    let node = world.start(1, "disk").await;
    println!("opened in {:?}", begun.elapsed());
    assert!(!node.is_new());
    assert_eq!(node.leadership().borrow().leader, Some(1));
    assert_eq!(node.image().next_producer_id(), 1000);
    node.propose(change(2000)).await.unwrap();
    assert!(matches!(node.found().await, Err(QuorumError::Refused(_))));
}

#[tokio::test(start_paused = true)]
async fn members_follow_and_another_voter_leads_when_the_leader_dies() {
    let world = World::of_voters(3).await;
    let leader = world.leader().await;
    assert_eq!(leader.voters(), BTreeSet::from([1, 2, 3]));
    leader.propose(change(5)).await.unwrap();
    world.stop(1).await;
    let begun = Instant::now();
    for node in world.nodes() {
        node.elect_now();
    }
    let next = world.leader().await;
    println!("a new leader after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_millis(900));
    assert_ne!(next.core.me, 1);
    assert_eq!(next.image().next_producer_id(), 5);
    let image = next.propose(change(6)).await.unwrap();
    for node in world.nodes() {
        caught_up(&node, image.version()).await;
        assert_eq!(node.image().next_producer_id(), 6);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_leader_is_replaced_without_being_told() {
    let world = World::of_voters(3).await;
    world.isolate(1);
    let begun = Instant::now();
    let next = world.leader_among(|id| id != 1).await;
    println!("a new leader after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(5));
    next.propose(change(7)).await.unwrap();
    // The old one knows by then that nobody hears it.
    let old = world.node(1);
    let mut leadership = old.leadership();
    let gave_up = leadership.wait_for(|leadership| leadership.leader != Some(1));
    timeout(Duration::from_secs(5), gave_up)
        .await
        .unwrap()
        .unwrap();
    assert!(old.propose(change(9)).await.is_err());
    world.heal();
    caught_up(&old, next.image().version()).await;
    let image = world.leader().await.propose(change(8)).await.unwrap();
    caught_up(&old, image.version()).await;
    assert_eq!(old.image().next_producer_id(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_was_cut_off_disturbs_nobody() {
    let world = World::of_voters(3).await;
    let before = *world.leader().await.leadership().borrow();
    world.isolate(3);
    sleep(Duration::from_secs(60)).await;
    world.heal();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(*world.leader().await.leadership().borrow(), before);
    assert_eq!(*world.node(3).leadership().borrow(), before);
}

#[tokio::test(start_paused = true)]
async fn a_voter_votes_for_one_that_got_its_vote_meanwhile() {
    let mut world = World::of_voters(3).await;
    world.join(4, "disk-4").await;
    world.stop(3).await;
    let leader = world.leader().await;
    leader.set_voters(BTreeSet::from([1, 3, 4])).await.unwrap();
    leader.remove(2).await.unwrap();
    let version = leader.propose(change(5)).await.unwrap().version();
    caught_up(&world.node(4), version).await;
    world.stop(2).await;
    world.stop(1).await;
    world.start(3, "disk-3").await;
    let next = world.leader().await;
    assert_eq!(next.core.me, 4);
    assert_eq!(next.image().next_producer_id(), 5);
}

#[tokio::test(start_paused = true)]
async fn without_a_majority_nothing_is_agreed_on() {
    let world = World::of_voters(3).await;
    world.stop(2).await;
    world.stop(3).await;
    let node = world.node(1);
    assert!(matches!(
        node.propose(change(7)).await,
        Err(QuorumError::Timeout)
    ));
    assert_eq!(node.image().next_producer_id(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_follower_refuses_a_change_and_knows_who_takes_it() {
    let world = World::of_voters(3).await;
    let follower = world.node(2);
    // Its log must not change meanwhile, or it could not be sure that nothing came of the change.
    sleep(Duration::from_secs(1)).await;
    let refused = follower.propose(change(7)).await;
    assert!(
        matches!(refused, Err(QuorumError::NotLeader { leader: Some(1) })),
        "{refused:?}"
    );
    assert_eq!(follower.leader_address(), Some((1, address(1))));
}

#[tokio::test(start_paused = true)]
async fn all_members_go_on_after_all_were_stopped() {
    let mut world = World::of_voters(3).await;
    world.leader().await.propose(change(11)).await.unwrap();
    for id in 1..=3 {
        world.stop(id).await;
    }
    for id in 1..=3 {
        let node = world.start(id, &format!("disk-{id}")).await;
        assert!(!node.is_new());
    }
    let leader = world.leader().await;
    assert_eq!(leader.image().next_producer_id(), 11);
    leader.propose(change(12)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_member_far_behind_gets_a_snapshot() {
    let mut world = World::of_voters(1).await;
    let leader = world.leader().await;
    world.join(2, "disk-2").await;
    world.stop(2).await;
    for next in 0..super::SNAPSHOT_ENTRIES * 2 + 50 {
        leader.propose(change(next as i64)).await.unwrap();
    }
    // The entries are kept while they are on their way to somebody.
    sleep(Duration::from_secs(2)).await;
    let first = leader.core.log.read(|log| log.purged);
    assert!(first.is_some_and(|first| first.index > 1000), "{first:?}");
    let node = world.start(2, "disk-2").await;
    let image = leader.propose(change(1_000_000)).await.unwrap();
    caught_up(&node, image.version()).await;
    assert_eq!(*node.image(), *image);
    // And from its own disk, too.
    world.stop(2).await;
    let node = world.start(2, "disk-2").await;
    assert!(node.image().version() >= image.version() - 1);
    // The leader as well.
    world.stop(1).await;
    world.start(1, "disk-1").await;
    assert_eq!(world.leader().await.image().next_producer_id(), 1_000_000);
}

#[tokio::test(start_paused = true)]
async fn a_voter_that_lost_its_disk_has_no_vote_until_it_is_taken_in_again() {
    let mut world = World::of_voters(3).await;
    let leader = world.leader().await;
    leader.propose(change(3)).await.unwrap();
    world.stop(3).await;
    world.folders.remove(&3);
    let wiped = world.start(3, "another-disk").await;
    assert!(wiped.is_new());
    sleep(Duration::from_secs(10)).await;
    // Nothing that is meant for the lost disk gets into the new one.
    assert!(wiped.is_new());
    let member = Member {
        address: address(3),
        directory: "another-disk".to_owned(),
    };
    leader.add_learner(3, member).await.unwrap();
    assert_eq!(leader.voters(), BTreeSet::from([1, 2]));
    caught_up(&wiped, leader.image().version()).await;
    leader.set_voters(BTreeSet::from([1, 2, 3])).await.unwrap();
    world.stop(1).await;
    let next = world.leader_among(|id| id != 1).await;
    assert_eq!(next.image().next_producer_id(), 3);
    next.propose(change(4)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dead_voter_can_be_removed_and_a_leader_can_remove_itself() {
    let world = World::of_voters(3).await;
    let leader = world.leader().await;
    world.stop(3).await;
    leader.remove(3).await.unwrap();
    assert_eq!(leader.voters(), BTreeSet::from([1, 2]));
    assert_eq!(leader.members().len(), 2);
    leader.set_voters(BTreeSet::from([2])).await.unwrap();
    let next = world.leader_among(|id| id == 2).await;
    next.propose(change(4)).await.unwrap();
    next.remove(1).await.unwrap();
    assert_eq!(next.status().voters.len(), 1);
    assert_eq!(next.status().observers, []);
    assert!(matches!(next.remove(2).await, Err(QuorumError::Refused(_))));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_moved_is_found_by_its_own_word() {
    let mut world = World::of_voters(3).await;
    let leader = world.leader().await;
    world.stop(3).await;
    let node = world.start(3, "disk-3").await;
    let moved = "elsewhere:9092".to_owned();
    {
        let mut wires = world.wires.lock();
        wires.nodes.remove(&address(3));
        wires.nodes.insert(moved.clone(), node.clone());
    }
    node.moved(moved.clone());
    // It hears nobody, asks for votes, and with that says where it is.
    let heard = async {
        loop {
            let status = leader.status();
            if status.voters.iter().any(|voter| voter.address == moved) {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(10), heard).await.unwrap();
    let image = leader.propose(change(4)).await.unwrap();
    caught_up(&node, image.version()).await;
}

#[tokio::test(start_paused = true)]
async fn random_cuts_and_restarts_lose_nothing_that_was_agreed_on() {
    let mut world = World::of_voters(5).await;
    let mut agreed = 0;
    let mut next = 1;
    for _ in 0..40 {
        match platform::random::below(4) {
            0 => world.isolate(i32::try_from(platform::random::below(5)).unwrap() + 1),
            1 => {
                let [from, to] =
                    [(); 2].map(|()| i32::try_from(platform::random::below(5)).unwrap() + 1);
                world.cut(from, to);
            }
            2 => {
                let id = i32::try_from(platform::random::below(5)).unwrap() + 1;
                world.stop(id).await;
                sleep(Duration::from_millis(platform::random::below(3000))).await;
                world.start(id, &format!("disk-{id}")).await;
            }
            _ => world.heal(),
        }
        for _ in 0..5 {
            for node in world.nodes() {
                if node.leadership().borrow().leader != Some(node.core.me) {
                    continue;
                }
                assert!(
                    node.image().next_producer_id() >= agreed,
                    "a leader without {agreed}"
                );
                next += 1;
                if node.propose(change(next)).await.is_ok() {
                    agreed = next;
                }
            }
            sleep(Duration::from_millis(platform::random::below(1000))).await;
        }
    }
    world.heal();
    let leader = world.leader().await;
    let image = leader.propose(change(next + 1)).await.unwrap();
    for node in world.nodes() {
        caught_up(&node, image.version()).await;
        assert_eq!(node.image().next_producer_id(), next + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_refuses_stops_changes_until_it_takes_them_again() {
    let mut world = World::new();
    let node = world.start(1, "disk").await;
    node.found().await.unwrap();
    node.propose(change(1)).await.unwrap();
    node.core.log.refuse_changes(true);
    for _ in 0..3 {
        let refused = node.propose(change(2)).await;
        assert!(
            matches!(&refused, Err(QuorumError::Storage(why)) if why.contains("cannot")),
            "{refused:?}"
        );
        sleep(Duration::from_millis(700)).await;
    }
    assert_eq!(node.image().next_producer_id(), 1);
    assert_eq!(node.leadership().borrow().leader, None);
    node.core.log.refuse_changes(false);
    let leader = world.leader().await;
    leader.propose(change(3)).await.unwrap();
    world.stop(1).await;
    let node = world.start(1, "disk").await;
    assert_eq!(node.image().next_producer_id(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_follower_whose_disk_refuses_holds_up_nobody_and_catches_up() {
    let world = World::of_voters(3).await;
    let follower = world.node(3);
    follower.core.log.refuse_changes(true);
    let leader = world.leader().await;
    for next in 1..20 {
        leader.propose(change(next)).await.unwrap();
    }
    sleep(Duration::from_secs(5)).await;
    follower.core.log.refuse_changes(false);
    caught_up(&follower, leader.image().version()).await;
    assert_eq!(follower.image().next_producer_id(), 19);
}

#[tokio::test]
async fn a_damaged_snapshot_is_refused_with_its_place() {
    let mut world = World::new();
    let node = world.start(1, "disk").await;
    node.found().await.unwrap();
    node.propose(change(1)).await.unwrap();
    let raft = node.core.raft().unwrap();
    raft.trigger().snapshot().await.unwrap();
    let folder = world.folders[&1].path().to_owned();
    let snapshot = || {
        let entries = std::fs::read_dir(&folder).unwrap();
        let mut paths = entries.map(|entry| entry.unwrap().path());
        paths.find(|path| path.extension().is_some_and(|suffix| suffix == "snapshot"))
    };
    let path = loop {
        match snapshot() {
            Some(path) => break path,
            None => sleep(Duration::from_millis(5)).await,
        }
    };
    world.stop(1).await;
    let whole = std::fs::read(&path).unwrap();
    let open = || async {
        let network = Arc::new(Wire {
            me: address(1),
            wires: Arc::default(),
        });
        let timing = QuorumTiming::default();
        Quorum::open(&folder, 1, Member::default(), network, timing).await
    };
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let Err(QuorumError::Storage(error)) = open().await else {
            panic!("byte {at}");
        };
        assert!(error.contains("is damaged at byte"), "{error}");
        std::fs::write(&path, &whole[..at]).unwrap();
        assert!(open().await.is_err(), "cut at {at}");
    }
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(open().await.unwrap().image().next_producer_id(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_voter_without_its_metadata_does_not_vote() {
    let mut world = World::of_voters(3).await;
    world.stop(1).await;
    world.stop(3).await;
    world.folders.remove(&3);
    world.start(3, "disk-3").await;
    sleep(Duration::from_secs(20)).await;
    for id in [2, 3] {
        assert_eq!(world.node(id).leadership().borrow().leader, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_loses_its_vote_gives_up_its_place_and_follows() {
    let world = World::of_voters(3).await;
    let leader = world.leader().await;
    assert_eq!(leader.core.me, 1);
    leader.set_voters(BTreeSet::from([2, 3])).await.unwrap();
    let begun = Instant::now();
    let next = world.leader_among(|id| id != 1).await;
    println!("a new leader after {:?}", begun.elapsed());
    let image = next.propose(change(5)).await.unwrap();
    caught_up(&leader, image.version()).await;
    assert_eq!(leader.leadership().borrow().leader, Some(next.core.me));
}
