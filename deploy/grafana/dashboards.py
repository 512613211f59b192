#!/usr/bin/env python3
"""Writes dashboards/*.json: Grafana's dashboards, each of which answers one question.

Run it after a change: `python3 deploy/grafana/dashboards.py`. `deploy/ci/prometheus.sh` fails where the
files are not what this writes, or where a panel names a metric that no node has.
"""

import json
import pathlib

FOLDER = pathlib.Path(__file__).parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "${source}"}
HERE = 'instance=~"$instance"'
EURO, SECONDS, SHARE, COUNT, RATE = "currencyEUR", "s", "percentunit", "short", "reqps"


def panel(kind, title, about, unit, *queries, runbook=None, red=None, width=8, zero=True):
    """A panel; each query is (what the legend says, the expression)."""
    steps = [{"color": "green", "value": None}]
    if red is not None:
        steps.append({"color": "red", "value": red})
    defaults = {
        "unit": unit,
        "thresholds": {"mode": "absolute", "steps": steps},
        "color": {"mode": "thresholds" if kind == "stat" else "palette-classic"},
    }
    if zero:
        defaults["min"] = 0
    if kind == "timeseries":
        style = "line" if red is not None else "off"
        defaults["custom"] = {"lineWidth": 1, "fillOpacity": 10, "showPoints": "never",
                              "thresholdsStyle": {"mode": style}}
        options = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                   "tooltip": {"mode": "multi", "sort": "desc"}}
    else:
        options = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
                   "colorMode": "value", "graphMode": "area", "justifyMode": "auto",
                   "orientation": "auto", "textMode": "auto"}
    made = {
        "type": kind, "title": title, "description": about, "datasource": SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []}, "options": options,
        "targets": [
            {"refId": chr(ord("A") + at), "datasource": SOURCE, "expr": expr, "legendFormat": legend,
             "range": True, "instant": False, "editorMode": "code"}
            for at, (legend, expr) in enumerate(queries)
        ],
        "gridPos": {"w": width, "h": 5 if kind == "stat" else 8},
    }
    if runbook:
        made["links"] = [{"title": f"Runbook: {runbook}", "url": f"${{runbook}}#{runbook.lower()}",
                          "targetBlank": True}]
    return made


def graph(*args, **kwargs):
    return panel("timeseries", *args, **kwargs)


def number(*args, **kwargs):
    return panel("stat", *args, **{"width": 4, **kwargs})


def row(title):
    return {"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": {"w": 24, "h": 1}}


def placed(panels):
    """From left to right, from top to bottom."""
    x = y = height = 0
    for at, made in enumerate(panels, 1):
        size = made["gridPos"]
        if x + size["w"] > 24:
            x, y, height = 0, y + height, 0
        made["id"], made["gridPos"] = at, {**size, "x": x, "y": y}
        x, height = x + size["w"], max(height, size["h"])
    return panels


def quantiles(metric, by="", where=HERE, window="$__rate_interval"):
    """The middle, the slow and the slowest of a histogram."""
    labels, legend = (f"le, {by}", " {{" + by + "}}") if by else ("le", "")
    rate = f"sum by ({labels}) (rate({metric}_bucket{{{where}}}[{window}]))"
    return [(f"p{name}{legend}", f"histogram_quantile({q}, {rate})")
            for name, q in (("50", 0.5), ("99", 0.99), ("99.9", 0.999))]


def rate(metric, by="", where=HERE, scale=""):
    legend = "{{" + by + "}}" if by else "a second"
    grouped = f"sum by ({by})" if by else "sum"
    return (legend, f"{grouped} (rate({metric}{{{where}}}[$__rate_interval])){scale}")


def share(bad, every):
    return f"({bad}) / ({every} > 0)"


