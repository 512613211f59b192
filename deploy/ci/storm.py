#!/usr/bin/env python3
"""Runs the real server under load, breaks it or its Redis, and counts what was violated.

    python3 deploy/ci/storm.py                          every scenario 20 times (hours)
    python3 deploy/ci/storm.py --times 1 --seconds 1    a few minutes
    python3 deploy/ci/storm.py --only flushed --times 3

Each connection is a terminal of its own; together they reserve, capture, void, sell, refund and
reverse on a few cards, so that they meet at the limits of recipients, households and budgets. In
the middle something breaks. What did not get its answer is asked again under its key until it does.
Every time, with what the clients themselves noted of what was acknowledged, this proves that

  - what was acknowledged is on the stream as it was told, and what was refused is not;
  - no key was decided twice, and no reservation ended twice;
  - no limit was exceeded: of recipients and households at any record, of budgets at any instant;
  - every acknowledged request asked again, of the server as it is and of one that was started
    afresh, gives the same answer, byte for byte;
  - while Redis is away nothing new with a limit is approved, every 503 has its Retry-After, and the
    server recovers by itself;
  - `avis settle check` passes.

Needs redis-server and redis-cli 7 or newer, for power cuts mkfs.ext4 and the right to mount, and nothing
but the standard library. Everything
listens on loopback. The table goes to standard output, all else to standard error; the exit status
is 1 where anything was violated, and the folder of that time is then kept.
"""

import argparse
import asyncio
import contextlib
import datetime
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
MERCHANT = "shop"
# How long anything may take to come up, answer again or stop, on a machine that is busy.
PATIENCE = 60.0
# How long one answer may take before it is asked for again.
ANSWER_TIMEOUT = 10.0
RETRY_PAUSE = 0.05
# Longer than a hold of one minute.
STANDSTILL = 65.0
# How long one request may go without its answer in all.
GIVE_UP = STANDSTILL + 30.0
FULL_SCALE = 20
UNIT_PRICES = {"milk": 150, "bread": 120, "fruit": 80, "juice": 200}
# Instruction, per, measure, most. What the terminals want at once is more than each of them.
LIMITS = [
    ("milk", "recipient", "units", 6),
    ("bread", "household", "amount_cents", 400),
    ("bread", "household", "uses", 5),
    ("fruit", "instruction", "amount_cents", 2000),
    ("juice", "instruction", "units", 150),
]
EFFECTS = {
    "milk": {"amount_off_cents": 100, "per": "unit"},
    "bread": {"percent_off_bp": 5000},
    "fruit": {"amount_off_cents": 25, "per": "unit"},
    "juice": {"amount_off_cents": 10, "per": "unit"},
}
FAMILIES = 8
CARDS = [f"04A{number:03X}" for number in range(24)]
# Two members of each family have the first cards; the others are cards of nobody known.
CODES = [f"32{number:04d}-{number:05d}" for number in range(2 * FAMILIES)]
ENDED = {"voided", "expired", "refunded"}
MOVES = {
    "capture": ({"reserved"}, {"captured"}),
    "void": ({"reserved"}, {"voided"}),
    "expire": ({"reserved"}, {"expired"}),
    "refund": ({"captured", "partially_refunded"}, {"partially_refunded", "refunded"}),
}


def say(text):
    print(text, file=sys.stderr, flush=True)


# ---- processes ----------------------------------------------------------------------------------

RUNNING = set()


def launch(words, log, environment=None):
    """Starts a process that is killed when this one ends, however it ends."""
    with open(log, "ab") as out:
        process = subprocess.Popen(
            [str(word) for word in words], stdout=out, stderr=out, stdin=subprocess.DEVNULL,
            start_new_session=True, env={**os.environ, **(environment or {})})
    RUNNING.add(process)
    return process


def kill(process):
    process.kill()
    process.wait()
    RUNNING.discard(process)


def kill_all():
    for process in list(RUNNING):
        kill(process)


