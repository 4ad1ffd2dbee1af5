"""The requests that both workers are sent, in this order: good ones, bad ones and odd ones.

A step is a request, or a condition that is waited for before the next request, so that both workers
answer about the same state. Requests have unique names, by which intended.toml speaks of them."""
import json
import urllib.parse

JSON = (("Content-Type", "application/json"), ("Accept", "application/json"))
SOURCE = "org.apache.kafka.connect.file.FileStreamSourceConnector"
SINK = "org.apache.kafka.connect.file.FileStreamSinkConnector"


class Request:
    def __init__(self, name, method, path, body, headers):
        self.name, self.method, self.path, self.body, self.headers = name, method, path, body, headers


class Until:
    """Waits until a resource is as `holds` wants it, and has been for `steady` seconds."""

    def __init__(self, what, path, holds, steady):
        self.what, self.path, self.holds, self.steady = what, path, holds, steady


class Catalogue:
    def __init__(self):
        self.steps = []
        self.names = set()

    def add(self, method, path, body=None, what="", headers=None):
        """A request. A body that is no bytes is sent as JSON."""
        if headers is None:
            headers = JSON if body is not None else (("Accept", "application/json"),)
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        name = " ".join(part for part in (method, path, f"({what})" if what else "") if part)
        if name in self.names:
            raise SystemExit(f"two requests are called {name}")
        self.names.add(name)
        self.steps.append(Request(name, method, path, body, headers))

    def until(self, what, path, holds, steady=0):
        self.steps.append(Until(what, path, holds, steady))

    def until_state(self, connector, state, tasks, steady=0):
        def holds(status):
            states = [task["state"] for task in status.get("tasks", [])]
            return status.get("connector", {}).get("state") == state and states == tasks
        path = f"/connectors/{quoted(connector)}/status"
        self.until(f"{connector} is {state} with tasks {tasks}", path, holds, steady)


    def until_connector(self, connector, state):
        """Whatever its tasks do."""
        path = f"/connectors/{quoted(connector)}/status"
        self.until(f"{connector} is {state}", path, lambda body: body.get("connector", {}).get("state") == state)


def quoted(name):
    return urllib.parse.quote(name, safe="")


def source(**more):
    return {"connector.class": "FileStreamSource", "tasks.max": "1", "file": "in.txt", "topic": "lines",
            **{key.replace("__", "."): text for key, text in more.items()}}


def sink(**more):
    return {"connector.class": "FileStreamSink", "tasks.max": "1", "file": "out.txt", "topics": "lines",
            **{key.replace("__", "."): text for key, text in more.items()}}


def all_steps():
    all_requests = Catalogue()
    for section in (roots, routing, plugins, plugin_configs, validations, creations, odd_names, shown, lifecycle,
                    changes, offsets, topics, failures, loggers, bodies, missing_tasks, deletions, unreachable_names):
        section(all_requests)
    return all_requests.steps


def roots(c):
    for path in ("/", "/health"):
        for method in ("GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH"):
            c.add(method, path)
    c.add("GET", "/health/")
    c.add("GET", "/?x=y")
    c.add("GET", "/", what="no Accept", headers=())
    for accept in ("*/*", "text/html", "application/xml", "text/html, application/json;q=0.5", "application/*", "nonsense"):
        c.add("GET", "/", what=f"Accept {accept}", headers=(("Accept", accept),))
    c.add("GET", "/connectors", what="Accept text/html", headers=(("Accept", "text/html"),))


def routing(c):
    for path in ("/nosuch", "/nosuch/", "//", "//connectors", "/connectors//", "/Connectors", "/connector", "/admin", "/admin/",
                 "/connectors/a/nosuch", "/connectors/a/config/nosuch", "/connectors/a/tasks/0", "/connectors/a/tasks/0/nosuch",
                 "/connector-plugins/FileStreamSource", "/connector-plugins/FileStreamSource/nosuch", "/index.html", "/robots.txt",
                 "/connectors/..", "/connectors/%2e%2e", "/connectors/%zz"):
        c.add("GET", path)
    c.add("DELETE", "/nosuch")
    c.add("POST", "/nosuch", {})
    resources = {
        "/connectors": ("PUT", "DELETE", "PATCH"),
        "/connectors/a": ("POST", "PUT", "PATCH"),
        "/connectors/a/config": ("POST", "DELETE"),
        "/connectors/a/status": ("POST", "PUT", "DELETE"),
        "/connectors/a/pause": ("GET", "POST", "DELETE"),
        "/connectors/a/resume": ("GET", "POST"),
        "/connectors/a/stop": ("GET", "POST"),
        "/connectors/a/restart": ("GET", "PUT"),
        "/connectors/a/tasks": ("PUT", "DELETE"),
        "/connectors/a/tasks/0/status": ("POST",),
        "/connectors/a/tasks/0/restart": ("GET", "PUT"),
        "/connectors/a/topics": ("POST", "DELETE"),
        "/connectors/a/topics/reset": ("GET", "POST"),
        "/connectors/a/offsets": ("POST", "PUT"),
        "/connector-plugins": ("POST", "PUT", "DELETE"),
        "/connector-plugins/FileStreamSource/config": ("POST", "PUT"),
        "/connector-plugins/FileStreamSource/config/validate": ("GET", "POST"),
        "/admin/loggers": ("POST", "PUT", "DELETE"),
        "/admin/loggers/root": ("POST", "DELETE", "PATCH"),
    }
    for path, wrong in resources.items():
        for method in wrong:
            c.add(method, path, what="wrong method")
        c.add("OPTIONS", path)
    for path in ("/connectors", "/connector-plugins", "/admin/loggers", "/admin/loggers/root"):
        c.add("HEAD", path)
    # Internal to a distributed cluster.
    c.add("PUT", "/connectors/a/fence")
    c.add("POST", "/connectors/a/tasks", [])


