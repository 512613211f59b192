"""Roles in processes of their own, over what `AVIS_TEST_FLUVIO` and `AVIS_TEST_S3` name: the
controller of a cluster as `host:port`, and a storage with the bucket `avis-test` for the user `avis`
(its secret `avis-secret`)."""

import json
import os
import time

from processes import HOST, command, free_port
from servers import Served

ROLES = ("connectors", "authoriser", "pipelines", "warehouse")


def share():
    """Lets every process that is started from here on use streams and tables of its own there."""
    missing = [name for name in ("AVIS_TEST_FLUVIO", "AVIS_TEST_S3") if name not in os.environ]
    if missing:
        raise SystemExit(f"{' and '.join(missing)}: not set, and roles apart share what they name")
    own = f"chaos{time.time_ns() // 1_000_000}"
    os.environ |= {
        "AVIS__LOG__ENGINE": "fluvio",
        "AVIS__FLUVIO__ENDPOINT": os.environ["AVIS_TEST_FLUVIO"],
        "AVIS__FLUVIO__TOPIC_PREFIX": f"{own}-",
        "AVIS__TABLES__LOCATION": f"s3://avis-test/{own}",
        "AVIS__TABLES__ENDPOINT": os.environ["AVIS_TEST_S3"],
        "AVIS__TABLES__ACCESS_KEY": "avis",
        "AVIS__TABLES__SECRET_KEY": "avis-secret",  # pragma: allowlist secret
        "AVIS__TERMINALS__REQUESTS_PER_SECOND": "1000000",
        "AVIS__TERMINALS__REQUESTS_AT_ONCE": "1000000",
    }


class Installation:
    """Four processes, a role each; terminals ask that of connectors."""

    def __init__(self, avis, folder, redis, hold_minutes):
        self.avis, self.flight = avis, free_port()
        self.roles = {role: self.made(folder, role) for role in ROLES}
        self.data, self.http = self.roles["connectors"].data, self.roles["connectors"].http
        # What is asked of a stopped role, too, is asked under these.
        os.environ |= {
            "AVIS__AUTHORISER__HOLD_MINUTES": str(hold_minutes),
            "AVIS__AUTHORISER__CACHE": redis.kind,
            "AVIS__REDIS__URLS": json.dumps([node.url for node in redis.nodes]),
            "AVIS__REDIS__REPLICAS": str(redis.replicas),
            "AVIS__REDIS__ALLOW_VOLATILE": str(redis.volatile).lower(),
            "AVIS__ROLES__CONNECTORS": str(self.data),
            "AVIS__ROLES__AUTHORISER": self.near("authoriser"),
            "AVIS__ROLES__WAREHOUSE": self.near("warehouse"),
            "AVIS__ROLES__PIPELINES": f"http://{HOST}:{self.flight}",
        }

    def near(self, role):
        return f"http://{HOST}:{self.roles[role].http}"

    def made(self, folder, role):
        # The folder that was prepared is that of connectors, where the keys are.
        data = folder / ("data" if role == "connectors" else role)
        flight = self.flight if role == "pipelines" else free_port()
        served = Served(self.avis, data, folder / f"{role}.log")
        doors = {"http": served.http, "flight": flight}
        served.more = ["--role", role]
        for door in ("http", "grpc", "postgres", "flight"):
            served.more += [f"--{door}", f"{HOST}:{doors.get(door) or free_port()}"]
        return served

    @property
    def ended(self):
        return [role for role in self.roles.values() if role.process is None or role.has_ended]

    @property
    def has_ended(self):
        return bool(self.ended)

    @property
    def process(self):
        """That of a role that has ended."""
        return self.ended[0].process

    def last_words(self):
        return self.ended[0].last_words()

    async def start(self):
        """Those that do not run; the first has the keys that the others read."""
        for role in self.ended:
            await role.start()

    async def stop(self):
        for role in self.roles.values():
            await role.stop()

    async def tell(self, *words):
        return await command(self.avis, *words, "--data", self.roles["warehouse"].data)
