"""Terminals: each asks over a connection of its own, under keys, until it is answered."""

import asyncio
import datetime
import json
import random
import time
from dataclasses import dataclass

from journal import Answer, Request
from processes import HOST
from shop import CARDS, UNIT_PRICES

# How long one answer may take before it is asked for again.
ANSWER_TIMEOUT = 10.0
RETRY_PAUSE = 0.05
# Longer than a hold of one minute.
STANDSTILL = 65.0
# How long one request may go without its answer in all.
GIVE_UP = STANDSTILL + 30.0
ENDED = {"voided", "expired", "refunded"}


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

    def __init__(self, name, token, port, journal, seed, may_expire=False, pause=0.0):
        self.name, self.token, self.journal, self.may_expire = name, token, journal, may_expire
        # Between requests, on average.
        self.pause = pause
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
                if isinstance(error, asyncio.TimeoutError):
                    self.journal.waited(request)
                self.journal.retried += 1
                await asyncio.sleep(RETRY_PAUSE)
                continue
            self.journal.waited(request)
            if answer.status != 200:
                self.journal.refused[json.loads(answer.body)["code"]] += 1
            if answer.status != 503:
                answer.headers = {}
                return answer
            self.journal.away += 1
            if "retry-after" not in answer.headers:
                self.journal.violation(
                    "other", f"503 without Retry-After: {request} {answer.body}")
            # Sooner than it says, so that the outage is measured as it was.
            await asyncio.sleep(max(RETRY_PAUSE, self.pause))
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
            return self.journal.violation("other", f"not decided: {self.journal_of(key)}")
        told = json.loads(answer.body)
        if told["means_status"] != "valid":
            self.journal.violation("other", f"a valid card was not taken: {self.journal_of(key)}")
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
                self.journal.violation("other", f"refused: {self.journal_of(f'k{self.count}')}")
            return
        told = json.loads(answer.body)
        if told.get("outcome") == "blocked":
            return self.journal.violation("lost", f"{held.key} of {self.name} is not known: "
                                                  f"{self.journal_of(f'k{self.count}')}")
        held.status = told.get("authorisation", told)["status"]
        if held.status not in ENDED and any(held.left.values()):
            self.held.append(held)

    async def reverse_nothing(self):
        """Blocks a key that was never used, then tries to use it."""
        key = self.new_key()
        body = {"terminal_id": self.name, "idempotency_key": key}
        answer = await self.send("/v1/reversals", body)
        if json.loads(answer.body).get("outcome") != "blocked":
            self.journal.violation("other", f"not blocked: {key} of {self.name}")
        now = datetime.datetime.now(datetime.timezone.utc).isoformat()
        lines = [{"line": 1, "item": "milk", "category": "food.milk", "quantity": 1,
                  "unit_price_cents": 150}]
        answer = await self.send("/v1/authorisations", {
            "terminal_id": self.name, "occurred_at": now, "mode": "sale", "lines": lines}, key)
        if answer.status != 409:
            self.journal.violation("other", f"a blocked key was used: {self.journal_of(key)}")

    async def work(self, stop):
        while not stop.is_set():
            if self.pause:
                await asyncio.sleep(self.dice.uniform(0, 2 * self.pause))
            await self.step()

    async def ask_again(self, requests, when):
        for request in requests:
            answer = await self.insist(request)
            if (answer.status, answer.body) != (200, request.answer.body):
                self.journal.violation("lost", f"another answer {when}: {request}, then "
                                               f"{answer.status} {answer.body.decode()}")