def plugins(c):
    c.add("GET", "/connector-plugins")
    c.add("GET", "/connector-plugins/")
    for value in ("true", "false", "FALSE", "", "1", "nonsense"):
        c.add("GET", f"/connector-plugins?connectorsOnly={value}")
    c.add("GET", "/connector-plugins?connectorsonly=false")


def plugin_configs(c):
    for name in ("FileStreamSource", "FileStreamSourceConnector", SOURCE, "FileStreamSink", SINK,
                 "MockSink", "MockSource", "SchemaSource", "VerifiableSink", "VerifiableSource",
                 "org.apache.kafka.connect.converters.ByteArrayConverter", "ByteArrayConverter",
                 "org.apache.kafka.connect.json.JsonConverter", "JsonConverter", "Json",
                 "org.apache.kafka.connect.storage.StringConverter", "StringConverter",
                 "org.apache.kafka.connect.storage.SimpleHeaderConverter", "SimpleHeaderConverter",
                 "org.apache.kafka.connect.converters.BooleanConverter", "org.apache.kafka.connect.converters.IntegerConverter",
                 "org.apache.kafka.connect.transforms.Cast$Key", "Cast$Value", "DropHeaders", "ExtractField$Key", "Filter",
                 "Flatten$Value", "HeaderFrom$Key", "HoistField$Value", "InsertField$Value", "InsertHeader", "MaskField$Value",
                 "RegexRouter", "ReplaceField$Value", "SetSchemaMetadata$Key", "TimestampConverter$Value", "TimestampRouter",
                 "ValueToKey", "org.apache.kafka.connect.transforms.predicates.HasHeaderKey", "HasHeaderKey", "RecordIsTombstone",
                 "TopicNameMatches"):
        c.add("GET", f"/connector-plugins/{name}/config")
    c.add("GET", "/connector-plugins/FileStreamSource/config/")
    c.add("HEAD", "/connector-plugins/FileStreamSource/config")
    for name in ("NoSuch", "filestreamsource", "org.example.NoSuch", "FileStream", "java.lang.String", "%20", "Cast"):
        c.add("GET", f"/connector-plugins/{name}/config")
    for version in ("latest", "", "4.3.0", "[4.3.0]", "[1.0,)", "[9.0,)", "9.9.9", "nonsense", "[1.0", "(,1.0)"):
        c.add("GET", f"/connector-plugins/FileStreamSource/config?version={urllib.parse.quote(version)}")