def dashboard(uid, title, question, panels):
    def variable(name, label, **more):
        return {"name": name, "label": label, "hide": 0, "skipUrlSync": False, **more}

    text = "https://git.example.org/avis/blob/main/deploy/runbook.md"
    return {
        "uid": uid, "title": title, "description": question, "tags": ["avis"], "timezone": "browser",
        "schemaVersion": 39, "version": 1, "editable": False, "graphTooltip": 1, "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"}, "timepicker": {}, "annotations": {"list": []},
        "links": [
            {"type": "dashboards", "title": "AVIS", "tags": ["avis"], "asDropdown": True,
             "includeVars": True, "keepTime": True, "targetBlank": False, "icon": "external link",
             "tooltip": "", "url": ""},
            {"type": "link", "title": "Runbook", "url": "${runbook}", "targetBlank": True,
             "icon": "doc", "tooltip": "What to do", "tags": [], "asDropdown": False,
             "includeVars": False, "keepTime": False},
        ],
        "templating": {"list": [
            variable("source", "Prometheus", type="datasource", query="prometheus", regex="",
                     current={"text": "Prometheus", "value": "avis-prometheus"}, refresh=1,
                     multi=False, includeAll=False, options=[]),
            variable("instance", "Node", type="query", datasource=SOURCE, refresh=2, sort=1, regex="",
                     query={"query": "label_values(avis_build_info, instance)", "refId": "nodes"},
                     multi=True, includeAll=True, allValue=".*", options=[],
                     current={"text": "All", "value": "$__all"}),
            variable("runbook", "Runbook", type="textbox", query=text, options=[
                {"selected": True, "text": text, "value": text}],
                current={"text": text, "value": text}),
        ]},
        "panels": placed(panels),
    }


AUTHORISE = 'command="authorise",' + HERE
OURS = AUTHORISE + ',reason=~"limits_away|no_room|busy|late|stopping"'
ANSWERS = 'connector=~"http|grpc",status=~"[1-5]..",' + HERE
DECIDED = "avis_authoriser_decision_duration_seconds"

