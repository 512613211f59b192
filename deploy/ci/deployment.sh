#!/usr/bin/env bash
# The deployment's files, each judged by the tool of whoever will read it, and by running what can run here: the image's
# root in a chroot, the package unpacked, the doors encrypted and asked by other people's clients. What is missing for
# a check is said aloud. What nothing here can run: a container daemon, a cluster of Kubernetes, systemd itself.
set -euo pipefail
cd "$(dirname "$0")/../.."

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
binary="${CARGO_TARGET_DIR:-target}/release/avis"
aloud() { printf 'deployment: NOT CHECKED: %s\n' "$*" >&2; }

deploy/ci/manifests.sh "$folder"
# The clients that doors.sh asks by.
"$folder/venv/bin/pip" install --quiet "grpcio==1.*" "grpcio-health-checking==1.*" "adbc-driver-flightsql==1.*" \
  "adbc-driver-manager==1.*" "pyarrow>=20"

# The package, twice: the same bytes; and what lies in it.
export SOURCE_DATE_EPOCH=1700000000 DEB_COMPRESSION=gzip DEB_LEVEL=1
package="$(deploy/debian/build.sh "$binary" "$folder/one")"
deploy/debian/build.sh "$binary" "$folder/two" > /dev/null
cmp "$package" "$folder/two/$(basename "$package")"
dpkg-deb --extract "$package" "$folder/root"
"$folder/root/usr/bin/avis" config check "$folder/root/etc/avis/avis.toml"
for part in prometheus/rules grafana/dashboards; do
  diff -r "deploy/$part" "$folder/root/usr/share/avis/$part"
done
cmp deploy/runbook.md "$folder/root/usr/share/doc/avis/runbook.md"
for name in $("$binary" --help | awk '/^Commands:/ { on = 1; next } /^$/ { on = 0 } on && /^  [a-z]/ { print $1 }'); do
  zcat "$folder/root/usr/share/man/man1/avis.1.gz" | grep -q "^\.B ${name//-/\\\\-}\$"
  grep -q "$name" "$folder/root/usr/share/bash-completion/completions/avis"
done
echo "deployment: the Debian package is the same bytes twice, and its binary takes its settings"
if command -v lintian > /dev/null; then
  lintian --fail-on error,warning --allow-root "$package"
  echo "deployment: lintian finds neither error nor warning"
else
  aloud "the package's form (Debian: lintian)"
fi

# The service with the binary of the package, alone and with each example over it.
if command -v systemd-analyze > /dev/null; then
  unit="$folder/units/avis.service"
  mkdir -p "$unit.d"
  sed "s#/usr/bin/avis#$folder/root/usr/bin/avis#" deploy/systemd/avis.service > "$unit"
  said="$(systemd-analyze verify --man=no "$unit" 2>&1)"
  cp deploy/systemd/examples/*.conf "$unit.d"
  said+="$(systemd-analyze verify --man=no "$unit" 2>&1)"
  [ -z "$said" ] || { echo "$said" >&2; exit 1; }
  systemd-analyze security --offline=true --threshold=20 "$unit" | tail -1
  if command -v systemd-sysusers > /dev/null; then
    systemd-sysusers --root="$folder/root" "$folder/root/usr/lib/sysusers.d/avis.conf"
    grep -q '^avis:' "$folder/root/etc/passwd"
  fi
else
  aloud "the service (Debian: systemd)"
fi

deploy/ci/doors.sh "$binary" "$folder"

# What the image holds, as its user, with nothing else to be seen; a node wants /proc, which a container has.
# No daemon builds the image itself here.
mkdir -p "$folder/image/usr/bin"
cp "$binary" "$folder/image/usr/bin/avis"
deploy/docker/root.sh "$folder/image"
if [ "$(id -u)" = 0 ]; then
  chroot --userspec=10001:10001 "$folder/image" /usr/bin/avis --version
  files="$(find "$folder/image" -type f -path '*/bin/*' | wc -l)"
  [ "$files" = 1 ] || { echo "deployment: the image holds more programs than ours" >&2; exit 1; }
  echo "deployment: the program runs in the image's root, and no other program is there"
else
  aloud "the image's root in a chroot (it takes root)"
fi
aloud "the image by a container daemon, the chart in a cluster, the service under systemd: none of them is here"