def validations(c):
    def validate(config, what, plugin="FileStreamSource"):
        c.add("PUT", f"/connector-plugins/{plugin}/config/validate", config, what)

    good, good_sink = {"name": "v", **source()}, {"name": "v", **sink()}
    validate(good, "good source")
    validate(good_sink, "good sink", "FileStreamSink")
    c.add("PUT", "/connector-plugins/FileStreamSource/config/validate/", good, "trailing slash")
    for plugin in ("FileStreamSourceConnector", SOURCE, "SourceConnector", "FileStreamSink", "NoSuch", "filestreamsource"):
        validate(good, f"path {plugin}", plugin)
    for name in (SOURCE, "FileStreamSourceConnector", "NoSuch", "org.example.NoSuch", "", " ", "FileStreamSource ", "java.lang.String",
                 "org.apache.kafka.connect.json.JsonConverter", SINK):
        validate({**good, "connector.class": name}, f"class {name!r}")
    for name in ("NoSuch", "org.example.NoSuch"):
        validate({**good, "connector.class": name}, f"class and path {name!r}", name)
    validate({}, "empty")
    validate({"connector.class": "FileStreamSource"}, "class only")
    validate({"connector.class": "FileStreamSink"}, "class only", "FileStreamSink")
    for missing in ("connector.class", "name", "topic", "file", "tasks.max"):
        validate({key: text for key, text in good.items() if key != missing}, f"without {missing}")
    validate({key: text for key, text in good_sink.items() if key != "topics"}, "without topics", "FileStreamSink")
    wrong = {
        "tasks.max": ("0", "-1", "x", "1.5", "99999999999", " 1 ", ""),
        "tasks.max.enforce": ("maybe", "TRUE"),
        "name": ("", " ", " v ", "a\u0000b", "a/b", "ü"),
        "topic": ("", "a,b", "bad topic", "x" * 300),
        "batch.size": ("0", "x", "-5", "5"),
        "file": ("", "/no/such/file"),
        "key.converter": ("NoSuch", "string", "StringConverter", "java.lang.String", "", SOURCE,
                          "org.apache.kafka.connect.storage.StringConverter"),
        "value.converter": ("org.apache.kafka.connect.json.JsonConverter", "NoSuch"),
        "header.converter": ("NoSuch", "org.apache.kafka.connect.storage.SimpleHeaderConverter"),
        "errors.tolerance": ("some", "ALL", "all", ""),
        "errors.retry.timeout": ("-1", "-2", "x"),
        "errors.retry.delay.max.ms": ("0", "-1", "x"),
        "errors.log.enable": ("x", "true"),
        "config.action.reload": ("x", "none"),
        "exactly.once.support": ("required", "requested", "x"),
        "transaction.boundary": ("poll", "connector", "x"),
        "transaction.boundary.interval.ms": ("0", "x", "100"),
        "offsets.storage.topic": ("", "x"),
        "connector.plugin.version": ("latest", "9.9", "[1.0", "nonsense"),
        "key.converter.plugin.version": ("9.9",),
        "transforms": ("a", "a,a", "", "a,", ","),
        "predicates": ("p", "p,p"),
        "topic.creation.groups": ("g", "g,g", "default"),
        "topic.creation.default.partitions": ("0", "1", "-2"),
        "unknown.key": ("x",),
        "producer.override.linger.ms": ("5", "x"),
        "producer.override.acks": ("1", "all", "nonsense"),
        "producer.override.nosuch": ("x",),
        "producer.override.bootstrap.servers": ("127.0.0.1:1",),
        "consumer.override.max.poll.records": ("5",),
        "admin.override.client.id": ("x",),
        "topics": ("a",),
        "config.providers": ("file",),
        "errors.deadletterqueue.topic.name": ("dlq",),
    }
    for key, texts in wrong.items():
        for text in texts:
            validate({**good, key: text}, f"{key}={text[:30]!r}")
    sink_wrong = {
        "topics": ("", "a,b", "a,a", "bad topic", "a, b", ",", "x" * 300),
        "topics.regex": ("a.*", "", "("),
        "errors.deadletterqueue.topic.name": ("lines", "dlq", "", "bad topic"),
        "errors.deadletterqueue.topic.replication.factor": ("0", "-1", "x", "70000", "3"),
        "errors.deadletterqueue.context.headers.enable": ("x", "true"),
        "consumer.override.max.poll.records": ("5", "0", "x"),
        "consumer.override.group.id": ("mine",),
        "consumer.override.auto.offset.reset": ("latest", "nonsense"),
        "consumer.override.bootstrap.servers": ("127.0.0.1:1",),
        "producer.override.linger.ms": ("5",),
        "topic.creation.default.partitions": ("1",),
        "topic": ("a",),
        "file": ("",),
    }
    for key, texts in sink_wrong.items():
        for text in texts:
            validate({**good_sink, key: text}, f"sink {key}={text[:30]!r}", "FileStreamSink")
    regex = {key: text for key, text in good_sink.items() if key != "topics"}
    validate({**regex, "topics.regex": "a.*"}, "sink topics.regex alone", "FileStreamSink")
    validate({**regex, "topics.regex": "("}, "sink broken topics.regex alone", "FileStreamSink")
    validate({**regex, "topics.regex": "d.*", "errors.deadletterqueue.topic.name": "dlq"}, "sink queue within topics.regex", "FileStreamSink")

    def with_transform(what, plugin="FileStreamSource", base=good, **keys):
        given = {key.replace("__", "."): text for key, text in keys.items()}
        validate({**base, "transforms": "t", **given}, f"transform {what}", plugin)

    with_transform("without type")
    with_transform("of no class", transforms__t__type="NoSuch")
    with_transform("of a wrong class", transforms__t__type=SOURCE)
    with_transform("RegexRouter without keys", transforms__t__type="org.apache.kafka.connect.transforms.RegexRouter")
    with_transform("RegexRouter by alias", transforms__t__type="RegexRouter", transforms__t__regex="a", transforms__t__replacement="b")
    with_transform("RegexRouter with a broken pattern", transforms__t__type="RegexRouter", transforms__t__regex="(",
                   transforms__t__replacement="b")
    with_transform("RegexRouter with an unknown key", transforms__t__type="RegexRouter", transforms__t__regex="a",
                   transforms__t__replacement="b", transforms__t__nosuch="c")
    with_transform("Cast without a spec", transforms__t__type="Cast$Value")
    with_transform("Cast with a broken spec", transforms__t__type="Cast$Value", transforms__t__spec="a:nosuch")
    with_transform("Cast without its end", transforms__t__type="org.apache.kafka.connect.transforms.Cast")
    with_transform("InsertField", transforms__t__type="InsertField$Value", transforms__t__static__field="a",
                   transforms__t__static__value="b")
    with_transform("negated without a predicate", transforms__t__type="RegexRouter", transforms__t__regex="a",
                   transforms__t__replacement="b", transforms__t__negate="true")
    with_transform("with a predicate of no name", transforms__t__type="RegexRouter", transforms__t__regex="a",
                   transforms__t__replacement="b", transforms__t__predicate="nosuch")
    with_transform("with a predicate", transforms__t__type="RegexRouter", transforms__t__regex="a",
                   transforms__t__replacement="b", transforms__t__predicate="p", predicates="p", predicates__p__type="RecordIsTombstone")
    with_transform("with a predicate without keys", transforms__t__type="RegexRouter", transforms__t__regex="a",
                   transforms__t__replacement="b", transforms__t__predicate="p", predicates="p", predicates__p__type="TopicNameMatches")
    with_transform("of a sink", "FileStreamSink", good_sink, transforms__t__type="ValueToKey", transforms__t__fields="a")
    groups = {"topic.creation.default.partitions": "1", "topic.creation.default.replication.factor": "1"}
    validate({**good, **groups}, "topic creation")
    validate({**good, **groups, "topic.creation.groups": "g"}, "topic creation group without keys")
    validate({**good, **groups, "topic.creation.groups": "g", "topic.creation.g.include": "a.*"}, "topic creation group")
    validate({**good, **groups, "topic.creation.groups": "g", "topic.creation.g.include": "("}, "topic creation group with a broken pattern")
    validate({**good, **groups, "topic.creation.g.include": "a"}, "topic creation group that is not listed")
    validate({**good, **groups, "topic.creation.default.cleanup.policy": "compact"}, "topic creation setting")
    validate({**good, **groups, "topic.creation.default.replication.factor": "0"}, "topic creation no replicas")
    validate({**good, "tasks.max": "x", "batch.size": "x", "errors.tolerance": "x", "topic": ""}, "many mistakes")
    validate({"name": "v", "connector.class": "MockSink", "topics": "a", "mock_mode": "x"}, "mock sink", "MockSink")
    validate({"name": "v", "connector.class": "VerifiableSource", "topic": "a", "throughput": "x"}, "verifiable source", "VerifiableSource")
    validate({"name": "v", "connector.class": "VerifiableSource"}, "verifiable source without keys", "VerifiableSource")


