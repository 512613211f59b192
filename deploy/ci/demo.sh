#!/usr/bin/env bash
# The README's main job, and its numbers against the published answer.
set -euo pipefail
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
cargo run --release --locked --quiet -- demo --out "$out/demo" --json | tail -n 1 > "$out/summary.json"
python3 - "$out/summary.json" deploy/avis/demo/data/expected.json <<'PY'
import json, sys
summary, expected = (json.load(open(path)) for path in sys.argv[1:3])
wrong = {key: (summary.get(key), value) for key, value in expected.items() if summary.get(key) != value}
assert not wrong, f"the demo differs from expected.json: {wrong}"
assert summary["books_balance"] is True
print(f"demo: {summary['transactions']} transactions in {summary['seconds']} s, every number as expected")
PY
