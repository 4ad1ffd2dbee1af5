"""Clients that remember: an idempotent writer with acks=all, and the check of what is in the topic
against what the writer was told. librdkafka does the talking."""
import collections
import threading
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition


class Writer(threading.Thread):
    """Sends numbered records to all partitions until it is told to end."""

    def __init__(self, bootstrap, topic, partitions, rate=2000, name="w", delivery_s=120, **config):
        super().__init__(daemon=True)
        self.topic, self.partitions, self.rate, self.label = topic, partitions, rate, name
        self.acknowledged = {}
        self.failed = {}
        self.sent = collections.Counter()
        # The longest time between two acknowledgements, which is what an application feels.
        self.longest_gap = 0.0
        self.last_ack = None
        self.errors = collections.Counter()
        self.ending = threading.Event()
        self.producer = Producer({
            "bootstrap.servers": bootstrap, "enable.idempotence": True, "acks": "all", "linger.ms": 5,
            "delivery.timeout.ms": delivery_s * 1000, "request.timeout.ms": 10000, "socket.timeout.ms": 10000,
            "socket.connection.setup.timeout.ms": 3000, "reconnect.backoff.max.ms": 500,
            "retry.backoff.max.ms": 500, "topic.metadata.refresh.interval.ms": 5000, "log_level": 0,
            "error_cb": lambda error: self.errors.update([error.name()]), **config})

    def note(self, error, message):
        key = message.value().decode()
        if error:
            self.failed[key] = error.name()
            self.errors.update([error.name()])
            return
        now = time.monotonic()
        if self.last_ack is not None:
            self.longest_gap = max(self.longest_gap, now - self.last_ack)
        self.last_ack = now
        self.acknowledged[key] = (message.partition(), message.offset())

    def run(self):
        began, count = time.monotonic(), 0
        while not self.ending.is_set():
            due = int((time.monotonic() - began) * self.rate)
            # Never more than a second's worth at once, after a long pause.
            for count in range(max(count, due - self.rate), due):
                partition = count % self.partitions
                number = self.sent[partition]
                try:
                    self.producer.produce(self.topic, f"{self.label}-{partition}-{number}".encode(),
                                          partition=partition, on_delivery=self.note)
                    self.sent[partition] += 1
                except BufferError:
                    break
            count = due
            self.producer.poll(0.01)
        self.left = self.producer.flush(130)

    def end(self):
        """Waits for everything; what was sent in all."""
        self.ending.set()
        self.join(140)
        assert self.left == 0, f"{self.left} records without a fate"
        return sum(self.sent.values())

    def summary(self):
        return (f"{sum(self.sent.values())} sent, {len(self.acknowledged)} acknowledged, {len(self.failed)} failed, "
                f"longest pause {self.longest_gap:.2f} s")


def read_all(bootstrap, topic, partitions, patience=60):
    """By partition, (offset, text) of all records."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "judge", "enable.auto.commit": False,
                         "log_level": 0, "isolation.level": "read_committed"})
    found = {partition: [] for partition in range(partitions)}
    ends = {}
    deadline = time.monotonic() + patience
    for partition in found:
        while True:
            try:
                ends[partition] = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)[1]
                break
            except Exception:
                if time.monotonic() > deadline:
                    raise
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in found])
    positions = {partition: 0 for partition in found}
    while any(positions[p] < ends[p] for p in found):
        for message in consumer.consume(5000, 0.5):
            if message.error():
                continue
            found[message.partition()].append((message.offset(), message.value().decode()))
            positions[message.partition()] = message.offset() + 1
        if time.monotonic() > deadline:
            raise SystemExit(f"FAILED: not everything could be read: {positions} of {ends}")
    consumer.close()
    return found


def check(writers, found):
    """Acknowledged ⊆ stored ⊆ sent, each once, in order, where the writer was told. What is wrong."""
    wrong = []
    stored = {}
    for partition, records in found.items():
        last_offset, last = -1, {}
        for offset, text in records:
            if offset <= last_offset:
                wrong.append(f"partition {partition}: offset {offset} after {last_offset}")
            last_offset = offset
            label, where, number = text.rsplit("-", 2)
            if int(where) != partition:
                wrong.append(f"{text} is in partition {partition}")
            if text in stored:
                wrong.append(f"{text} is there twice, at {stored[text]} and {offset}")
            elif int(number) < last.get(label, -1):
                wrong.append(f"{text} at {offset} comes after number {last[label]}")
            stored[text] = offset
            last[label] = max(int(number), last.get(label, -1))
    for writer in writers:
        for text, (partition, offset) in writer.acknowledged.items():
            if text not in stored:
                wrong.append(f"{text} was acknowledged at {partition}/{offset} and is lost")
            # A retry that was there already is acknowledged without its offset.
            elif offset is not None and offset >= 0 and stored[text] != offset:
                wrong.append(f"{text} was acknowledged at {offset} and is at {stored[text]}")
    labels = {writer.label: writer for writer in writers}
    for text in stored:
        label, partition, number = text.rsplit("-", 2)
        if label not in labels or int(number) >= labels[label].sent[int(partition)]:
            wrong.append(f"nobody sent {text}")
    return wrong


def judge(cluster, writers, topic, partitions):
    """Ends the writers, reads everything and fails the cluster if anything is wrong."""
    for writer in writers:
        writer.end()
    found = read_all(cluster.bootstrap, topic, partitions)
    wrong = check(writers, found)
    if wrong:
        cluster.fail(f"{len(wrong)} things are wrong, such as: " + "; ".join(wrong[:5]))
    stored = sum(len(records) for records in found.values())
    return f"{stored} stored; " + "; ".join(writer.summary() for writer in writers)
