#!/usr/bin/env bash
# Builds every target; check.sh has Clippy do it, with warnings denied.
set -euo pipefail
cargo build --release --workspace --all-targets --locked