def creations(c):
    def create(body, what, headers=None):
        c.add("POST", "/connectors", body, what, headers)

    c.add("GET", "/connectors", what="none yet")
    c.add("GET", "/connectors?expand=info&expand=status", what="none yet")
    create({"name": "bad", "config": {}}, "empty config")
    create({"name": "bad", "config": None}, "null config")
    create({"name": "bad"}, "no config")
    create({"config": source()}, "no name")
    create({"name": None, "config": source()}, "null name")
    create({"name": "", "config": source()}, "empty name")
    create({"name": "  ", "config": source()}, "blank name")
    create({"name": 5, "config": source(topic="")}, "number as name, empty topic")
    create({"name": "a\u0001b", "config": source()}, "control character in name")
    create({"name": "bad", "config": source(name="other")}, "two names")
    create({"name": "bad", "config": source(tasks__max="x")}, "bad tasks.max")
    create({"name": "bad", "config": source(tasks__max="x", batch__size="x", topic="")}, "three mistakes")
    create({"name": "bad", "config": {"connector.class": "NoSuch"}}, "unknown class")
    create({"name": "bad", "config": {"file": "in.txt"}}, "no class")
    create({"name": "bad", "config": sink(topics="")}, "sink without topics")
    create({"name": "bad", "config": sink(topics__regex="a")}, "sink with topics and topics.regex")
    create({"name": "bad", "config": source(key__converter="NoSuch")}, "unknown converter")
    create({"name": "bad", "config": {**source(), "batch.size": None}}, "null value")
    create({"name": "bad", "config": {**source(), "more": {"a": "b"}}}, "object as value")
    create({"name": "bad", "config": {**source(), "more": ["a"]}}, "list as value")
    create({"name": "bad", "config": [source()]}, "list as config")
    create({"name": "bad", "config": "text"}, "text as config")
    create({"name": "bad", "config": source(topic=""), "unknown": 1}, "unknown field")
    create({"name": "bad", "config": source(), "initial_state": "NONSENSE"}, "unknown initial_state")
    create({"name": "bad", "config": source(), "initial_state": ""}, "empty initial_state")
    create({"name": "bad", "config": source(), "initial_state": 5}, "number as initial_state")
    # Kafka's worker keeps the connector whose configuration it could not read.
    c.add("GET", "/connectors", what="after bad ones")
    c.add("DELETE", "/connectors/bad", what="after bad ones")
    create({"name": "good", "config": {**source(), "tasks.max": 1, "tasks.max.enforce": True}}, "numbers and booleans as values")
    c.until_state("good", "RUNNING", ["RUNNING"])
    create({"name": "good", "config": source()}, "again")
    create({"name": "good", "config": source(tasks__max="x")}, "again and wrong")
    create({"name": "copy", "config": sink()}, "sink")
    c.until_state("copy", "RUNNING", ["RUNNING"])
    create({"name": "  trimmed  ", "config": source(topic="t")}, "name with spaces")
    create({"name": "paused", "config": source(topic="p"), "initial_state": "PAUSED"}, "paused")
    create({"name": "stopped", "config": source(topic="s"), "initial_state": "STOPPED"}, "stopped")
    create({"name": "lower", "config": source(topic="l"), "initial_state": "stopped"}, "stopped in small letters")
    create({"name": "null-state", "config": source(topic="n"), "initial_state": None}, "null initial_state")
    c.until_state("trimmed", "RUNNING", ["RUNNING"])
    c.until_connector("paused", "PAUSED")
    c.until_state("stopped", "STOPPED", [])
    create({"name": "own-name", "config": source(topic="o", name="own-name")}, "name in both")
    create({"name": "no-file", "config": {"connector.class": "FileStreamSource", "topic": "lines"}}, "source of standard input")
    create({"name": "many", "config": source(tasks__max="5", topic="m")}, "more tasks than there is work")
    create({"name": "many-sink", "config": sink(tasks__max="3", file="many.txt")}, "sink of three tasks")
    c.until_state("many-sink", "RUNNING", ["RUNNING"] * 3)
    c.add("DELETE", "/connectors/many-sink")
    for name in ("own-name", "no-file", "many", "lower", "null-state"):
        c.add("DELETE", f"/connectors/{name}")


def named(c, names):
    for name in names:
        short = name if len(name) < 20 else name[:5] + "…"
        c.add("POST", "/connectors", {"name": name, "config": source(topic="odd")}, f"name {short!r}")
        path = f"/connectors/{quoted(name)}"
        c.add("GET", f"{path}/config", what="odd")
        c.add("PUT", f"{path}/pause", what="odd")
        c.add("DELETE", path, what="odd")


def odd_names(c):
    named(c, ("with space", "qu?ery", "ha#sh", "plus+", "ünï", "日本", "semi;colon", "a&b=c", "dot.", "quo\"te", "co:lon", "comma,",
              "x" * 300, "-", "a'b"))
    c.add("PUT", "/connectors/put%20name/config", source(topic="odd"), "name with a space")
    c.add("PUT", "/connectors/put%20name/config", source(topic="odd", name="put name"), "name with a space, again")
    c.add("PUT", "/connectors/put%20name/config", source(topic="odd", name="put%20name"), "name still encoded")
    c.add("PUT", "/connectors/%20padded%20/config", source(topic="odd"), "padded name")
    c.add("GET", "/connectors", what="after odd names")
    c.add("DELETE", "/connectors/put%20name")
    c.add("DELETE", "/connectors/%20padded%20")
    c.add("DELETE", "/connectors/padded")


