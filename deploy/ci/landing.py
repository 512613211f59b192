#!/usr/bin/env python3
"""Kills the main job while it lands, again and again, and lets other people's readers look on.

    python3 deploy/ci/landing.py                   50 kills (some ten minutes)
    python3 deploy/ci/landing.py --kills 5         a minute

A folder is killed ten times at random instants and then let through. All the while DuckDB, Polars
and delta-rs open its tables. This proves that

  - whatever version a reader got, it held the rows of exactly the records before the offsets that
    the same commit carries: never half a commit, never a file of an attempt that was cut off;
  - in the end every table is that of an undisturbed run, row by row.

Needs duckdb, polars, deltalake and pyarrow from PyPI. Exit status 1 where anything differs; the
folder is then kept.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import duckdb
import polars
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

KILLS_PER_FOLDER = 10
# Small commits, so that there are many to cut off.
SETTINGS = {"AVIS__PIPELINES__COMMIT_RECORDS": "400", "AVIS_LOG": "error"}
# Of when and where a record was taken, which a run that was killed takes differently.
TAKEN = {"recorded_at", "source_partition", "source_offset", "computed_at", "changed_at", "sequence"}
# Pseudonyms, which each folder draws for itself.
DRAWN = {"recipient", "token", "subject", "user_pseudonym"}
# Tables that grow with the baskets, and whose rows say which record they are of.
GROWING = ["authorisations", "authorisation_events", "benefit_lines", "points_entries", "transaction_lines"]
SUMS = "SELECT source_partition, COUNT(*), SUM(source_offset) FROM rows GROUP BY 1"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--avis", default="target/release/avis")
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    root = Path(tempfile.mkdtemp(prefix="avis-landing-"))
    started = time.monotonic()
    run(arguments.avis, root / "whole").wait()
    took = time.monotonic() - started
    whole = {name: final(root / "whole" / "warehouse" / name) for name in tables(root / "whole")}
    print(f"undisturbed: {len(whole)} tables, {took:.1f} s", file=sys.stderr)
    kills, seen, faults = 0, 0, []
    while kills < arguments.kills:
        folder = root / f"killed-{kills}"
        reader = Reader(folder)
        for _ in range(min(KILLS_PER_FOLDER, arguments.kills - kills)):
            child = run(arguments.avis, folder)
            time.sleep(draw.uniform(0.2, took))
            child.kill()  # nice has become the demo: the same process.
            child.wait()
            kills += 1
        if run(arguments.avis, folder).wait() != 0:
            faults.append("the last run failed")
        seen += reader.stop()
        faults += reader.faults()
        for name, rows in whole.items():
            if final(folder / "warehouse" / name) != rows:
                faults.append(f"{name} is not that of an undisturbed run")
        print(f"{kills} kills, {seen} versions looked at, {len(faults)} faults", file=sys.stderr)
        if faults:
            print("\n".join(faults + [f"kept: {folder}"]))
            return 1
        shutil.rmtree(folder)
    shutil.rmtree(root)
    print(f"{kills} kills, {seen} versions looked at by DuckDB, Polars and delta-rs: every one whole")
    return 0


def run(avis: str, folder: Path) -> subprocess.Popen:
    # The readers go first, so that they look often.
    return subprocess.Popen(
        ["nice", "-n", "15", avis, "demo", "--json", "--out", str(folder)],
        stdout=subprocess.DEVNULL,
        env={**os.environ, **SETTINGS},
    )


def tables(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "warehouse").iterdir() if path.is_dir())


def final(path: Path) -> list[tuple]:
    """Every row without what only says when it was taken, in one order."""
    rows = DeltaTable(str(path)).to_pyarrow_table()
    kept = sorted(set(rows.column_names) - TAKEN - DRAWN)
    return sorted((tuple(row.values()) for row in rows.select(kept).to_pylist()), key=repr)


class Reader(threading.Thread):
    """Looks at a folder's tables and notes what each version had, to be compared in the end."""

    def __init__(self, folder: Path):
        super().__init__(daemon=True)
        self.folder, self.notes, self.errors, self.over = folder, {}, [], threading.Event()
        self.start()

    def run(self) -> None:
        turn = 0
        while not self.over.is_set():
            warehouse = self.folder / "warehouse"
            for path in (warehouse / name for name in GROWING):
                turn += 1
                try:
                    self.look(path, turn)
                except (TableNotFoundError, FileNotFoundError):
                    pass  # It is being made.
                except Exception as error:  # noqa: BLE001: any other is a finding.
                    self.errors.append(f"{path.name}: {type(error).__name__}: {error}")

    def look(self, path: Path, turn: int) -> None:
        table = DeltaTable(str(path))
        key = (path.name, table.version())
        if key in self.notes and turn % 10:
            return
        positions = {
            partition: table.transaction_version(f"{path.name}/{partition}") or 0
            for partition in range(4)
        }
        if turn % 3 == 0:
            rows = polars.scan_delta(str(path), version=table.version())
            rows = rows.group_by("source_partition").agg(
                polars.len(), polars.col("source_offset").sum().alias("sum")
            )
            sums = {row[0]: (row[1], row[2]) for row in rows.collect().iter_rows()}
        else:
            rows = table.to_pyarrow_dataset() if turn % 3 == 1 else table.to_pyarrow_table()
            found = duckdb.connect().from_arrow(rows).query("rows", SUMS).fetchall()
            sums = {row[0]: (row[1], int(row[2])) for row in found}
        if self.notes.setdefault(key, (positions, sums)) != (positions, sums):
            self.errors.append(f"{path.name} version {key[1]} is not what it was")

    def stop(self) -> int:
        self.over.set()
        self.join()
        return len(self.notes)

    def faults(self) -> list[str]:
        faults, whole = list(self.errors), {}
        for (name, version), (positions, sums) in self.notes.items():
            if name not in whole:
                rows = DeltaTable(str(self.folder / "warehouse" / name)).to_pyarrow_table()
                columns = rows.select(["source_partition", "source_offset"]).to_pydict()
                whole[name] = list(zip(columns["source_partition"], columns["source_offset"]))
            for partition, position in positions.items():
                before = [at for of, at in whole[name] if of == partition and at < position]
                if sums.get(partition, (0, 0)) != (len(before), sum(before)):
                    faults.append(
                        f"{name} version {version}: {sums.get(partition)} of partition {partition}, "
                        f"but {len(before)} rows before offset {position}"
                    )
        return faults


if __name__ == "__main__":
    sys.exit(main())
