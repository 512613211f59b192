"""Polars: sales by minute and merchant over a Parquet file. Says seconds, and leaves its answer in a file."""
import sys
import time

import polars as pl

rows, answer = sys.argv[1:3]
started = time.monotonic()
told = (
    pl.scan_parquet(rows)
    .group_by(pl.col("event_time").dt.truncate("1m").alias("begins"), "merchant_id")
    .agg(pl.len().alias("sales"), pl.col("cents").sum())
    .collect(engine="streaming")
)
print(time.monotonic() - started)
told.write_ndjson(answer)