async def command(*words):
    """Runs to its end; gives exit status and what was printed."""
    process = await asyncio.create_subprocess_exec(
        *map(str, words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        out, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        raise
    return process.returncode, out.decode()


async def must(*words):
    status, out = await command(*words)
    if status != 0:
        raise RuntimeError(f"{' '.join(map(str, words))}: {out.strip()}")
    return out


async def until(what, holds):
    """Waits until `holds` does."""
    deadline = time.monotonic() + PATIENCE
    while not await holds():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited in vain: {what}")
        await asyncio.sleep(0.05)


def free_port():
    """A free port, and so is the one 10 000 above, for a cluster's bus. Neither is one that the
    system gives to outgoing connections, which could take it while its server is down."""
    while True:
        port = random.SystemRandom().randint(11_000, 20_000)
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind((HOST, port))
            other.bind((HOST, port + 10_000))
            return port


# ---- Redis --------------------------------------------------------------------------------------


class Redis:
    """One redis-server, on a folder that outlives it."""

    def __init__(self, folder, *more):
        self.folder, self.more, self.port, self.process = folder, more, free_port(), None
        folder.mkdir()

    @property
    def url(self):
        return f"redis://{HOST}:{self.port}"

    async def start(self):
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


class Single:
    """One Redis."""

    kind, replicas = "redis", 0

    def __init__(self, folder, appends):
        self.volatile = not appends
        self.node = Redis(folder / "redis", "--appendonly", "yes" if appends else "no")
        self.nodes = [self.node]

    async def start(self):
        await self.node.start()


class Cluster:
    """Three primaries, each with a replica."""

    kind, replicas, volatile = "redis-cluster", 1, False
    SETTINGS = [
        "--appendonly", "yes", "--cluster-enabled", "yes", "--cluster-node-timeout", "2000",
        "--cluster-replica-validity-factor", "0", "--min-replicas-to-write", "1",
        "--min-replicas-max-lag", "10", "--repl-diskless-sync-delay", "0",
    ]

    def __init__(self, folder):
        self.nodes = [Redis(folder / f"redis-{number}", *self.SETTINGS) for number in range(6)]

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


# ---- the server ---------------------------------------------------------------------------------


class Node:
    """The server over a folder of its own."""

    def __init__(self, avis, folder, redis, hold_minutes):
        self.avis, self.folder, self.process = avis, folder, None
        self.http, self.grpc = free_port(), free_port()
        self.environment = {"AVIS__AUTHORISER__HOLD_MINUTES": str(hold_minutes)}
        self.config = folder / "avis.toml"
        self.config.write_text(self.settings(redis))

    @property
    def data(self):
        return self.folder / "data"

    def settings(self, redis):
        text = f'[http]\naddress = "{HOST}:{self.http}"\n[grpc]\naddress = "{HOST}:{self.grpc}"\n'
        text += "[terminals]\nrequests_per_second = 1000000\nrequests_at_once = 1000000\n"
        if redis is None:
            return text
        text += f'[authoriser]\ncache = "{redis.kind}"\n'
        urls = json.dumps([node.url for node in redis.nodes])
        volatile = str(redis.volatile).lower()
        return text + (f"[redis]\nurls = {urls}\nreplicas = {redis.replicas}\n"
                       f"allow_volatile = {volatile}\n")

    async def start(self):
        words = [self.avis, "up", "--data", self.data, "--config", self.config]
        self.process = launch(words, self.folder / "avis.log", self.environment)
        await until("the server is ready", self.is_ready)

    async def is_ready(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"the server ended by itself; see {self.folder}/avis.log")
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
            return self.process.poll() is not None

        await until("the server stops", is_gone)
        RUNNING.discard(self.process)
        if self.process.returncode != 0:
            raise RuntimeError(f"the server stopped with {self.process.returncode}")

    async def tell(self, *words):
        return await command(self.avis, *words, "--data", self.data)


def registry(terminals):
    """One merchant with all terminals, and one instruction for each product."""
    both = lambda text: {"lv": text, "en": text}
    iban = {"state": "LV57TREL0000002180451", MERCHANT: "LV65HABA0000055100001"}
    valid = {"from": "2020-01-01", "to": "2099-12-31"}

    def instruction(priority, name):
        of_it = [limit for limit in LIMITS if limit[0] == name]
        limits = [{"per": per, "period": "validity", "measure": measure, "max": most}
                  for _, per, measure, most in of_it]
        return {"id": name, "benefit": "food", "label": both(name), "version": 1, "valid": valid,
                "priority": priority, "recipients": {"everyone": True},
                "content": {"any": [{"category": f"food.{name}"}]}, "effect": EFFECTS[name],
                "funding": {"grantor_bp": 10000}, "show_remaining": True, "limits": limits}

    return {
        "grantors": [{"id": "state", "name": both("State"), "kind": "state", "iban": iban["state"],
                      "reg_no": "90000000001"}],
        "merchants": [{"id": MERCHANT, "name": both("Shop"), "reg_no": "40003000001",
                       "iban": iban[MERCHANT], "vat_no": "LV40003000001"}],
        "places": [{"id": "P1", "merchant": MERCHANT, "territory": "LV0001000",
                    "name": both("Shop")}],
        "terminals": [{"id": name, "place": "P1", "kind": "till"} for name in terminals],
        "contracts": [{"id": "C1", "grantor": "state", "merchant": MERCHANT, "from": "2020-01-01",
                       "to": None, "settlement": "monthly", "vat_bp": 2100,
                       "offline_excess": "grantor"}],
        "issuers": [{"id": "city", "name": both("Card"), "means": ["card_uid"]}],
        "benefits": [{"id": "food", "grantor": "state", "name": both("Food"), "legal_basis": "law",
                      "kind": "discount"}],
        "instructions": [instruction(10 * (at + 1), name) for at, name in enumerate(EFFECTS)],
    }


def person(number, code):
    attributes = {"birth_date": "1980-01-01", "territory": "LV0001000", "status": "alive",
                  "family_id": f"F-{number % FAMILIES}"}
    return {"specversion": "1.0", "id": f"p-{number}", "source": "/storm", "subject": code,
            "type": "lv.dagr.person.changed", "time": "2024-12-01T00:00:00+02:00",
            "data": {"person": code, "sequence": 1, "attributes": attributes}}


def means(number, card):
    holder = CODES[number] if number < len(CODES) else None
    return {"person": holder, "issuer": "city", "kind": "card_uid", "value": card,
            "valid_from": "2020-01-01", "valid_to": None}


async def prepare(avis, folder, connections):
    """Makes the folder that every time begins with; gives each terminal's token."""
    names = [f"T-{number:03d}" for number in range(connections)]
    files = {
        "registry.json": json.dumps(registry(names)),
        "persons.ndjson": "\n".join(json.dumps(person(*one)) for one in enumerate(CODES)),
        "means.ndjson": "\n".join(json.dumps(means(*one)) for one in enumerate(CARDS)),
    }
    for name, text in files.items():
        (folder / name).write_text(text + "\n")
    data = folder / "data"
    await must(avis, "registry", "apply", folder / "registry.json", "--data", data)
    for what, count in (("persons", len(CODES)), ("means", len(CARDS))):
        told = await must(avis, "load", what, folder / f"{what}.ndjson", "--data", data)
        if f"{count} taken" not in told:
            raise RuntimeError(told)
    issue = ("token", "issue", "--role", "terminal", "--organisation", MERCHANT)
    return {name: (await must(avis, *issue, "--subject", name, "--data", data)).strip()
            for name in names}


# ---- terminals ----------------------------------------------------------------------------------


@dataclass
class Answer:
    status: int
    headers: dict
    body: bytes


class Connection:
    """HTTP/1.1 over one connection, opened again where it was lost."""

    def __init__(self, port):
        self.port, self.reader, self.writer = port, None, None

    async def ask(self, request, timeout=ANSWER_TIMEOUT):
        try:
            return await asyncio.wait_for(self.exchange(request), timeout)
        except BaseException:
            self.close()
            raise

    async def exchange(self, request):
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection(HOST, self.port)
        self.writer.write(request)
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.split(":", 1) for line in head[1:] if line)
        headers = {name.lower(): value.strip() for name, value in pairs}
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(int(head[0].split()[1]), headers, body)

    def close(self):
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


@dataclass
class Request:
    """What a terminal asked, and the answer that it got in the end."""

    terminal: str
    key: str
    path: str
    body: bytes
    sent: float = 0.0
    answer: Answer = None

    @property
    def decides(self):
        return self.path == "/v1/authorisations"

    @property
    def reverses(self):
        return self.path == "/v1/reversals"

    def __str__(self):
        told = self.answer and (self.answer.status, self.answer.body.decode())
        return f"{self.terminal} {self.key} {self.path} {self.body.decode()} -> {told}"


@dataclass
class Journal:
    """What the terminals saw, in one time of one scenario."""

    requests: list = field(default_factory=list)
    away: int = 0
    retried: int = 0
    cut: int = 0
    outage: float = 0.0
    last_decision: float = 0.0
    last_sent: float = 0.0
    # While all of Redis is down: since when.
    down_since: float = None
    violations: list = field(default_factory=list)
    # A cancellation can be lost to an answer that came at the same moment; this cannot.
    given_up: bool = False

    def violation(self, text):
        self.violations.append(text)
        if len(self.violations) <= 5:
            say(f"  VIOLATION {text[:2000]}")

    def acknowledged(self):
        return [one for one in self.requests if one.answer and one.answer.status == 200]

    def decided(self, request):
        """A new decision was acknowledged: the server works."""
        now = time.monotonic()
        self.outage = max(self.outage, now - self.last_decision)
        self.last_decision, self.last_sent = now, max(self.last_sent, request.sent)
        if self.down_since is not None and request.sent > self.down_since:
            self.violation(f"approved while redis was away: {request}")


@dataclass
class Held:
    """An authorisation as a terminal knows it."""

    id: str
    key: str
    status: str
    left: dict
    # Another terminal of the merchant has it, too, so either may be late.
    shared: bool = False
    own: bool = True


class Terminal:
    """One connection with a token of its own, and what it holds open."""

    def __init__(self, name, token, port, journal, seed, may_expire):
        self.name, self.token, self.journal, self.may_expire = name, token, journal, may_expire
        self.connection, self.dice = Connection(port), random.Random(f"{seed}/{name}")
        self.held, self.count, self.neighbour = [], 0, None

    def wire(self, request):
        head = (f"POST {request.path} HTTP/1.1\r\nHost: {HOST}\r\n"
                f"Authorization: Bearer {self.token}\r\nIdempotency-Key: {request.key}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(request.body)}\r\n\r\n")
        return head.encode() + request.body

    def new_key(self):
        self.count += 1
        return f"k{self.count}"

    async def send(self, path, body, key=None):
        """Asks under one key until there is an answer other than 503."""
        body = json.dumps(body).encode()
        request = Request(self.name, key or self.new_key(), path, body)
        self.journal.requests.append(request)
        request.answer = await self.insist(request)
        if request.answer.status == 200 and request.decides:
            self.journal.decided(request)
        return request.answer

    async def insist(self, request):
        wire, begun, last = self.wire(request), time.monotonic(), None
        while time.monotonic() < begun + GIVE_UP and not self.journal.given_up:
            request.sent = time.monotonic()
            try:
                last = answer = await self.connection.ask(wire)
            except (OSError, EOFError, asyncio.TimeoutError) as error:
                last = repr(error)
                self.journal.retried += 1
                await asyncio.sleep(RETRY_PAUSE)
                continue
            if answer.status != 503:
                return answer
            self.journal.away += 1
            if "retry-after" not in answer.headers:
                self.journal.violation(f"503 without Retry-After: {request} {answer.body}")
            # Sooner than it says, so that the outage is measured as it was.
            await asyncio.sleep(RETRY_PAUSE)
        raise RuntimeError(f"no answer in {GIVE_UP:.0f} s: {request}; at last {last}")

    async def step(self):
        if self.dice.random() < 0.01:
            await self.reverse_nothing()
        elif len(self.held) > self.dice.randint(1, 5):
            await self.follow(self.held.pop(0))
        else:
            await self.authorise()

    async def authorise(self):
        products = self.dice.sample(list(UNIT_PRICES), self.dice.randint(1, 3))
        left = {number + 1: self.dice.randint(1, 3) for number in range(len(products))}
        lines = [{"line": line, "item": product, "category": f"food.{product}",
                  "quantity": left[line], "unit_price_cents": UNIT_PRICES[product]}
                 for line, product in enumerate(products, 1)]
        now = datetime.datetime.now(datetime.timezone.utc).isoformat()
        key, mode = self.new_key(), self.dice.choice(["reserve", "reserve", "sale"])
        card = {"kind": "card_uid", "value": self.dice.choice(CARDS)}
        answer = await self.send("/v1/authorisations", {
            "terminal_id": self.name, "occurred_at": now, "mode": mode, "means": card,
            "lines": lines}, key)
        if answer.status != 200:
            return self.journal.violation(f"not decided: {self.journal_of(key)}")
        told = json.loads(answer.body)
        if told["means_status"] != "valid":
            self.journal.violation(f"a valid card was not taken: {self.journal_of(key)}")
        given = [one for line in told["lines"] for one in line["benefits"]]
        self.journal.cut += any(one.get("wanted_cents") is not None for one in given)
        self.keep(Held(told["authorisation_id"], key, told["status"], left))

    def keep(self, held):
        if self.dice.random() < 0.05 and self.neighbour is not None:
            held.shared = True
            copy = Held(held.id, held.key, held.status, dict(held.left), shared=True, own=False)
            self.neighbour.held.append(copy)
        self.held.append(held)

    def journal_of(self, key):
        mine = (one for one in reversed(self.journal.requests) if one.terminal == self.name)
        return next((one for one in mine if one.key == key), key)

    async def follow(self, held):
        """What comes next for an authorisation; in the end all of it comes back."""
        path, dice = f"/v1/authorisations/{held.id}", self.dice.random()
        if dice < 0.15 and held.own:
            answer = await self.send("/v1/reversals", {"terminal_id": self.name,
                                                       "idempotency_key": held.key})
        elif held.status == "reserved" and dice < 0.6:
            receipt = {"number": f"R{self.count}"}
            answer = await self.send(f"{path}/capture", {"receipt": receipt})
        elif held.status == "reserved":
            answer = await self.send(f"{path}/void", {})
        else:
            answer = await self.send(f"{path}/refunds", {"lines": self.returned(held)})
        self.followed(held, answer)

    def returned(self, held):
        if self.dice.random() < 0.4:
            line = self.dice.choice([line for line, left in held.left.items() if left > 0])
            held.left[line] -= 1
            return [{"line": line, "quantity": 1}]
        lines = [{"line": line, "quantity": left} for line, left in held.left.items() if left > 0]
        held.left = {}
        return lines

    def followed(self, held, answer):
        if answer.status != 200:
            late = held.shared or (self.may_expire and answer.status == 409)
            if not (late and answer.status in (409, 422)):
                self.journal.violation(f"refused: {self.journal_of(f'k{self.count}')}")
            return
        told = json.loads(answer.body)
        held.status = told.get("authorisation", told)["status"]
        if held.status not in ENDED and any(held.left.values()):
            self.held.append(held)

    async def reverse_nothing(self):
        """Blocks a key that was never used, then tries to use it."""
        key = self.new_key()
        body = {"terminal_id": self.name, "idempotency_key": key}
        answer = await self.send("/v1/reversals", body)
        if json.loads(answer.body).get("outcome") != "blocked":
            self.journal.violation(f"not blocked: {key} of {self.name}")
        now = datetime.datetime.now(datetime.timezone.utc).isoformat()
        lines = [{"line": 1, "item": "milk", "category": "food.milk", "quantity": 1,
                  "unit_price_cents": 150}]
        answer = await self.send("/v1/authorisations", {
            "terminal_id": self.name, "occurred_at": now, "mode": "sale", "lines": lines}, key)
        if answer.status != 409:
            self.journal.violation(f"a blocked key was used: {self.journal_of(key)}")

    async def work(self, stop):
        while not stop.is_set():
            await self.step()

    async def ask_again(self, requests, when):
        for request in requests:
            answer = await self.insist(request)
            if (answer.status, answer.body) != (200, request.answer.body):
                self.journal.violation(f"another answer {when}: {request}, then "
                                       f"{answer.status} {answer.body.decode()}")


# ---- the stream ---------------------------------------------------------------------------------


@dataclass
class Standing:
    """An authorisation as its records leave it."""

    status: str
    holders: dict
    given: dict = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    steps: int = 0


class Books:
    """The stream added up: every record in the order of its partition."""

    def __init__(self, journal):
        self.journal, self.standing, self.by_key = journal, {}, {}
        self.used, self.budgets = defaultdict(int), []

    def read(self, record):
        kind = record["type"]
        if kind not in ("authorisation_decided", "authorisation_changed", "key_blocked"):
            return
        key = (record["terminal_id"], record["idempotency_key"])
        if key[1]:
            if key in self.by_key:
                self.journal.violation(f"decided twice: {key}: {self.by_key[key]} and {record}")
            self.by_key[key] = record
        if kind == "authorisation_decided":
            self.decided(record)
        elif kind == "authorisation_changed":
            self.changed(record)

    def decided(self, record):
        holders = {"recipient": record["recipient"], "household": record["key"], "instruction": ""}
        standing = Standing(record["status"], holders)
        if self.standing.setdefault(record["authorisation_id"], standing) is not standing:
            self.journal.violation(f"an authorisation decided twice: {record}")
        self.move_lines(standing, record)

    def changed(self, record):
        standing = self.standing.get(record["authorisation_id"])
        if standing is None:
            return self.journal.violation(f"changed before it was decided: {record}")
        before, after = MOVES[record["transition"]]
        standing.steps += 1
        if (standing.status not in before or record["status"] not in after
                or record["step"] != standing.steps):
            self.journal.violation(f"{standing.status} at step {standing.steps - 1}, then {record}")
        standing.status = record["status"]
        if record["transition"] in ("void", "expire"):
            for instruction, (cents, units) in list(standing.given.items()):
                self.move(standing, instruction, -cents, -units, record)
        elif record["transition"] == "refund":
            self.move_lines(standing, record)

    def move_lines(self, standing, record):
        sums = defaultdict(lambda: [0, 0])
        for line in record["lines"]:
            for benefit in line["benefits"]:
                sums[benefit["instruction_id"]][0] += benefit["amount_cents"]
                sums[benefit["instruction_id"]][1] += benefit["units"]
        for instruction, (cents, units) in sums.items():
            self.move(standing, instruction, cents, units, record)

    def move(self, standing, instruction, cents, units, record):
        given = standing.given[instruction]
        uses = (given[0] + cents > 0) - (given[0] > 0)
        given[0] += cents
        given[1] += units
        if given[0] < 0:
            self.journal.violation(f"more came back than was given: {record}")
        changes = {"amount_cents": cents, "units": units, "uses": uses}
        for of, per, measure, most in LIMITS:
            if of == instruction:
                counter = (of, per, standing.holders[per], measure)
                self.count(counter, most, changes[measure], record)

    def count(self, counter, most, change, record):
        if counter[1] == "instruction":
            self.budgets.append((record["recorded_at"], change > 0, change, counter, most))
            return
        self.used[counter] += change
        if not 0 <= self.used[counter] <= most:
            self.journal.violation(f"{counter} is {self.used[counter]} of {most}: {record}")

    def close(self):
        """Budgets run across partitions: their order is that in which records were made."""
        for at, _, change, counter, most in sorted(self.budgets, key=lambda one: one[:2]):
            self.used[counter] += change
            if not 0 <= self.used[counter] <= most:
                self.journal.violation(f"{counter} is {self.used[counter]} of {most} at {at}")
        self.compare()

    def compare(self):
        """What terminals were told against what the stream says, both ways."""
        asked = {(one.terminal, one.key): one for one in self.journal.requests}
        blocked = {(record["terminal_id"], record["reversed_key"])
                   for record in self.by_key.values() if record["type"] == "key_blocked"}
        for one in self.journal.requests:
            record = self.by_key.get((one.terminal, one.key))
            if one.answer is None:
                self.journal.violation(f"never answered: {one}; the stream has {record}")
            elif one.answer.status == 200:
                if not self.says(record, one):
                    self.journal.violation(f"told {one}, but the stream has {record}")
            elif record is not None and (one.terminal, one.key) not in blocked:
                self.journal.violation(f"refused {one}, but the stream has {record}")
        for key in self.by_key.keys() - asked.keys():
            self.journal.violation(f"nobody asked for {self.by_key[key]}")

    def says(self, record, request):
        """Whether a record is what a terminal was told."""
        told = json.loads(request.answer.body)
        if request.reverses:
            if told["outcome"] == "blocked":
                return record is not None and record["type"] == "key_blocked"
            told = told["authorisation"]
            if record is None:
                # There was nothing left to undo.
                return self.standing[told["authorisation_id"]].status in ENDED
        if record is None or record["authorisation_id"] != told["authorisation_id"]:
            return False
        sums = ("decision", "total_cents", "benefit_cents") if request.decides else ()
        return record["status"] == told["status"] and all(record[of] == told[of] for of in sums)


async def read_stream(node, journal):
    """Adds up the stopped node's stream; gives how many records it has."""
    words = ["stream", "tail", "authorisations", "--from", "0", "--most", "100000000"]
    out = await must(node.avis, *words, "--data", node.data)
    books, lines = Books(journal), out.splitlines()
    for line in lines:
        if line.startswith("{"):
            books.read(json.loads(line))
    books.close()
    return len(lines)


# ---- what breaks --------------------------------------------------------------------------------


async def kill_avis(run):
    run.node.kill()
    await asyncio.sleep(run.dice.uniform(0, 0.3))
    await run.node.start()


async def kill_redis(run):
    run.redis.node.kill()
    run.journal.down_since = time.monotonic()
    await asyncio.sleep(run.dice.uniform(0.1, 2))
    run.journal.down_since = None
    await run.redis.node.start()


async def flush(run):
    await run.redis.node.ask("FLUSHALL")


async def fail_over(run):
    replica = await run.redis.any(run.dice, primary=False)
    await must("redis-cli", "-p", replica.port, "CLUSTER", "FAILOVER")
    await until("the replica takes over", replica.is_primary)
    await run.redis.settled()


async def kill_primary(run):
    primary = await run.redis.any(run.dice, primary=True)
    primary.kill()
    await asyncio.sleep(run.dice.uniform(1, 4))
    await primary.start()
    await run.redis.settled()


async def stand_still(run):
    run.node.process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(STANDSTILL)
    run.node.process.send_signal(signal.SIGCONT)


async def cut_power(run):
    """What the disk holds at this instant is all that is left, as if the power had gone."""
    # A copy takes a while, and a power cut none: nobody writes meanwhile.
    run.node.process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(0.03)
    await run.disk.copy()
    run.node.kill()
    await run.disk.replace()
    await run.node.start()


class Disk:
    """A loop-mounted ext4 under the server's data; what is not synced is not in its image."""

    BYTES = 256 << 20

    def __init__(self, folder):
        self.image, self.later, self.at = folder / "disk", folder / "disk-cut", folder / "data"

    async def make(self, template):
        with open(self.image, "wb") as image:
            image.truncate(self.BYTES)
        mkfs = shutil.which("mkfs.ext4") or "/sbin/mkfs.ext4"
        await must(mkfs, "-q", "-m", "0", self.image)
        self.at.mkdir()
        await self.mount()
        await must("cp", "-r", f"{template}/.", self.at)
        await must("sync", "-f", self.at)

    async def mount(self):
        await must("mount", "-o", "loop", self.image, self.at)

    async def copy(self):
        await must("cp", "--sparse=always", self.image, self.later)

    async def replace(self):
        await self.unmount()
        self.later.rename(self.image)
        await self.mount()

    async def unmount(self):
        async def is_free():
            return (await command("umount", self.at))[0] == 0

        await until("the disk is free", is_free)


@dataclass
class Scenario:
    name: str
    redis: object
    breaks: object
    long: bool = False
    disk: bool = False


SCENARIOS = [
    Scenario("embedded, avis killed", lambda folder: None, kill_avis),
    Scenario("embedded, power cut", lambda folder: None, cut_power, disk=True),
    Scenario("redis with AOF killed", lambda folder: Single(folder, True), kill_redis),
    Scenario("redis without AOF killed", lambda folder: Single(folder, False), kill_redis),
    Scenario("redis flushed", lambda folder: Single(folder, True), flush),
    Scenario("redis, avis killed", lambda folder: Single(folder, True), kill_avis),
    Scenario("cluster, fail-over", Cluster, fail_over),
    Scenario("cluster, primary killed", Cluster, kill_primary),
    Scenario("redis, avis stood still", lambda folder: Single(folder, True), stand_still, True),
]


class Run:
    """One time of one scenario, on a folder of its own."""

    def __init__(self, scenario, options, template, tokens, folder, seed):
        self.scenario, self.seconds, self.dice = scenario, options.seconds, random.Random(seed)
        self.journal, self.redis = Journal(), scenario.redis(folder)
        self.disk = Disk(folder) if scenario.disk else None
        self.template = template / "data"
        self.node = Node(options.avis, folder, self.redis, 1 if scenario.long else 15)
        self.terminals = [
            Terminal(name, token, self.node.http, self.journal, seed, scenario.long)
            for name, token in tokens.items()]
        for one, other in zip(self.terminals, self.terminals[1:] + self.terminals[:1]):
            one.neighbour = other if other is not one else None

    async def whole(self):
        if self.disk is None:
            shutil.copytree(self.template, self.node.data)
        else:
            await self.disk.make(self.template)
        if self.redis is not None:
            await self.redis.start()
        await self.node.start()
        await self.load()
        await self.again("while it runs")
        await self.node.stop()
        await self.node.start()
        await self.again("after a start afresh")
        await self.node.stop()
        records = await read_stream(self.node, self.journal)
        status, told = await self.node.tell("settle", "check")
        if status != 0:
            self.journal.violation(f"the books: {told}")
        return records

    async def load(self):
        """Load, a break at a random instant, and load again once it works again."""
        stop, self.journal.last_decision = asyncio.Event(), time.monotonic()
        working = [asyncio.create_task(one.work(stop)) for one in self.terminals]
        try:
            await asyncio.sleep(self.seconds * self.dice.uniform(0.3, 1))
            await self.scenario.breaks(self)
            await self.recovered(time.monotonic())
            await asyncio.sleep(self.seconds)
            stop.set()
            await asyncio.gather(*working)
        except BaseException:
            self.journal.given_up = True
            raise
        finally:
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)

    async def recovered(self, since):
        """A decision that was asked for after the repair was acknowledged."""

        async def works():
            return self.journal.last_sent > since

        try:
            await until("it decides again", works)
        except RuntimeError as error:
            self.journal.violation(str(error))

    async def again(self, when):
        """Every acknowledged request again, each by its terminal."""
        by_terminal = defaultdict(list)
        for request in self.journal.acknowledged():
            by_terminal[request.terminal].append(request)
        away, retried = self.journal.away, self.journal.retried
        again = [one.ask_again(by_terminal[one.name], when) for one in self.terminals]
        await asyncio.gather(*again)
        for one in self.terminals:
            one.connection.close()
        self.journal.away, self.journal.retried = away, retried


