"""Sends Apache Kafka's standalone worker and ours the same requests and prints what differs.

Every difference must be explained in intended.toml, and every explanation there must still explain
one. Usage: live_diff.py JARS [--keep] [--dump FILE] [--only TEXT]; CONNECT and STANDALONE name our
binaries."""
import argparse
import json
import os
import pathlib
import re
import shutil
import sys
import tempfile
import time
import tomllib
from fnmatch import fnmatchcase

import catalogue
from compare import Difference, differences, show
from workers import KafkasWorker, OurWorker

PATIENCE = 15


class Explanation:
    """One entry of intended.toml: a reason, and which differences it is the reason of."""

    def __init__(self, entry):
        self.reason = entry["reason"]
        self.requests = entry.get("requests", ["*"])
        self.place = re.compile(entry["place"], re.S)
        self.kafka = re.compile(entry["kafka"], re.S) if "kafka" in entry else None
        self.ours = re.compile(entry["ours"], re.S) if "ours" in entry else None
        self.count = 0

    def covers(self, difference):
        return (any(fnmatchcase(difference.request, pattern) for pattern in self.requests)
                and self.place.fullmatch(difference.place) is not None
                and (self.kafka is None or self.kafka.fullmatch(text(difference.kafka)) is not None)
                and (self.ours is None or self.ours.fullmatch(text(difference.ours)) is not None))

    def __str__(self):
        return f"requests {self.requests}, place {self.place.pattern}: {self.reason}"


def text(value):
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def explanations():
    path = pathlib.Path(__file__).with_name("intended.toml")
    with path.open("rb") as file:
        return [Explanation(entry) for entry in tomllib.load(file).get("intended", [])]


def wait(worker, step):
    """Whether what is waited for has come; otherwise the last answer."""
    begun, since = time.monotonic(), None
    while True:
        answer = worker.send("GET", step.path, None, (("Accept", "application/json"),))
        try:
            body = json.loads(answer.body)
        except ValueError:
            body = {}
        if answer.status != 200 or not step.holds(body):
            since = None
        else:
            since = since or time.monotonic()
            if time.monotonic() - since >= step.steady:
                return "yes"
        if time.monotonic() - begun > PATIENCE:
            return f"not after {PATIENCE} s: {answer.status} {show(body)}"
        time.sleep(0.05)


def run(workers, steps):
    """All differences, and how many requests were sent to each worker."""
    found, count = [], 0
    for step in steps:
        if isinstance(step, catalogue.Until):
            kafka, ours = (wait(worker, step) for worker in workers)
            if kafka != "yes":
                print(f"{step.what}: kafka: {kafka}", file=sys.stderr)
            if (kafka == "yes") != (ours == "yes"):
                found.append(Difference(f"until {step.what}", "state", kafka, ours))
            continue
        answers = []
        for worker in workers:
            try:
                answers.append(worker.send(step.method, step.path, step.body, step.headers))
            except Exception as error:
                for one in workers:
                    one.check_alive()
                raise SystemExit(f"{worker.name} does not answer {step.name}: {error!r}\n{worker.tail()}")
        count += 1
        found.extend(differences(step.name, *answers))
    return found, count


def report(found, count, intended):
    unexplained = []
    for difference in found:
        reasons = [explanation for explanation in intended if explanation.covers(difference)]
        for explanation in reasons[:1]:
            explanation.count += 1
        if not reasons:
            unexplained.append(difference)
    for difference in unexplained:
        print(f"UNEXPLAINED {difference}")
    idle = [explanation for explanation in intended if explanation.count == 0]
    for explanation in idle:
        print(f"EXPLAINS NOTHING {explanation}")
    print(f"{count} requests to each, {len(found)} differences, {len(found) - len(unexplained)} of them intended "
          f"({len(intended) - len(idle)} reasons), {len(unexplained)} unexplained, {len(idle)} reasons that explain nothing")
    return not unexplained and not idle


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jars", help="the folder with Kafka Connect's jars")
    parser.add_argument("--keep", action="store_true", help="keep the folders of the workers, and say where they are")
    parser.add_argument("--dump", help="write all differences to this file, as JSON lines")
    parser.add_argument("--only", help="print nothing but the differences of requests with this text; all are sent all the same")
    arguments = parser.parse_args()
    intended = explanations()
    folder = tempfile.mkdtemp(prefix="live-diff-")
    workers = (KafkasWorker(folder, os.environ["CONNECT"], arguments.jars),
               OurWorker(folder, os.environ["CONNECT"], os.environ["STANDALONE"]))
    try:
        for worker in workers:
            worker.start({})
        found, count = run(workers, catalogue.all_steps())
    finally:
        for worker in workers:
            worker.stop()
        if arguments.keep:
            print(f"the folders are in {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    if arguments.dump:
        with open(arguments.dump, "w") as file:
            for one in found:
                file.write(json.dumps({"request": one.request, "place": one.place, "kafka": one.kafka, "ours": one.ours}) + "\n")
    if arguments.only:
        found = [one for one in found if arguments.only in one.request]
        for one in found:
            print(one)
        return
    if not report(found, count, intended):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
