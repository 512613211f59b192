"""Two versions over one folder, by turns.

Usage: two_versions.py OLD NEW FOLDER
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

OLD, NEW, FOLDER = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
DATA = FOLDER / "data"
ANY = "127.0.0.1:0"
# How long a node may take to get ready, or to stop.
PATIENCE = 120
EACH = 5
SUMS = ("SELECT COUNT(*), CAST(SUM(total) * 100 AS BIGINT), CAST(SUM(benefit) * 100 AS BIGINT), "
        "SUM(points_earned) FROM authorisations")
held = 0


def holds(what, condition):
    """Counts a check, and ends with its name where it fails."""
    global held
    held += 1
    if not condition:
        sys.exit(f"two_versions: {what}")


def tell(binary, *words):
    ran = subprocess.run([binary, *words], capture_output=True, text=True, check=False)
    holds(f"{name(binary)} {' '.join(words)}: {ran.stderr.strip()}", ran.returncode == 0)
    return ran.stdout


def name(binary):
    return "the old one" if binary == OLD else "the new one"


class Refused(Exception):
    """A version does not serve what is in the folder."""


class Node:
    """A version that serves the folder, until it is stopped."""

    def __init__(self, binary):
        self.binary = binary
        self.said, self.log = FOLDER / "said", FOLDER / "log"
        words = [binary, "up", "--data", DATA, "--dev"]
        for door in ("--http", "--grpc", "--postgres", "--flight"):
            words += [door, ANY]
        with self.said.open("w") as out, self.log.open("w") as log:
            self.process = subprocess.Popen(words, stdout=out, stderr=log, stdin=subprocess.DEVNULL)

    def __enter__(self):
        deadline = time.monotonic() + PATIENCE
        while "ready" not in (lines := self.said.read_text().splitlines()):
            if self.process.poll() is not None:
                raise Refused(self.process.returncode, self.log.read_text().strip())
            if time.monotonic() > deadline:
                self.process.kill()
                holds(f"{name(self.binary)} does not get ready", False)
            time.sleep(0.2)
        self.http = next(line.split("http://")[1].split("/")[0] for line in lines if line.startswith("http "))
        tokens = (line.split() for line in lines if line.startswith("token    terminal"))
        _, _, self.terminal, self.token = next(tokens)
        return self

    def __exit__(self, failed, *_):
        if failed:
            self.process.kill()
            self.process.wait()
            return
        self.process.send_signal(signal.SIGTERM)
        holds(f"{name(self.binary)} stops in order", self.process.wait(PATIENCE) == 0)

    def ask(self, key, basket):
        """What is answered to a basket, and to the same again."""
        request = urllib.request.Request(
            f"http://{self.http}/v1/authorisations", json.dumps(basket).encode(),
            {"Authorization": f"Bearer {self.token}", "Idempotency-Key": key, "Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return {"refused": error.code, "why": error.read().decode(errors="replace")}

    def sells(self, sold):
        """Some more baskets, kept with their answers."""
        for number in range(EACH):
            key = f"{os.getpid()}-{len(sold)}"
            basket = {"terminal_id": self.terminal, "mode": "sale",
                      "occurred_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                      "lines": [{"line": 1, "item": "milk", "quantity": 1 + number, "unit_price_cents": 150}]}
            answer = self.ask(key, basket)
            holds(f"{name(self.binary)} sells: {answer}", "authorisation_id" in answer)
            sold.append((key, basket, answer))

    def knows(self, sold):
        """What either version sold is answered as it was: a later version may only say more."""
        for key, basket, answer in sold:
            again = self.ask(key, basket)
            less, more = (again, answer) if self.binary == OLD else (answer, again)
            holds(f"{name(self.binary)} answers {key} by {again}, and it was {answer}",
                  "authorisation_id" in again and says(less, more))


def says(less, more):
    """Whether all that one says stands in the other. What only one of two old answers says is not held against it."""
    if isinstance(less, dict) and isinstance(more, dict):
        return all(key in more and says(value, more[key]) for key, value in less.items())
    if isinstance(less, list) and isinstance(more, list):
        return len(less) == len(more) and all(map(says, less, more))
    return less == more


def sums(binary):
    rows = tell(binary, "sql", SUMS, "--format", "csv", "--data", str(DATA)).splitlines()
    return [int(float(value or 0)) for value in rows[1].split(",")]


def wanted(told, sold):
    of = [told["transactions"], told["total_cents"], told["benefit_cents"], told["points_earned"]]
    for _, _, answer in sold:
        of[0] += 1
        of[1] += answer["total_cents"]
        of[2] += answer["benefit_cents"]
        of[3] += answer.get("points_earned") or 0
    return of


def balances(binary, told, sold):
    got, due = sums(binary), wanted(told, sold)
    holds(f"{name(binary)} adds up {got}, and it is {due}", got == due)
    tell(binary, "settle", "check", "--data", str(DATA))


def main():
    told = json.loads(tell(OLD, "demo", "--json", "--out", str(DATA)).splitlines()[-1])
    holds("the old one's books balance", told["books_balance"] is True)
    sold = []
    with Node(OLD) as node:
        node.sells(sold)
    balances(OLD, told, sold)
    with Node(NEW) as node:
        node.knows(sold)
        node.sells(sold)
    balances(NEW, told, sold)
    tell(NEW, "verify", "--data", str(DATA))
    try:
        with Node(OLD) as node:
            node.knows(sold)
            node.sells(sold)
            node.knows(sold)
        balances(OLD, told, sold)
        back = "the older one serves it again"
    except Refused as refused:
        status, why = refused.args
        lines = [line for line in why.splitlines() if line.startswith("avis:")]
        holds(f"the old one says why it does not serve: {status} {why}", status != 0 and lines and "panicked" not in why)
        back = f"the older one refuses it: {lines[-1]}"
    with Node(NEW) as node:
        node.knows(sold)
        node.sells(sold)
    balances(NEW, told, sold)
    tell(NEW, "verify", "--data", str(DATA))
    versions = " then ".join(tell(binary, "--version").strip() for binary in (OLD, NEW))
    print(f"two_versions: {versions}: {told['transactions']} transactions and {len(sold)} sales, {held} checks; {back}")


main()
