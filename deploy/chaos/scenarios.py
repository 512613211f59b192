"""Scenarios: one thing breaks, again and again, each time on a fresh folder."""

import time
from dataclasses import dataclass

from faults import FULL_FOR_LONG, LONG_STANDSTILL, REDIS_FOR_LONG, fault
from processes import say
from run import Run, Stage, may_mount

# So many times each, and the long ones, too.
FULL_SCALE = 20


@dataclass(frozen=True)
class Scenario:
    name: str
    stage: Stage
    breaks: object
    # Over half a minute each time.
    long: bool = False


AOF, CLUSTER = Stage("single"), Stage("cluster")
ON_DISK = Stage(disk=True)
FAR = Stage("single", far=True)
SCENARIOS = [
    Scenario("embedded, avis killed", Stage(), fault("avis: kill -9")),
    Scenario("embedded, power cut", ON_DISK, fault("power cut")),
    Scenario("disk full to its reserve", ON_DISK, fault("disk full to its reserve")),
    Scenario("disk full to the last byte", ON_DISK, fault("disk full to the last byte")),
    Scenario("syncs of a second", ON_DISK, fault("syncs of a second")),
    Scenario("redis with AOF killed", AOF, fault("redis: kill -9")),
    Scenario("redis without AOF killed", Stage("volatile"), fault("redis: kill -9")),
    Scenario("redis flushed", AOF, fault("redis: FLUSHALL")),
    Scenario("redis, avis killed", AOF, fault("avis: kill -9")),
    Scenario("network to redis cut", FAR, fault("redis: network cut")),
    Scenario("network to redis swallows", FAR, fault("redis: network swallows")),
    Scenario("network to redis slow", FAR, fault("redis: network slow")),
    Scenario("answers to tills lost", Stage(far=True), fault("tills: answers lost")),
    Scenario("network to tills cut", Stage(far=True), fault("tills: network cut")),
    Scenario("network to tills swallows", Stage(far=True), fault("tills: network swallows")),
    Scenario("cluster, fail-over", CLUSTER, fault("redis: fail-over")),
    Scenario("cluster, primary killed", CLUSTER, fault("redis: primary kill -9")),
    Scenario("cluster, primary stood still", CLUSTER, fault("redis: primary SIGSTOP")),
    Scenario("redis stopped for 30 s", AOF, REDIS_FOR_LONG, long=True),
    Scenario("cluster stopped for 30 s", CLUSTER, REDIS_FOR_LONG, long=True),
    Scenario("disk full for 70 s", ON_DISK, FULL_FOR_LONG, long=True),
    Scenario("redis, avis stood still", Stage("single", hold_minutes=1), LONG_STANDSTILL, True),
]


def row(cells):
    name, *numbers = cells
    return f"{name:<29}" + "".join(f"{number:>13}" for number in numbers)


HEAD = ("scenario", "times", "sent", "acknowledged", "found", "503", "retried", "outage, ms",
        "slowest, ms", "violations")


async def once(scenario, options, template, tokens, number):
    """Runs a scenario once; gives what the terminals saw."""
    seed = f"{options.seed}/{scenario.name}/{number}"
    run = Run(scenario.name, scenario.stage, options, template, tokens, seed)
    started, journal = time.monotonic(), run.journal
    await run.whole(lambda run: run.meet(scenario.name, scenario.breaks))
    refused = ", ".join(f"{count} {why}" for why, count in sorted(journal.refused.items()))
    say(f"{scenario.name} {number + 1}: {len(journal.requests)} sent, "
        f"{len(journal.acknowledged())} acknowledged, {journal.found} found, {run.records} "
        f"records, {journal.cut} cut by a limit, refused: {refused or 'none'}; "
        f"{journal.outage * 1000:.0f} ms without a decision, "
        f"{journal.violations.total()} violations, {time.monotonic() - started:.0f} s")
    return journal


async def all_scenarios(options, template, tokens):
    """Those that are wanted; gives how many violations there were."""
    wanted = [one for one in SCENARIOS if options.only.lower() in one.name.lower()]
    if not wanted:
        raise SystemExit(f"no scenario has {options.only} in its name")
    rows = []
    try:
        for scenario in wanted:
            if scenario.long and options.times < FULL_SCALE and not options.only:
                say(f"SKIPPED: {scenario.name}: over half a minute each time; only at full scale "
                    f"({FULL_SCALE} times) or with --only")
                continue
            if scenario.stage.disk and not may_mount():
                say(f"SKIPPED: {scenario.name}: only root may mount the disk")
                continue
            journals = [await once(scenario, options, template, tokens, number)
                        for number in range(options.times)]
            sums = [sum(count(one) for one in journals) for count in (
                lambda one: len(one.requests), lambda one: len(one.acknowledged()),
                lambda one: one.found, lambda one: one.away, lambda one: one.retried)]
            worst = [round(1000 * max(count(one) for one in journals))
                     for count in (lambda one: one.outage, lambda one: one.slowest)]
            violations = sum(one.violations.total() for one in journals)
            rows.append((scenario.name, options.times, *sums, *worst, violations))
    finally:
        print(row(HEAD))
        for cells in rows:
            print(row(cells))
    return sum(cells[-1] for cells in rows)