TERMINALS = dashboard("avis-terminals", "AVIS: terminals", "Are terminals answered, in time and rightly?", [
    number("Availability left", "What is left of thirty days' budget at the pace of the last six hours.",
           SHARE, ("", '1 - avis:error:ratio_rate6h{level="availability"} / avis:error_budget:ratio'),
           runbook="AvailabilityBurnsFast", zero=False),
    number("Latency left", "The same for decisions within 10 ms.", SHARE,
           ("", '1 - avis:error:ratio_rate6h{level="latency"} / avis:error_budget:ratio'),
           runbook="LatencyBurnsFast", zero=False),
    number("Decisions", "Answered to terminals that wait.", RATE, rate(f"{DECIDED}_count")),
    number("Slowest hundredth", "From a basket's arrival to its durable answer.", SECONDS,
           quantiles(DECIDED)[1], runbook="LatencyBurnsFast", red=0.01),
    number("Refused by us", "For a reason of ours, of all baskets.", SHARE,
           ("", share(f"sum(rate(avis_authoriser_refusals_total{{{OURS}}}[$__rate_interval]))",
                      f"sum(rate({DECIDED}_count{{{HERE}}}[$__rate_interval]))")),
           runbook="AvailabilityBurnsFast", red=0.0005),
    number("Loop at work", "Share of the one core that decides.", SHARE,
           ("", f"max(rate(avis_authoriser_busy_seconds_total{{{HERE}}}[$__rate_interval]))"),
           runbook="DecisionLoopBusy", red=0.8),
    row("Answers"),
    graph("Decisions", "By what was decided.", RATE, rate("avis_authoriser_decisions_total", "decision")),
    graph("Wait for a decision", "From a basket's arrival to its durable answer.", SECONDS,
          *quantiles(DECIDED), runbook="LatencyBurnsFast", red=0.01),
    graph("Refusals", "By why.", RATE, rate("avis_authoriser_refusals_total", "reason", AUTHORISE),
          runbook="AvailabilityBurnsFast"),
    graph("Answers by status", "All requests over HTTP and gRPC.", RATE,
          rate("avis_connectors_requests_total", "status", ANSWERS), runbook="ServerErrors"),
    graph("Duration of requests", "By protocol, until the answer begins.", SECONDS,
          *quantiles("avis_connectors_request_duration_seconds", "protocol")),
    graph("Slowest routes", "The slowest hundredth of the five slowest, until the answer begins.", SECONDS,
          ("{{method}} {{route}}", "topk(5, histogram_quantile(0.99, sum by (le, method, route) (rate("
           f"avis_connectors_request_duration_seconds_bucket{{{HERE}}}[$__rate_interval]))))")),
    graph("Routes that fail", "Answers of 5xx a second.", RATE,
          ("{{method}} {{route}}", "sum by (method, route) (rate("
           f"avis_connectors_request_duration_seconds_count{{status=\"5xx\",{HERE}}}[$__rate_interval]))"),
          runbook="ServerErrors"),
    graph("Changes", "Captures, voids, expiries, refunds.", RATE,
          rate("avis_authoriser_changes_total", "transition")),
    row("Where the time goes"),
    graph("The rules' own time", "For one basket.", SECONDS,
          *quantiles("avis_authoriser_evaluation_duration_seconds")),
    graph("Cache", "What a batch asks, by operation.", SECONDS,
          *quantiles("avis_cache_request_duration_seconds", "operation")[:2], runbook="CacheSlow"),
    graph("Round trips to the cache", "A second.", RATE,
          rate("avis_cache_request_duration_seconds_count", "operation")),
    graph("Write and sync", "Of the log.", SECONDS, *quantiles("avis_ingest_sync_duration_seconds"),
          runbook="SyncSlow", red=0.1),
    graph("Decided together, written together", "Requests of a batch, records under a sync.", COUNT,
          ("requests", f"sum(rate(avis_authoriser_batch_requests_sum{{{HERE}}}[$__rate_interval])) / "
           f"sum(rate(avis_authoriser_batch_requests_count{{{HERE}}}[$__rate_interval]))"),
          ("records", f"sum(rate(avis_ingest_sync_records_sum{{{HERE}}}[$__rate_interval])) / "
           f"sum(rate(avis_ingest_sync_records_count{{{HERE}}}[$__rate_interval]))")),
    graph("Queues", "Of their bounds.", SHARE,
          ("decisions {{instance}}", f"avis_authoriser_queue_requests{{{HERE}}} / "
           f"avis_authoriser_queue_limit_requests{{{HERE}}}"),
          ("appends {{instance}}", f"avis_ingest_waiting_appends{{{HERE}}} / "
           f"avis_ingest_waiting_appends_limit{{{HERE}}}"), runbook="DecisionQueueFills", red=0.5),
    graph("In flight", "Requests that are being answered.", COUNT,
          ("{{protocol}}", f"sum by (protocol) (avis_connectors_requests_in_flight{{{HERE}}})")),
    graph("Age of the rules", "Since rules and people were last looked at.", SECONDS,
          ("{{instance}}", f"time() - (avis_authoriser_refreshed_timestamp_seconds{{{HERE}}} > 0)"),
          runbook="DecisionLoopStuck", red=60),
    graph("Rules behind", "Changes of the registry that are not in force.", COUNT,
          ("{{instance}}", "sum by (instance) (avis_ingest_end_offset{stream=\"registry-changes\"," + HERE
           + f"}}) - on (instance) avis_authoriser_registry_offset{{{HERE}}} and on (instance) "
           f"(avis_authoriser_queue_limit_requests{{{HERE}}} > 0)"), runbook="RulesBehind"),
])