def shown(c):
    c.until_state("good", "RUNNING", ["RUNNING"])
    for query in ("", "?expand=status", "?expand=info", "?expand=status&expand=info", "?expand=", "?expand=nonsense", "?expand",
                  "?expand=info&expand=nonsense", "?expand=INFO", "?expand=status,info", "?forward=false", "?x=y"):
        c.add("GET", f"/connectors{query}", what="some")
    c.add("GET", "/connectors/?expand=info", what="some")
    for name in ("good", "copy", "paused", "stopped", "nosuch"):
        for part in ("", "/", "/config", "/config/", "/status", "/status/", "/tasks", "/tasks/", "/tasks/0/status", "/tasks/1/status",
                     "/topics", "/offsets"):
            if (name, part) != ("good", "/offsets") and (name, part) != ("copy", "/offsets"):
                c.add("GET", f"/connectors/{name}{part}")
    for number in ("x", "-1", "99999999999", "0x0", "00", "%20", "1.5"):
        c.add("GET", f"/connectors/good/tasks/{number}/status")
    for number in ("x", "99999999999", "0x0", "%20", "1.5"):
        c.add("POST", f"/connectors/good/tasks/{number}/restart")
    for part in ("", "/config", "/status", "/tasks", "/tasks/0/status", "/topics", "/offsets"):
        c.add("HEAD", f"/connectors/good{part}")
        c.add("HEAD", f"/connectors/nosuch{part}")
    c.add("GET", "/connectors/Good")


def lifecycle(c):
    for action in ("pause", "resume", "stop"):
        c.add("PUT", f"/connectors/nosuch/{action}")
        c.add("PUT", f"/connectors/nosuch/{action}/")
    c.add("PUT", "/connectors/good/pause")
    c.until_state("good", "PAUSED", ["PAUSED"])
    c.add("PUT", "/connectors/good/pause", what="again")
    c.add("PUT", "/connectors/good/pause", {"a": 1}, "with a body")
    c.add("PUT", "/connectors/good/pause", b"nonsense", "with a body that is no JSON", (("Content-Type", "text/plain"),))
    c.add("GET", "/connectors/good/status", what="paused")
    c.add("GET", "/connectors/good/tasks/0/status", what="paused")
    c.add("POST", "/connectors/good/tasks/0/restart", what="paused")
    c.until_state("good", "PAUSED", ["PAUSED"])
    c.add("PUT", "/connectors/good/resume/", what="trailing slash")
    c.until_state("good", "RUNNING", ["RUNNING"])
    c.add("PUT", "/connectors/good/resume", what="again")
    c.add("PUT", "/connectors/good/stop")
    c.until_state("good", "STOPPED", [])
    c.add("PUT", "/connectors/good/stop", what="again")
    for part in ("", "/status", "/tasks", "/tasks/0/status", "/config", "/topics"):
        c.add("GET", f"/connectors/good{part}", what="stopped")
    for query in ("", "?includeTasks=true", "?onlyFailed=true", "?includeTasks=true&onlyFailed=true"):
        c.add("POST", f"/connectors/good/restart{query}", what="stopped")
        c.until_state("good", "STOPPED", [])
    c.add("PUT", "/connectors/good/pause", what="stopped")
    c.until_connector("good", "PAUSED")
    for query in ("", "?includeTasks=true"):
        c.add("POST", f"/connectors/good/restart{query}", what="paused")
        c.until_connector("good", "PAUSED")
    c.add("PUT", "/connectors/good/resume")
    c.until_state("good", "RUNNING", ["RUNNING"])
    for query in ("", "?includeTasks=false", "?includeTasks=true", "?onlyFailed=true", "?includeTasks=true&onlyFailed=true",
                  "?includeTasks=false&onlyFailed=false", "?includeTasks=TRUE", "?includeTasks=nonsense", "?includeTasks=",
                  "?onlyFailed=nonsense"):
        c.add("POST", f"/connectors/good/restart{query}")
        c.until_state("good", "RUNNING", ["RUNNING"])
        c.add("POST", f"/connectors/nosuch/restart{query}")
    c.add("POST", "/connectors/good/restart/", what="trailing slash")
    c.until_state("good", "RUNNING", ["RUNNING"])
    c.add("POST", "/connectors/good/tasks/0/restart")
    c.until_state("good", "RUNNING", ["RUNNING"])
    c.add("POST", "/connectors/good/tasks/0/restart/", what="trailing slash")
    c.until_state("good", "RUNNING", ["RUNNING"])


