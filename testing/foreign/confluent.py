"""confluent-kafka (librdkafka) against our broker."""
import os, time, uuid
from confluent_kafka import Consumer, Producer, TopicPartition, KafkaError, KafkaException, OFFSET_BEGINNING
from confluent_kafka.admin import (AdminClient, NewTopic, NewPartitions, ConfigResource, ConfigEntry,
                                   AlterConfigOpType, OffsetSpec, ResourceType)
from confluent_kafka import ConsumerGroupTopicPartitions

B = os.environ["BOOTSTRAP"]
run = uuid.uuid4().hex[:8]
admin = AdminClient({"bootstrap.servers": B})


def done(futures):
    for f in futures.values():
        f.result(20)


# Topics: create, refuse twice, describe, alter, grow, delete.
topic = f"confluent-{run}"
done(admin.create_topics([NewTopic(topic, num_partitions=3, replication_factor=1, config={"retention.ms": "3600000"})]))
try:
    done(admin.create_topics([NewTopic(topic, num_partitions=3, replication_factor=1)]))
    raise SystemExit("created the same topic twice")
except Exception as e:
    assert e.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS, e
for bad in ["a b", "..", "x" * 250]:
    try:
        done(admin.create_topics([NewTopic(bad, num_partitions=1, replication_factor=1)]))
        raise SystemExit(f"created topic {bad!r}")
    except Exception as e:
        assert e.args[0].code() == KafkaError.TOPIC_EXCEPTION, e
resource = ConfigResource(ResourceType.TOPIC, topic)
got = list(admin.describe_configs([resource]).values())[0].result(20)
assert got["retention.ms"].value == "3600000", got["retention.ms"]
assert got["cleanup.policy"].value == "delete" and got["cleanup.policy"].is_default
change = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[
    ConfigEntry("segment.bytes", "1048576", incremental_operation=AlterConfigOpType.SET),
    ConfigEntry("retention.ms", None, incremental_operation=AlterConfigOpType.DELETE)])
done(admin.incremental_alter_configs([change]))
got = list(admin.describe_configs([resource]).values())[0].result(20)
assert got["segment.bytes"].value == "1048576" and got["retention.ms"].value == "604800000", got
try:
    done(admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[
        ConfigEntry("no.such.key", "1", incremental_operation=AlterConfigOpType.SET)])]))
    raise SystemExit("accepted an unknown topic config")
except Exception as e:
    assert e.args[0].code() == KafkaError.INVALID_CONFIG, e
done(admin.create_partitions([NewPartitions(topic, 4)]))
assert len(admin.list_topics(topic, timeout=10).topics[topic].partitions) == 4
assert admin.describe_cluster().result(20).cluster_id

# Every codec, idempotent; order and content per key.
for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:
    t = f"confluent-{run}-{codec}"
    done(admin.create_topics([NewTopic(t, num_partitions=1, replication_factor=1)]))
    p = Producer({"bootstrap.servers": B, "compression.type": codec, "enable.idempotence": True, "linger.ms": 10})
    errors = []
    for i in range(3000):
        p.produce(t, value=f"{codec}-{i}".encode(), key=b"k", headers={"n": str(i)},
                  on_delivery=lambda e, m: errors.append(e) if e else None)
        p.poll(0)
    assert p.flush(30) == 0 and not errors, errors
    c = Consumer({"bootstrap.servers": B, "group.id": f"{run}-{codec}", "enable.auto.commit": False})
    c.assign([TopicPartition(t, 0, OFFSET_BEGINNING)])
    got = []
    end = time.time() + 30
    while len(got) < 3000 and time.time() < end:
        got += [m.value().decode() for m in c.consume(1000, 1.0) if not m.error()]
    assert got == [f"{codec}-{i}" for i in range(3000)], (codec, len(got))
    low, high = c.get_watermark_offsets(TopicPartition(t, 0))
    assert (low, high) == (0, 3000), (low, high)
    c.close()

# A group of three with rebalances: each assignor; nothing lost, commits resume.
for strategy in ["range", "roundrobin", "cooperative-sticky"]:
    t = f"confluent-{run}-{strategy}"
    done(admin.create_topics([NewTopic(t, num_partitions=6, replication_factor=1)]))
    p = Producer({"bootstrap.servers": B})
    for i in range(6000):
        p.produce(t, str(i).encode(), partition=i % 6)
        if i % 1000 == 0:
            p.poll(0)
    assert p.flush(30) == 0
    group = f"group-{run}-{strategy}"
    conf = {"bootstrap.servers": B, "group.id": group, "auto.offset.reset": "earliest",
            "enable.auto.commit": False, "partition.assignment.strategy": strategy,
            "session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
    members = []
    seen = []

    # All members share this thread, so a turn waits for no answer: brokers answer in order, a commit
    # waits behind its member's JoinGroup, and that one for members whose turn comes later.
    def turn(consumer, limit=200):
        for m in consumer.consume(limit, 0.2):
            assert not m.error(), m.error()
            seen.append(int(m.value()))
        try:
            consumer.commit(asynchronous=True)
        except KafkaException as e:
            assert e.args[0].code() == KafkaError._NO_OFFSET, e

    def refused(error, _):
        if error is not None:
            assert error.code() in (KafkaError._NO_OFFSET, KafkaError.REBALANCE_IN_PROGRESS,
                                    KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID), error

    conf["on_commit"] = refused
    for _ in range(3):
        c = Consumer(conf)
        c.subscribe([t])
        members.append(c)
        for _ in range(6):
            for m in members:
                turn(m)
    end = time.time() + 60
    while time.time() < end and not (len(set(seen)) == 6000 and all(len(m.assignment()) == 2 for m in members)):
        for m in members:
            turn(m)
    assert [len(m.assignment()) for m in members] == [2, 2, 2], [len(m.assignment()) for m in members]
    assert set(seen) == set(range(6000)), len(set(seen))
    described = list(admin.describe_consumer_groups([group]).values())[0].result(20)
    assert len(described.members) == 3 and described.state.name == "STABLE", described.state
    members.pop().close()
    end = time.time() + 30
    while time.time() < end and sum(len(m.assignment()) for m in members) != 6:
        for m in members:
            turn(m)
    assert sum(len(m.assignment()) for m in members) == 6
    for m in members:
        try:
            m.commit(asynchronous=False)
        except KafkaException as e:
            assert e.args[0].code() == KafkaError._NO_OFFSET, e
    for m in members:
        m.close()
    committed = list(admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]).values())[0].result(20)
    assert sorted(o.offset for o in committed.topic_partitions) == [1000] * 6, committed.topic_partitions
    c = Consumer(conf)
    c.subscribe([t])
    late = [m for m in c.consume(10, 5.0) if not m.error()]
    assert not late, "read again after the commit"
    c.close()
    done(admin.delete_consumer_groups([group]))

ends = admin.list_offsets({TopicPartition(topic, 0): OffsetSpec.latest()})
assert list(ends.values())[0].result(20).offset == 0
done(admin.delete_topics([topic]))
end = time.time() + 10
while topic in admin.list_topics(timeout=10).topics and time.time() < end:
    time.sleep(0.1)
assert topic not in admin.list_topics(timeout=10).topics
print("topics, configs, 5 codecs, idempotence, 3 assignors with rebalances, commits, group admin")
