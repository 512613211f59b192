"""What breaks, and how it is mended again."""

import asyncio
import signal
import time
from dataclasses import dataclass
from functools import partial

from apart import ROLES
from disk import RESERVE_BYTES
from processes import must, until
from terminals import STANDSTILL

# Within so many seconds a node that is there answers, whatever else is away.
PROMPT = 5.0
# How soon a refusal comes where nothing has to be waited for.
AT_ONCE = 2.0
# A process that is told to stand still stands after so long, whatever its threads do.
STOPS_WITHIN = 0.1
SLOW_SYNC = 1.0


@dataclass(frozen=True)
class Fault:
    """`needs` names what has to be there: a disk of its own, any Redis, a single one, a cluster, a
    network that can be cut (`far`), all roles in one process (`alone`) or each in its own
    (`apart`)."""

    name: str
    does: object
    needs: tuple = ()


async def kill_avis(run):
    run.node.kill()
    await asyncio.sleep(run.dice.uniform(0, 0.3))
    await run.node.start()


async def stand_still(run, least, most):
    run.node.process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(run.dice.uniform(least, most))
    run.node.process.send_signal(signal.SIGCONT)


async def kill_role(run, role):
    """The others stay, and do without it for a while."""
    served = run.node.roles[role]
    served.kill()
    await asyncio.sleep(run.dice.uniform(0, 3))
    await served.start()


async def stop_role(run, role):
    """One that stands still holds its connections, and answers none of them."""
    process = run.node.roles[role].process
    process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(run.dice.uniform(0.5, 8))
    process.send_signal(signal.SIGCONT)


async def cut_power(run):
    """What the disk holds at this instant is all that is left, as if the power had gone."""
    # A copy takes a while, and a power cut none: nobody writes meanwhile.
    run.node.process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(0.03)
    await run.disk.copy()
    run.node.kill()
    await run.disk.replace()
    await run.node.start()


# ---- the disk -----------------------------------------------------------------------------------


async def fill_disk(run, leave, least, most):
    """Nothing can be recorded until there is room again; that is said, and at once."""
    before = run.journal.refused["no_room"]
    run.journal.deadline = AT_ONCE
    await run.disk.fill(leave)
    try:
        await asyncio.sleep(AT_ONCE)
        if run.journal.refused["no_room"] == before:
            run.journal.violation("late", f"{run.doing}: nobody was told no_room")
        await asyncio.sleep(run.dice.uniform(least, most))
    finally:
        await run.disk.make_room()


async def slow_sync(run, seconds, least, most):
    """Every sync takes so long, several times in a row."""
    run.journal.deadline = PROMPT
    for _ in range(run.dice.randint(least, most)):
        await run.disk.freeze(seconds)
        # What waited ends, and something else begins.
        await asyncio.sleep(run.dice.uniform(0.01, 0.1))
    run.bites(run.journal.slowest > seconds / 2)


# ---- Redis --------------------------------------------------------------------------------------


def all_away(run):
    run.journal.deadline = PROMPT
    run.journal.down_since = time.monotonic()


def back(run):
    """It was felt where nothing was decided for a while, whether or not that was said."""
    run.bites(time.monotonic() - run.journal.last_decision > 1)
    run.journal.down_since = None


async def kill_redis(run):
    run.redis.node.kill()
    all_away(run)
    await asyncio.sleep(run.dice.uniform(0.1, 2))
    run.journal.down_since = None
    await run.redis.node.start()


async def flush(run):
    await (await run.redis.primary(run.dice)).ask("FLUSHALL")


async def stop_redis(run, least, most):
    """All of Redis stands still: connections stay, and nobody answers on them."""
    for node in run.redis.nodes:
        node.stand()
    await asyncio.sleep(STOPS_WITHIN)
    all_away(run)
    await asyncio.sleep(run.dice.uniform(least, most))
    back(run)
    for node in run.redis.nodes:
        node.go_on()
    await run.redis.settled()


async def stop_primary(run):
    """A primary stands still, long enough for its replica to take over or not, and wakes up."""
    run.journal.deadline = PROMPT
    primary = await run.redis.primary(run.dice)
    primary.stand()
    await asyncio.sleep(run.dice.uniform(0.5, 6))
    primary.go_on()
    await run.redis.settled()


async def fail_over(run):
    run.journal.deadline = PROMPT
    replica = await run.redis.any(run.dice, primary=False)
    await must("redis-cli", "-p", replica.port, "CLUSTER", "FAILOVER")
    await until("the replica takes over", replica.is_primary)
    await run.redis.settled()


