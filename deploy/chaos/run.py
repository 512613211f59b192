"""One run: a node under load on a folder of its own, something that breaks, and the proof after."""

import asyncio
import os
import random
import shutil
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from apart import Installation
from books import read_stream
from disk import Disk
from journal import Journal
from network import Proxy
from processes import kill_all, say, until
from servers import Cluster, Node, Single
from terminals import Terminal

# Of more than so many acknowledged requests, so many are asked again.
MOST_AGAIN = 40_000
REDIS = {
    "none": lambda folder, far: None,
    "single": Single,
    "volatile": partial(Single, appends=False),
    "cluster": Cluster,
}


@dataclass(frozen=True)
class Stage:
    """What a run is made of: which Redis, a disk of its own, a network that can be cut, the roles
    in one process or apart."""

    redis: str = "none"
    disk: bool = False
    far: bool = False
    hold_minutes: int = 15
    apart: bool = False

    @property
    def has(self):
        """What faults may need."""
        there = {"disk": self.disk, "far": self.far, "redis": self.redis != "none",
                 "single": self.redis == "single", "cluster": self.redis == "cluster",
                 "alone": not self.apart, "apart": self.apart}
        return {name for name, is_there in there.items() if is_there}


class Run:
    """On a folder of its own."""

    def __init__(self, name, stage, options, template, tokens, seed, pause=0.0):
        self.name, self.seconds, self.dice = name, options.seconds, random.Random(seed)
        self.folder = folder = Path(tempfile.mkdtemp(prefix="avis-chaos-"))
        self.journal, self.redis = Journal(), REDIS[stage.redis](folder, far=stage.far)
        self.disk = Disk(folder) if stage.disk else None
        self.template, self.doing = template / "data", name
        self.records, self.is_proved = 0, False
        server = Installation if stage.apart else Node
        self.node = server(options.avis, folder, self.redis, stage.hold_minutes)
        self.door = Proxy(self.node.http) if stage.far else None
        port = self.door.port if self.door else self.node.http
        self.terminals = [
            Terminal(name, token, port, self.journal, seed, stage.hold_minutes == 1, pause)
            for name, token in tokens.items()]
        for one, other in zip(self.terminals, self.terminals[1:] + self.terminals[:1]):
            one.neighbour = other if other is not one else None

    async def whole(self, breaks):
        """All of it; the folder is kept where something was violated."""
        try:
            await self.begin()
            try:
                await self.under_load(breaks)
            except RuntimeError as error:
                self.journal.violation("other", str(error))
            await self.prove()
        except RuntimeError as error:
            self.journal.violation("other", str(error))
        finally:
            kill_all()
            for way in self.ways():
                await way.stop()
            if self.journal.violations:
                say(f"  kept: {self.folder}")
            else:
                if self.disk:
                    await self.disk.remove()
                shutil.rmtree(self.folder, ignore_errors=True)

    def ways(self):
        nodes = self.redis.nodes if self.redis else []
        return [way for way in (self.door, *(node.way for node in nodes)) if way]

    async def begin(self):
        if self.disk is None:
            shutil.copytree(self.template, self.node.data)
        else:
            await self.disk.make(self.template)
        if self.redis is not None:
            await self.redis.start()
        if self.door is not None:
            await self.door.start()
        await self.node.start()

    async def prove(self):
        self.journal.told = 0
        if not self.node.has_ended:
            await self.again("while it runs")
            await self.node.stop()
        await self.node.start()
        await self.again("after a start afresh")
        await self.node.stop()
        self.records = await read_stream(self.node, self.journal)
        status, told = await self.node.tell("settle", "check")
        if status != 0:
            self.journal.violation("books", told)
        self.is_proved = True

    async def under_load(self, breaks):
        stop = asyncio.Event()
        working = [asyncio.create_task(one.work(stop)) for one in self.terminals]
        try:
            await breaks(self)
            stop.set()
            await asyncio.gather(*working)
        except BaseException:
            self.journal.given_up = self.journal.cut_short = True
            raise
        finally:
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)
            self.journal.given_up = False

    async def meet(self, name, does):
        """A fault at a random instant, and load again once it works again."""
        self.doing = name
        await asyncio.sleep(self.seconds * self.dice.uniform(0.3, 1))
        self.journal.begin()
        await does(self)
        await self.recovered(time.monotonic())
        await asyncio.sleep(self.seconds)
        self.journal.end(name)

    def bites(self, does):
        """Whether a fault was felt; else it proves nothing."""
        if not does:
            self.journal.violation("other", f"{self.doing}: nobody felt it")

    async def recovered(self, since):
        """A decision that was asked for after the repair was acknowledged."""

        async def works():
            if self.node.has_ended:
                self.journal.violation(
                    "other", f"{self.doing}: the node ended by itself with "
                             f"{self.node.process.returncode}: {self.node.last_words()}")
                await self.node.start()
            return self.journal.last_sent > since

        try:
            await until("it decides again", works)
        except RuntimeError as error:
            self.journal.violation("late", f"{self.doing}: {error}")

    async def again(self, when):
        """Every acknowledged request again, each by its terminal."""
        asked = self.journal.acknowledged()
        if len(asked) > MOST_AGAIN:
            asked = self.dice.sample(asked, MOST_AGAIN)
        by_terminal = defaultdict(list)
        for request in asked:
            by_terminal[request.terminal].append(request)
        journal = self.journal
        kept = journal.away, journal.retried, journal.refused.copy()
        await asyncio.gather(*(
            one.ask_again(by_terminal[one.name], when) for one in self.terminals))
        for one in self.terminals:
            one.connection.close()
        journal.away, journal.retried, journal.refused = kept


def may_mount():
    return os.geteuid() == 0
