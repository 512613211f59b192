#!/usr/bin/env bash
# The manual page of a binary, from what it says of itself.
set -euo pipefail
binary="${1:?usage: man.sh BINARY}"
escape() { sed -e 's/\\/\\e/g' -e 's/-/\\-/g' -e "s/^\\([.']\\)/\\\\\\&\\1/"; }
version="$("$binary" --version | awk '{ print $2 }')"
printf '.TH AVIS 1 "%s" "avis %s" "AVIS"\n' "$(date -u -d "@${SOURCE_DATE_EPOCH:-0}" +%Y-%m-%d)" "$version"
printf '.SH NAME\navis \\- %s\n' "$("$binary" --help | head -1 | sed 's/^AVIS: //' | escape)"
printf '.SH SYNOPSIS\n.B avis\n.I COMMAND\n.RI [ OPTIONS ]\n.SH COMMANDS\n'
"$binary" --help | awk '/^Commands:/ { on = 1; next } /^$/ { on = 0 } on' |
  while read -r name text; do
    printf '.TP\n.B %s\n%s\n' "$(escape <<< "$name")" "$(escape <<< "$text")"
  done
cat << 'PAGE'
.PP
.B avis help
.I COMMAND
says what each takes, with an example.
.SH FILES
.TP
.I /etc/avis/avis.toml
Settings that differ from their defaults;
.B avis config show
has all.
.TP
.I /etc/default/avis
Variables of the service.
.TP
.I /var/lib/avis
The node's folder: streams, keys, index, tables.
.SH ENVIRONMENT
.TP
.B AVIS_DATA
The node's folder, as
.BR \-\-data .
.TP
.B AVIS_CONFIG
The file of settings, as
.BR \-\-config .
.TP
.B AVIS_TOKEN
The token with which a command asks a running node, as
.B \-\-server
says.
.TP
.B AVIS_LOG
What is logged.
.TP
.B AVIS__SECTION__KEY
A setting; it goes before the file. With
.B _FILE
at its end it names a file with the value.
.SH EXIT STATUS
0 success, 1 failure, 2 wrong use.
.SH SIGNALS
SIGTERM ends a node once what was let in is answered and landed; SIGHUP has it read its certificates again.
.SH SEE ALSO
.I /usr/share/doc/avis/configuration.md
PAGE