def changes(c):
    def put(config, what, name="good", headers=None):
        c.add("PUT", f"/connectors/{name}/config", config, what, headers)

    def patch(config, what, name="good", headers=None):
        c.add("PATCH", f"/connectors/{name}/config", config, what, headers)

    put(source(), "the same")
    c.until_state("good", "RUNNING", ["RUNNING"])
    put(source(batch__size="7"), "changed")
    c.until_state("good", "RUNNING", ["RUNNING"])
    put(source(name="good"), "with its name")
    put(source(name="other"), "with another name")
    put(source(name=""), "with an empty name")
    put(source(tasks__max="x"), "wrong")
    put({}, "empty")
    put({"connector.class": "NoSuch"}, "unknown class")
    put({**source(), "batch.size": None}, "null value")
    put({**source(), "batch.size": 9}, "number as value")
    put({**source(), "more": {}}, "object as value")
    put({"name": "good", "config": source()}, "as for POST")
    put(sink(file="x.txt"), "of the other kind")
    c.add("GET", "/connectors/good", what="of the other kind")
    put(source(), "of its kind again")
    c.until_state("good", "RUNNING", ["RUNNING"])
    put(source(topic="new"), "new", "fresh")
    c.until_state("fresh", "RUNNING", ["RUNNING"])
    put(source(topic=""), "new and wrong", "wrong")
    c.add("PUT", "/connectors/slash/config/", source(topic="new"), "trailing slash")
    c.add("DELETE", "/connectors/slash")
    put(source(topic="q"), "paused stays paused", "paused")
    c.until_connector("paused", "PAUSED")
    put(source(topic="q"), "stopped stays stopped", "stopped")
    c.until_state("stopped", "STOPPED", [])
    c.add("GET", "/connectors/stopped", what="changed")
    patch({"batch.size": "11"}, "one key")
    patch({"batch.size": None}, "null removes")
    patch({"nosuch.key": None}, "null removes nothing")
    patch({}, "empty")
    patch({"batch.size": 12}, "number as value")
    patch({"batch.size": "x"}, "wrong")
    patch({"name": "other"}, "another name")
    patch({"name": None}, "without a name")
    patch({"connector.class": None}, "without a class")
    patch({"topic": None}, "without a required key")
    patch({"unknown.key": "x"}, "unknown key")
    patch({"unknown.key": None}, "unknown key removed")
    patch({"batch.size": None}, "back")
    patch({"a": "b"}, "of nothing", "nosuch")
    patch({"batch.size": "3"}, "of a stopped one", "stopped")
    c.add("PATCH", "/connectors/good/config/", {}, "trailing slash")
    c.add("GET", "/connectors/good/config", what="patched")
    c.add("GET", "/connectors/good/tasks", what="patched")
    c.add("DELETE", "/connectors/fresh")


def offsets(c):
    path = "/connectors/good/offsets"
    c.until_state("good", "RUNNING", ["RUNNING"])
    c.until_state("copy", "RUNNING", ["RUNNING"])

    def is_at(position):
        def holds(body):
            return [entry.get("offset", {}).get("position") for entry in body.get("offsets", [])] == [position]
        return holds
    c.until("all lines are read", path, is_at(151))
    c.add("GET", path)
    c.add("GET", path + "/")
    c.until("all lines are written", "/connectors/copy/offsets", lambda body: bool(body.get("offsets")))
    partition, at = {"filename": "in.txt"}, {"position": 7}
    one = {"offsets": [{"partition": partition, "offset": at}]}
    for name, method, body in (("good", "PATCH", one), ("good", "DELETE", None), ("nosuch", "PATCH", one), ("nosuch", "DELETE", None),
                               ("nosuch", "GET", None), ("paused", "PATCH", one), ("paused", "DELETE", None), ("copy", "DELETE", None)):
        c.add(method, f"/connectors/{name}/offsets", body, "while not stopped")
    c.add("PUT", "/connectors/good/stop", what="for its offsets")
    c.until_state("good", "STOPPED", [])

    def alter(body, what, name="good"):
        c.add("PATCH", f"/connectors/{name}/offsets", body, what)
    alter(one, "one")
    c.add("GET", path, what="altered")
    alter({}, "empty")
    alter({"offsets": []}, "no offsets")
    alter({"offsets": None}, "null as offsets")
    alter({"offsets": {}}, "an object")
    alter({"offsets": "text"}, "text as offsets")
    alter({"offsets": [None]}, "null in the list")
    alter({"offsets": [5]}, "number in the list")
    alter({"offsets": [{}]}, "empty entry")
    alter({"offsets": [{"partition": partition}]}, "no offset")
    c.add("GET", path, what="removed")
    alter({"offsets": [{"offset": at}]}, "no partition")
    alter({"offsets": [{"partition": None, "offset": at}]}, "null partition")
    alter({"offsets": [{"partition": {}, "offset": at}]}, "empty partition")
    alter({"offsets": [{"partition": "in.txt", "offset": at}]}, "text as partition")
    alter({"offsets": [{"partition": {"file": "in.txt"}, "offset": at}]}, "unknown key in partition")
    alter({"offsets": [{"partition": {"filename": None}, "offset": at}]}, "null as file name")
    alter({"offsets": [{"partition": partition, "offset": {}}]}, "empty offset")
    alter({"offsets": [{"partition": partition, "offset": {"pos": 1}}]}, "unknown key in offset")
    alter({"offsets": [{"partition": partition, "offset": {"position": "x"}}]}, "text as position")
    alter({"offsets": [{"partition": partition, "offset": {"position": "7"}}]}, "digits as position")
    alter({"offsets": [{"partition": partition, "offset": {"position": -1}}]}, "negative position")
    alter({"offsets": [{"partition": partition, "offset": {"position": None}}]}, "null as position")
    alter({"offsets": [{"partition": partition, "offset": {"position": 1.5}}]}, "fraction as position")
    alter({"offsets": [{"partition": partition, "offset": 7}]}, "number as offset")
    alter({"offsets": [{"partition": partition, "offset": at, "more": 1}]}, "unknown field in entry")
    alter({**one, "more": 1}, "unknown field")
    alter({"offsets": [{"partition": {"filename": "elsewhere"}, "offset": at}]}, "of another file")
    alter({"offsets": [{"partition": partition, "offset": at}, {"partition": partition, "offset": {"position": 9}}]}, "the same twice")
    c.add("GET", path, what="altered often")
    alter({"offsets": [{"partition": {"filename": "elsewhere"}, "offset": None}, {"partition": partition, "offset": None}]}, "null offsets")
    c.add("DELETE", path, what="stopped")
    c.add("DELETE", path, what="stopped, again")
    c.add("DELETE", path + "/", what="trailing slash")
    c.add("GET", path, what="reset")
    c.add("PUT", "/connectors/good/resume", what="after its offsets")
    c.until_state("good", "RUNNING", ["RUNNING"])

    path = "/connectors/copy/offsets"
    c.add("PUT", "/connectors/copy/stop", what="for its offsets")
    c.until_state("copy", "STOPPED", [])
    c.until("the group is empty", "/connectors/copy/status", lambda body: True)
    place = {"kafka_topic": "lines", "kafka_partition": 0}

    def of_sink(partition, offset, what):
        alter({"offsets": [{"partition": partition, "offset": offset}]}, what, "copy")
    of_sink(place, {"kafka_offset": 5}, "sink")
    c.add("GET", path, what="altered")
    of_sink({"kafka_topic": "lines", "kafka_partition": "0"}, {"kafka_offset": "6"}, "sink, digits")
    c.add("GET", path, what="altered by digits")
    of_sink({"kafka_topic": "lines"}, {"kafka_offset": 5}, "sink, no partition")
    of_sink({"kafka_partition": 0}, {"kafka_offset": 5}, "sink, no topic")
    of_sink({"kafka_topic": None, "kafka_partition": 0}, {"kafka_offset": 5}, "sink, null topic")
    of_sink({"kafka_topic": "lines", "kafka_partition": None}, {"kafka_offset": 5}, "sink, null partition")
    of_sink({"kafka_topic": "lines", "kafka_partition": "x"}, {"kafka_offset": 5}, "sink, text as partition")
    of_sink(place, {"kafka_offset": "x"}, "sink, text as offset")
    of_sink(place, {"kafka_offset": None}, "sink, null as offset")
    of_sink(place, {"kafka_offset": -1}, "sink, negative offset")
    of_sink(place, {"offset": 5}, "sink, wrong key")
    of_sink({**place, "more": 1}, {"kafka_offset": 5}, "sink, one key more")
    of_sink(place, {"kafka_offset": 5, "more": 1}, "sink, one key more in the offset")
    of_sink(place, {}, "sink, empty offset")
    of_sink({"kafka_topic": "nosuchtopic", "kafka_partition": 0}, {"kafka_offset": 5}, "sink, unknown topic")
    of_sink({"kafka_topic": "lines", "kafka_partition": 77}, {"kafka_offset": 5}, "sink, unknown partition")
    of_sink(place, None, "sink, null")
    c.add("GET", path, what="removed")
    c.add("DELETE", path, what="stopped")
    c.add("DELETE", path, what="stopped, again")
    c.add("GET", path, what="reset")
    c.add("PUT", "/connectors/copy/resume", what="after its offsets")
    c.until_state("copy", "RUNNING", ["RUNNING"])


