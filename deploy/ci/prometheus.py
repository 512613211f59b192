"""Holds the table of metrics, the rules, their tests, the runbook and the dashboards against each other, and
asks a Prometheus that scrapes a node every question of the dashboards."""

import csv
import json
import pathlib
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request

DEPLOY = pathlib.Path("deploy")
TABLE = DEPLOY / "prometheus/metrics.csv"
METRIC = re.compile(r"\b(avis_[a-z0-9_]+)\b(?:\{([^}]*)\})?")
RECORDED = re.compile(r"\bavis:[a-z0-9_:]+\b")
# What a scrape adds, and what a histogram has.
ADDED = {"instance", "job", "le"}


def table():
    with TABLE.open(newline="", encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def rules():
    import yaml

    files = sorted((DEPLOY / "prometheus/rules").glob("*.yml"))
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def dashboards():
    files = sorted((DEPLOY / "grafana/dashboards").glob("*.json"))
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}


def panels():
    for name, dashboard in dashboards().items():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                yield name, panel, target["expr"]


def known(metrics, expr):
    """Metrics of the table that an expression asks, and what is wrong with it."""
    asked, wrong = [], []
    for name, labels in METRIC.findall(expr):
        plain = re.sub(r"_(bucket|sum|count)$", "", name)
        is_part = plain != name and metrics.get(plain, {}).get("type") == "histogram"
        row = metrics.get(plain if is_part else name)
        if row is None:
            wrong.append(f"no metric is called {name}")
            continue
        asked.append(row)
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", labels):
            if label not in ADDED | set(row["labels"].split()):
                wrong.append(f"{name} has no label {label}")
    return asked, wrong


def tested(alert):
    """Whether an alert has a case in which it fires, and one in which it is silent."""
    import yaml

    fires = silent = False
    for file in (DEPLOY / "prometheus/tests").glob("*.yml"):
        for case in yaml.safe_load(file.read_text())["tests"]:
            for check in case["promql_expr_test"]:
                if f'alertname="{alert}"' in check["expr"]:
                    fires |= bool(check["exp_samples"])
                    silent |= not check["exp_samples"]
    return fires, silent


