"""A copy, file to file, by connect-standalone on a cluster whose nodes are killed in turn: every line
arrives, in order of its first appearance. STANDALONE names the binary; the cluster is ours, or
Apache Kafka's."""
import argparse
import os
import pathlib
import random
import subprocess
import tempfile
import time

from nodes import Cluster


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--lines", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    options = parser.parse_args()
    random.seed(options.seed)
    with tempfile.TemporaryDirectory(prefix="copy-") as folder:
        folder = pathlib.Path(folder)
        cluster = Cluster(folder, 3, {"offsets.topic.replication.factor": 3, "default.replication.factor": 3,
                                      "min.insync.replicas": 2})
        worker = None
        try:
            cluster.start()
            worker = start_worker(folder, cluster.bootstrap)
            copy(cluster, folder, worker, options)
        finally:
            if worker is not None:
                worker.kill()
                worker.wait()
            cluster.close()


def start_worker(folder, bootstrap):
    (folder / "worker.properties").write_text(
        f"bootstrap.servers={bootstrap}\nkey.converter=string\nvalue.converter=string\n"
        f"offset.flush.interval.ms=500\nlisteners=\ndata.dir={folder}/worker\n")
    (folder / "source.properties").write_text(
        f"name=source\nconnector.class=FileStreamSource\nfile={folder}/test.txt\ntopic=lines\n"
        f"topic.creation.default.partitions=1\ntopic.creation.default.replication.factor=3\n")
    (folder / "sink.properties").write_text(
        f"name=sink\nconnector.class=FileStreamSink\nfile={folder}/test.sink.txt\ntopics=lines\n"
        "consumer.override.auto.offset.reset=earliest\n")
    with open(folder / "worker.log", "ab") as log:
        return subprocess.Popen([os.environ["STANDALONE"], "worker.properties", "source.properties", "sink.properties"],
                                cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def copy(cluster, folder, worker, options):
    source, sink = folder / "test.txt", folder / "test.sink.txt"

    def fail(why):
        print("\n".join((folder / "worker.log").read_text(errors="replace").splitlines()[-25:]))
        cluster.fail(f"{why} (seed {options.seed})")

    part = options.lines // (options.rounds + 1)
    written = 0
    with open(source, "w") as file:
        for turn in range(options.rounds + 1):
            upto = options.lines if turn == options.rounds else written + part
            file.writelines(f"line {number}\n" for number in range(written, upto))
            file.flush()
            written = upto
            time.sleep(random.uniform(0.5, 1.5))
            if turn < options.rounds:
                node = cluster.nodes[turn % 3]
                node.kill()
                time.sleep(random.uniform(0.1, 2))
                node.start()
                cluster.wait([node])
                cluster.wait_whole("lines", patience=90)
    deadline = time.monotonic() + 120
    last = f"line {options.lines - 1}\n".encode()
    while not (sink.exists() and sink.read_bytes().endswith(last)):
        if worker.poll() is not None:
            fail(f"the worker ended with {worker.returncode}")
        if time.monotonic() > deadline:
            fail("the copy did not end")
        time.sleep(0.2)
    seen, repeated = set(), 0
    with open(sink) as file:
        for line in file:
            if line in seen:
                repeated += 1
            elif line != f"line {len(seen)}\n":
                fail(f"{line!r} came where line {len(seen)} was due")
            else:
                seen.add(line)
    if len(seen) != options.lines:
        fail(f"{len(seen)} lines of {options.lines} arrived")
    print(f"copy: passed: {options.lines} lines through {options.rounds} kills of nodes, in order, {repeated} repeated")


if __name__ == "__main__":
    main()
