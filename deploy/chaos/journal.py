"""What the terminals saw: the witness against which the stream is held."""

import time
from collections import Counter
from dataclasses import dataclass, field

from processes import say

# Of one fault, so many violations are told in words.
MOST_TOLD = 5


@dataclass(slots=True)
class Answer:
    status: int
    headers: dict
    body: bytes


@dataclass(slots=True)
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
    """What the terminals saw, in one run."""

    requests: list = field(default_factory=list)
    # Answers that were no decision, by their code; of those the ones that said to come again.
    refused: Counter = field(default_factory=Counter)
    away: int = 0
    # Asked again, because there was no answer at all.
    retried: int = 0
    # Benefits that a limit made less.
    cut: int = 0
    outage: float = 0.0
    last_decision: float = 0.0
    last_sent: float = 0.0
    slowest: float = 0.0
    # While all of Redis is down: since when.
    down_since: float = None
    # While every request is to be answered within so many seconds: those that were not.
    deadline: float = None
    late: list = field(default_factory=list)
    # Of what was acknowledged, what is on the stream as it was told.
    found: int = 0
    violations: Counter = field(default_factory=Counter)
    told: int = 0
    # A cancellation can be lost to an answer that came at the same moment; this cannot.
    given_up: bool = False
    # Terminals were stopped while they asked: those requests have no answer.
    cut_short: bool = False

    def violation(self, kind, text):
        """`lost`, `twice`, `limit`, `late`, `books`, or `other`."""
        self.violations[kind] += 1
        self.told += 1
        if self.told <= MOST_TOLD:
            say(f"  VIOLATION ({kind}) {text[:2000]}")

    def acknowledged(self):
        return [one for one in self.requests if one.answer and one.answer.status == 200]

    def decided(self, request):
        """A new decision was acknowledged: the server works."""
        now = time.monotonic()
        self.outage = max(self.outage, now - self.last_decision)
        self.last_decision, self.last_sent = now, max(self.last_sent, request.sent)
        if self.down_since is not None and request.sent > self.down_since:
            self.violation("other", f"approved while redis was away: {request}")

    def waited(self, request):
        """For an answer, or until its terminal gave up."""
        took = time.monotonic() - request.sent
        self.slowest = max(self.slowest, took)
        if self.deadline is not None and took > self.deadline:
            self.late.append(took)

    def begin(self):
        """Of what is measured, the next fault's is measured alone."""
        self.outage = self.slowest = 0.0
        self.last_decision = time.monotonic()
        self.deadline, self.late, self.told = None, [], 0

    def end(self, name):
        """Judges the waits since the last beginning."""
        if self.late:
            self.violation("late", f"{name}: {len(self.late)} requests waited longer than "
                                   f"{self.deadline:.0f} s, one {max(self.late):.1f} s")
        self.deadline, self.late = None, []