def topics(c):
    c.until("its topic is noticed", "/connectors/copy/topics", lambda body: body.get("copy", {}).get("topics") == ["lines"])
    c.add("GET", "/connectors/copy/topics", what="used")
    c.add("GET", "/connectors/copy/topics/", what="used")
    c.add("PUT", "/connectors/nosuch/topics/reset")
    c.add("PUT", "/connectors/paused/topics/reset")
    c.add("PUT", "/connectors/paused/topics/reset/", what="trailing slash")
    c.add("GET", "/connectors/paused/topics", what="reset")


def failures(c):
    off = {"task.restart.enable": "false"}
    broken = {"name": "broken", "config": {"connector.class": "MockSink", "tasks.max": "1", "topics": "lines", "mock_mode": "task-failure",
                                           "delay_ms": "0", **off}}
    c.add("POST", "/connectors", broken, "a sink whose task fails")
    c.until_state("broken", "RUNNING", ["FAILED"])
    for part in ("/status", "/tasks/0/status", "", "/tasks"):
        c.add("GET", f"/connectors/broken{part}", what="failed task")
    c.add("POST", "/connectors/broken/restart?onlyFailed=true", what="failed task")
    c.until_state("broken", "RUNNING", ["FAILED"])
    # The state of before is shown for a moment after a restart.
    c.add("POST", "/connectors/broken/restart?includeTasks=true&onlyFailed=true", what="failed task")
    c.until_state("broken", "RUNNING", ["FAILED"], steady=2)
    c.add("POST", "/connectors/broken/restart?includeTasks=true", what="failed task")
    c.until_state("broken", "RUNNING", ["FAILED"], steady=2)
    c.add("POST", "/connectors/broken/restart", what="failed task")
    c.until_state("broken", "RUNNING", ["FAILED"])
    c.add("POST", "/connectors/broken/tasks/0/restart", what="failed task")
    c.until_state("broken", "RUNNING", ["FAILED"], steady=2)
    c.add("PUT", "/connectors/broken/pause", what="failed task")
    c.until_connector("broken", "PAUSED")
    c.add("GET", "/connectors/broken/status", what="failed task, paused")
    c.add("PUT", "/connectors/broken/resume", what="failed task, paused")
    c.until_connector("broken", "RUNNING")
    c.add("GET", "/connectors/broken/status", what="failed task, resumed")
    c.add("GET", "/connectors?expand=status", what="with a failed task")
    mock = {"name": "mock", "config": {"connector.class": "MockSource", "tasks.max": "1", "mock_mode": "connector-failure", "delay_ms": "1000", **off}}
    c.add("POST", "/connectors", mock, "a connector that fails")
    c.until_connector("mock", "FAILED")
    c.add("GET", "/connectors/mock/status", what="failed")
    c.add("GET", "/connectors/mock", what="failed")
    c.add("PUT", "/connectors/mock/stop", what="failed")
    c.until_state("mock", "STOPPED", [])
    c.add("GET", "/connectors/mock/status", what="failed and stopped")
    c.add("DELETE", "/connectors/mock", what="failed")
    reference = {"name": "reference", "config": source(topic="${file:/no/such/file:key}")}
    c.add("POST", "/connectors", reference, "a reference to a provider that is not there")
    c.add("GET", "/connectors/reference/config")
    c.add("DELETE", "/connectors/reference")


