#!/usr/bin/env python3
"""Writes the demonstration's portal events: seeded, so that it always writes the same.

Usage: portal_events.py > data/portal-events.ndjson   (then gzip -9n)
"""
import json
import random
from datetime import datetime, timedelta, timezone

E_SERVICES = {"market-orders": "market", "corner-invoices": "corner"}
MEANS = ["eid", "smart-id", "eparaksts-mobile"]
RIGA = timezone(timedelta(hours=2))  # Riga's winter time; the span lies in winter.
FIRST, DAYS, USERS = datetime(2024, 12, 30, 0, 0, tzinfo=RIGA), 54, 140


def main() -> None:
    draw = random.Random(2025)
    events = [
        (FIRST + timedelta(hours=9), "e-service.published", {"e_service": e_service, "merchant": merchant})
        for e_service, merchant in E_SERVICES.items()
    ]
    for day in range(DAYS):
        # More people come from week to week.
        for _ in range(6 + day // 4 + draw.randrange(5)):
            at = FIRST + timedelta(days=day, hours=draw.randrange(10, 22), seconds=draw.randrange(3600))
            e_service = draw.choice(list(E_SERVICES))
            user = f"user-{draw.randrange(min(USERS, 30 + 3 * day)):04}"
            about = {"e_service": e_service, "merchant": E_SERVICES[e_service], "user": user}
            events.append((at, "login", about | {"basket": "merchant", "means": draw.choice(MEANS)}))
            for use in range(draw.randrange(1, 4)):
                events.append((at + timedelta(minutes=1 + use), "e-service.used", about))
    events.sort(key=lambda of: of[0])
    for number, (time, kind, data) in enumerate(events):
        print(json.dumps({
            "specversion": "1.0", "id": f"portal-{number:06}", "source": "/portal",
            "type": f"lv.portal.{kind}", "time": time.isoformat(),
            "datacontenttype": "application/json", "data": data,
        }, separators=(",", ":")))


if __name__ == "__main__":
    main()