PIPELINES = dashboard("avis-pipelines", "AVIS: pipelines", "Do queries see what has happened, and is all of it there?", [
    number("Freshness left", "What is left of thirty days' budget at the pace of the last six hours.",
           SHARE, ("", '1 - avis:error:ratio_rate6h{level="freshness"} / avis:error_budget:ratio'),
           runbook="FreshnessBurnsFast", zero=False),
    number("Slowest hundredth", "Until queries see a record's rows.", SECONDS,
           quantiles("avis_pipelines_visible_duration_seconds")[1], runbook="FreshnessBurnsFast", red=2),
    number("Records appended", "To all streams.", RATE, rate("avis_ingest_appended_total")),
    number("Not landed", "Records, of the pipeline that lacks most.", COUNT,
           ("", f"max(avis_pipelines_lag_records{{{HERE}}})"), runbook="PipelineLags", red=100_000),
    number("Gaps in the register", "Runs of changes of people that have not come.", COUNT,
           ("", f"max(avis_connectors_person_change_gaps{{{HERE}}})"), runbook="PersonChangesMissing", red=1),
    number("Restarts", "Of pipelines, in the last hour.", COUNT,
           ("", f"sum(increase(avis_pipelines_restarts_total{{{HERE}}}[1h]))"),
           runbook="PipelinesRestart", red=1),
    row("In"),
    graph("Appended", "By stream.", RATE, rate("avis_ingest_appended_total", "stream")),
    graph("Messages", "Of other systems, by what became of them.", RATE,
          ("{{connector}} {{status}}", "sum by (connector, status) (rate(avis_connectors_requests_total{"
           f'connector!~"http|grpc",{HERE}}}[$__rate_interval]))')),
    graph("Refused", "By source and reason.", RATE,
          ("{{source}} {{reason}}", "sum by (source, reason) (rate(avis_ingest_dead_letters_total{"
           f"{HERE}}}[$__rate_interval]))"), runbook="DeadLettersRise"),
    row("Through"),
    graph("Until queries see it", "By pipeline, the slowest hundredth.", SECONDS,
          ("{{pipeline}}", "histogram_quantile(0.99, sum by (le, pipeline) "
           f"(rate(avis_pipelines_visible_duration_seconds_bucket{{{HERE}}}[$__rate_interval])))"),
          runbook="FreshnessBurnsFast", red=2),
    graph("Not landed", "Records, by pipeline.", COUNT,
          ("{{pipeline}}", f"max by (pipeline) (avis_pipelines_lag_records{{{HERE}}})"),
          runbook="PipelineLags"),
    graph("Age of commits", "Wait of the oldest record of each table's newest commit.", SECONDS,
          ("{{table}}", f"max by (table) (avis_pipelines_freshness_seconds{{{HERE}}})")),
    graph("Rows in memory", "That have not landed.", COUNT,
          ("{{table}}", f"max by (table) (avis_warehouse_tail_rows{{{HERE}}})"), runbook="LandingStuck"),
    graph("Late records", "That came after their window had closed.", RATE,
          rate("avis_pipelines_late_records_total", "pipeline"), runbook="LateRecords"),
    graph("Fluvio", "Records that were not read back.", COUNT,
          ("{{stream}}", f"sum by (stream) (avis_ingest_fluvio_waiting_records{{{HERE}}})"),
          runbook="OutboxWaits"),
    row("Tables"),
    graph("Commits", "A minute.", COUNT,
          rate("avis_warehouse_commit_duration_seconds_count", "table", scale=" * 60")),
    graph("Duration of a commit", "All tables.", SECONDS,
          *quantiles("avis_warehouse_commit_duration_seconds"), runbook="CommitsSlow", red=8),
    graph("Rows", "That commits added, a second.", COUNT,
          rate("avis_warehouse_committed_rows_total", "table")),
    graph("Files", "Of each table's newest version.", COUNT,
          ("{{table}}", f"max by (table) (avis_warehouse_live_files{{{HERE}}})"),
          runbook="FilesPileUp", red=10_000),
    graph("Upkeep", "Files that were dealt with, an hour.", COUNT,
          rate("avis_warehouse_upkeep_files_total", "action", scale=" * 3600")),
    graph("Versions", "Of each table.", COUNT,
          ("{{table}}", f"max by (table) (avis_warehouse_table_version{{{HERE}}})")),
    row("Analysts"),
    graph("Statements", "By how they ended.", RATE,
          rate("avis_warehouse_statement_duration_seconds_count", "outcome"), runbook="StatementsFail"),
    graph("Duration of statements", "By door.", SECONDS,
          *quantiles("avis_warehouse_statement_duration_seconds", "door")),
    graph("Connections", "By door, beside their bound.", COUNT,
          ("{{door}}", f"sum by (door) (avis_warehouse_connections{{{HERE}}})"),
          ("bound", f"max(avis_warehouse_connections_limit{{{HERE}}})"),
          ("statements", f"sum(avis_warehouse_statements_in_flight{{{HERE}}})"), runbook="SqlPlacesTaken"),
])

