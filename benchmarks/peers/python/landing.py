"""DuckDB: the records of a stream as NDJSON into the columns of `authorisations` as Parquet. Says seconds,
and leaves its file's counts and sums, as a query asks for them, in a file.
"""
import pathlib
import sys
import time

import duckdb

MONEY = "CAST({0}_cents AS DECIMAL(18, 0)) * CAST(0.01 AS DECIMAL(3, 2)) AS {0}"
COLUMNS = {
    "type": "VARCHAR", "authorisation_id": "VARCHAR", "decision": "VARCHAR", "decline_reason": "VARCHAR",
    "means_status": "VARCHAR", "status": "VARCHAR", "mode": "VARCHAR", "terminal_id": "VARCHAR",
    "merchant_id": "VARCHAR", "place_id": "VARCHAR", "territory": "VARCHAR", "recipient": "VARCHAR",
    "receipt_number": "VARCHAR", "total_cents": "BIGINT", "benefit_cents": "BIGINT", "payable_cents": "BIGINT",
    "excess_cents": "BIGINT", "points_earned": "BIGINT", "points_spent": "BIGINT", "registry_version": "BIGINT",
    "occurred_at": "TIMESTAMP", "expires_at": "TIMESTAMP", "recorded_at": "TIMESTAMP",
    "source_partition": "INTEGER", "source_offset": "BIGINT", "date": "DATE",
}
records, parquet, sums, answer = sys.argv[1:5]
selected = [
    MONEY.format(name.removesuffix("_cents")) if name.endswith("_cents") else name
    for name in COLUMNS
    if name != "type"
]
read = f"read_json('{records}', format = 'newline_delimited', columns = {COLUMNS!r})"
query = f"SELECT {', '.join(selected)} FROM {read} WHERE type = 'authorisation_decided' ORDER BY merchant_id"
started = time.monotonic()
duckdb.sql(f"COPY ({query}) TO '{parquet}' (FORMAT parquet, COMPRESSION zstd)")
print(time.monotonic() - started)
duckdb.read_parquet(parquet).create_view("authorisations")
told = duckdb.sql(pathlib.Path(sums).read_text())
duckdb.sql(f"COPY (FROM told) TO '{answer}' (FORMAT json)")
