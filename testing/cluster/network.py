"""Real networks that fall apart: each node in a network namespace of its own, joined by a bridge.
Needs root and namespaces; says so and does nothing where it may not.

A one-way cut is a neighbour entry with a hardware address that nobody has: packets leave and reach
nobody, while the other direction works. It needs no packet filter in the kernel."""
import random
import subprocess
import sys
import tempfile
import time

from clients import Writer, judge
from nodes import Cluster

PARTITIONS = 6
TOPIC = "orders"
NOBODY = "02:00:00:00:00:fe"


def ip(*arguments, inside=None, check=True):
    command = ["ip", *(["-n", inside] if inside else []), *arguments]
    return subprocess.run(command, check=check, capture_output=True, text=True)


class Network:
    """Three namespaces on a bridge that this machine is on, too."""

    def __init__(self, count):
        self.tag = f"cc{random.randrange(1 << 16):04x}"
        self.net = f"10.{random.randrange(100, 250)}.{random.randrange(250)}"
        self.bridge = f"{self.tag}b"
        self.spaces = [f"{self.tag}n{i}" for i in range(count)]

    def make(self):
        ip("link", "add", self.bridge, "type", "bridge")
        ip("addr", "add", f"{self.net}.254/24", "dev", self.bridge)
        ip("link", "set", self.bridge, "up")
        for i, space in enumerate(self.spaces):
            ip("netns", "add", space)
            ip("link", "add", f"{self.tag}v{i}", "type", "veth", "peer", "name", "eth0", "netns", space)
            ip("link", "set", f"{self.tag}v{i}", "master", self.bridge, "up")
            ip("link", "set", "lo", "up", inside=space)
            ip("addr", "add", f"{self.host(i)}/24", "dev", "eth0", inside=space)
            ip("link", "set", "eth0", "up", inside=space)

    def host(self, i):
        return f"{self.net}.{i + 1}"

    def places(self):
        return [(self.host(i), 9092, ("ip", "netns", "exec", space)) for i, space in enumerate(self.spaces)]

    def cut_one_way(self, source, target):
        """Nothing gets from one node to another any more."""
        ip("neigh", "replace", self.host(target), "lladdr", NOBODY, "nud", "permanent", "dev", "eth0",
           inside=self.spaces[source])

    def join_one_way(self, source, target):
        ip("neigh", "del", self.host(target), "dev", "eth0", inside=self.spaces[source], check=False)

    def unplug(self, i):
        """Nothing gets to or from a node, clients included."""
        ip("link", "set", f"{self.tag}v{i}", "down")

    def plug(self, i):
        ip("link", "set", f"{self.tag}v{i}", "up")

    def close(self):
        ip("link", "del", self.bridge, check=False)
        for i, space in enumerate(self.spaces):
            ip("link", "del", f"{self.tag}v{i}", check=False)
            ip("netns", "del", space, check=False)


def pairs(victim, count):
    return [(victim, other) for other in range(count) if other != victim]


def cut_off(network, victim):
    """The other brokers neither hear it nor are heard; clients reach all."""
    for one, other in pairs(victim, 3):
        network.cut_one_way(one, other)
        network.cut_one_way(other, one)


def deaf(network, victim):
    """It is heard, but hears no other broker."""
    for one, other in pairs(victim, 3):
        network.cut_one_way(other, one)


def mute(network, victim):
    """It hears, but is not heard by other brokers."""
    for one, other in pairs(victim, 3):
        network.cut_one_way(one, other)


def bridge_between(network, victim):
    """The two others do not reach each other; all reach the victim."""
    one, other = [i for i in range(3) if i != victim]
    network.cut_one_way(one, other)
    network.cut_one_way(other, one)


def unplugged(network, victim):
    """Nobody reaches it."""
    network.unplug(victim)


def heal(network, victim):
    network.plug(victim)
    for one in range(3):
        for other in range(3):
            if one != other:
                network.join_one_way(one, other)


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(1 << 30)
    network = Network(3)
    try:
        network.make()
    except (OSError, subprocess.CalledProcessError) as error:
        network.close()
        print(f"network: skipped: network namespaces are not allowed here: {error}")
        return
    try:
        with tempfile.TemporaryDirectory(prefix="network-") as folder:
            cluster = Cluster(folder, 3, {"offsets.topic.replication.factor": 3}, network.places())
            try:
                run(cluster, network, seed)
            finally:
                cluster.close()
    finally:
        network.close()


def run(cluster, network, seed):
    random.seed(seed)
    cluster.start()
    cluster.create(TOPIC, PARTITIONS, 3, min_insync_replicas=2)
    cluster.wait_whole(TOPIC)
    writer = Writer(cluster.bootstrap, TOPIC, PARTITIONS)
    writer.start()
    longest = 0.0
    for cut in [cut_off, deaf, mute, bridge_between, unplugged]:
        for victim in random.sample(range(3), 2):
            time.sleep(1)
            longest, writer.longest_gap = max(longest, writer.longest_gap), 0.0
            cut(network, victim)
            lasted = random.uniform(4, 9)
            time.sleep(lasted)
            heal(network, victim)
            took = cluster.wait_whole(TOPIC, patience=90)
            print(f"network: {cut.__name__} of node {victim + 1} for {lasted:.1f} s: longest pause "
                  f"{writer.longest_gap:.2f} s, whole again after {took:.1f} s", flush=True)
    writer.longest_gap = max(longest, writer.longest_gap)
    print(f"network: passed (seed {seed}): {judge(cluster, [writer], TOPIC, PARTITIONS)}")


if __name__ == "__main__":
    main()
