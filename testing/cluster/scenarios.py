"""What happens to a cluster in real life, each with a writer at work and everything checked at the
end. Usage: scenarios.py NAME... [--rounds N] [--seed N] [--folder DIR]"""
import argparse
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

from clients import Writer, judge
from nodes import Cluster

PARTITIONS = 6
TOPIC = "orders"
SCENARIOS = {}


def scenario(function):
    SCENARIOS[function.__name__.replace("_", "-")] = function
    return function


def with_topic(cluster, **config):
    cluster.start()
    cluster.create(TOPIC, PARTITIONS, 3, min_insync_replicas=2, **config)
    cluster.wait_whole(TOPIC)
    return Writer(cluster.bootstrap, TOPIC, PARTITIONS)


@scenario
def kill(cluster, options):
    """kill -9 of a random node, again and again; it is back before the next one dies."""
    writer = with_topic(cluster)
    writer.start()
    for _ in range(options.rounds):
        victim = random.choice(cluster.nodes)
        time.sleep(random.uniform(0.1, 0.6))
        victim.kill()
        time.sleep(random.uniform(0.05, 0.8))
        victim.start()
        cluster.wait([victim])
        cluster.wait_whole(TOPIC)
    return f"{options.rounds} rounds, {judge(cluster, [writer], TOPIC, PARTITIONS)}"


@scenario
def kill_all(cluster, options):
    """kill -9 of all nodes at once: nothing acknowledged is lost, as the system still has it."""
    writer = with_topic(cluster)
    writer.start()
    for _ in range(max(1, options.rounds // 10)):
        time.sleep(random.uniform(0.5, 1.5))
        for node in cluster.nodes:
            node.kill()
        for node in random.sample(cluster.nodes, len(cluster.nodes)):
            node.start()
        cluster.wait()
        cluster.wait_whole(TOPIC)
    return judge(cluster, [writer], TOPIC, PARTITIONS)


@scenario
def rolling(cluster, options):
    """A rolling restart under load: how long each stop took, what clients were told."""
    writer = with_topic(cluster)
    writer.start()
    times = []
    for node in cluster.nodes:
        time.sleep(1)
        times.append(node.stop())
        node.start()
        cluster.wait([node])
        cluster.wait_whole(TOPIC)
    result = judge(cluster, [writer], TOPIC, PARTITIONS)
    stops = ", ".join(f"{took:.2f}" for took in times)
    return f"stops took {stops} s; errors told to the client: {dict(writer.errors)}; {result}"


@scenario
def pause(cluster, options):
    """SIGSTOP of a node for longer than its session: others lead meanwhile, and what it thinks when
    it wakes changes nothing."""
    writer = with_topic(cluster)
    writer.start()
    for node in cluster.nodes:
        time.sleep(1)
        node.pause()
        time.sleep(random.uniform(6, 10))
        node.resume()
        cluster.wait_whole(TOPIC)
    return judge(cluster, [writer], TOPIC, PARTITIONS)


@scenario
def replace_disk(cluster, options):
    """A node comes back with an empty folder, as the first seed, too: it joins what is there."""
    writer = with_topic(cluster)
    writer.start()
    for node in cluster.nodes:
        time.sleep(1)
        node.kill()
        node.wipe()
        node.start()
        cluster.wait([node])
        # What clients are told may be of the time before the kill.
        cluster.wait_votes()
        cluster.wait_whole(TOPIC)
    return judge(cluster, [writer], TOPIC, PARTITIONS)


@scenario
def replace_nodes(cluster, options):
    """Under load, a new node joins and an old one is taken out for good, until none of the first three is left."""
    writer = with_topic(cluster)
    writer.start()
    times = []
    for old in list(cluster.nodes):
        new = cluster.add()
        began = time.monotonic()
        new.start()
        cluster.wait([new])
        joined = time.monotonic() - began
        cluster.remove(old)
        taken = time.monotonic() - began - joined
        cluster.wait_whole(TOPIC)
        left = {p.id: p.replicas for p in cluster.partitions(TOPIC).values() if old.id in p.replicas}
        if left:
            cluster.fail(f"node {old.id} was taken out and still has copies: {left}")
        # It ends by itself, and says why.
        if old.process.wait(20) == 0 or "taken out of the cluster" not in old.tail():
            cluster.fail(f"node {old.id} was taken out and ended with {old.process.returncode}")
        old.process = None
        cluster.nodes.remove(old)
        times.append(f"{new.id} joined in {joined:.2f} s, {old.id} left in {taken:.2f} s")
    result = judge(cluster, [writer], TOPIC, PARTITIONS)
    return f"{'; '.join(times)}; errors told to the client: {dict(writer.errors)}; {result}"


@scenario
def full_disk(cluster, options):
    """One node's disk after the other is full for a while: the others go on, and it comes back by itself."""
    mounted = []
    try:
        for node in cluster.nodes:
            node.data.mkdir()
            command = ["mount", "-t", "tmpfs", "-o", "size=192m", "none", str(node.data)]
            if subprocess.run(command, capture_output=True).returncode:
                return "skipped: a small file system cannot be mounted here"
            mounted.append(node.data)
        writer = with_topic(cluster, segment_bytes=1 << 20)
        writer.start()
        said = []
        for victim in cluster.nodes:
            said.append(fill_and_free(cluster, writer, victim))
        return f"{'; '.join(said)}; {judge(cluster, [writer], TOPIC, PARTITIONS)}"
    finally:
        cluster.close()
        for data in mounted:
            subprocess.run(["umount", str(data)])


def fill_and_free(cluster, writer, victim):
    time.sleep(1)
    longest, writer.longest_gap = writer.longest_gap, 0.0
    # To the last byte, with a file that can be taken away again.
    filler = victim.data / "filler"
    with open(filler, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            pass
    time.sleep(6)
    before = len(writer.acknowledged)
    time.sleep(2)
    if len(writer.acknowledged) == before:
        cluster.fail(f"nothing is acknowledged while the disk of node {victim.id} is full")
    filler.unlink()
    freed = time.monotonic()
    while victim.process.poll() is not None:
        # It may have ended, with a reason in its log; then whoever runs it starts it again.
        victim.process = None
        victim.start()
    cluster.wait_whole(TOPIC, patience=90)
    pause = writer.longest_gap
    writer.longest_gap = max(longest, pause)
    return f"node {victim.id}: longest pause {pause:.2f} s, in sync again {time.monotonic() - freed:.1f} s after there was room"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", choices=[*SCENARIOS, "all"])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--folder", help="where the nodes keep their files; kept")
    options = parser.parse_args()
    names = list(SCENARIOS) if "all" in options.names else options.names
    failed = []
    for name in names:
        random.seed(options.seed)
        folder = pathlib.Path(options.folder or tempfile.mkdtemp(prefix="cluster-")) / name
        folder.mkdir(parents=True)
        began = time.monotonic()
        cluster = Cluster(folder, 3, {"offsets.topic.replication.factor": 3})
        try:
            result = SCENARIOS[name](cluster, options)
            print(f"cluster: {name} passed ({time.monotonic() - began:.0f}s): {result}", flush=True)
        except (SystemExit, Exception) as error:
            print(f"cluster: {name} FAILED (seed {options.seed}): {error}", file=sys.stderr, flush=True)
            failed.append(name)
        finally:
            cluster.close()
            if not options.folder:
                shutil.rmtree(folder.parent, ignore_errors=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
