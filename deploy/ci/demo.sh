#!/usr/bin/env bash
# The README's main job, its numbers against the published answer, and its tables against other
# people's readers.
set -euo pipefail
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
cargo run --release --locked --quiet -- demo --out "$out/demo" --json | tail -n 1 > "$out/summary.json"
python3 warehouse/tests/witness/read_tables.py "$out/demo/warehouse" > "$out/witness.json"
python3 - "$out/summary.json" deploy/avis/demo/data/expected.json "$out/witness.json" <<'PY'
import json, sys
summary, expected, witness = (json.load(open(path)) for path in sys.argv[1:4])
wrong = {key: (summary.get(key), value) for key, value in expected.items() if summary.get(key) != value}
assert not wrong, f"the demo differs from expected.json: {wrong}"
assert summary["books_balance"] is True
assert witness["equal"] is True, f"DuckDB and Polars disagree: {witness}"
cents = lambda table, column: round(float(witness[table]["duckdb"][column]) * 100)
assert cents("authorisations", "total") == expected["total_cents"], witness
assert cents("benefit_lines", "amount") == expected["benefit_cents"], witness
print(f"demo: {summary['transactions']} transactions in {summary['seconds']} s, every number as expected;")
print("DuckDB and Polars read the same sums from its tables")
PY
