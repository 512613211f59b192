#!/usr/bin/env bash
# Makes a Debian package of a built binary:
#
#   cargo build --locked --profile dist && deploy/debian/build.sh target/dist/avis target/debian
#
# The same binary and SOURCE_DATE_EPOCH (else the commit's time) give the same bytes. It prints the package's path.
# DEB_COMPRESSION and DEB_LEVEL make it faster, where the package is only looked at.
set -euo pipefail
binary="$(readlink -f "${1:?usage: build.sh BINARY FOLDER}")"
folder="${2:?usage: build.sh BINARY FOLDER}"
mkdir -p "$folder"
folder="$(readlink -f "$folder")"
cd "$(dirname "$0")/../.."
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2> /dev/null || echo 0)}"
umask 022

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
root="$work/avis"
version="$("$binary" --version | awk '{ print $2 }')"
architecture="$(dpkg --print-architecture)"
doc="$root/usr/share/doc/avis"
place() { install -D -m "$1" "$2" "$root/$3"; }

place 0755 "$binary" usr/bin/avis
# Lines of a backtrace stay; what only a debugger reads goes.
strip --strip-debug --remove-section=.comment --remove-section=.note "$root/usr/bin/avis"
place 0644 deploy/debian/avis.toml etc/avis/avis.toml
place 0644 deploy/debian/avis.default etc/default/avis
place 0644 deploy/systemd/avis.service usr/lib/systemd/system/avis.service
place 0644 deploy/systemd/avis.sysusers usr/lib/sysusers.d/avis.conf
place 0644 deploy/debian/copyright usr/share/doc/avis/copyright
place 0644 deploy/configuration.md usr/share/doc/avis/configuration.md
for example in deploy/systemd/examples/*.conf; do
  place 0644 "$example" "usr/share/doc/avis/examples/$(basename "$example")"
done
# What watches it: the rules and dashboards as they are, and what to do when they tell.
for file in deploy/prometheus/rules/*.yml deploy/grafana/dashboards/*.json; do
  place 0644 "$file" "usr/share/avis/${file#deploy/}"
done
place 0644 deploy/runbook.md usr/share/doc/avis/runbook.md
place 0644 deploy/prometheus/metrics.csv usr/share/doc/avis/prometheus/metrics.csv
place 0644 deploy/debian/lintian-overrides usr/share/lintian/overrides/avis
mkdir -p "$root/usr/share/"{bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d,man/man1}
"$binary" completions bash > "$root/usr/share/bash-completion/completions/avis"
"$binary" completions zsh > "$root/usr/share/zsh/vendor-completions/_avis"
"$binary" completions fish > "$root/usr/share/fish/vendor_completions.d/avis.fish"
deploy/debian/man.sh "$binary" > "$root/usr/share/man/man1/avis.1"
gzip -9n "$root/usr/share/man/man1/avis.1"
cat > "$doc/changelog.Debian" << CHANGELOG
avis ($version-1) unstable; urgency=medium

  * What changed is in the sources' deploy/changelog.d.

 -- AVIS maintainers <maintainers@example.lv>  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
CHANGELOG
gzip -9n "$doc/changelog.Debian"

# What it is linked to, as packages.
mkdir -p "$work/source/debian"
printf 'Source: avis\n\nPackage: avis\nArchitecture: any\n' > "$work/source/debian/control"
depends="$(cd "$work/source" && dpkg-shlibdeps -O -e"$root/usr/bin/avis" 2> /dev/null | sed -n 's/^shlibs:Depends=//p')"
mkdir -p "$root/DEBIAN"
sed -e "s/@VERSION@/$version-1/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@DEPENDS@/$depends/" \
  -e "s/@SIZE@/$(du -k --apparent-size -s "$root" | cut -f1)/" deploy/debian/control.in > "$root/DEBIAN/control"
printf '/etc/avis/avis.toml\n/etc/default/avis\n' > "$root/DEBIAN/conffiles"
for script in postinst prerm postrm; do
  install -m 0755 "deploy/debian/$script" "$root/DEBIAN/$script"
done
(cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum) > "$root/DEBIAN/md5sums"
find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
package="$folder/avis_$version-1_$architecture.deb"
dpkg-deb --root-owner-group -Z"${DEB_COMPRESSION:-xz}" -z"${DEB_LEVEL:-6}" --build "$root" "$package" > /dev/null
echo "$package"