def tree():
    """What can be told from the files alone."""
    metrics, faults = table(), []
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    runbook = (DEPLOY / "runbook.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^#|\Z)", runbook, re.M | re.S))
    alerts = [rule for rule in rules() if "alert" in rule]
    expressions = [(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]
    expressions += [(f"{name}, {panel['title']}", expr) for name, panel, expr in panels()]
    for where, expr in expressions:
        faults += [f"{where}: {wrong}" for wrong in known(metrics, expr)[1]]
        faults += [f"{where}: nothing records {name}" for name in RECORDED.findall(expr) if name not in recorded]
    for rule in alerts:
        alert, notes = rule["alert"], rule["annotations"]
        if rule["labels"].get("severity") not in ("page", "ticket"):
            faults.append(f"{alert}: the severity is neither page nor ticket")
        faults += [f"{alert}: it has no {note}" for note in ("summary", "description") if not notes.get(note)]
        if notes.get("runbook_url") != "{{ $externalLabels.runbook }}#" + alert.lower():
            faults.append(f"{alert}: its link does not lead to its section of the runbook")
        steps = re.findall(r"^- \*\*(\w+)\*\*: ", sections.pop(alert, ""), re.M)
        if steps != ["Means", "See", "Do"]:
            faults.append(f"{alert}: the runbook does not say what it means, where to see it, what to do")
        if tested(alert) != (True, True):
            faults.append(f"{alert}: no case in which it fires, or none in which it is silent")
    faults += [f"runbook: no alert is called {alert}" for alert in sections]
    names = {rule["alert"].lower() for rule in alerts}
    links = re.findall(r"\(#(\w+)\)", runbook)
    links += [link["url"].split("#")[1] for _, panel, _ in panels() for link in panel.get("links", [])]
    faults += [f"a link leads to {link}, which is no section" for link in links if link not in names]
    sees = re.findall(r"see (\w+)", " ".join(row["act"] for row in metrics.values()))
    faults += [f"metrics.csv: no alert is called {name}" for name in sees if name.lower() not in names]
    faults += schema() + regenerated()
    return faults


def schema():
    """What of a dashboard Grafana's own library does not know."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()

    def lost(ours, theirs, path):
        if isinstance(ours, dict) and isinstance(theirs, dict):
            for key, value in ours.items():
                if key in theirs:
                    yield from lost(value, theirs[key], f"{path}/{key}")
                elif value not in (None, [], {}, "", False):
                    yield f"{path}/{key} is not of Grafana's schema"
        elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
            for at, (one, other) in enumerate(zip(ours, theirs)):
                yield from lost(one, other, f"{path}/{at}")
        elif ours != theirs:
            yield f"{path} is read as {theirs!r}"

    faults = []
    for name, dashboard in dashboards().items():
        read = JSONEncoder(sort_keys=True).encode(Dashboard.from_json(dashboard))
        faults += lost(dashboard, json.loads(read), name)
    return faults


def regenerated():
    before = dashboards()
    subprocess.run([sys.executable, DEPLOY / "grafana/dashboards.py"], check=True)
    return [] if dashboards() == before else ["the dashboards are not what dashboards.py writes"]


def ask(server, path):
    with urllib.request.urlopen(f"{server}{path}", timeout=10) as answer:
        return json.load(answer)["data"]


def query(server, expr):
    expr = expr.replace("$__rate_interval", "30s").replace("$instance", ".*")
    return ask(server, "/api/v1/query?" + urllib.parse.urlencode({"query": expr}))["result"]


def sell(up):
    """A few baskets at a terminal, and one that nobody can decide."""
    lines = pathlib.Path(up).read_text(encoding="utf-8").splitlines()
    http = next(line.split("http://")[1].split("/")[0] for line in lines if line.startswith("http "))
    terminal, token = next(line.split()[2:4] for line in lines if line.startswith("token    terminal"))
    for key in range(20):
        price = 150 if key else -1
        basket = {"terminal_id": terminal, "mode": "sale",
                  "occurred_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                  "lines": [{"line": 1, "item": "milk", "quantity": 1, "unit_price_cents": price}]}
        request = urllib.request.Request(
            f"http://{http}/v1/authorisations", json.dumps(basket).encode(),
            {"Authorization": f"Bearer {token}", "Idempotency-Key": f"{time.time()}-{key}",
             "Content-Type": "application/json"})
        try:
            urllib.request.urlopen(request, timeout=10).read()
        except urllib.error.HTTPError as error:
            assert error.code == 422, error


def alone(metrics, expr):
    """Whether an expression needs what a node of its own, just started, does not have: Fluvio, a refusal, a
    week, a closed month, calls that are over."""
    rows = known(metrics, expr)[0]
    # Nothing is loaded or told while it runs: only terminals ask.
    needs = ("offset 1w", "closed_until_timestamp_seconds", 'step="ended"', 'connector="vpvkac"',
             'connector!~"http|grpc"')
    return any(row["when"] != "always" for row in rows) or any(need in expr for need in needs)


def answers(server, up):
    """Every question of the dashboards, asked of a Prometheus that scrapes a node."""
    deadline = time.monotonic() + 120
    while True:
        try:
            if query(server, "avis_node_ready == 1"):
                break
        except OSError:
            pass
        assert time.monotonic() < deadline, "Prometheus does not scrape the node"
        time.sleep(1)
    faults, metrics = ["nothing was asked"], table()
    while faults and time.monotonic() < deadline:
        sell(up)
        time.sleep(3)
        faults = [f"{name}, {panel['title']}: no data for {expr}" for name, panel, expr in panels()
                  if not alone(metrics, expr) and not query(server, expr)]
    groups = ask(server, "/api/v1/rules")["groups"]
    states = [rule for group in groups for rule in group["rules"]]
    faults += [f"{rule['name']}: {rule['lastError']}" for rule in states if rule["health"] == "err"]
    firing = [rule["name"] for rule in states if rule.get("state") == "firing"]
    # The demo ends within a month, so the month before it is never closed.
    faults += [f"{name} fires on a node that is well" for name in firing if name != "MonthNotClosed"]
    return faults


def main():
    faults = tree() if sys.argv[1] == "tree" else answers(*sys.argv[2:4])
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{sys.argv[1]}: {len(table())} metrics, {len(rules())} rules, {len(list(panels()))} questions; "
          f"{len(faults)} faults")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
