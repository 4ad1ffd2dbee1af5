#!/usr/bin/env bash
# kcat (librdkafka): metadata, auto-creation, every codec, keys, headers, offsets, timestamps, groups.
set -euo pipefail
topic=kcat-$$
fail() { echo "kcat: $*" >&2; exit 1; }
k() { kcat -b "$BOOTSTRAP" -q "$@"; }

printf 'one\ntwo\n' | k -P -t "$topic"          # does not exist yet: created by asking for it
got=$(k -C -t "$topic" -o beginning -e)
[ "$got" = $'one\ntwo' ] || fail "read \"$got\" back"

for codec in none gzip snappy lz4 zstd; do
  seq -f "$codec %.0f" 2000 | k -P -t "$topic-$codec" -z "$codec" -X enable.idempotence=true -X linger.ms=20
  k -C -t "$topic-$codec" -o beginning -e > "/tmp/kcat.$$"
  seq -f "$codec %.0f" 2000 | cmp - "/tmp/kcat.$$" || fail "codec $codec changed the data"
done
rm -f "/tmp/kcat.$$"

echo 'k:v' | k -P -t "$topic-h" -K : -H a=1 -H b=2
got=$(k -C -t "$topic-h" -o beginning -e -f '%k=%s %h %o\n')
[ "$got" = "k=v a=1,b=2 0" ] || fail "key, value, headers, offset came as \"$got\""

got=$(k -C -t "$topic-none" -o -2 -e)
[ "$got" = $'none 1999\nnone 2000' ] || fail "the last two were \"$got\""
k -Q -t "$topic-none:0:0" | grep -q 'offset 0' || fail "offset by timestamp"
k -L -t "$topic-none" | grep -q "topic \"$topic-none\" with 1 partitions" || fail "metadata"

got=$(timeout 60 kcat -b "$BOOTSTRAP" -q -G "kcat-group-$$" -X auto.offset.reset=earliest -e "$topic-gzip" | wc -l)
[ "$got" = 2000 ] || fail "the group read $got lines"
got=$(timeout 60 kcat -b "$BOOTSTRAP" -q -G "kcat-group-$$" -X auto.offset.reset=earliest -e "$topic-gzip" | wc -l)
[ "$got" = 0 ] || fail "the group read $got lines again after its commit"
echo "auto-creation, 5 codecs, idempotence, headers, offsets, group"
