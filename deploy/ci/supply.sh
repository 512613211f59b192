#!/usr/bin/env bash
# What comes in and what must not get out: sources, licences and versions of the dependencies with a bill of
# materials, their known faults, and secrets in the tree.
set -euo pipefail
cd "$(dirname "$0")/../.."

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "cyclonedx-python-lib[validation]==11.*" "license-expression==30.*" \
  "detect-secrets==1.5.*"

platform="$(rustc -vV | sed -n 's/^host: //p')"
cargo metadata --locked --format-version 1 --filter-platform "$platform" > "$folder/metadata.json"
target="${CARGO_TARGET_DIR:-target}"
mkdir -p "$target"
"$folder/venv/bin/python" deploy/ci/supply.py "$folder/metadata.json" "$target/avis.cdx.json"

# Known faults: with RustSec's database, which `cargo deny` fetches, or finds where ADVISORIES says.
if command -v cargo-deny > /dev/null; then
  cargo deny --all-features check advisories bans sources ${ADVISORIES:+--disable-fetch}
else
  # Licences, sources and bans are judged already; for faults there is no other database that needs no build.
  echo "SKIPPED: known faults of dependencies (cargo install cargo-deny)" >&2
fi

# The kept values of tests are in the baseline; whatever else looks like a secret fails. The fuzzer's inputs are
# made up, and the scanner does not stand the impossible date of the one file left out.
if ! git rev-parse --git-dir > /dev/null 2>&1; then
  echo "SKIPPED: secrets in the tree (no checkout of git)" >&2
  exit 0
fi
mapfile -d '' files < <(git ls-files -z |
  grep -zvE 'faulty-registry.yaml$|\.gz$|/golden/|^Cargo.lock$|secrets.baseline$|^deploy/fuzz/corpus/')
[ ${#files[@]} -gt 0 ]
cp deploy/ci/secrets.baseline "$folder/baseline"
# 3 says that what is known stands on other lines now.
"$folder/venv/bin/detect-secrets-hook" --baseline "$folder/baseline" "${files[@]}" || [ $? -eq 3 ]
echo "no secret in the tree"
