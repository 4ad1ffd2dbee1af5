#!/usr/bin/env bash
# curl and OpenSSL against a worker's REST interface: HTTPS with a keystore that was PKCS12, users, clients'
# certificates, versions of TLS, renewal. CONNECT is the program, BOOTSTRAP a broker.
set -euo pipefail
certificates=$(cd "$(dirname "$0")/../certificates" && pwd)
work=$(mktemp -d)
worker=
cleanup() {
  [ -z "$worker" ] || kill -9 "$worker" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
cd "$work"

checks=0
check() { # what, expected, got
  [ "$2" = "$3" ] || { echo "$1: expected $2, got $3" >&2; cat body worker.log >&2 || true; exit 1; }
  checks=$((checks + 1))
}

# As the worker says that a PKCS12 file is converted.
openssl pkcs12 -export -in "$certificates/server.pem" -passout pass:changeit -out keystore.p12
openssl pkcs12 -nodes -in keystore.p12 -passin pass:changeit -out keystore.pem
printf 'look=only-look\n' > users.properties
cat > worker.properties <<PROPERTIES
bootstrap.servers=$BOOTSTRAP
key.converter=string
value.converter=string
listeners=https://127.0.0.1:0
ssl.keystore.location=keystore.pem
ssl.client.auth=requested
ssl.truststore.location=$certificates/authority.pem
config.providers=file
config.providers.file.class=FileConfigProvider
rest.users.ops.role=full
rest.users.ops.password=$(echo do-all | "$CONNECT" hash-password)
rest.users.viewer.role=read-only
rest.users.viewer.password=\${file:users.properties:look}
access.control.allow.origin=https://console\\\\.example\\\\.org
PROPERTIES
"$CONNECT" standalone worker.properties > worker.out 2> worker.log &
worker=$!
for _ in $(seq 200); do
  grep -q '^stop:' worker.out && break
  kill -0 "$worker" 2>/dev/null || { cat worker.log >&2; exit 1; }
  sleep 0.05
done
url=$(sed -n 's/^  rest     //p' worker.out)
address=${url#https://}

status() { curl -s --max-time 20 --cacert "$certificates/authority.pem" -o body -w '%{http_code}' "$@" || true; }
check "no user" 401 "$(status "$url/connectors")"
check "a user" 200 "$(status -u ops:do-all "$url/connectors")"
check "a wrong password" 401 "$(status -u ops:do-nothing "$url/connectors")"
check "a viewer reads" 200 "$(status -u viewer:only-look "$url/connectors/")"
check "a viewer stops" 403 "$(status -u viewer:only-look -X PUT "$url/connectors/a/stop")"
check "HEAD" 200 "$(status -u viewer:only-look -I "$url/")"
check "a preflight" 200 "$(status -X OPTIONS -H 'Origin: https://console.example.org' \
  -H 'Access-Control-Request-Method: GET' "$url/connectors")"
check "HTTP/2 is not insisted on" 200 "$(status --http2 -u ops:do-all "$url/")"
check "a client's certificate" 200 "$(status --cert "$certificates/client.pem" -u ops:do-all "$url/")"
check "a stranger's certificate" 000 "$(status --cert "$certificates/stranger.pem" -u ops:do-all "$url/")"
check "an authority that is not named" 000 "$(curl -s -o body -w '%{http_code}' "$url/" || true)"

speaks() { openssl s_client -connect "$address" "$@" </dev/null >/dev/null 2>&1 && echo yes || echo no; }
check "TLS 1.2" yes "$(speaks -tls1_2)"
check "TLS 1.3" yes "$(speaks -tls1_3)"
check "TLS 1.1" no "$(speaks -tls1_1 -cipher DEFAULT@SECLEVEL=0)"

serial() {
  openssl s_client -connect "$address" </dev/null 2>/dev/null | openssl x509 -noout -serial
}
cp "$certificates/server-2.pem" keystore.pem
wanted=$(openssl x509 -noout -serial -in "$certificates/server-2.pem")
for _ in $(seq 200); do
  [ "$(serial)" = "$wanted" ] && break
  sleep 0.05
done
check "a renewed certificate" "$wanted" "$(serial)"
for secret in do-all only-look; do
  ! grep -rq "$secret" worker.log worker.out || { echo "$secret is in what the worker said" >&2; exit 1; }
done
echo "$checks checks"
