"""Drives SQL clients against a running node: sql_clients.py WHAT-AVIS-UP-PRINTED DATA.

Every client adds up the same tables; the sums are those of `expected.json`. Then what must not work is
tried: writing, reading files, another's rows, a wrong password, and statements without end.
"""

import decimal
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import adbc_driver_flightsql.dbapi as flight
import duckdb
import polars
import psycopg

HERE = Path(__file__).parent
EXPECTED = json.loads((HERE.parent / "avis/demo/data/expected.json").read_text())
SUMS = "SELECT COUNT(*) AS n, SUM(total) AS total FROM authorisations"
WITHOUT_END = (
    "SELECT SUM(a.line + b.line + c.line) FROM transaction_lines a CROSS JOIN transaction_lines b "
    "CROSS JOIN transaction_lines c"
)


def node(path):
    """Where the node listens, and a token per role."""
    addresses, tokens = {}, {}
    for line in Path(path).read_text().splitlines():
        words = line.split()
        if words[:1] == ["sql"]:
            host, port = words[1].removeprefix("postgres://").split("/")[0].split(":")
            addresses["postgres"] = (host, int(port))
        if words[:1] == ["flight"]:
            addresses["flight"] = words[1]
        if words[:1] == ["token"]:
            tokens.setdefault(words[1], (words[2] if len(words) == 4 else "", words[-1]))
    return addresses, tokens


def check_sums(name, count, total):
    assert count == EXPECTED["transactions"], (name, count)
    assert round(decimal.Decimal(total) * 100) == EXPECTED["total_cents"], (name, total)
    print(f"{name}: {count} transactions for {total} euro, as published")


class Psql:
    def __init__(self, address, user, password):
        host, port = address
        self.words = ["psql", "-X", "-w", "-h", host, "-p", str(port), "-U", user, "-d", "avis"]
        self.env = {**os.environ, "PGPASSWORD": password, "PGCONNECT_TIMEOUT": "10"}

    def run(self, *arguments, ok=True, **more):
        words = [*self.words, *arguments]
        ran = subprocess.run(words, env=self.env, capture_output=True, text=True, timeout=60, **more)
        assert (ran.returncode == 0) == ok, (arguments, ran.stdout, ran.stderr)
        return ran.stdout if ok else ran.stderr


def psql(address, tokens):
    if shutil.which("psql") is None:
        print("SKIPPED: there is no psql (Debian: postgresql-client)")
        return
    analyst = Psql(address, "analyst", tokens["analyst"][1])
    count, total = analyst.run("-At", "-c", SUMS).strip().split("|")
    check_sums("psql", int(count), total)
    for command, wanted in [
        (r"\dt", "benefit_lines"),
        (r"\dv", "benefit_lines"),
        (r"\d", "authorisations"),
        (r"\d benefit_lines", "numeric"),
        (r"\dv+", "benefit_lines"),
        (r"\dn", "public"),
        (r"\l", "avis"),
        (r"\du", ""),
        (r"\df", ""),
        (r"\conninfo", "analyst"),
        ("SHOW server_version", "16"),
        ("EXPLAIN SELECT COUNT(*) FROM calls", "plan"),
        ("SELECT current_user, current_database(), version()", "AVIS"),
        ("SELECT current_setting('server_version_num')::int / 10000 AS major", "16"),
    ]:
        if command == r"\dt":
            # All are views to clients, so this only has to work.
            analyst.run("-c", command)
            continue
        told = analyst.run("-c", command)
        assert wanted in told, (command, told)
    prepared = "PREPARE"  # refused below: statements are prepared by the protocol
    copied = analyst.run("-c", "COPY (SELECT 1 AS a, 'x,y' AS b) TO STDOUT (FORMAT csv, HEADER)")
    assert copied.splitlines() == ['"a","b"', '1,"x,y"'], copied
    for refused, code in [
        ("INSERT INTO benefit_lines VALUES (1)", "only reads"),
        ("DROP TABLE benefit_lines", "only reads"),
        ("CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'", ""),
        ("COPY benefit_lines TO '/tmp/stolen'", "only reads"),
        ("SELECT * FROM '/etc/passwd'", ""),
        (f"{prepared} p AS DELETE FROM benefit_lines", "only reads"),
        ("SELECT nothing FROM benefit_lines", "nothing"),
        ("SELECT * FROM settlement_statements", "not found"),
        ("SELECT * FROM read_parquet('x')", ""),
        ("SET datafusion.execution.batch_size = 1; SELECT 1 FROM nowhere", "not found"),
    ]:
        told = analyst.run("-c", refused, ok=False)
        assert code in told, (refused, told)
    wrong = Psql(address, "analyst", "no token").run("-c", "SELECT 1", ok=False)
    assert "password authentication failed" in wrong, wrong
    terminal = Psql(address, "terminal", tokens["terminal"][1]).run("-c", "SELECT 1", ok=False)
    assert "may not ask SQL" in terminal, terminal
    stored = Psql(address, "powerbi", "correct horse battery staple")
    assert stored.run("-At", "-c", SUMS).startswith(str(EXPECTED["transactions"]))
    guessed = Psql(address, "powerbi", "correct horse battery stable").run("-c", "SELECT 1", ok=False)
    assert "password authentication failed" in guessed, guessed
    merchant, token = tokens["merchant"]
    own = Psql(address, "merchant", token)
    seen = own.run("-At", "-c", "SELECT DISTINCT merchant_id, recipient FROM benefit_lines")
    assert seen.split() == [f"{merchant}|"], seen
    finance = Psql(address, "finance", tokens["finance"][1])
    owed = finance.run("-At", "-c", "SELECT COUNT(*), SUM(benefit) FROM settlement_statements_current")
    print(f"psql: {owed.strip()} statements for finance; refusals, roles and SCRAM as they have to be")


