"""The servers: Redis, alone or as a cluster, and the node."""

import asyncio
import contextlib
import json
import signal

from network import Proxy
from processes import HOST, RUNNING, command, free_port, kill, launch, must, until
from terminals import Connection


class Redis:
    """One redis-server, on a folder that outlives it."""

    def __init__(self, folder, *more, far=False):
        self.folder, self.more, self.port, self.process = folder, more, free_port(), None
        # How others reach it.
        self.way = Proxy(self.port) if far else None
        folder.mkdir()

    @property
    def known_port(self):
        return self.way.port if self.way else self.port

    @property
    def url(self):
        return f"redis://{HOST}:{self.known_port}"

    async def start(self):
        if self.way and self.way.server is None:
            await self.way.start()
        words = ["redis-server", "--bind", HOST, "--port", self.port, "--dir", self.folder]
        words += ["--save", "", "--maxmemory-policy", "noeviction", *self.more]
        self.process = launch(words, self.folder / "log")
        await until("redis-server answers", self.answers)

    async def ask(self, *words):
        return (await command("redis-cli", "-p", self.port, *words))[1]

    async def answers(self):
        return "PONG" in await self.ask("PING")

    async def is_primary(self):
        return (await self.ask("ROLE")).startswith("master")

    def kill(self):
        kill(self.process)

    def stand(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)


class Single:
    """One Redis."""

    kind, replicas = "redis", 0

    def __init__(self, folder, appends=True, far=False):
        self.volatile = not appends
        append = "yes" if appends else "no"
        self.node = Redis(folder / "redis", "--appendonly", append, far=far)
        self.nodes = [self.node]

    async def start(self):
        await self.node.start()

    async def settled(self):
        await until("redis-server answers", self.node.answers)

    async def primary(self, dice):
        return self.node


class Cluster:
    """Three primaries, each with a replica."""

    kind, replicas, volatile = "redis-cluster", 1, False
    SETTINGS = [
        "--appendonly", "yes", "--cluster-enabled", "yes", "--cluster-node-timeout", "2000",
        "--cluster-replica-validity-factor", "0", "--min-replicas-to-write", "1",
        "--min-replicas-max-lag", "10", "--repl-diskless-sync-delay", "0",
    ]

    def __init__(self, folder, far=False):
        self.nodes = [Redis(folder / f"redis-{number}", *self.SETTINGS, far=far)
                      for number in range(6)]
        for node in self.nodes:
            if far:
                # Replicas follow over the same way as the node asks.
                node.more = (*node.more, "--cluster-announce-port", node.way.port,
                             "--cluster-announce-bus-port", node.port + 10_000)

    async def start(self):
        for node in self.nodes:
            await node.start()
        addresses = [f"{HOST}:{node.port}" for node in self.nodes]
        await must("redis-cli", "--cluster", "create", *addresses,
                   "--cluster-replicas", "1", "--cluster-yes")
        await self.settled()

    async def settled(self):
        """All slots are served, and every replica follows."""
        for node in self.nodes:
            await until("the cluster settles", lambda node=node: self.stands(node))

    @staticmethod
    async def stands(node):
        told = await node.ask("INFO", "replication")
        follows = "master_link_status:up" if "role:slave" in told else "state=online"
        seen = await node.ask("CLUSTER", "NODES")
        knows_all = seen.count("slave") == 3 and "fail" not in seen
        return follows in told and knows_all and "cluster_state:ok" in await node.ask(
            "CLUSTER", "INFO")

    async def any(self, dice, primary):
        fitting = [node for node in self.nodes if await node.is_primary() == primary]
        return dice.choice(fitting)

    async def primary(self, dice):
        return await self.any(dice, primary=True)


class Served:
    """A process of ours over a folder of its own, which says when it is ready."""

    def __init__(self, avis, data, log, *more, environment=None):
        self.avis, self.data, self.log, self.more = avis, data, log, more
        self.http, self.process, self.environment = free_port(), None, environment

    @property
    def has_ended(self):
        return self.process.poll() is not None

    def last_words(self):
        """What it said at the end, that was not a warning."""
        lines = self.log.read_text(errors="replace").splitlines()
        said = [line for line in lines if line.startswith("avis:") or "because" in line]
        return " ".join(said[-4:]) or (lines[-1] if lines else "nothing")

    async def start(self):
        words = [self.avis, "up", "--data", self.data, *self.more]
        self.process = launch(words, self.log, self.environment)
        await until("the server is ready", self.is_ready)

    async def is_ready(self):
        if self.has_ended:
            raise RuntimeError(f"the server ended by itself; see {self.log}")
        connection = Connection(self.http)
        with contextlib.suppress(OSError, EOFError, asyncio.TimeoutError):
            request = f"GET /readyz HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
            return (await connection.ask(request.encode(), 1.0)).status == 200
        connection.close()
        return False

    def kill(self):
        kill(self.process)

    async def stop(self):
        """Stops it in order, as an operator does."""
        self.process.terminate()

        async def is_gone():
            return self.has_ended

        await until("the server stops", is_gone)
        RUNNING.discard(self.process)
        if self.process.returncode != 0:
            raise RuntimeError(f"the server stopped with {self.process.returncode}")


class Node(Served):
    """The server over a folder of its own."""

    def __init__(self, avis, folder, redis, hold_minutes):
        config = folder / "avis.toml"
        hold = {"AVIS__AUTHORISER__HOLD_MINUTES": str(hold_minutes)}
        super().__init__(avis, folder / "data", folder / "avis.log", "--config", config,
                         environment=hold)
        config.write_text(self.settings(redis))

    def settings(self, redis):
        doors = {name: free_port() for name in ("grpc", "postgres", "flight")} | {"http": self.http}
        text = "".join(f'[{name}]\naddress = "{HOST}:{port}"\n' for name, port in doors.items())
        text += "[terminals]\nrequests_per_second = 1000000\nrequests_at_once = 1000000\n"
        if redis is None:
            return text
        text += f'[authoriser]\ncache = "{redis.kind}"\n'
        urls = json.dumps([node.url for node in redis.nodes])
        volatile = str(redis.volatile).lower()
        return text + (f"[redis]\nurls = {urls}\nreplicas = {redis.replicas}\n"
                       f"allow_volatile = {volatile}\n")

    async def tell(self, *words):
        return await command(self.avis, *words, "--data", self.data)