FINANCE = dashboard("avis-finance", "AVIS: finance", "Is the money right, and where does it stand?", [
    number("Books differ by", "Statements and stream, in euro: 0, always.", EURO,
           ("", f"max(avis_books_difference_cents{{{HERE}}}) / 100"), runbook="BooksDiffer", red=0.01),
    number("Last proof", "Since the books were last proved.", SECONDS,
           ("", f"time() - max(avis_books_proved_timestamp_seconds{{{HERE}}})"),
           runbook="BooksNotProved", red=21_600, width=3),
    number("Given today", "In benefits, in the last 24 hours.", EURO,
           ("", f"sum(increase(avis_authoriser_benefit_cents_total{{{HERE}}}[24h])) / 100")),
    number("Beyond the rules", "Given by offline terminals, in the last 24 hours.", EURO,
           ("", f"sum(increase(avis_authoriser_excess_cents_total{{{HERE}}}[24h])) / 100"),
           runbook="OfflineExcess", red=100),
    number("Unmatched payments", "Entries of banks' files that fit no statement.", COUNT,
           ("", f"max(avis_settlement_unmatched_payments{{{HERE}}})"), runbook="PaymentsUnmatched", red=1,
           width=3),
    number("Broken decisions", "That break an invariant: none, ever.", COUNT,
           ("", f"sum(increase(avis_authoriser_broken_invariants_total{{{HERE}}}[24h]))"),
           runbook="InvariantBroken", red=1, width=3),
    number("Limits exceeded", "In the sum of the stream: none, ever.", COUNT,
           ("", f"max(avis_authoriser_overspent_limits{{{HERE}}})"),
           runbook="LimitsOverspent", red=1, width=3),
    graph("Given in benefits", "Euro an hour, and a week before.", EURO,
          ("now", f"sum(rate(avis_authoriser_benefit_cents_total{{{HERE}}}[$__rate_interval])) * 36"),
          ("a week before", f"sum(rate(avis_authoriser_benefit_cents_total{{{HERE}}}[$__rate_interval] "
           "offset 1w)) * 36"), width=12),
    graph("Beyond the rules", "Euro an hour that offline terminals gave.", EURO,
          ("", f"sum(rate(avis_authoriser_excess_cents_total{{{HERE}}}[$__rate_interval])) * 36"),
          runbook="OfflineExcess", width=12),
    graph("Statements", "By where they stand.", COUNT,
          ("{{state}}", f"max by (state) (avis_settlement_statements{{{HERE}}})"), width=12),
    graph("Since the newest closed month", "Above 41 days the last month is not closed.", SECONDS,
          ("", f"time() - (max(avis_settlement_closed_until_timestamp_seconds{{{HERE}}}) > 0)"),
          runbook="MonthNotClosed", red=41 * 86_400, width=12),
    graph("Refunds and captures", "A second.", RATE, rate("avis_authoriser_changes_total", "transition"),
          width=12),
    graph("Books differ by", "Euro.", EURO,
          ("{{instance}}", f"avis_books_difference_cents{{{HERE}}} / 100"), runbook="BooksDiffer", width=12),
])

CENTRES = dashboard("avis-centres", "AVIS: service centres", "Do clients reach an official, and how soon?", [
    number("Waiting", "Calls for which nobody is free.", COUNT,
           ("", f'max(avis_connectors_calls{{stage="waiting",{HERE}}})'), runbook="ClientsWait", red=10),
    number("Talking", "Calls that are connected.", COUNT,
           ("", f'max(avis_connectors_calls{{stage="connected",{HERE}}})')),
    number("Free officials", "Who can be called now.", COUNT,
           ("", f'max(avis_connectors_officials{{availability="available",{HERE}}})'), runbook="NobodyOnDuty"),
    number("One in ten waits", "Longer than this for an official.", SECONDS,
           ("", "histogram_quantile(0.9, sum by (le) "
            f"(rate(avis_connectors_call_wait_seconds_bucket{{{HERE}}}[30m])))"),
           runbook="ClientsWait", red=300),
    number("Answered", "Of the calls of the last hour that are over.", SHARE,
           ("", share(f'sum(increase(avis_connectors_call_steps_total{{step="ended",{HERE}}}[1h]))',
                      f'sum(increase(avis_connectors_call_steps_total{{step=~"ended|abandoned",{HERE}}}[1h]))')),
           runbook="ClientsWait"),
    number("Listeners", "To the live board.", COUNT,
           ("", f"sum(avis_connectors_board_listeners{{{HERE}}})")),
    graph("Calls", "That are open, by where they stand.", COUNT,
          ("{{stage}}", f"max by (stage) (avis_connectors_calls{{{HERE}}})"), runbook="ClientsWait", width=12),
    graph("Officials", "By whether they can be reached.", COUNT,
          ("{{availability}}", f"max by (availability) (avis_connectors_officials{{{HERE}}})"),
          runbook="NobodyOnDuty", width=12),
    graph("Wait for an official", "From the request to the official's yes.", SECONDS,
          *quantiles("avis_connectors_call_wait_seconds", window="30m")[:2], runbook="ClientsWait",
          red=300, width=12),
    graph("Steps of calls", "A minute.", COUNT,
          rate("avis_connectors_call_steps_total", "step", scale=" * 60"), width=12),
    graph("Listeners", "To the live board, beside their bound.", COUNT,
          ("listeners {{instance}}", f"avis_connectors_board_listeners{{{HERE}}}"),
          ("bound", f"max(avis_connectors_board_listeners_limit{{{HERE}}})"), width=12),
    graph("Events of the centres", "Taken from their own systems.", RATE,
          ("{{status}}", 'sum by (status) (rate(avis_connectors_requests_total{connector="vpvkac",'
           f"{HERE}}}[$__rate_interval]))"), width=12),
])