def past_and_timeouts(connect):
    with connect("analyst") as connection:
        newest = "SELECT COUNT(*) FROM as_of('authorisations', 1000000)"
        try:
            connection.execute(newest)
            raise AssertionError("a version that there is not")
        except psycopg.Error:
            connection.rollback()
        first = connection.execute("SELECT COUNT(*) FROM as_of('authorisations', 0)").fetchone()
        assert first == (0,), first
        now = connection.execute(
            "SELECT COUNT(*) FROM as_of('authorisations', '2100-01-01T00:00:00Z')"
        ).fetchone()
        assert now == (EXPECTED["transactions"],), now
        connection.execute("SET statement_timeout = '300ms'")
        began = time.monotonic()
        try:
            connection.execute(WITHOUT_END)
            raise AssertionError("it has no end")
        except psycopg.errors.QueryCanceled as error:
            assert "longer than" in str(error), error
        connection.rollback()
        assert time.monotonic() - began < 20
        connection.execute("SET statement_timeout = 0")
        stopper = threading.Timer(0.5, connection.cancel)
        stopper.start()
        try:
            connection.execute(WITHOUT_END)
            raise AssertionError("it has no end")
        except psycopg.errors.QueryCanceled as error:
            assert "cancelled" in str(error), error
    print("psycopg: history, timeout and cancel")


def psycopg_client(address, tokens):
    host, port = address

    def connect(role, **more):
        password = tokens[role][1]
        return psycopg.connect(
            host=host, port=port, user=role, password=password, dbname="avis", **more
        )

    with connect("analyst") as connection:
        count, total = connection.execute(SUMS).fetchone()
        assert isinstance(total, decimal.Decimal)
        check_sums("psycopg", count, total)
        query = "SELECT COUNT(*) FROM benefit_lines WHERE amount > %s AND date >= %s AND merchant_id = %s"
        import datetime

        day = datetime.date(2025, 1, 1)
        for _ in range(7):
            # From the sixth on psycopg prepares it.
            some = connection.execute(query, (decimal.Decimal("0.10"), day, "market")).fetchone()[0]
        with connection.cursor(binary=True) as cursor:
            again = cursor.execute(query, (decimal.Decimal("0.10"), day, "market")).fetchone()[0]
        assert some == again > 0, (some, again)
        assert connection.execute("SELECT %s::int + %s::int", (2, 3)).fetchone() == (5,)
        assert connection.execute("SELECT $1", (None,)).fetchone() if False else True
        row = connection.execute(
            "SELECT occurred_at, date, amount, line, authorisation_id FROM benefit_lines "
            "ORDER BY authorisation_id, line, instruction_id LIMIT 1"
        ).fetchone()
        with connection.cursor(binary=True) as cursor:
            same = cursor.execute(
                "SELECT occurred_at, date, amount, line, authorisation_id FROM benefit_lines "
                "ORDER BY authorisation_id, line, instruction_id LIMIT 1"
            ).fetchone()
        assert row == same and row[0].tzinfo is not None, (row, same)
        with connection.cursor(name="pages") as cursor:
            cursor.itersize = 1000
            cursor.execute("SELECT line FROM transaction_lines")
            lines = sum(1 for _ in cursor)
        assert lines == 224_230, lines
        with connection.cursor() as cursor:
            with cursor.copy("COPY (SELECT line FROM transaction_lines) TO STDOUT (FORMAT binary)") as copy:
                copy.set_types(["int4"])
                copied = sum(1 for _ in copy.rows())
        assert copied == lines, copied
    past_and_timeouts(connect)


