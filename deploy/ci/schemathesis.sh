#!/usr/bin/env bash
# Asks a running node whatever its OpenAPI description allows, and what it does not: no answer may be a
# server error, or one that the description does not know. AVIS_TEST_SCALE multiplies the requests.
set -euo pipefail
cd "$(dirname "$0")/../.."

scale="${AVIS_TEST_SCALE:-1}"
folder="$(mktemp -d)"
node=""
trap '[ -z "$node" ] || kill "$node" 2>/dev/null || true; rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "schemathesis==4.32.5"
target="${CARGO_TARGET_DIR:-target}/release"
"$target/avis" demo --out "$folder/data" --json > /dev/null
export AVIS__TERMINALS__REQUESTS_PER_SECOND=1000000 AVIS__TERMINALS__REQUESTS_AT_ONCE=1000000
"$target/avis" up --data "$folder/data" --dev --http 127.0.0.1:0 --grpc 127.0.0.1:0 --postgres 127.0.0.1:0 \
  --flight 127.0.0.1:0 > "$folder/up" &
node=$!
until grep -q '^ready' "$folder/up"; do kill -0 "$node"; sleep 0.2; done
address="$(awk '$1 == "http" { sub("/$", "", $2); print $2 }' "$folder/up")"
# Asks with the token of a role, the paths of a pattern, in some phases: the stateful one follows what it takes
# for links between paths, and is of use only where there are such. The board's stream never ends, and each
# simulation plays the whole stream, one at a time.
ask() {
  local token phases="${3:-examples,coverage,fuzzing}"
  token="$(awk -v role="$1" '$1 == "token" && $2 == role { print $NF; exit }' "$folder/up")"
  SCHEMATHESIS_HOOKS="$PWD/deploy/ci/schemathesis_hooks.py" "$folder/venv/bin/schemathesis" run \
    "$address/openapi.json" --url "$address" -H "Authorization: Bearer $token" --include-path-regex "$2" \
    --exclude-path /v1/officials/board --exclude-path /v1/registry:simulate --phases "$phases" \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,unsupported_method \
    --max-examples "$((50 * scale))" --seed 1 --request-timeout 20 --suppress-health-check all
}
all=examples,coverage,fuzzing,stateful
own='v1/(authorisations|reversals|terminals|transactions)'
ask terminal "^/$own" "$all"
# The rest a terminal may not ask: it is refused whatever is in a request that is well formed, so none are made up.
ask terminal "^/(?!$own)" examples,coverage
ask finance '^/v1/(reports|settlements|bank-files)' "$all"
ask administrator '^/v1/(registry|drafts|instructions|groups|merchants|terminals|catalogue|subsidies|officials)'
ask grantor '^/v1/(drafts|benefits|instructions|groups|means)'
ask source '^/v1/(events|e-services)'
ask issuer '^/v1/means'
ask centre '^/v1/(calls|services|officials)'
# The node has not fallen, and its books balance.
kill "$node"
wait "$node"
node=""
"$target/avis" settle check --data "$folder/data"
