"""Clients of Kafka Connect's REST interface from PyPI against our worker, as they are: the command and
the library of kafka-connect-py, the command of kafka-connect-cli, and kafka-connect-healthcheck, which
answers for the worker on a port of its own. The first and the last are in the environment that runs
this; CONNECT_CLI is the bin folder with the second, which has a package of the same name.
CONNECT_URL is the worker, FOLDER where its relative paths start."""
import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import kafka_connect

URL = os.environ["CONNECT_URL"]
FOLDER = pathlib.Path(os.environ["FOLDER"])
BIN = pathlib.Path(sys.executable).parent
CLI = pathlib.Path(os.environ["CONNECT_CLI"])
PATIENCE = 30


def check(holds, what):
    if not holds:
        raise SystemExit(f"FAILED: {what}")


def run(*command, codes=(0,)):
    done = subprocess.run(command, text=True, capture_output=True, timeout=60)
    check(done.returncode in codes, f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def until(what, holds):
    begun = time.monotonic()
    while not holds():
        check(time.monotonic() - begun < PATIENCE, f"not within {PATIENCE} s: {what}")
        time.sleep(0.05)


def source(**more):
    return {"connector.class": "FileStreamSource", "tasks.max": "1", "file": "client.txt", "topic": "clients", **more}


def states(status):
    return [status["connector"]["state"], *(task["state"] for task in status["tasks"])]


def kafka_connect_py():
    """The library, and its command kc."""
    client = kafka_connect.KafkaConnect(url=URL)
    check(client.get_cluster_info()["version"] == "4.3.0", "the version")
    plugins = [plugin["class"] for plugin in client.list_connector_plugins()]
    check("org.apache.kafka.connect.file.FileStreamSourceConnector" in plugins, f"plugins {plugins}")
    checked = client.validate_connector_config("FileStreamSource", {"name": "py", **source(topic="")})
    check(checked["error_count"] == 1, f"validation {checked}")
    made = client.create_connector({"name": "py", "config": source()})
    check(made["name"] == "py" and made["tasks"] == [{"connector": "py", "task": 0}], f"created {made}")
    until("py runs", lambda: states(client.get_connector_status("py")) == ["RUNNING", "RUNNING"])
    changed = client.update_connector("py", source(**{"batch.size": "10"}))
    check(changed["config"]["batch.size"] == "10", f"updated {changed}")
    check(client.get_connector_config("py") == {"name": "py", **source(**{"batch.size": "10"})}, "the configuration")
    client.pause_connector("py")
    until("py is paused", lambda: states(client.get_connector_status("py")) == ["PAUSED", "PAUSED"])
    check(client.list_connectors(state="PAUSED") == ["py"], "the list of those that are paused")
    client.resume_connector("py")
    until("py runs again", lambda: states(client.get_connector_status("py")) == ["RUNNING", "RUNNING"])
    restarted = client.restart_connector("py", include_tasks=True)
    check(states(restarted) == ["RESTARTING", "RESTARTING"], f"restarted {restarted}")
    until("py was restarted", lambda: states(client.get_connector_status("py")) == ["RUNNING", "RUNNING"])
    check(client.restart_connector("py") is None, "a restart of the connector alone")
    check([task["id"] for task in client.list_connector_tasks("py")] == [{"connector": "py", "task": 0}], "tasks")
    check(client.get_connector_task_status("py", 0)["id"] == 0, "the task's state")
    (FOLDER / "client.txt").write_text("line\n")
    until("its topic is known", lambda: client.list_connector_topics("py") == {"py": {"topics": ["clients"]}})
    client.reset_connector_topics("py")
    try:
        client.get_connector("nobody")
        check(False, "a connector that is not there was found")
    except kafka_connect.kafka_connect.HTTPError as error:
        check(error.response.status_code == 404, f"{error}")
    try:
        client.create_connector({"name": "py", "config": source()})
        check(False, "a second connector of a name was made")
    except kafka_connect.kafka_connect.HTTPError as error:
        check(error.response.status_code == 409, f"{error}")

    def kc(*arguments):
        return json.loads(run(BIN / "kc", "--url", URL, *arguments))
    check(kc("list") == ["py"], "kc list")
    check(list(kc("list", "--expand", "status", "--state", "RUNNING")) == ["py"], "kc list --state")
    check(states(kc("status", "py"))[0] in ("RUNNING", "RESTARTING"), "kc status")
    check(kc("create", "--config-data", json.dumps({"name": "kc", "config": source()}))["type"] == "source", "kc create")
    run(BIN / "kc", "--url", URL, "pause", "--all")
    until("all are paused", lambda: list(kc("list", "--state", "PAUSED")) == ["kc", "py"])
    run(BIN / "kc", "--url", URL, "resume", "--all", "--state", "PAUSED")
    until("all run", lambda: list(kc("list", "--state", "RUNNING")) == ["kc", "py"])
    run(BIN / "kc", "--url", URL, "delete", "--all")
    check(kc("list") == [], "kc delete --all")


def kafka_connect_cli():
    """kafka_connect, a command whose output and exit codes other scripts read."""
    def command(*arguments, codes=(0,)):
        return run(CLI / "kafka_connect", *arguments, "--url", URL, codes=codes)

    def shown():
        return json.loads(command("connector", "get", "--name", "cli"))
    command("connector", "create", "--name", "cli", "--configuration", json.dumps(source()))
    command("connector", "create", "--name", "cli", "--configuration", json.dumps(source()), "--if-not-exists")
    expected = {"connector": "cli", "state": "RUNNING", "failedTasks": []}
    until("cli runs", lambda: shown() == expected)
    check(json.loads(command("connector", "list")) == [expected], "connector list")
    check(json.loads(command("connector", "configuration", "--name", "cli"))["file"] == "client.txt", "connector configuration")
    command("health-check")
    (FOLDER / "cli.json").write_text(json.dumps(source(**{"batch.size": "10"})))
    command("connector", "update", "--name", "cli", "--configuration-file", str(FOLDER / "cli.json"))
    command("connector", "pause", "--name", "cli")
    until("cli is paused", lambda: shown()["state"] == "PAUSED")
    command("connector", "resume-all", "--name", "c.*")
    until("cli runs again", lambda: shown() == expected)
    command("connector", "restart", "--name", "cli")
    until("cli was restarted", lambda: shown() == expected)
    check(json.loads(command("task", "list", "--connector", "cli"))[0]["taskId"] == 0, "task list")
    command("task", "restart", "--connector", "cli", "--task", "0")
    command("connector", "get", "--name", "nobody", codes=(1,))
    command("connector", "delete", "--name", "cli")
    check(json.loads(command("connector", "list")) == [], "connector list after all")


def kafka_connect_healthcheck():
    """A server beside the worker, which says whether its connectors are well."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    client = kafka_connect.KafkaConnect(url=URL)
    client.create_connector({"name": "well", "config": source()})
    until("it runs", lambda: states(client.get_connector_status("well")) == ["RUNNING", "RUNNING"])
    worker_id = client.get_connector_status("well")["connector"]["worker_id"]
    server = subprocess.Popen(
        [BIN / "kafka-connect-healthcheck", "--port", str(port), "--connect-url", URL, "--connect-worker-id", worker_id],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answer():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())
        except OSError:
            return None
    try:
        until("the health check answers", lambda: answer() is not None)
        status, body = answer()
        check(status == 200 and body["healthy"] and body["failures"] == [], f"the health of one that is well: {status} {body}")
        failing = {"connector.class": "MockSource", "mock_mode": "task-failure", "delay_ms": "0", "task.restart.enable": "false"}
        client.create_connector({"name": "ill", "config": failing})
        until("it has failed", lambda: "FAILED" in states(client.get_connector_status("ill")))
        status, body = answer()
        check(status == 503 and [failure["connector"] for failure in body["failures"]] == ["ill"],
              f"the health of one that is ill: {status} {body}")
        check("trace" in body["failures"][0], "the reason")
    finally:
        server.kill()
        server.wait()
    client.delete_connector("ill")
    client.delete_connector("well")


kafka_connect_py()
kafka_connect_cli()
kafka_connect_healthcheck()
print("kafka-connect-py (library and kc), kafka-connect-cli, kafka-connect-healthcheck")