def loggers(c):
    c.add("GET", "/admin/loggers")
    c.add("GET", "/admin/loggers/")
    c.add("GET", "/admin/loggers/root")
    c.add("GET", "/admin/loggers/root/")
    c.add("GET", "/admin/loggers/org.apache.kafka.connect")
    c.add("GET", "/admin/loggers/nosuch")
    c.add("GET", "/admin/loggers/%20")

    def put(path, body, what, headers=None):
        c.add("PUT", f"/admin/loggers/{path}", body, what, headers)
    for body, what in (({}, "empty"), ({"level": None}, "null"), ({"level": ""}, "empty level"), ({"level": "NONSENSE"}, "unknown level"),
                       ({"level": 5}, "number"), ({"Level": "INFO"}, "wrong key"), ({"level": "INFO", "more": "x"}, "one key more"),
                       ({"level": {}}, "object")):
        put("some.logger", body, what)
    for level in ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "OFF", "ALL", "debug", "Info", " INFO"):
        put("some.logger", {"level": level}, f"level {level!r}")
        c.add("GET", "/admin/loggers/some.logger", what=f"after {level!r}")
    put("some", {"level": "WARN"}, "parent")
    c.add("GET", "/admin/loggers/some.logger", what="after its parent")
    c.add("GET", "/admin/loggers/some", what="after its own")
    c.add("GET", "/admin/loggers/some.other", what="below it")
    for scope in ("worker", "cluster", "WORKER", "Cluster", "nonsense", ""):
        put(f"scoped.logger?scope={scope}", {"level": "INFO"}, "scope")
    put("root", {"level": "INFO"}, "root")
    put("root/", {"level": "INFO"}, "root, trailing slash")
    c.add("GET", "/admin/loggers/root", what="after it was set")


def bodies(c):
    good = {"name": "body", "config": source(topic="")}
    text = json.dumps(good).encode()
    targets = (("POST", "/connectors", text), ("PUT", "/connectors/body/config", json.dumps(good["config"]).encode()),
               ("PATCH", "/connectors/good/config", b'{"batch.size": "x"}'), ("PATCH", "/connectors/good/offsets", b'{"offsets": []}'),
               ("PUT", "/connector-plugins/FileStreamSource/config/validate", json.dumps({"name": "v", **source()}).encode()),
               ("PUT", "/admin/loggers/body.logger", b'{"level": "INFO"}'))
    json_type = (("Content-Type", "application/json"),)
    for method, path, body in targets:
        c.add(method, path, None, "no body at all", ())
        for broken, what in ((b"", "empty body"), (b"null", "null"), (b"[]", "list"), (b"5", "number"), (b'"text"', "text"), (b"{", "half"),
                             (b"nonsense", "nonsense"), (body[:-1], "cut"), (body + b"x", "trailing garbage"), (body + b" {}", "two objects"),
                             (b"\xef\xbb\xbf" + body, "byte order mark"), (b"\xff\xfe{}", "no UTF-8"), (b'{"a": "b", "a": "c"}', "a key twice"),
                             (b"{'a': 'b'}", "single quotes"), (b"[" * 3000, "very deep"), (b'{"a": NaN}', "NaN"), (b"/* c */ {}", "comment")):
            c.add(method, path, broken, what, json_type)
        for kind in (None, "text/plain", "application/x-www-form-urlencoded", "application/xml", "nonsense", "application/json; charset=utf-8",
                     "APPLICATION/JSON", "application/json;charset=iso-8859-1", "application/vnd.api+json", "application/json, text/plain"):
            headers = () if kind is None else (("Content-Type", kind),)
            c.add(method, path, body, f"Content-Type {kind}", headers)
        c.add(method, path, body, "Accept text/html", (*json_type, ("Accept", "text/html")))
    c.add("PUT", "/connectors/good/pause", None, "odd Content-Type without a body", (("Content-Type", "text/plain"),))
    c.add("PUT", "/connectors/good/resume", None, "odd Content-Type without a body", (("Content-Type", "text/plain"),))
    c.until_state("good", "RUNNING", ["RUNNING"])


def unreachable_names(c):
    # Last, because Kafka's worker makes connectors of these names and can be asked for none of them.
    named(c, ("sl/ash", "per%cent", "back\\slash", "..", "."))


def missing_tasks(c):
    # Last, because Kafka's worker keeps a failed task of each number that it was asked to restart.
    c.add("POST", "/connectors", {"name": "spare", "config": source(topic="spare")}, "to restart what it does not have")
    c.until_state("spare", "RUNNING", ["RUNNING"])
    for number in ("7", "-1", "00"):
        c.add("POST", f"/connectors/spare/tasks/{number}/restart", what="no such task")
    c.add("POST", "/connectors/nosuch/tasks/0/restart")
    c.add("PUT", "/connectors/spare/stop")
    c.add("POST", "/connectors/spare/tasks/0/restart", what="stopped")
    c.add("DELETE", "/connectors/spare")


def deletions(c):
    c.add("DELETE", "/connectors/nosuch")
    c.add("DELETE", "/connectors/nosuch/")
    c.add("DELETE", "/connectors/good/", what="trailing slash")
    c.add("DELETE", "/connectors/good", what="again")
    c.add("GET", "/connectors/good/status", what="deleted")
    c.add("GET", "/connectors/good/offsets", what="deleted")
    c.add("GET", "/connectors/good/topics", what="deleted")
    c.add("DELETE", "/connectors/copy", {"a": 1}, "with a body")
    for name in ("trimmed", "paused", "stopped", "broken"):
        c.add("DELETE", f"/connectors/{name}")
    c.add("GET", "/connectors", what="in the end")
    c.add("GET", "/connectors?expand=status", what="in the end")
