#!/usr/bin/env bash
# Puts around a binary in DIR/usr/bin/avis what it needs to run in an image of nothing else: its libraries and their
# loader at the paths that it was linked with, the authorities that it trusts, a user. What it may write lies in
# DIR-data. Every file has the time of SOURCE_DATE_EPOCH.
set -euo pipefail
out="${1:?usage: root.sh DIR}"
data="$out-data"
binary="$out/usr/bin/avis"

# Each library by the name that the loader looks for, as the file that it is a link to.
ldd "$binary" | awk '$2 == "=>" { print $3 } $1 ~ /^\// { print $1 }' | while read -r library; do
  install -D -m 0755 "$(readlink -f "$library")" "$out$library"
done
install -D -m 0644 /etc/ssl/certs/ca-certificates.crt "$out/etc/ssl/certs/ca-certificates.crt"
printf 'root:x:0:0::/:/nonexistent\navis:x:10001:10001::/var/lib/avis:/nonexistent\n' > "$out/etc/passwd"
printf 'root:x:0:\navis:x:10001:\n' > "$out/etc/group"
# The names of hosts from the file that the container has, then from its name server.
printf 'hosts: files dns\n' > "$out/etc/nsswitch.conf"
# The terms under which the libraries and all of it may be passed on.
for package in libc6 libgcc-s1 ca-certificates; do
  if [ -e "/usr/share/doc/$package/copyright" ]; then
    install -D -m 0644 "$(readlink -f "/usr/share/doc/$package/copyright")" "$out/usr/share/doc/$package/copyright"
  fi
done
install -D -m 0644 LICENSE "$out/usr/share/doc/avis/copyright"
install -d -m 0750 "$data/var/lib/avis"
install -d -m 1777 "$data/tmp"
find "$out" "$data" -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH:-0}" {} +
