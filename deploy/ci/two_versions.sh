#!/usr/bin/env bash
# An older version and this one over one folder, by turns: the older one's demo, this one on it, the older one again, and
# this one at last. What was sold by either is answered alike by the other, and every sum is the demo's and the sales'.
# Usage: two_versions.sh REVISION [FOLDER], where the older version is built and kept (minutes, once for each revision);
# not among what check.sh runs by itself. AVIS names this version's binary.
set -euo pipefail
cd "$(dirname "$0")/../.."

revision="$(git rev-parse --verify "${1:?usage: two_versions.sh REVISION [FOLDER]}^{commit}")"
kept="${2:-${XDG_CACHE_HOME:-$HOME/.cache}/avis/versions}/$revision"
new="${AVIS:-${CARGO_TARGET_DIR:-target}/release/avis}"
[ -x "$new" ] || { echo "two_versions: there is no $new: cargo build --release" >&2; exit 1; }

old="$kept/target/release/avis"
if [ ! -x "$old" ]; then
  rm -rf "$kept/tree"
  mkdir -p "$kept/tree"
  git archive "$revision" | tar -x -C "$kept/tree"
  # As whoever runs it builds it, whatever is set here.
  (cd "$kept/tree" && env -u RUSTC_WORKSPACE_WRAPPER -u CLIPPY_ARGS CARGO_TARGET_DIR="$kept/target" \
    cargo build --release --locked --package avis)
fi

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 deploy/ci/two_versions.py "$old" "$new" "$folder"
