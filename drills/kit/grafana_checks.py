"""Checks that the queries of Grafana's dashboards and links get data.

Each check yields the sentences that the drill prints.
"""

import re

from . import grafana
from .sandbox import wait_for
from .signal_checks import SERVICES, complete_trace, eventually, lines_of, require
from .telemetry import fetch

# Longer than the time over which the panels compute rates.
PANEL_TIMEOUT_SECONDS = 60
# The dashboard shows the last 15 minutes.
PANEL_RANGE_SECONDS = 900


def check_targets(platform):
    expected = {"valerix", "prometheus"} | ({"otel-collector"} if platform.traces else set())

    def all_up():
        targets = platform.metrics.api("targets")["activeTargets"]
        targets = [target for target in targets if target["labels"]["job"] in expected]
        is_up = all(target["health"] == "up" for target in targets)
        return is_up and len(targets) == len(SERVICES) + len(expected) - 1 and targets

    targets = eventually("Prometheus' targets to be up", all_up)
    groups = platform.metrics.api("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    faulty = [rule["name"] for rule in rules if rule["health"] == "err"]
    require(not faulty, f"Prometheus cannot evaluate {faulty}")
    yield f"{len(targets)} targets up, {len(rules)} rules without an error"
    if platform.traces:
        spans = "sum(otelcol_exporter_sent_spans_total) or sum(otelcol_exporter_sent_spans)"
        sent = eventually("the collector's metrics", lambda: platform.metrics.values(spans))
        yield f"the collector says that it sent {sent[0]:g} spans to Jaeger"


def check_panels(platform):
    for board in grafana.dashboards():
        variables = {name: "" for name in board.variables()}
        queries = board.queries("prometheus") + board.annotations()
        for title, expression in queries:
            expression = grafana.replace_variables(expression, variables)
            wait_for(
                f"data for the panel {title!r}: {expression}",
                lambda: platform.metrics.numbers_in_range(expression, PANEL_RANGE_SECONDS),
                PANEL_TIMEOUT_SECONDS,
                interval=1,
            )
        yield f"{board.name}: queries to Prometheus, all with data: {len(queries)}"


def check_log_panels(platform):
    order = platform.place()
    for board in grafana.dashboards():
        queries = board.queries("loki")
        for title, expression in queries:
            for value in ("", order.id, order.trace_id):
                variables = {name: value for name in board.variables()}
                query = grafana.replace_variables(expression, variables)
                eventually(
                    f"lines in the panel {title!r}: {query}",
                    lambda: platform.log_store.lines(query),
                )
        yield f"{board.name}: queries to Loki, all with lines for an order's ids: {len(queries)}"


def check_links(platform):
    order = platform.place()
    eventually("the whole trace", lambda: complete_trace(platform, order.trace_id))
    line = eventually("a line of the order", lambda: lines_of(platform, order.id))[0]
    found = re.search(grafana.provisioned("matcherRegex"), line.text)
    require(found, f"the link to the trace does not match {line.text}")
    spans = platform.traces.trace(found[1])
    require(spans, f"Jaeger does not have the trace {found[1]} of the line {line.text}")
    yield f"from a log line to its trace: {found[1]}, {len(spans)} spans"
    query = grafana.provisioned("query").replace("${__trace.traceId}", order.trace_id)
    began = min(span.start for span in spans) / 1e6

    def all_services():
        lines = platform.log_store.lines(query, began - 300, began + 300)
        return lines if {line.labels["service"] for line in lines} >= SERVICES else None

    lines = eventually(f"lines of all services for {query}", all_services)
    yield f"from the trace to its log lines: {query}, {len(lines)} lines"
    template = platform.get("order", "/dashboard.json")["trace_url"]
    path = template.replace("{trace_id}", order.trace_id).split(str(platform.jaeger.port), 1)[1]
    status, _ = fetch(platform.jaeger.port, path)
    require(status == 200, f"GET {path} at Jaeger: {status}")
    yield f"from the dashboard to Jaeger: GET {path}: 200"


def check_definitions(_platform):
    for board in grafana.dashboards():
        faults = list(board.faults())
        require(not faults, "; ".join(faults))
        yield f"{board.name}: {len(board.panels)} panels, none covers another"
