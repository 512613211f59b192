#!/usr/bin/env python3
"""Writes the demonstration's service-centre events: seeded, so that it always writes the same.

Usage: service_events.py > data/service-events.ndjson   (then gzip -9n)
"""
import json
import random
from datetime import datetime, timedelta, timezone

CENTRES = ["centre-daugavpils", "library-ligatne", "mobile-aluksne"]
INSTITUTIONS = {"vsaa": ["official-1", "official-2"], "vid": ["official-3"], "ldc": ["official-4"]}
RIGA = timezone(timedelta(hours=2))  # Riga's winter time; the span lies in winter.
FIRST, DAYS = datetime(2024, 12, 30, 8, 0, tzinfo=RIGA), 54


def main() -> None:
    draw = random.Random(2024)
    events = []

    def event(kind: str, time: datetime, source: str, data: dict) -> None:
        events.append((time, kind, source, data))

    for day in range(DAYS):
        morning = FIRST + timedelta(days=day)
        if morning.weekday() > 4:
            continue
        for institution, officials in INSTITUTIONS.items():
            for official in officials:
                came = morning + timedelta(minutes=draw.randrange(30))
                for kind, at in (("available", came), ("offline", came + timedelta(hours=8))):
                    event(f"official.{kind}", at, "/vpvkac/officials",
                          {"official": official, "institution": institution})
        for number in range(draw.randrange(5, 10)):
            serve(draw, event, morning, day, number)
    events.sort(key=lambda of: of[0])
    for number, (time, kind, source, data) in enumerate(events):
        print(json.dumps({
            "specversion": "1.0", "id": f"vpvkac-{number:06}", "source": source,
            "type": f"lv.vpvkac.{kind}", "time": time.isoformat(),
            "datacontenttype": "application/json", "data": data,
        }, separators=(",", ":")))


def serve(draw: random.Random, event, morning: datetime, day: int, number: int) -> None:
    centre = draw.choice(CENTRES)
    source = f"/vpvkac/{centre}"
    started = morning + timedelta(minutes=draw.randrange(480))
    remote = draw.random() < 0.4
    service = draw.choice(["PAK_03", "PAK_10"]) if remote else f"PAK_{draw.choice([1, 2, 4, 5, 6, 7, 8]):02}"
    channel = "remote" if remote else draw.choice(["in_person", "in_person", "phone", "e-mail"])
    completed = started + timedelta(minutes=draw.randrange(5, 50))
    event("service.started", started, source, {"service": service, "centre": centre, "channel": channel})
    done = {"service": service, "centre": centre, "channel": channel, "started_at": started.isoformat(),
            "completed_at": completed.isoformat(), "outcome": draw.choice(["resolved", "resolved", "forwarded"])}
    if remote:
        institution = draw.choice(list(INSTITUTIONS))
        official = draw.choice(INSTITUTIONS[institution])
        call = {"call": f"call-{day:02}-{number:02}", "centre": centre, "service": service,
                "institution": institution, "language": draw.choice(["lv", "lv", "en"]),
                "specialist": f"specialist-{draw.randrange(6)}"}
        event("call.requested", started, source, call)
        if draw.random() < 0.1:
            event("call.abandoned", started + timedelta(minutes=6), source, call)
            return
        waited = started + timedelta(seconds=draw.randrange(20, 400))
        for kind in ("offered", "accepted", "connected"):
            event(f"call.{kind}", waited, source, call | {"official": official})
            waited += timedelta(seconds=draw.randrange(2, 20))
        event("call.ended", completed, source, call | {"official": official, "resolved": draw.random() < 0.8})
        event("call.rated", completed + timedelta(minutes=1), source, call | {"rating": draw.randrange(3, 6)})
        done |= {"institution": institution, "official": official}
    event("service.completed", completed, source, done)


if __name__ == "__main__":
    main()
