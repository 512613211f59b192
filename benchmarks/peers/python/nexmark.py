"""Apache Flink (apache-flink 2.2): Nexmark's queries over files of its events, in streaming mode.

Says each query's name and seconds: of its job, from when the cluster has it until it has ended,
as Flink itself tells; planning, and starting a cluster for it (a second here), come before. It is
the least of so many rounds, of which the first warms the virtual machine. What the last one answers
is in FOLDER/flink/<query>.
"""

import os
import sys

from pyflink.common import Configuration
from pyflink.table import EnvironmentSettings, TableEnvironment

FILES = "'connector' = 'filesystem', 'format' = 'json'"
JSON = f"{FILES}, 'json.timestamp-format.standard' = 'ISO-8601'"
TIME = "date_time TIMESTAMP(3), WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND"
SOURCES = {
    "persons": f"""id BIGINT, name STRING, email_address STRING, credit_card STRING, city STRING,
        state STRING, extra STRING, {TIME}""",
    "auctions": f"""id BIGINT, item_name STRING, description STRING, initial_bid BIGINT,
        reserve BIGINT, expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra STRING,
        {TIME}""",
    "bids": f"""auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING,
        extra STRING, {TIME}""",
}
HOP = "TABLE(HOP(TABLE bids, DESCRIPTOR(date_time), INTERVAL '2' SECOND, INTERVAL '10' SECOND))"
TUMBLE = "TABLE(TUMBLE(TABLE {}, DESCRIPTOR(date_time), INTERVAL '10' SECOND))"
BID = "auction BIGINT, bidder BIGINT, price {}, date_time TIMESTAMP(3), extra STRING"
# What each query writes, and the query.
QUERIES = {
    "q0": (BID.format("BIGINT"), "SELECT auction, bidder, price, date_time, extra FROM bids"),
    "q1": (
        BID.format("DECIMAL(23, 3)"),
        "SELECT auction, bidder, 0.908 * price AS price, date_time, extra FROM bids",
    ),
    "q2": (
        "auction BIGINT, price BIGINT",
        "SELECT auction, price FROM bids WHERE MOD(auction, 123) = 0",
    ),
    "q5": (
        "auction BIGINT, num BIGINT",
        f"""SELECT auction_bids.auction, auction_bids.num
        FROM (
          SELECT auction, COUNT(*) AS num, window_start, window_end
          FROM {HOP} GROUP BY auction, window_start, window_end
        ) AS auction_bids
        JOIN (
          SELECT MAX(num) AS most, window_start, window_end
          FROM (
            SELECT COUNT(*) AS num, window_start, window_end
            FROM {HOP} GROUP BY auction, window_start, window_end
          ) AS count_bids
          GROUP BY window_start, window_end
        ) AS max_bids
        ON auction_bids.window_start = max_bids.window_start
          AND auction_bids.window_end = max_bids.window_end
          AND auction_bids.num >= max_bids.most""",
    ),
    # A join of windows, which forgets its bids as they end; Nexmark's own text keeps all of them.
    "q7": (
        "auction BIGINT, price BIGINT, bidder BIGINT, date_time TIMESTAMP(3), extra STRING",
        f"""SELECT bid.auction, bid.price, bid.bidder, bid.date_time, bid.extra
        FROM (
          SELECT auction, price, bidder, date_time, extra, window_start, window_end
          FROM {TUMBLE.format("bids")}
        ) AS bid
        JOIN (
          SELECT MAX(price) AS highest, window_start, window_end
          FROM {TUMBLE.format("bids")} GROUP BY window_start, window_end
        ) AS max_bid
        ON bid.window_start = max_bid.window_start AND bid.window_end = max_bid.window_end
          AND bid.price = max_bid.highest""",
    ),
    "q8": (
        "id BIGINT, name STRING, starts TIMESTAMP(3)",
        f"""SELECT person.id, person.name, person.window_start
        FROM (
          SELECT id, name, window_start, window_end
          FROM {TUMBLE.format("persons")} GROUP BY id, name, window_start, window_end
        ) AS person
        JOIN (
          SELECT seller, window_start, window_end
          FROM {TUMBLE.format("auctions")} GROUP BY seller, window_start, window_end
        ) AS auction
        ON person.id = auction.seller AND person.window_start = auction.window_start
          AND person.window_end = auction.window_end""",
    ),
}
# As Nexmark's own configuration for Flink, but with state in memory and without checkpoints, which
# cost.
SETTINGS = {
    "parallelism.default": str(os.cpu_count()),
    "pipeline.object-reuse": "true",
    "table.exec.mini-batch.enabled": "true",
    "table.exec.mini-batch.allow-latency": "2 s",
    "table.exec.mini-batch.size": "50000",
    "table.optimizer.distinct-agg.split.enabled": "true",
    "taskmanager.memory.managed.size": "1 gb",
}


def environment(folder):
    """Tables over the files of a folder."""
    configuration = Configuration()
    for key, value in SETTINGS.items():
        configuration.set_string(key, value)
    settings = EnvironmentSettings.new_instance().in_streaming_mode()
    tables = TableEnvironment.create(settings.with_configuration(configuration).build())
    for name, columns in SOURCES.items():
        place = f"'path' = '{folder}/{name}.ndjson'"
        tables.execute_sql(f"CREATE TABLE {name} ({columns}) WITH ({JSON}, {place})")
    return tables


def run(tables, name, path):
    """The seconds of one query into a folder of its own."""
    columns, query = QUERIES[name]
    place = f"'json.encode.decimal-as-plain-number' = 'true', 'path' = '{path}'"
    tables.execute_sql(f"CREATE TEMPORARY TABLE {name} ({columns}) WITH ({JSON}, {place})")
    inserted = tables.execute_sql(f"INSERT INTO {name} {query}")
    inserted.wait()
    ended = inserted.get_job_client().get_job_execution_result().result()
    tables.execute_sql(f"DROP TEMPORARY TABLE {name}")
    return ended.get_net_runtime() / 1000


folder, rounds = sys.argv[1], int(sys.argv[2])
tables = environment(folder)
took = {name: [] for name in QUERIES}
for at in range(rounds):
    place = "flink" if at + 1 == rounds else f"flink-{at}"
    for name in QUERIES:
        took[name].append(run(tables, name, f"{folder}/{place}/{name}"))
for name, seconds in took.items():
    print(name, min(seconds), sep="\t")
