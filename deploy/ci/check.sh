#!/usr/bin/env bash
# Everything that decides whether a change lands; run it before you push. With names it runs these checks only, one after
# another: deploy/ci/check.sh lints tests
set -euo pipefail
cd "$(dirname "$0")/../.."
# The target folder lives in the user's cache, so that a second run builds only what changed.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/avis/target}"
export AVIS_TEST_SCALE="${AVIS_TEST_SCALE:-1}"
# Half as long to build the engine, and fast enough for what is looked at here; what people run is optimised,
# and says its lines. Debug assertions are on here alone.
export CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_DEBUG=0
export CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true
# Sixteen parts of a crate, as by default, each compile for themselves what they inline, and are optimised a second time
# over what they see of each other then: on a few cores both only cost.
export CARGO_PROFILE_RELEASE_CODEGEN_UNITS=2 CARGO_PROFILE_RELEASE_LTO=off
# Clippy looks while it compiles what the tests and the demo run, so that the tree is built once.
export RUSTC_WORKSPACE_WRAPPER=clippy-driver CLIPPY_ARGS=-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__
# Tools from PyPI are used once or twice: what of them is not imported is not compiled.
export PIP_COMPILE=0 PIP_DISABLE_PIP_VERSION_CHECK=1

seconds="$(mktemp)"
rows=()
# However it ends, it says where the time went, and leaves nothing running.
ended() {
  [ ${#rows[@]} -eq 0 ] || kill -- "${rows[@]/#/-}" 2> /dev/null || true
  printf '\n== seconds of each check\n'
  sort -nr "$seconds"
  awk -v clock="$SECONDS" '{ sum += $1 } END { printf "%6d  in all, within %d s\n", sum, clock }' "$seconds"
  rm -f "$seconds"
}
trap ended EXIT

check() {
  local started=$SECONDS status=0
  printf '\n== %s\n' "$1"
  "deploy/ci/$1.sh" || status=$?
  printf '== %s: %d s\n' "$1" $((SECONDS - started))
  printf '%6d  %s\n' $((SECONDS - started)) "$1" >> "$seconds"
  return "$status"
}

# Rows of checks beside each other, since most of them leave a core to others; within a row one after another, and
# each line says whose it is. The first that fails ends all.
beside() {
  local row
  set -m
  for row in "$@"; do
    (for name in $row; do check "$name" 2>&1 | sed -u "s/^/$name: /"; done) < /dev/null &
    rows+=($!)
  done
  set +m
  for row in "$@"; do wait -n; done
  rows=()
}

if [ $# -gt 0 ]; then
  for name in "$@"; do check "$name"; done
else
  check compiler
  beside "format lints" "prepare supply"
  check tests
  beside "schemathesis" "demo manifests sql_clients published_files"
  # Alone: no alert of a node that is well may fire, and a busy machine makes answers late.
  check prometheus
fi
