"""A cluster of real broker processes on this machine: ours, or Apache Kafka's as the judge of these
scripts themselves (KAFKA_HOME names a folder with its libs/)."""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

READY_S = 60


class Ours:
    """Our broker; CONNECT names the binary."""

    def __init__(self):
        self.binary = os.environ["CONNECT"]

    def configure(self, node, nodes, extra):
        seeds = ",".join(n.address for n in nodes)
        keys = {
            "broker.id": node.id,
            "listeners": f"PLAINTEXT://{node.address}",
            "log.dirs": str(node.data),
            "controller.quorum.bootstrap.servers": seeds,
            "group.initial.rebalance.delay.ms": 0,
            **extra,
        }
        node.config.write_text("".join(f"{key}={value}\n" for key, value in keys.items()))

    def command(self, node):
        return [self.binary, "broker", "start", str(node.config)]

    def prepare(self, node):
        pass

    def voters(self, cluster):
        """The folders of the metadata quorum's voters by node."""
        command = [self.binary, "metadata-quorum", "describe", "--status", "--bootstrap-server", cluster.bootstrap]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        found = re.search(r"CurrentVoters:\s*(\[.*\])", done.stdout)
        return {voter["id"]: voter["directoryId"] for voter in json.loads(found[1])} if found else {}


