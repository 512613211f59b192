#!/usr/bin/env bash
# Installs Debian's packages, or says which are wanted where that takes somebody else. Usage: install.sh PACKAGE...
set -euo pipefail
if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@"
else
  echo "please install: $*" >&2
  exit 1
fi
