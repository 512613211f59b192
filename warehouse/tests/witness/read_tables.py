#!/usr/bin/env python3
"""Reads a warehouse's tables with other people's tools and prints their sums as JSON.

    python3 warehouse/tests/witness/read_tables.py avis-demo/warehouse

DuckDB and Polars each add up the same tables, through the `deltalake` package and the Parquet files
that the newest commit names. Equal sums are a witness that our tables are what the format says. The
packages are installed into an environment of the script's own in the user's cache folder.
"""

import json
import os
import pathlib
import subprocess
import sys
import venv

PACKAGES = ["deltalake>=1.1", "duckdb>=1.3", "polars>=1.30", "pyarrow>=20"]
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
ENVIRONMENT = CACHE / "avis-witness"
SUMS = {
    "benefit_lines": ["amount", "grantor_amount"],
    "authorisations": ["total", "benefit", "payable"],
}


def enter_environment():
    """Goes on in the environment that has the packages, and makes it first where there is none."""
    python = ENVIRONMENT / "bin" / "python"
    if pathlib.Path(sys.prefix).resolve() == ENVIRONMENT.resolve():
        return
    ready = ENVIRONMENT / "ready"
    if not ready.exists():
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        install = [python, "-m", "pip", "install", "--quiet", *PACKAGES]
        subprocess.run(install, check=True, stdout=sys.stderr)
        ready.touch()
    os.execv(python, [str(python), *sys.argv])


def with_duckdb(table, columns):
    """The sums as DuckDB has them, over the files of the table's newest commit."""
    import duckdb

    rows = table.to_pyarrow_dataset()
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("landed", rows)
    sums = ", ".join(f"CAST(COALESCE(SUM({column}), 0) AS VARCHAR)" for column in columns)
    found = connection.execute(f"SELECT COUNT(1), {sums} FROM landed").fetchall()
    (count, *sums) = found[0]
    return {"rows": count} | dict(zip(columns, sums))


def with_polars(folder, columns):
    """The sums as Polars has them, by its own reader of the format."""
    import polars

    sums = [polars.col(column).sum() for column in columns]
    frame = polars.read_delta(str(folder)).select(polars.len().alias("rows"), *sums)
    row = frame.row(0, named=True)
    return {"rows": row["rows"]} | {column: str(row[column]) for column in columns}


def main():
    """Prints what each reader found; fails where they differ."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    enter_environment()
    import deltalake

    root = pathlib.Path(sys.argv[1])
    found, equal = {}, True
    for name, columns in SUMS.items():
        folder = root / name
        table = deltalake.DeltaTable(str(folder))
        sums = {"duckdb": with_duckdb(table, columns), "polars": with_polars(folder, columns)}
        equal = equal and sums["duckdb"] == sums["polars"]
        found[name] = sums | {"version": table.version(), "files": len(table.file_uris())}
    found["equal"] = equal
    print(json.dumps(found, indent=2))
    sys.exit(0 if equal else 1)


if __name__ == "__main__":
    main()
