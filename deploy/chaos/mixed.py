"""The mixed mode: one node or its roles apart under load, and one random fault after another."""

import time
from collections import defaultdict

from faults import FAULTS
from processes import say
from run import Run, Stage, may_mount

# Without a number of faults or minutes, whichever is not given.
NO_END = float("inf")


class Storm:
    """Faults of the kinds that apply, until there were enough or the time is over."""

    def __init__(self, options, stage):
        self.most = options.faults or NO_END
        self.until = time.monotonic() + 60 * options.minutes if options.minutes else NO_END
        fits = [one for one in FAULTS if set(one.needs) <= stage.has]
        self.kinds = [one for one in fits if options.only.lower() in one.name.lower()]
        if not self.kinds:
            raise SystemExit(f"no fault that applies has {options.only} in its name")
        # By kind: of each fault, the longest without a decision and the longest wait for an answer.
        self.met = defaultdict(list)
        self.roles = "roles apart" if stage.apart else "one process"
        self.seconds = 0.0

    @property
    def count(self):
        return sum(map(len, self.met.values()))

    async def breaks(self, run):
        started, journal = time.monotonic(), run.journal
        while self.count < self.most and time.monotonic() < self.until:
            kind = run.dice.choice(self.kinds)
            away, violations = journal.away, journal.violations.total()
            try:
                await run.meet(kind.name, kind.does)
            except RuntimeError as error:
                # What is broken for good breaks all that follows.
                journal.violation("other", f"{kind.name}: {error}")
                self.until = 0
            self.met[kind.name].append((journal.outage, journal.slowest, journal.away - away))
            say(f"{self.count:>4} {time.monotonic() - started:>6.0f} s  {kind.name:<28}"
                f"{journal.outage * 1000:>7.0f} ms without a decision"
                f"{journal.away - away:>7} times 503"
                f"{journal.violations.total() - violations:>4} violations")
        self.seconds = time.monotonic() - started

    def table(self, run, redis):
        journal = run.journal
        yield (f"{'fault':<29}{'times':>7}{'503':>9}{'longest outage, ms':>20}"
               f"{'slowest answer, ms':>20}")
        for kind in self.kinds:
            if met := self.met[kind.name]:
                outage, slowest, away = zip(*met)
                yield (f"{kind.name:<29}{len(met):>7}{sum(away):>9}{max(outage) * 1000:>20.0f}"
                       f"{max(slowest) * 1000:>20.0f}")
        of = journal.violations
        yield ""
        rows = {
            "faults": f"{self.count} in {self.seconds / 60:.1f} minutes, redis: {redis}, "
                      f"{self.roles}",
            "sent": f"{len(journal.requests)} (asked again for want of an answer: "
                    f"{journal.retried}, for a 503: {journal.away})",
            "acknowledged": len(journal.acknowledged()),
            "refused": ", ".join(f"{why} {count}"
                                 for why, count in journal.refused.most_common()) or "none",
            "cut by a limit": journal.cut,
            "records on the stream": run.records,
            "acknowledged and found": journal.found,
            "lost": of["lost"],
            "twice": of["twice"],
            "limits exceeded": of["limit"],
            "late": of["late"],
            "otherwise wrong": of["other"],
            "books": "differ" if of["books"] else "equal" if run.is_proved else "not looked at",
        }
        for name, told in rows.items():
            yield f"{name:<29}{told}"


async def mixed(options, template, tokens):
    """Gives how many violations there were."""
    has_disk = may_mount() and not options.apart
    stage = Stage(options.redis, disk=has_disk, far=True, apart=options.apart)
    if not stage.disk and not options.apart:
        say("SKIPPED: what happens to disks: only root may mount one")
    pause = len(tokens) / options.rate if options.rate else 0.0
    storm = Storm(options, stage)
    run = Run("mixed", stage, options, template, tokens, options.seed, pause)
    try:
        await run.whole(storm.breaks)
    finally:
        for line in storm.table(run, options.redis):
            print(line)
    return run.journal.violations.total()
