#!/usr/bin/env bash
# What people have in their scripts: curl, and a few lines that read JSON. CONNECT_URL is the worker,
# FOLDER where its relative paths start.
set -euo pipefail
fail() { echo "FAILED: $*" >&2; exit 1; }
json() { python3 -c "import json, sys; data = json.load(sys.stdin); print($1)"; }
until_state() { # connector, state
  for _ in $(seq 300); do
    [ "$(curl -sf "$CONNECT_URL/connectors/$1/status" | json 'data["connector"]["state"]')" != "$2" ] || return 0
    sleep 0.1
  done
  fail "$1 is not $2: $(curl -s "$CONNECT_URL/connectors/$1/status")"
}
code() { curl -s -o /dev/null -w '%{http_code}' "$@"; }

# Wait for the worker, as start-up scripts do.
for _ in $(seq 100); do
  [ "$(code "$CONNECT_URL/connectors")" != 200 ] || break
  sleep 0.1
done

# Make them from files.
for name in one two; do
  cat > "$FOLDER/$name.json" <<JSON
{"name": "$name", "config": {"connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector",
 "tasks.max": "1", "file": "$name.txt", "topic": "curl"}}
JSON
  curl -sSf -X POST -H "Content-Type: application/json" --data @"$FOLDER/$name.json" "$CONNECT_URL/connectors" >/dev/null
done
[ "$(code -X POST -H 'Content-Type: application/json' --data @"$FOLDER/one.json" "$CONNECT_URL/connectors")" = 409 ] || fail "made twice"

# Make it or change it, whatever there is.
curl -si -X PUT -H "Accept:application/json" -H "Content-Type:application/json" "$CONNECT_URL/connectors/three/config" \
  -d '{"connector.class": "FileStreamSink", "file": "three.txt", "topics": "curl"}' | head -1 | grep -q ' 201 ' || fail "PUT of a new one"
curl -si -X PUT -H "Accept:application/json" -H "Content-Type:application/json" "$CONNECT_URL/connectors/three/config" \
  -d '{"connector.class": "FileStreamSink", "file": "three.txt", "topics": "curl", "tasks.max": 2}' | head -1 | grep -q ' 200 ' || fail "PUT again"

# A table of all of them.
for name in one two three; do until_state "$name" RUNNING; done
table=$(curl -s "$CONNECT_URL/connectors?expand=info&expand=status" | json '"\n".join(sorted(
  "|".join([one["info"]["type"], name, one["status"]["connector"]["state"], *(task["state"] for task in one["status"]["tasks"]),
            one["info"]["config"]["connector.class"].split(".")[-1]]) for name, one in data.items()))')
expected='sink|three|RUNNING|RUNNING|RUNNING|FileStreamSink
source|one|RUNNING|RUNNING|FileStreamSourceConnector
source|two|RUNNING|RUNNING|FileStreamSourceConnector'
[ "$table" = "$expected" ] || fail "the table is: $table"

# Pause and resume everything.
for name in $(curl -s "$CONNECT_URL/connectors" | json '" ".join(data)'); do
  [ "$(code -X PUT "$CONNECT_URL/connectors/$name/pause")" = 202 ] || fail "pause $name"
done
for name in one two three; do until_state "$name" PAUSED; done
for name in one two three; do
  [ "$(code -X PUT "$CONNECT_URL/connectors/$name/resume")" = 202 ] || fail "resume $name"
  until_state "$name" RUNNING
done

# Restart whatever has failed, connector or task.
curl -sSf -X PUT -H "Content-Type: application/json" "$CONNECT_URL/connectors/ill/config" -d '{"connector.class": "MockSource",
  "mock_mode": "task-failure", "delay_ms": "0", "task.restart.enable": "false"}' >/dev/null
for _ in $(seq 300); do
  failed=$(curl -s "$CONNECT_URL/connectors?expand=status" | json '" ".join(
    name + ":" + str(task["id"]) for name, one in data.items() for task in one["status"]["tasks"] if task["state"] == "FAILED")')
  [ "$failed" != ill:0 ] || break
  sleep 0.1
done
[ "$failed" = ill:0 ] || fail "these have failed: $failed"
for task in $failed; do
  [ "$(code -X POST "$CONNECT_URL/connectors/${task%%:*}/tasks/${task##*:}/restart")" = 204 ] || fail "restart $task"
done
[ "$(code -X POST "$CONNECT_URL/connectors/ill/restart?includeTasks=true&onlyFailed=true")" = 202 ] || fail "restart of what failed"

# Start again from the first line.
echo line > "$FOLDER/one.txt"
for _ in $(seq 300); do
  [ "$(curl -s "$CONNECT_URL/connectors/one/offsets" | json 'len(data["offsets"])')" = 0 ] || break
  sleep 0.1
done
[ "$(code -X DELETE "$CONNECT_URL/connectors/one/offsets")" = 400 ] || fail "offsets of one that runs were reset"
[ "$(code -X PUT "$CONNECT_URL/connectors/one/stop")" = 204 ] || fail "stop"
until_state one STOPPED
curl -sSf -X DELETE "$CONNECT_URL/connectors/one/offsets" | json 'data["message"]' | grep -q 'reset successfully' || fail "reset"

# Delete everything.
curl -s "$CONNECT_URL/connectors" | json '"\n".join(data)' | xargs -I{} curl -sSf -X DELETE "$CONNECT_URL/connectors/{}"
[ "$(curl -s "$CONNECT_URL/connectors")" = "[]" ] || fail "some are left"
echo "create, table, pause, resume, restart of what failed, offsets, delete"
