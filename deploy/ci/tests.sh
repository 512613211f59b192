#!/usr/bin/env bash
# The README's test command; one failure hides no other.
set -euo pipefail
cargo test --release --workspace --locked --no-fail-fast
