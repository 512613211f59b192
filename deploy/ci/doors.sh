#!/usr/bin/env bash
# Every door of a node encrypted, asked by curl, grpcio, psql and ADBC: who trusts the authority is answered; who does
# not, who speaks plainly and whoever is shown a certificate that is over is not. Certificates are renewed under way.
# Usage: doors.sh BINARY FOLDER, where FOLDER/venv has the clients.
set -euo pipefail
binary="${1:?usage: doors.sh BINARY FOLDER}"
folder="${2:?usage: doors.sh BINARY FOLDER}"
pki="$folder/pki"
node=""
trap '[ -z "$node" ] || kill "$node" 2> /dev/null || true' EXIT
mkdir -p "$pki"

curve=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n' > "$pki/extensions"
for authority in ours theirs; do
  openssl req -x509 "${curve[@]}" -days 30 -subj "/CN=$authority" -keyout "$pki/$authority.key" \
    -out "$pki/$authority.pem" 2> /dev/null
done
# A certificate by a name, over in so many days.
sign() {
  openssl req "${curve[@]}" -subj "/CN=$1" -keyout "$pki/$1.key" -out "$pki/$1.csr" 2> /dev/null
  openssl x509 -req -in "$pki/$1.csr" -CA "$pki/ours.pem" -CAkey "$pki/ours.key" -CAcreateserial -days "$2" \
    -extfile "$pki/extensions" -out "$pki/$1.pem" 2> /dev/null
}
sign first 30
sign over -1
sign second 30
cp "$pki/first.pem" "$pki/shown.pem"
cp "$pki/first.key" "$pki/shown.key"

"$binary" demo --generate 500 --people 100 --out "$folder/data" --json > /dev/null
# The keys of the settings from files, as secrets come.
printf '%s\n' "$pki/shown.key" > "$pki/where"
export AVIS__TLS__CERTIFICATE="$pki/shown.pem" AVIS__TLS__KEY_FILE="$pki/where"
any=127.0.0.1:0
"$binary" up --data "$folder/data" --dev --http "$any" --grpc "$any" --postgres "$any" --flight "$any" \
  > "$folder/up" 2> "$folder/told" &
node=$!
until grep -q '^ready' "$folder/up"; do kill -0 "$node"; sleep 0.2; done
"$folder/venv/bin/python" deploy/ci/doors.py "$folder/up" "$pki" "$node"
http="$(sed -n 's#^http  *https://\([^/]*\)/.*#\1#p' "$folder/up")"
"$binary" health --http "$http"
kill "$node"
wait "$node"
node=""
grep -q 'is renewed' "$folder/told"
if "$binary" health --http "$http" 2> /dev/null; then
  echo "doors: a node that is gone is told to be well" >&2
  exit 1
fi
