"""The quickstart of a cluster as the README has it: one configuration copied twice, three brokers
started with `connect broker start -daemon`, and each killed in turn while lines are written and read
with our own tools. CONNECT names the binary, CONFIGS the folder with server.toml, server-1.toml and
server-2.toml; they are used as they are, on their own ports."""
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

CONNECT = os.environ["CONNECT"]
NAMES = ["server.toml", "server-1.toml", "server-2.toml"]


def setting(text, key):
    found = re.search(rf'^"?{re.escape(key)}"?\s*=\s*"?([^"\n]+)"?', text, re.M)
    if not found:
        raise SystemExit(f"FAILED: a configuration does not set {key}")
    return found.group(1).strip()


class Broker:
    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        text = (folder / "configs" / name).read_text()
        self.id = setting(text, "broker.id")
        self.address = setting(text, "listeners").split("//")[1]
        self.data = folder / setting(text, "log.dirs")
        self.pid = None

    def start(self):
        run("broker", "start", "-daemon", f"configs/{self.name}", folder=self.folder)
        self.pid = int((self.data / "broker.pid").read_text().split()[0])

    def kill(self):
        if self.pid is None:
            return
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        # Whoever adopts orphans may take a while to bury it.
        while is_alive(self.pid):
            time.sleep(0.01)
        self.pid = None

    def tail(self):
        log = self.data / "broker.out"
        return f"--- {self.name}:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:] if log.exists() else [])


def is_alive(pid):
    try:
        return ") Z" not in pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def run(*arguments, folder, stdin=None, patience=60):
    done = subprocess.run([CONNECT, *arguments], cwd=folder, input=stdin, text=True, capture_output=True, timeout=patience)
    if done.returncode:
        raise SystemExit(f"FAILED: connect {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def differences(folder):
    """The keys in which the copies differ from the first configuration."""
    def keys(name):
        lines = (folder / "configs" / name).read_text().splitlines()
        pairs = (line.split("=", 1) for line in lines if "=" in line and not line.lstrip().startswith("#"))
        return {key.strip().strip('"'): value.strip() for key, value in pairs}
    first = keys(NAMES[0])
    return {key for name in NAMES[1:] for key in set(first) | set(keys(name)) if keys(name).get(key) != first.get(key)}


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="quickstart-"))
    shutil.copytree(os.environ["CONFIGS"], folder / "configs")
    missing = [name for name in NAMES if not (folder / "configs" / name).exists()]
    if missing:
        raise SystemExit(f"FAILED: there is no configs/{missing[0]}")
    differ = differences(folder)
    if not differ <= {"broker.id", "listeners", "log.dirs"}:
        raise SystemExit(f"FAILED: the three configurations differ in {sorted(differ)}")
    brokers = [Broker(folder, name) for name in NAMES]
    for broker in brokers:
        host, port = broker.address.rsplit(":", 1)
        with socket.socket() as taken:
            if taken.connect_ex((host or "127.0.0.1", int(port))) == 0:
                print(f"quickstart: skipped: something listens on {broker.address} already")
                return
    bootstrap = ",".join(broker.address for broker in brokers)
    try:
        began = time.monotonic()
        for broker in brokers:
            broker.start()
        up = time.monotonic() - began
        run("topics", "--create", "--topic", "orders", "--partitions", "3", "--replication-factor", "3",
            "--bootstrap-server", brokers[0].address, folder=folder)
        written = []

        def write(count):
            lines = [f"line {len(written) + i}" for i in range(count)]
            run("produce", "--topic", "orders", "--bootstrap-server", bootstrap, stdin="".join(line + "\n" for line in lines),
                folder=folder)
            written.extend(lines)

        def read():
            text = run("consume", "--topic", "orders", "--from-beginning", "--max-messages", str(len(written)),
                       "--timeout-ms", "30000", "--bootstrap-server", bootstrap, folder=folder)
            got = text.splitlines()
            if sorted(got) != sorted(written):
                lost = sorted(set(written) - set(got))
                raise SystemExit(f"FAILED: {len(got)} lines of {len(written)} came, lost: {lost[:5]}")

        def in_sync(replicas):
            deadline = time.monotonic() + 60
            while True:
                text = run("topics", "--describe", "--topic", "orders", "--bootstrap-server", bootstrap, folder=folder)
                isrs = re.findall(r"Isr: ([\d,]+)", text)
                if len(isrs) == 3 and all(len(isr.split(",")) == replicas for isr in isrs):
                    return
                if time.monotonic() > deadline:
                    raise SystemExit(f"FAILED: not {replicas} in sync after 60 s:\n{text}")
                time.sleep(0.2)

        in_sync(3)
        voters = 0
        deadline = time.monotonic() + 30
        while voters < 3:
            text = run("metadata-quorum", "describe", "--status", "--bootstrap-server", bootstrap, folder=folder)
            found = re.search(r"CurrentVoters:\s*\[(.*)\]", text)
            voters = len(re.findall(r'"id":', found[1]) or found[1].split(",")) if found else 0
            if time.monotonic() > deadline:
                raise SystemExit(f"FAILED: the three have no vote after 30 s:\n{text}")
        write(10)
        slowest = 0.0
        for broker in brokers:
            broker.kill()
            began = time.monotonic()
            write(10)
            slowest = max(slowest, time.monotonic() - began)
            read()
            broker.start()
            in_sync(3)
        read()
        for broker in brokers:
            run("broker", "stop", f"configs/{broker.name}", folder=folder)
            broker.pid = None
        print(f"quickstart: passed: three brokers up in {up:.2f} s; each killed in turn, {len(written)} lines all there, "
              f"the slowest write after a kill took {slowest:.2f} s")
    except BaseException:
        for broker in brokers:
            print(broker.tail(), file=sys.stderr)
        raise
    finally:
        for broker in brokers:
            broker.kill()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
