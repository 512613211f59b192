"""Polars: sales by minute and merchant over a Parquet file. Says seconds."""
import sys
import time

import polars as pl

started = time.monotonic()
rows = (
    pl.scan_parquet(sys.argv[1])
    .group_by(pl.col("event_time").dt.truncate("1m"), "merchant_id")
    .agg(pl.len().alias("sales"), pl.col("cents").sum())
    .collect(engine="streaming")
)
assert len(rows)
print(time.monotonic() - started)
