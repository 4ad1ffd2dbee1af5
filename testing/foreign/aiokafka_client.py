"""aiokafka against our broker."""
import asyncio, os, time, uuid
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, NewPartitions
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

B = os.environ["BOOTSTRAP"]
run = uuid.uuid4().hex[:8]


async def main():
    admin = AIOKafkaAdminClient(bootstrap_servers=B)
    await admin.start()
    topic = f"aio-{run}"
    await admin.create_topics([NewTopic(topic, 6, 1)])
    assert topic in await admin.list_topics()
    assert len((await admin.describe_topics([topic]))[0]["partitions"]) == 6
    configs = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    assert "cleanup.policy" in str(configs)
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs={"retention.ms": "7200000"})])
    assert "7200000" in str(await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)]))

    for codec in [None, "gzip", "snappy", "lz4", "zstd"]:
        t = f"aio-{run}-{codec}".lower()
        p = AIOKafkaProducer(bootstrap_servers=B, compression_type=codec, linger_ms=10, enable_idempotence=True)
        await p.start()
        sent = [await p.send(t, f"{codec}-{i}".encode(), key=b"k", headers=[("n", b"1")]) for i in range(1000)]
        offsets = [(await f).offset for f in sent]
        assert offsets == list(range(1000)), (codec, offsets[:5])
        await p.stop()
        c = AIOKafkaConsumer(bootstrap_servers=B, auto_offset_reset="earliest")
        await c.start()
        c.assign([TopicPartition(t, 0)])
        got = []
        end = time.time() + 20
        while len(got) < 1000 and time.time() < end:
            for records in (await c.getmany(timeout_ms=500)).values():
                got += [r.value.decode() for r in records]
        assert got == [f"{codec}-{i}" for i in range(1000)], (codec, len(got))
        await c.stop()

    p = AIOKafkaProducer(bootstrap_servers=B)
    await p.start()
    for i in range(3000):
        await p.send(topic, str(i).encode(), partition=i % 6)
    await p.stop()
    group = f"aio-group-{run}"
    seen, members = [], []

    async def turn(c):
        for records in (await c.getmany(timeout_ms=200)).values():
            seen.extend(int(r.value) for r in records)
        if c.assignment():
            try:
                await c.commit()
            except Exception as e:
                assert type(e).__name__ in ("CommitFailedError", "RebalanceInProgressError", "IllegalGenerationError",
                                            "UnknownMemberIdError", "IllegalStateError"), repr(e)

    for _ in range(3):
        c = AIOKafkaConsumer(topic, bootstrap_servers=B, group_id=group, auto_offset_reset="earliest",
                             enable_auto_commit=False, session_timeout_ms=6000, heartbeat_interval_ms=500)
        await c.start()
        members.append(c)
        for m in members:
            await turn(m)
    end = time.time() + 90
    while time.time() < end and not (len(set(seen)) == 3000 and [len(m.assignment()) for m in members] == [2, 2, 2]):
        for m in members:
            await turn(m)
    assert set(seen) == set(range(3000)), len(set(seen))
    assert [len(m.assignment()) for m in members] == [2, 2, 2], [len(m.assignment()) for m in members]
    for m in members:
        await m.stop()
    c = AIOKafkaConsumer(topic, bootstrap_servers=B, group_id=group, auto_offset_reset="earliest")
    await c.start()
    late = await c.getmany(timeout_ms=3000)
    assert not late, "read again after the commit"
    await c.stop()
    await admin.create_partitions({topic: NewPartitions(8)})
    await admin.delete_topics([topic])
    assert topic not in await admin.list_topics()
    await admin.close()
    print("topics, configs, 5 codecs, idempotence, a group of three, commits")


asyncio.run(main())
