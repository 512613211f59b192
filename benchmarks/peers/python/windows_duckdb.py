"""DuckDB: sales by minute and merchant over a Parquet file. Says seconds."""
import sys
import time

import duckdb

query = f"""
SELECT date_trunc('minute', event_time) AS begins, merchant_id, COUNT(*) AS sales, SUM(cents) AS cents
FROM '{sys.argv[1]}' GROUP BY ALL"""
started = time.monotonic()
assert duckdb.sql(query).arrow()
print(time.monotonic() - started)
