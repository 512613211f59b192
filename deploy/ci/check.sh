#!/usr/bin/env bash
# Everything that decides whether a change lands; run it before you push. With names it runs these checks only:
# deploy/ci/check.sh lints tests
set -euo pipefail
cd "$(dirname "$0")/../.."
# The target folder lives in the user's cache, so that a second run builds only what changed.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/avis/target}"
export AVIS_TEST_SCALE="${AVIS_TEST_SCALE:-1}"
# Half as long to build the engine, and fast enough for what is looked at here; what people run is optimised,
# and says its lines. Debug assertions are on here alone.
export CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_DEBUG=0
export CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true
# Clippy looks while it compiles what the tests and the demo run, so that the tree is built once.
export RUSTC_WORKSPACE_WRAPPER=clippy-driver CLIPPY_ARGS=-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__
checks=("$@")
[ $# -gt 0 ] || checks=(prepare format supply lints tests demo manifests schemathesis sql_clients published_files prometheus)
for check in "${checks[@]}"; do
  printf '\n== %s\n' "$check"
  started=$SECONDS
  "deploy/ci/$check.sh"
  printf '== %s: %d s\n' "$check" $((SECONDS - started))
done
