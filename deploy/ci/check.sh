#!/usr/bin/env bash
# Everything that decides whether a change lands; run it before you push. Each check is a script of
# its own beside this one, so that one can be run alone.
set -euo pipefail
cd "$(dirname "$0")/../.."
# The target folder lives in the user's cache, so that a second run builds only what changed.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/avis/target}"
export AVIS_TEST_SCALE="${AVIS_TEST_SCALE:-1}"
for check in prepare format lints tests demo schemathesis sql_clients published_files prometheus; do
  printf '\n== %s\n' "$check"
  started=$SECONDS
  "deploy/ci/$check.sh"
  printf '== %s: %d s\n' "$check" $((SECONDS - started))
done
