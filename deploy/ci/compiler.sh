#!/usr/bin/env bash
# What builds the tree; the rest, which prepare.sh installs, is not waited for by the build.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo --version
if ! command -v cc > /dev/null || ! command -v make > /dev/null; then
  deploy/ci/install.sh build-essential
fi
