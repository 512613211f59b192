#!/usr/bin/env bash
# Installs what the tests need beside Rust and a compiler: mkfs.ext4 for the power-cut test, Redis for the shared cache,
# Python, psql, curl, openssl and Prometheus for the witnesses, Debian's own tools for its package and its service.
# Java's driver (default-jdk-headless, libpostgresql-jdbc-java) is tried where it is there.
set -euo pipefail
cd "$(dirname "$0")/../.."
missing=()
command -v mkfs.ext4 >/dev/null || [ -x /sbin/mkfs.ext4 ] || missing+=(e2fsprogs)
command -v redis-server >/dev/null || missing+=(redis-server)
command -v redis-cli >/dev/null || missing+=(redis-tools)
command -v psql >/dev/null || missing+=(postgresql-client)
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3 python3-venv)
command -v curl >/dev/null || missing+=(curl)
command -v openssl >/dev/null || missing+=(openssl)
command -v shellcheck >/dev/null || missing+=(shellcheck)
command -v lintian >/dev/null || missing+=(lintian)
command -v systemd-analyze >/dev/null || missing+=(systemd)
command -v dpkg-shlibdeps >/dev/null || missing+=(dpkg-dev)
[ ${#missing[@]} -eq 0 ] || deploy/ci/install.sh "${missing[@]}"
# Prometheus and its promtool, out of Debian's package and beside it: installed, it would start a server.
if ! command -v promtool >/dev/null || ! command -v prometheus >/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    unpacked="$(mktemp -d)"
    (cd "$unpacked" && { apt-get download -qq prometheus 2>/dev/null ||
      { apt-get update -qq && apt-get download -qq prometheus; }; })
    dpkg-deb --fsys-tarfile "$unpacked"/prometheus_*.deb |
      tar -x -C /usr/local --strip-components=2 ./usr/bin/promtool ./usr/bin/prometheus
    rm -rf "$unpacked"
  else
    echo "please install: prometheus, promtool" >&2
    exit 1
  fi
fi