async def kill_primary(run):
    run.journal.deadline = PROMPT
    primary = await run.redis.primary(run.dice)
    primary.kill()
    await asyncio.sleep(run.dice.uniform(1, 4))
    await primary.start()
    await run.redis.settled()


# ---- the network --------------------------------------------------------------------------------


def ways_to_redis(run):
    """Those to all of it, or, of a cluster, that to one primary or replica."""
    ways = [node.way for node in run.redis.nodes]
    return ways if run.dice.random() < 0.5 else [run.dice.choice(ways)]


async def cut_redis(run, how):
    """Connections are reset and refused, or nothing arrives until it all arrives late."""
    ways = ways_to_redis(run)
    for way in ways:
        how(way)
    if len(ways) == len(run.redis.nodes):
        all_away(run)
        await asyncio.sleep(run.dice.uniform(2, 5))
        back(run)
    else:
        run.journal.deadline = PROMPT
        await asyncio.sleep(run.dice.uniform(1, 5))
    for way in ways:
        way.mend()
    await run.redis.settled()


async def slow_redis(run):
    """Up to what a request to Redis may take, and over it."""
    run.journal.deadline = PROMPT
    ways, delay = ways_to_redis(run), run.dice.uniform(0.02, 0.4)
    for way in ways:
        way.delay = delay
    await asyncio.sleep(run.dice.uniform(2, 5))
    for way in ways:
        way.mend()
    await run.redis.settled()


def reset(way):
    way.cut()


def swallow(way):
    way.is_open.clear()


async def lose_answers(run):
    """Requests go through, and their answers do not."""
    way, before = run.door, run.door.lost
    way.dice, way.loses = run.dice, run.dice.uniform(0.2, 0.9)
    await asyncio.sleep(run.dice.uniform(1, 3))
    way.mend()
    run.bites(way.lost > before)


async def cut_terminals(run, how):
    how(run.door)
    await asyncio.sleep(run.dice.uniform(0.2, 4))
    run.door.mend()


FAULTS = [
    Fault("avis: kill -9", kill_avis, ("alone",)),
    Fault("avis: SIGSTOP", partial(stand_still, least=0.5, most=8), ("alone",)),
    *(Fault(f"{role}: kill -9", partial(kill_role, role=role), ("apart",)) for role in ROLES),
    *(Fault(f"{role}: SIGSTOP", partial(stop_role, role=role), ("apart",)) for role in ROLES),
    Fault("power cut", cut_power, ("disk",)),
    Fault("disk full to its reserve", partial(fill_disk, leave=RESERVE_BYTES // 2, least=1, most=5),
          ("disk",)),
    Fault("disk full to the last byte", partial(fill_disk, leave=0, least=1, most=5), ("disk",)),
    Fault("syncs of a second", partial(slow_sync, seconds=SLOW_SYNC, least=3, most=8), ("disk",)),
    Fault("redis: SIGSTOP of all", partial(stop_redis, least=2, most=10), ("redis",)),
    Fault("redis: kill -9", kill_redis, ("single",)),
    Fault("redis: FLUSHALL", flush, ("redis",)),
    Fault("redis: fail-over", fail_over, ("cluster",)),
    Fault("redis: primary kill -9", kill_primary, ("cluster",)),
    Fault("redis: primary SIGSTOP", stop_primary, ("cluster",)),
    Fault("redis: network cut", partial(cut_redis, how=reset), ("redis", "far")),
    Fault("redis: network swallows", partial(cut_redis, how=swallow), ("redis", "far")),
    Fault("redis: network slow", slow_redis, ("redis", "far")),
    Fault("tills: answers lost", lose_answers, ("far",)),
    Fault("tills: network cut", partial(cut_terminals, how=reset), ("far",)),
    Fault("tills: network swallows", partial(cut_terminals, how=swallow), ("far",)),
]


def fault(name, **otherwise):
    """One of them, perhaps with something else for its times."""
    found = next(one for one in FAULTS if one.name == name)
    return partial(found.does, **otherwise)


LONG_STANDSTILL = fault("avis: SIGSTOP", least=STANDSTILL, most=STANDSTILL)
REDIS_FOR_LONG = fault("redis: SIGSTOP of all", least=30, most=30)
# Longer than what is decided already waits for room.
FULL_FOR_LONG = fault("disk full to its reserve", least=70, most=70)
