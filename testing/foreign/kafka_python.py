"""kafka-python against our broker."""
import os, time, uuid
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic, NewPartitions, ConfigResource, ConfigResourceType
from kafka.errors import TopicAlreadyExistsError

B = os.environ["BOOTSTRAP"]
run = uuid.uuid4().hex[:8]
admin = KafkaAdminClient(bootstrap_servers=B)

topic = f"kp-{run}"
admin.create_topics([NewTopic(topic, 3, 1, topic_configs={"retention.ms": "3600000"})])
try:
    admin.create_topics([NewTopic(topic, 3, 1)])
    raise SystemExit("created the same topic twice")
except TopicAlreadyExistsError:
    pass
described = admin.describe_topics([topic])
assert len(described[0]["partitions"]) == 3, described
configs = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
assert "3600000" in str(configs), configs
admin.create_partitions({topic: NewPartitions(5)})
assert len(admin.describe_topics([topic])[0]["partitions"]) == 5

for codec in [None, "gzip", "snappy", "lz4", "zstd"]:
    t = f"kp-{run}-{codec}".lower()
    p = KafkaProducer(bootstrap_servers=B, compression_type=codec, linger_ms=10, enable_idempotence=True, acks="all")
    futures = [p.send(t, f"{codec}-{i}".encode(), key=b"k", headers=[("n", str(i).encode())]) for i in range(1000)]
    p.flush(30)
    assert [f.get(10).offset for f in futures] == list(range(1000))
    p.close()
    c = KafkaConsumer(bootstrap_servers=B, consumer_timeout_ms=5000, auto_offset_reset="earliest")
    c.assign([TopicPartition(t, 0)])
    got = []
    for m in c:
        got.append(m.value.decode())
        if len(got) == 1000:
            break
    assert got == [f"{codec}-{i}" for i in range(1000)], (codec, len(got))
    c.close()

# A group of three with a rebalance, then commit and resume.
t = f"kp-{run}-group"
admin.create_topics([NewTopic(t, 6, 1)])
p = KafkaProducer(bootstrap_servers=B)
for i in range(3000):
    p.send(t, str(i).encode(), partition=i % 6)
p.flush()
p.close()
group = f"kp-group-{run}"
seen, members = [], []


def turn(consumer):
    for records in consumer.poll(timeout_ms=200, max_records=300).values():
        seen.extend(int(r.value) for r in records)
    try:
        consumer.commit()
    except Exception as e:
        assert type(e).__name__ in ("CommitFailedError", "RebalanceInProgressError", "IllegalGenerationError",
                                    "UnknownMemberIdError"), e


for _ in range(3):
    members.append(KafkaConsumer(t, bootstrap_servers=B, group_id=group, auto_offset_reset="earliest",
                                 enable_auto_commit=False, session_timeout_ms=6000, heartbeat_interval_ms=500))
    for m in members:
        turn(m)
end = time.time() + 90
while time.time() < end and not (len(set(seen)) == 3000 and [len(m.assignment()) for m in members] == [2, 2, 2]):
    for m in members:
        turn(m)
assert set(seen) == set(range(3000)), len(set(seen))
assert [len(m.assignment()) for m in members] == [2, 2, 2], [len(m.assignment()) for m in members]
for m in members:
    m.close()
c = KafkaConsumer(t, bootstrap_servers=B, group_id=group, auto_offset_reset="earliest", consumer_timeout_ms=4000)
late = [m for m in c]
assert not late, f"{len(late)} read again after the commit"
c.close()
assert group in str(admin.list_groups()) if hasattr(admin, "list_groups") else True
admin.delete_topics([topic, t])
print("topics, configs, 5 codecs, idempotence, a group of three, commits")