NODES = dashboard("avis-nodes", "AVIS: nodes", "Do the machines have room?", [
    number("Up", "Nodes that answer.", COUNT, ("", 'sum(up{job="avis"})'), runbook="NodeDown"),
    number("Ready", "Nodes that have caught up.", COUNT, ("", f"sum(avis_node_ready{{{HERE}}})"),
           runbook="NodeNotReady"),
    number("Free of the disk", "Of the fullest.", SHARE,
           ("", f"min(avis_disk_free_bytes{{{HERE}}} / avis_disk_size_bytes{{{HERE}}})"), runbook="DiskFills"),
    number("Logs that stopped", "After a failed write or sync.", COUNT,
           ("", f"sum(avis_ingest_stopped{{{HERE}}})"), runbook="SyncFailed", red=1),
    number("Certificate", "Until it ends; below 0 there is none.", SECONDS,
           ("", f"min(avis_node_certificate_expiry_timestamp_seconds{{{HERE}}}) - time()"),
           runbook="CertificateEnds", zero=False),
    number("Versions", "That run side by side.", COUNT,
           ("", "count(count by (version) (avis_build_info))"), runbook="VersionsDiffer", red=2),
    graph("Processors", "Cores in use.", COUNT,
          rate("avis_process_cpu_seconds_total", "instance")),
    graph("Memory", "In use.", "bytes",
          ("{{instance}}", f"avis_process_resident_memory_bytes{{{HERE}}}"), runbook="MemoryDrifts"),
    graph("Free of the disk", "Under the node's folder.", "bytes",
          ("{{instance}}", f"avis_disk_free_bytes{{{HERE}}}"), runbook="DiskFills"),
    graph("Files and connections", "Open, of what may be.", SHARE,
          ("{{instance}}", f"avis_process_open_fds{{{HERE}}} / avis_process_max_fds{{{HERE}}}"),
          runbook="FilesRunOut", red=0.8),
    graph("Threads", "Of the process.", COUNT, ("{{instance}}", f"avis_process_threads{{{HERE}}}")),
    graph("Up since", "Seconds since the start.", SECONDS,
          ("{{instance}}", f"time() - avis_process_start_time_seconds{{{HERE}}}"), runbook="NodeRestarts"),
    graph("Refused appends", "By why.", RATE, rate("avis_ingest_refused_appends_total", "reason"),
          runbook="DiskRefuses"),
    graph("Lost counters", "Batches that were decided anew.", RATE, rate("avis_authoriser_counters_lost_total"),
          runbook="CountersLost"),
    graph("Connections to Fluvio", "Made in an hour; holes that were read again.", COUNT,
          ("connections", f"sum(increase(avis_ingest_fluvio_connections_total{{{HERE}}}[1h]))"),
          ("holes", f"sum(increase(avis_ingest_fluvio_holes_total{{{HERE}}}[1h]))"),
          runbook="StreamStopped"),
])


def main():
    FOLDER.mkdir(exist_ok=True)
    for made in (TERMINALS, PIPELINES, FINANCE, CENTRES, NODES):
        name = made["uid"].removeprefix("avis-")
        text = json.dumps(made, indent=1, ensure_ascii=False) + "\n"
        (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
