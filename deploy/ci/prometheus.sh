#!/usr/bin/env bash
# What operators watch: the rules and their tests, the table of metrics, the runbook and the dashboards, held
# against each other and against a running node that a real Prometheus scrapes.
set -euo pipefail
cd "$(dirname "$0")/../.."

promtool check config deploy/prometheus/prometheus.yml
# Each file by itself takes one core.
printf '%s\0' deploy/prometheus/tests/*.yml | xargs -0 -n 1 -P "$(nproc)" promtool test rules

folder="$(mktemp -d)"
node="" prometheus=""
stop() {
  for process in $node $prometheus; do kill "$process" 2>/dev/null || true; done
  wait
  rm -rf "$folder"
}
trap stop EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "PyYAML==6.*" "grafana-foundation-sdk==1769699998!10.1.*"
"$folder/venv/bin/python" deploy/ci/prometheus.py tree

target="${CARGO_TARGET_DIR:-target}/release"
"$target/avis" demo --generate 500 --people 100 --out "$folder/data" --json > /dev/null
any=127.0.0.1:0
"$target/avis" up --data "$folder/data" --dev --http "$any" --grpc "$any" --postgres "$any" --flight "$any" \
  > "$folder/up" &
node=$!
until grep -q '^ready' "$folder/up"; do kill -0 "$node"; sleep 0.2; done
http="$(sed -n 's#^http *http://\([^/]*\)/.*#\1#p' "$folder/up")"
curl -fsS "http://$http/metrics" > "$folder/metrics"
promtool check metrics < "$folder/metrics"

# The configuration that is shipped, with this node as its target and a shorter breath.
mkdir "$folder/prometheus"
cp -r deploy/prometheus/rules "$folder/prometheus/"
sed -e "s/127.0.0.1:8080/$http/" -e 's/15s/1s/' -e 's/10s/1s/' deploy/prometheus/prometheus.yml \
  > "$folder/prometheus/prometheus.yml"
port=$((20000 + RANDOM % 20000))
prometheus --config.file="$folder/prometheus/prometheus.yml" --storage.tsdb.path="$folder/samples" \
  --web.listen-address="127.0.0.1:$port" --log.level=warn &
prometheus=$!
"$folder/venv/bin/python" deploy/ci/prometheus.py panels "http://127.0.0.1:$port" "$folder/up"
