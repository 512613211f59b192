#!/usr/bin/env bash
# Clippy in the profile of the tests, so that the dependencies are checked once.
set -euo pipefail
cargo clippy --release --workspace --all-targets --locked -- -D warnings
