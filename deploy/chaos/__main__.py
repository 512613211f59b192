#!/usr/bin/env python3
"""Runs the real server under load, breaks it or what it stands on, and counts what was violated.

    python3 deploy/chaos                                every scenario 20 times (hours)
    python3 deploy/chaos --times 1 --seconds 1          a few minutes
    python3 deploy/chaos --only flushed --times 3
    python3 deploy/chaos --faults 100 --seconds 2       one node, 100 random faults, one table
    python3 deploy/chaos --minutes 60 --seed 7 --redis single
    python3 deploy/chaos --apart --faults 100           a process for each role (below)

Each connection is a terminal of its own; together they reserve, capture, void, sell, refund and
reverse on a few cards, so that they meet at the limits of recipients, households and budgets. In
the middle something breaks: the node, its disk, Redis, or the network on either side. What did not
get its answer is asked again under its key until it does. Every time, with what the clients
themselves noted of what was acknowledged, this proves that

  - what was acknowledged is on the stream as it was told, and what was refused is not;
  - no key was decided twice, and no reservation ended twice;
  - no limit was exceeded: of recipients and households at any record, of budgets at any instant;
  - every acknowledged request asked again, of the server as it is and of one that was started
    afresh, gives the same answer, byte for byte (of a long run 40 000 of them, drawn);
  - while Redis is away nothing new with a limit is approved, every 503 has its Retry-After, and the
    server recovers by itself;
  - a node that is there answers within seconds, whatever is away or slow, and refuses at once when
    its disk is full;
  - every fault was felt, and `avis settle check` passes.

With `--apart` connectors, authoriser, pipelines and warehouse are processes of their own, killed
and stopped one by one, over what AVIS_TEST_FLUVIO and AVIS_TEST_S3 name (deploy/chaos/apart.py);
what happens to disks is left out there.

Needs redis-server and redis-cli 7 or newer, for what happens to disks mkfs.ext4, fsfreeze and the
right to mount, and nothing but the standard library. Everything listens on loopback. The table goes
to standard output, all else to standard error; the exit status is 1 where anything was violated,
and the folder of that run is then kept.
"""

import argparse
import asyncio
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from apart import share
from mixed import mixed
from processes import kill_all, say
from scenarios import FULL_SCALE, all_scenarios
from shop import prepare

CONNECTIONS = 64


async def storm(options):
    template = Path(tempfile.mkdtemp(prefix="avis-chaos-"))
    runs = mixed if options.faults or options.minutes else all_scenarios
    try:
        if options.apart:
            share()
        tokens = await prepare(options.avis, template, options.connections)
        return await runs(options, template, tokens)
    finally:
        kill_all()
        shutil.rmtree(template, ignore_errors=True)


async def until_told_to_stop(options):
    task = asyncio.current_task()
    for one in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(one, task.cancel)
    return await storm(options)


def main():
    parser = argparse.ArgumentParser(
        prog="deploy/chaos", description=__doc__.split("\n\n")[0],
        epilog="See the beginning of deploy/chaos/__main__.py.")
    parser.add_argument("--avis", default="target/release/avis", help="the binary")
    parser.add_argument("--connections", type=int, default=CONNECTIONS, help="terminals at once")
    parser.add_argument("--seconds", type=float, default=3, help="load before and after each fault")
    parser.add_argument("--only", default="", help="scenarios or faults with this in their name")
    parser.add_argument("--seed", default=str(random.SystemRandom().randrange(10**9)))
    each = parser.add_argument_group("scenarios, each time on a fresh node")
    each.add_argument("--times", type=int, default=FULL_SCALE, help="of each scenario")
    one = parser.add_argument_group("mixed, on one node")
    one.add_argument("--faults", type=int, default=0, help="so many random faults")
    one.add_argument("--minutes", type=float, default=0, help="faults for so long")
    one.add_argument("--redis", choices=("none", "single", "cluster"), default="cluster")
    one.add_argument("--rate", type=float, default=200,
                     help="requests a second of all terminals; 0 is as many as it takes")
    one.add_argument("--apart", action="store_true", help="each role in a process of its own")
    options = parser.parse_args()
    if options.apart and (options.redis == "none" or not (options.faults or options.minutes)):
        parser.error("--apart: with --faults or --minutes, and with a Redis")
    options.avis = Path(options.avis).expanduser().resolve()
    say(f"seed {options.seed}")
    try:
        sys.exit(1 if asyncio.run(until_told_to_stop(options)) else 0)
    except asyncio.CancelledError:
        sys.exit("stopped")


if __name__ == "__main__":
    main()