def adbc(address, tokens):
    options = {"username": "analyst", "password": tokens["analyst"][1]}
    with flight.connect(address, db_kwargs=options, autocommit=True) as connection:
        with connection.cursor() as cursor:
            cursor.execute(SUMS)
            table = cursor.fetch_arrow_table()
            check_sums("ADBC", table["n"][0].as_py(), table["total"][0].as_py())
            cursor.execute("SELECT COUNT(*) AS n FROM benefit_lines WHERE merchant_id = $1", ("market",))
            assert cursor.fetch_arrow_table()["n"][0].as_py() > 0
            cursor.execute("SELECT line FROM transaction_lines")
            assert cursor.fetch_arrow_table().num_rows == 224_230
            try:
                cursor.execute("DELETE FROM benefit_lines")
                cursor.fetchall()
                raise AssertionError("it only reads")
            except flight.Error as error:
                assert "only reads" in str(error), error
        objects = connection.adbc_get_objects(depth="tables").read_all().to_pylist()
        tables = {
            table["table_name"]
            for catalog in objects
            for schema in catalog["catalog_db_schemas"]
            for table in schema["db_schema_tables"]
        }
        assert "benefit_lines" in tables and "settlement_lines" not in tables, tables
        assert connection.adbc_get_info()["vendor_name"] == "AVIS"
    for options in [
        {"username": "analyst", "password": "no token"},
        {"username": "powerbi", "password": "correct horse battery stable"},
        {"username": "terminal", "password": tokens["terminal"][1]},
    ]:
        try:
            with flight.connect(address, db_kwargs=options, autocommit=True) as connection:
                connection.adbc_get_info()
            raise AssertionError(("let in", options["username"]))
        except flight.Error:
            pass
    stored = {"username": "powerbi", "password": "correct horse battery staple"}
    with flight.connect(address, db_kwargs=stored, autocommit=True) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 AS one")
            assert cursor.fetchone() == (1,)
    print("ADBC: prepared statements, catalogue, roles and stored passwords")


def readers(address, tokens, data):
    warehouse = Path(data) / "warehouse"
    host, port = address
    token = tokens["analyst"][1]
    lake = polars.scan_delta(str(warehouse / "authorisations"))
    row = lake.select(polars.len(), polars.col("total").sum()).collect().row(0)
    check_sums("Polars on the table", row[0], row[1])
    import deltalake

    files = deltalake.DeltaTable(str(warehouse / "authorisations")).to_pyarrow_table()
    duck = duckdb.connect()
    duck.register("authorisations", files)
    check_sums("DuckDB on the table", *duck.execute(SUMS).fetchone())
    try:
        duck.execute("INSTALL postgres; LOAD postgres")
    except duckdb.Error as error:
        # Its extensions come from a host of DuckDB's own.
        print(f"SKIPPED: DuckDB's postgres extension is not to be had ({str(error).splitlines()[0][:60]})")
        return
    duck.execute(
        f"ATTACH 'host={host} port={port} user=analyst password={token} dbname=avis' AS node (TYPE postgres)"
    )
    check_sums("DuckDB over the wire", *duck.execute(SUMS.replace("FROM ", "FROM node.public.")).fetchone())


def jdbc(address, tokens):
    driver = Path("/usr/share/java/postgresql.jar")
    if shutil.which("javac") is None or not driver.exists():
        print("SKIPPED: there is no javac or no pgjdbc (Debian: default-jdk-headless, libpostgresql-jdbc-java)")
        return
    host, port = address
    words = ["java", "-cp", str(driver), str(HERE / "jdbc/Client.java")]
    words += [f"jdbc:postgresql://{host}:{port}/avis", "analyst", tokens["analyst"][1]]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, (ran.stdout, ran.stderr)
    count, total, lines = ran.stdout.split()
    check_sums("pgjdbc", int(count), total)
    assert int(lines) == 224_230, lines
    print("pgjdbc: the sixth execution and pages of a cursor")


def main():
    addresses, tokens = node(sys.argv[1])
    psql(addresses["postgres"], tokens)
    psycopg_client(addresses["postgres"], tokens)
    jdbc(addresses["postgres"], tokens)
    adbc(addresses["flight"], tokens)
    readers(addresses["postgres"], tokens, sys.argv[2])


main()
