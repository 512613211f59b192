#!/usr/bin/env bash
# Prepares the peers in Python that are measured beside us, each kind in an environment of its own below .venv: Flink
# wants older libraries than the others. Flink also wants Java (Debian: default-jre-headless). Run it again to renew them.
set -euo pipefail
cd "$(dirname "$0")"

prepare() {
  local environment=".venv/$1"
  shift
  python3 -m venv --clear "$environment"
  "$environment/bin/pip" install --quiet "$@"
  echo "prepared: benchmarks/peers/$environment"
}

prepare tables "duckdb==2.*" "polars==2.*" "deltalake==1.*" "pyarrow>=20" "adbc-driver-flightsql==1.*" \
  "adbc-driver-manager==1.*"
prepare flink "apache-flink==2.2.*"
if ! command -v java > /dev/null; then
  echo "Java is missing: nexmark cannot be measured beside Flink" >&2
  exit 1
fi
