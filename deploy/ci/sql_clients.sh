#!/usr/bin/env bash
# Other people's SQL clients against a running node: psql, psycopg, pgjdbc, ADBC, DuckDB and Polars, each
# with its sums checked against the published answer, its refusals and its bounds.
set -euo pipefail
cd "$(dirname "$0")/../.."

folder="$(mktemp -d)"
node=""
trap '[ -z "$node" ] || kill "$node" 2>/dev/null || true; rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "psycopg[binary]==3.*" "adbc-driver-flightsql==1.*" \
  "adbc-driver-manager==1.*" "pyarrow>=20" "duckdb==2.*" "polars==2.*" "deltalake==1.*"
target="${CARGO_TARGET_DIR:-target}/release"
"$target/avis" demo --out "$folder/data" --json > /dev/null
printf 'correct horse battery staple\n' |
  "$target/avis" token password --user powerbi --role analyst --data "$folder/data" > /dev/null
any=127.0.0.1:0
"$target/avis" up --data "$folder/data" --dev --http "$any" --grpc "$any" --postgres "$any" --flight "$any" \
  > "$folder/up" &
node=$!
until grep -q '^ready' "$folder/up"; do kill -0 "$node"; sleep 0.2; done
"$folder/venv/bin/python" deploy/ci/sql_clients.py "$folder/up" "$folder/data"
kill "$node"
wait "$node"
node=""
