"""Ten questions of analysts, the monthly settlement and one recipient's year: through our endpoint (Flight
SQL), and by DuckDB and Polars on the files of the same table. Says seconds, the best of three; the
answers have to agree.
"""

import math
import sys
import time

import adbc_driver_flightsql.dbapi as flight
import deltalake
import duckdb
import polars

QUESTIONS = {
    "how much in all": "SELECT COUNT(*) AS n, SUM(amount) AS a FROM benefit_lines",
    "cost by grantor and month": """SELECT grantor_id, EXTRACT(MONTH FROM date) AS m, SUM(grantor_amount) AS a
        FROM benefit_lines GROUP BY 1, 2 ORDER BY 1, 2""",
    "cost by merchant": "SELECT merchant_id, SUM(amount) AS a FROM benefit_lines GROUP BY 1 ORDER BY 1",
    "twenty dearest items": """SELECT item, SUM(amount) AS a FROM benefit_lines
        GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 20""",
    "recipients by territory": """SELECT territory, COUNT(DISTINCT recipient) AS n FROM benefit_lines
        GROUP BY 1 ORDER BY 1""",
    "instructions of a month": """SELECT instruction_id, COUNT(*) AS n, SUM(amount) AS a FROM benefit_lines
        WHERE date >= DATE '2025-03-01' AND date < DATE '2025-04-01' GROUP BY 1 ORDER BY 1""",
    "days of one grantor": """SELECT date, SUM(amount) AS a FROM benefit_lines
        WHERE grantor_id = 'grantor-3' GROUP BY 1 ORDER BY 1""",
    "refunds by merchant": """SELECT merchant_id, SUM(CASE WHEN kind = 'refund' THEN amount ELSE 0 END) AS a
        FROM benefit_lines GROUP BY 1 ORDER BY 1""",
    "a place's hours of a day": """SELECT EXTRACT(HOUR FROM occurred_at) AS h, COUNT(*) AS n
        FROM benefit_lines WHERE date = DATE '2025-05-09' AND place_id = 'P-7' GROUP BY 1 ORDER BY 1""",
    "dearest of a day": """SELECT authorisation_id, amount FROM benefit_lines
        WHERE date = DATE '2025-06-23' ORDER BY amount DESC, authorisation_id LIMIT 100""",
    "settlement of a month": """SELECT grantor_id, merchant_id, instruction_id, COUNT(*) AS n,
        SUM(units) AS u, SUM(amount) AS a, SUM(grantor_amount) AS g FROM benefit_lines
        WHERE date >= DATE '2025-10-01' AND date < DATE '2025-11-01' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3""",
    "a recipient's year": """SELECT occurred_at, item, amount FROM benefit_lines
        WHERE recipient = 'R-77' ORDER BY occurred_at, item, amount""",
}


def best(ask):
    """The best of three, and what was answered."""
    took, told = [], None
    for _ in range(3):
        begun = time.monotonic()
        told = ask()
        took.append(time.monotonic() - begun)
    return min(took), told


def same(one, other):
    """Whether two answers agree, whatever each calls its types."""
    plain = lambda rows: [[str(round(float(v), 2)) if hasattr(v, "__float__") else str(v)[:19] for v in r] for r in rows]
    return plain(one) == plain(other)


address, table = sys.argv[1:3]
files = deltalake.DeltaTable(table).file_uris()
duck = duckdb.connect()
duck.execute("SET TimeZone = 'UTC'")
duck.execute(f"CREATE VIEW benefit_lines AS SELECT * FROM read_parquet({files!r}, hive_partitioning = true)")
bears = polars.SQLContext(benefit_lines=polars.scan_delta(table))
options = {"adbc.flight.sql.authorization_header": "Bearer any"}
ratios = []
with flight.connect(address, db_kwargs=options) as connection, connection.cursor() as cursor:

    def ours(question):
        cursor.execute(question)
        return cursor.fetch_arrow_table()

    for what, question in QUESTIONS.items():
        took, told = best(lambda: ours(question))
        duck_took, duck_told = best(lambda: duck.sql(question).to_arrow_table())
        rows = lambda of: [list(row.values()) for row in of.to_pylist()]
        assert same(rows(told), rows(duck_told)), (what, rows(told)[:3], rows(duck_told)[:3])
        print(what, took, "DuckDB", duck_took, sep="\t")
        if what not in ("settlement of a month", "a recipient's year"):
            ratios.append(duck_took / took)
        try:
            bear_took, bear_told = best(lambda: bears.execute(question).collect())
        except polars.exceptions.PolarsError as refused:
            print(f"{what}: Polars does not take it: {str(refused).splitlines()[0][:60]}")
            continue
        assert same(rows(told), bear_told.rows()), (what, rows(told)[:3], bear_told.rows()[:3])
        print(what, took, "Polars", bear_took, sep="\t")
mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
print(f"{len(files)} files; geometric mean of the ten questions beside DuckDB {mean:.2f}, lowest {min(ratios):.2f}")