async def once(scenario, options, template, tokens, number):
    """Runs a scenario once; its folder is kept where something was violated."""
    folder = Path(tempfile.mkdtemp(prefix="avis-storm-"))
    seed = f"{options.seed}/{scenario.name}/{number}"
    run = Run(scenario, options, template, tokens, folder, seed)
    started, records = time.monotonic(), 0
    try:
        records = await run.whole()
    except RuntimeError as error:
        run.journal.violation(str(error))
    finally:
        kill_all()
        if run.disk is not None and os.path.ismount(run.disk.at) and not run.journal.violations:
            await run.disk.unmount()
        if not run.journal.violations:
            shutil.rmtree(folder, ignore_errors=True)
    journal = run.journal
    if journal.violations:
        say(f"  kept: {folder}")
    say(f"{scenario.name} {number + 1}: {len(journal.acknowledged())} acknowledged, {records} "
        f"records, {journal.cut} cut by a limit, {journal.away} times 503, "
        f"{journal.outage * 1000:.0f} ms without a decision, {len(journal.violations)} violations, "
        f"{time.monotonic() - started:.0f} s")
    return journal


def row(cells):
    name, *numbers = cells
    return f"{name:<26}" + "".join(f"{number:>15}" for number in numbers)


async def storm(options):
    """All scenarios; gives how many violations there were."""
    wanted = [one for one in SCENARIOS if options.only.lower() in one.name.lower()]
    if not wanted:
        raise SystemExit(f"no scenario has {options.only} in its name")
    template = Path(tempfile.mkdtemp(prefix="avis-storm-"))
    rows = []
    try:
        tokens = await prepare(options.avis, template, options.connections)
        for scenario in wanted:
            if scenario.long and options.times < FULL_SCALE and not options.only:
                say(f"SKIPPED: {scenario.name}: over a minute each time; only at full scale "
                    f"({FULL_SCALE} times) or with --only")
                continue
            if scenario.disk and os.geteuid() != 0:
                say(f"SKIPPED: {scenario.name}: only root may mount the disk")
                continue
            journals = [await once(scenario, options, template, tokens, number)
                        for number in range(options.times)]
            counts = [sum(count(one) for one in journals) for count in (
                lambda one: len(one.acknowledged()), lambda one: one.away,
                lambda one: one.retried)]
            outage = max((one.outage for one in journals), default=0)
            violations = sum(len(one.violations) for one in journals)
            rows.append((scenario.name, options.times, *counts, round(outage * 1000), violations))
    finally:
        kill_all()
        shutil.rmtree(template, ignore_errors=True)
        print(row(("scenario", "times", "acknowledged", "503", "retried", "outage, ms",
                   "violations")))
        for cells in rows:
            print(row(cells))
    return sum(cells[-1] for cells in rows)


async def until_told_to_stop(options):
    task = asyncio.current_task()
    for one in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(one, task.cancel)
    return await storm(options)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], epilog="See the beginning of this file.")
    parser.add_argument("--avis", default="target/release/avis", help="the binary")
    parser.add_argument("--connections", type=int, default=64, help="terminals at once")
    parser.add_argument("--times", type=int, default=FULL_SCALE, help="of each scenario")
    parser.add_argument("--seconds", type=float, default=3, help="load before and after each break")
    parser.add_argument("--only", default="", help="scenarios with this in their name")
    parser.add_argument("--seed", default=str(random.SystemRandom().randrange(10**9)))
    options = parser.parse_args()
    options.avis = Path(options.avis).expanduser().resolve()
    say(f"seed {options.seed}")
    try:
        sys.exit(1 if asyncio.run(until_told_to_stop(options)) else 0)
    except asyncio.CancelledError:
        sys.exit("stopped")


if __name__ == "__main__":
    main()