class ApacheKafka:
    """Apache Kafka in KRaft mode, each node broker and voter."""

    CLUSTER_ID = "4L6g3nShT-eMCtK--X86sw"

    def __init__(self):
        self.classpath = os.environ["KAFKA_HOME"] + "/libs/*"

    def configure(self, node, nodes, extra):
        voters = ",".join(f"{n.id}@{n.host}:{n.port + 1000}" for n in nodes[:3])
        roles = "broker,controller" if node.id <= 3 else "broker"
        controller = f",CONTROLLER://{node.host}:{node.port + 1000}" if node.id <= 3 else ""
        keys = {
            "process.roles": roles,
            "node.id": node.id,
            "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://{node.address}{controller}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(node.data),
            "group.initial.rebalance.delay.ms": 0,
            "offsets.topic.num.partitions": 5,
            **extra,
        }
        node.config.write_text("".join(f"{key}={value}\n" for key, value in keys.items()))

    def command(self, node):
        return ["java", "-Xmx256m", "-Xms64m", "-cp", self.classpath, "kafka.Kafka", str(node.config)]

    def prepare(self, node):
        if (node.data / "meta.properties").exists():
            return
        subprocess.run(["java", "-Xmx128m", "-cp", self.classpath, "kafka.tools.StorageTool", "format", "-t",
                        self.CLUSTER_ID, "-c", str(node.config), "--ignore-formatted"],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Node:
    """One broker: its number, where it listens, its files and its process while it runs."""

    def __init__(self, cluster, number, host, port, prefix=()):
        self.cluster, self.id, self.host, self.port = cluster, number, host, port
        self.address = f"{host}:{port}"
        self.folder = cluster.folder / f"node-{number}"
        self.data = self.folder / "data"
        self.config = self.folder / "server.properties"
        self.log = self.folder / "log"
        # What runs the process elsewhere, such as in a network namespace.
        self.prefix = list(prefix)
        self.process = None
        self.folder.mkdir(parents=True, exist_ok=True)

    def start(self):
        assert self.process is None, f"node {self.id} runs"
        self.cluster.kind.prepare(self)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.prefix + self.cluster.kind.command(self), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, start_new_session=True)

    def signal(self, which):
        os.kill(self.process.pid, which)

    def kill(self):
        """As `kill -9`, and waits for the process to be gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self, patience=60):
        """As `kill`; how long it took."""
        began = time.monotonic()
        self.process.terminate()
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
            raise SystemExit(f"node {self.id} did not stop within {patience} s:\n{self.tail()}")
        self.process = None
        return time.monotonic() - began

    def pause(self):
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)

    def directory(self):
        """The id of its data folder, which is another one after it was wiped."""
        meta = self.data / "meta.properties"
        found = re.search(r"^directory.id=(.*)$", meta.read_text(), re.M) if meta.exists() else None
        return found and found[1]

    def wipe(self):
        shutil.rmtree(self.data, ignore_errors=True)

    def is_reachable(self):
        try:
            socket.create_connection((self.host, self.port), 0.5).close()
            return True
        except OSError:
            return False

    def tail(self, lines=15):
        text = self.log.read_text(errors="replace").splitlines()[-lines:] if self.log.exists() else []
        return f"--- node {self.id}:\n" + "\n".join(text)


class Cluster:
    """`count` nodes in a folder, on ports of 127.0.0.1 or, with `places`, where those say."""

    def __init__(self, folder, count, extra=None, places=None):
        self.kind = ApacheKafka() if os.environ.get("KAFKA_HOME") else Ours()
        self.folder = pathlib.Path(folder)
        # Below the ports that systems give to outgoing connections.
        base = 20000 + os.getpid() % 1200 * 10
        places = places or [("127.0.0.1", base + i, ()) for i in range(count)]
        self.next_port = base + count
        self.nodes = [Node(self, i + 1, *place) for i, place in enumerate(places)]
        self.extra = extra or {}
        self.client = None
        for node in self.nodes:
            self.kind.configure(node, self.nodes, self.extra)

    def add(self):
        """One more node, which is not started yet."""
        node = Node(self, max(n.id for n in self.nodes) + 1, "127.0.0.1", self.next_port)
        self.next_port += 1
        self.nodes.append(node)
        self.kind.configure(node, self.nodes, self.extra)
        return node

    def remove(self, node):
        """Takes a node out for good with the command-line tool."""
        others = ",".join(n.address for n in self.nodes if n is not node)
        command = [self.kind.binary, "cluster", "remove", str(node.id), "--bootstrap-server", others]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode:
            self.fail(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}")

    @property
    def bootstrap(self):
        return ",".join(node.address for node in self.nodes)

    def start(self):
        for node in self.nodes:
            node.start()
        self.wait()
        self.wait_votes()

    def wait_votes(self):
        """Until each node has its vote, with the folder it has now: before, a majority is fewer nodes than it seems."""
        if isinstance(self.kind, ApacheKafka):
            return
        deadline = time.monotonic() + READY_S
        while True:
            voters, wanted = self.kind.voters(self), {node.id: node.directory() for node in self.nodes}
            if voters == wanted:
                return
            if time.monotonic() > deadline:
                self.fail(f"the voters are {voters} and not {wanted}")
            time.sleep(0.1)

    def wait(self, nodes=None):
        """Until these nodes are reachable and in the cluster."""
        nodes = nodes or self.nodes
        deadline = time.monotonic() + READY_S
        for node in nodes:
            while not node.is_reachable():
                if node.process is not None and node.process.poll() is not None:
                    self.fail(f"node {node.id} ended with {node.process.returncode}")
                if time.monotonic() > deadline:
                    self.fail(f"node {node.id} is not reachable")
                time.sleep(0.05)
        for node in nodes:
            # Asked itself: what others say may be of the time before it died.
            client = AdminClient({"bootstrap.servers": node.address, "log_level": 0})
            while True:
                try:
                    if node.id in client.list_topics(timeout=2).brokers:
                        break
                except KafkaException:
                    pass
                if time.monotonic() > deadline:
                    self.fail(f"node {node.id} is not in the cluster")
                time.sleep(0.05)

    def admin(self):
        if self.client is None:
            self.client = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0,
                                       "socket.connection.setup.timeout.ms": 3000,
                                       "reconnect.backoff.max.ms": 500})
        return self.client

    def create(self, topic, partitions, replication, **config):
        config = {key.replace("_", "."): str(value) for key, value in config.items()}
        made = self.admin().create_topics([NewTopic(topic, num_partitions=partitions, replication_factor=replication,
                                                    config=config)], operation_timeout=30)
        try:
            made[topic].result(30)
        except KafkaException as error:
            # The folder is new: an attempt before was carried out although its answer was lost.
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise

    def partitions(self, topic):
        return self.admin().list_topics(topic, timeout=10).topics[topic].partitions

    def wait_whole(self, topic, patience=60, replicas=None):
        """Until every partition has a leader and all its replicas in sync; how long it took."""
        began = time.monotonic()
        while True:
            try:
                found = self.partitions(topic).values()
                sick = [p for p in found if p.leader < 0 or len(p.isrs) < len(p.replicas)
                        or (replicas and len(p.replicas) < replicas)]
                if found and not sick:
                    return time.monotonic() - began
                why = [(p.id, p.leader, p.replicas, p.isrs) for p in sick[:3]]
            except Exception as error:
                why = error
            if time.monotonic() - began > patience:
                self.fail(f"{topic} is not whole after {patience} s: {why}")
            time.sleep(0.1)

    def close(self):
        for node in self.nodes:
            if node.process is not None:
                try:
                    node.resume()
                except ProcessLookupError:
                    pass
                node.kill()

    def fail(self, why):
        print(why, file=sys.stderr)
        for node in self.nodes:
            print(node.tail(), file=sys.stderr)
        raise SystemExit(f"FAILED: {why}")
