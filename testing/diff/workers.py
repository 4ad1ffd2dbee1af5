"""Two standalone workers, each with a broker of ours and a folder of its own: Apache Kafka's and ours.
Both are given the same file, so that whatever differs is the workers' doing."""
import http.client
import os
import pathlib
import socket
import subprocess
import time

START_PATIENCE = 90

# What is read by the sources of the catalogue.
LINES = "".join(f"line {number}\n" for number in range(1, 21))

LOG4J = """\
status = error
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %c: %m%n
"""


def free_port():
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body


class Worker:
    """A worker with its broker."""

    def __init__(self, name, folder, connect):
        self.name = name
        self.folder = pathlib.Path(folder) / name
        self.folder.mkdir()
        self.connect = connect
        self.port = free_port()
        self.processes = []
        (self.folder / "in.txt").write_text(LINES)

    def start(self, settings):
        broker_port = free_port()
        (self.folder / "server.properties").write_text(
            f"broker.id=0\nlisteners=PLAINTEXT://127.0.0.1:{broker_port}\nlog.dirs=broker\n"
            f"controller.quorum.bootstrap.servers=127.0.0.1:{broker_port}\n"
            "group.initial.rebalance.delay.ms=0\n")
        self.spawn("broker", [self.connect, "broker", "start", "server.properties"])
        self.wait_for_port(broker_port, "broker")
        keys = {
            "bootstrap.servers": f"127.0.0.1:{broker_port}",
            "listeners": f"http://127.0.0.1:{self.port}",
            "key.converter": "org.apache.kafka.connect.storage.StringConverter",
            "value.converter": "org.apache.kafka.connect.storage.StringConverter",
            "offset.storage.file.filename": "offsets",
            "offset.flush.interval.ms": "500",
            **settings,
        }
        (self.folder / "worker.properties").write_text("".join(f"{key}={text}\n" for key, text in keys.items()))
        self.spawn("worker", self.command())
        self.wait_until_healthy()

    def command(self):
        raise NotImplementedError

    def spawn(self, what, command):
        log = (self.folder / f"{what}.log").open("ab")
        process = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.processes.append((what, process))

    def wait_for_port(self, port, what):
        begun = time.monotonic()
        while time.monotonic() - begun < START_PATIENCE:
            self.check_alive()
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit(f"the {what} of {self.name} does not listen\n{self.tail()}")

    def wait_until_healthy(self):
        begun = time.monotonic()
        while time.monotonic() - begun < START_PATIENCE:
            self.check_alive()
            try:
                if self.send("GET", "/health").status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise SystemExit(f"the worker of {self.name} does not become healthy\n{self.tail()}")

    def check_alive(self):
        for what, process in self.processes:
            if process.poll() is not None:
                raise SystemExit(f"the {what} of {self.name} has ended with {process.returncode}\n{self.tail()}")

    def send(self, method, path, body=None, headers=()):
        """Sends one request as it stands; no client library judges its path or its headers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=100)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, text in headers:
                connection.putheader(name, text)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            elif method in ("POST", "PUT", "PATCH"):
                connection.putheader("Content-Length", "0")
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def tail(self):
        logs = sorted(self.folder.glob("*.log"))
        parts = [f"--- {log}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-25:]) for log in logs]
        return "\n".join(parts)

    def stop(self):
        for _, process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = []


class KafkasWorker(Worker):
    def __init__(self, folder, connect, jars):
        super().__init__("kafka", folder, connect)
        self.jars = pathlib.Path(jars)

    def command(self):
        (self.folder / "log4j2.properties").write_text(LOG4J)
        return ["java", "-Xmx512m", "-Dlog4j2.configurationFile=log4j2.properties", "-cp", f"{self.jars}{os.sep}*",
                "org.apache.kafka.connect.cli.ConnectStandalone", "worker.properties"]


class OurWorker(Worker):
    def __init__(self, folder, connect, standalone):
        super().__init__("ours", folder, connect)
        self.standalone = standalone

    def command(self):
        return [self.standalone, "worker.properties"]
