"""The stream added up, and held against what the terminals were told."""

import json
from collections import defaultdict
from dataclasses import dataclass, field

from processes import lines_of
from shop import LIMITS
from terminals import ENDED

MOVES = {
    "capture": ({"reserved"}, {"captured"}),
    "void": ({"reserved"}, {"voided"}),
    "expire": ({"reserved"}, {"expired"}),
    "refund": ({"captured", "partially_refunded"}, {"partially_refunded", "refunded"}),
}
# What is compared of a record, and told of it.
KEPT = ("type", "authorisation_id", "terminal_id", "reversed_key", "decision", "status",
        "transition", "total_cents", "benefit_cents", "recorded_at")


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
                self.journal.violation(
                    "twice", f"decided twice: {key}: {self.by_key[key]} and {record}")
            self.by_key[key] = {of: record[of] for of in KEPT if of in record}
        if kind == "authorisation_decided":
            self.decided(record)
        elif kind == "authorisation_changed":
            self.changed(record)

    def decided(self, record):
        holders = {"recipient": record["recipient"], "household": record["key"], "instruction": ""}
        standing = Standing(record["status"], holders)
        if self.standing.setdefault(record["authorisation_id"], standing) is not standing:
            self.journal.violation("twice", f"an authorisation decided twice: {record}")
        self.move_lines(standing, record)

    def changed(self, record):
        standing = self.standing.get(record["authorisation_id"])
        if standing is None:
            return self.journal.violation("other", f"changed before it was decided: {record}")
        before, after = MOVES[record["transition"]]
        standing.steps += 1
        if (standing.status not in before or record["status"] not in after
                or record["step"] != standing.steps):
            self.journal.violation(
                "twice", f"{standing.status} at step {standing.steps - 1}, then {record}")
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
            self.journal.violation("books", f"more came back than was given: {record}")
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
            self.journal.violation(
                "limit", f"{counter} is {self.used[counter]} of {most}: {record}")

    def close(self):
        """Budgets run across partitions: their order is that in which records were made."""
        for at, _, change, counter, most in sorted(self.budgets, key=lambda one: one[:2]):
            self.used[counter] += change
            if not 0 <= self.used[counter] <= most:
                self.journal.violation(
                    "limit", f"{counter} is {self.used[counter]} of {most} at {at}")
        self.compare()

    def compare(self):
        """What terminals were told against what the stream says, both ways."""
        asked = {(one.terminal, one.key): one for one in self.journal.requests}
        blocked = {(record["terminal_id"], record["reversed_key"])
                   for record in self.by_key.values() if record["type"] == "key_blocked"}
        for one in self.journal.requests:
            record = self.by_key.get((one.terminal, one.key))
            if one.answer is None:
                if self.journal.cut_short:
                    continue
                self.journal.violation("other", f"never answered: {one}; the stream has {record}")
            elif one.answer.status == 200:
                if self.says(record, one):
                    self.journal.found += 1
                else:
                    self.journal.violation("lost", f"told {one}, but the stream has {record}")
            elif record is not None and (one.terminal, one.key) not in blocked:
                self.journal.violation("other", f"refused {one}, but the stream has {record}")
        for key in self.by_key.keys() - asked.keys():
            self.journal.violation("other", f"nobody asked for {self.by_key[key]}")

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
    books, count = Books(journal), 0
    async for line in lines_of(node.avis, *words, "--data", node.data):
        if line.startswith("{"):
            books.read(json.loads(line))
            count += 1
    books.close()
    return count
