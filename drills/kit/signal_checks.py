"""Checks that orders are found in Jaeger, Loki and Prometheus.

Each check yields the sentences that the drill prints.
"""

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from . import grafana
from .observed_platform import FOREIGN_LINE
from .sandbox import DrillFailed, wait_for

SERVICES = {"order-service", "inventory-service", "payment-service"}
# A degraded order must be found in each signal within this time.
DISCOVERY_TIMEOUT_SECONDS = 60
DEGRADED_ORDERS = 10
# If Jaeger traced the requests to its own API, it would store them within this time.
OWN_TRACES_SECONDS = 6
SECONDS_WITHOUT_PROMTAIL = 2
LOG_LABELS = {"service", "level", "container"}


def require(condition, sentence):
    if not condition:
        raise DrillFailed(sentence)


def eventually(what, condition):
    return wait_for(what, condition, DISCOVERY_TIMEOUT_SECONDS, interval=0.25)


# Traces


def complete_trace(platform, trace_id):
    """Returns the spans of a trace once all three services and their SQL are in it, else None."""
    spans = platform.traces.trace(trace_id)
    with_sql = {span.service for span in spans if span.is_sql}
    return spans if with_sql == SERVICES else None


def check_trace(platform):
    order = platform.place()
    require(order.status == 201, f"the order was answered {order.status}")
    what = "a trace with the SQL of all three services"
    spans = eventually(what, lambda: complete_trace(platform, order.trace_id))
    seconds = time.time() - order.responded_at
    yield f"POST /orders: {order.status}, trace {order.trace_id}, in Jaeger after {seconds:.1f} s"
    ids = {span.id for span in spans}
    roots = [span for span in spans if not ids.intersection(span.parents)]
    names = [f"{span.service} {span.name}" for span in roots]
    require(names == ["order-service POST /orders"], f"the trace does not have one root: {names}")
    counts = Counter(span.service for span in spans)
    for service in sorted(SERVICES):
        sql = sum(span.is_sql and span.service == service for span in spans)
        yield f"{service}: {counts[service]} spans, {sql} of them SQL"
    platform.traces.services()
    time.sleep(OWN_TRACES_SECONDS)
    known = set(platform.traces.services())
    require(known == SERVICES, f"Jaeger has traces of {known}")
    yield "Jaeger has traces of the three services alone"


# Logs


def lines_of(platform, text):
    return platform.log_store.lines(f'{{service=~".+-service"}} |= "{text}"')


def check_logs(platform):
    order = platform.place()

    def all_lines():
        lines = lines_of(platform, order.id)
        return lines if {line.labels["service"] for line in lines} == SERVICES else None

    lines = eventually("a line of each service about the order", all_lines)
    seconds = time.time() - order.responded_at
    yield f"{len(lines)} lines with the order's id in Loki after {seconds:.1f} s"
    for line in lines:
        labels = {"service": line.fields["service"], "container": line.fields["service"]}
        labels["level"] = line.fields["level"].lower()
        require(line.labels == labels, f"the line {line.text} has the labels {line.labels}")
        require(line.fields["trace_id"] == order.trace_id, f"another trace: {line.text}")
        require(line.fields["order_id"] == order.id, f"another order: {line.text}")
        require(order.sent_at - 1 < line.time < time.time() + 1, f"{line.time}: {line.text}")
    names = set(platform.log_store.label_names())
    require(names == LOG_LABELS, f"Loki has the labels {names}")
    yield f"labels: {', '.join(sorted(names))}; example {json.dumps(lines[-1].labels)}"
    postgres = eventually(
        "a line of PostgreSQL", lambda: platform.log_store.lines('{container="postgres"}')
    )
    labels = postgres[0].labels
    require(labels == {"service": "postgres", "container": "postgres"}, f"PostgreSQL: {labels}")
    foreign = platform.log_store.lines(f'{{service=~".+"}} |= "{FOREIGN_LINE}"')
    require(not foreign, "a line of another project's container is in Loki")
    yield f"{len(postgres)} lines of PostgreSQL, none of another project's container"


def check_promtail_restart(platform):
    """A line is stored once, also when Promtail was away while it was written."""
    before = platform.place()
    eventually("the lines of an order", lambda: len(lines_of(platform, before.id)) >= 4)
    platform.promtail.stop()
    during = platform.place()
    # A line has the time that Docker wrote, not the time at which Promtail read it.
    time.sleep(SECONDS_WITHOUT_PROMTAIL)
    platform.promtail.start(platform.loki, platform.logs.directory)
    platform.promtail.wait_until_ready()
    after = platform.place()
    for order in (during, after):
        eventually("the lines of an order", lambda: len(lines_of(platform, order.id)) >= 4)
    for order in (before, during, after):
        lines = [line.text for line in lines_of(platform, order.id)]
        require(len(lines) == len(set(lines)), f"a line of order {order.id} is stored twice")
    latest = max(line.time for line in lines_of(platform, during.id))
    require(
        latest < during.responded_at + SECONDS_WITHOUT_PROMTAIL,
        f"a line of order {during.id} has the time at which Promtail read it",
    )
    yield "the lines of three orders, before, during and after the restart, are stored once"


# A degraded order


def degraded_trace(platform, order):
    spans = platform.traces.trace(order.trace_id)
    return [span for span in spans if span.service == "order-service" and "error.type" in span.tags]


def degraded_lines(platform, order):
    lines = lines_of(platform, order.trace_id)
    return [line for line in lines if line.labels["level"] == "warn" and order.id in line.text]


def counted_order(platform, _order):
    series = 'valerix_order_transitions_total{reason="inventory-timed-out"}'
    return platform.metrics.values(series)


def red_light(platform, _order):
    queries = [
        query for board in grafana.dashboards() for query in board.queries("prometheus")
    ]
    [light] = [expression for title, expression in queries if title == "SLA traffic light"]
    return [value for value in platform.metrics.values(light) if value > 1]


def await_first_order(platform):
    """Waits until Prometheus has a sample of an order, without which it computes no rate."""
    platform.place()
    if platform.metrics:
        series = 'http_requests_total{path="/orders",status_code="201"}'
        eventually("a sample of an order", lambda: platform.metrics.values(series))


def check_degraded_order(platform):
    await_first_order(platform)
    platform.set_latency(True)
    # Several, so that their average is above the goal of 1 s.
    with ThreadPoolExecutor(DEGRADED_ORDERS) as clients:
        orders = list(clients.map(lambda _: platform.place(), range(DEGRADED_ORDERS)))
    order = orders[0]
    require(order.status == 202, f"the order was answered {order.status}")
    yield f"POST /orders: 202 after {order.responded_at - order.sent_at:.1f} s; order {order.id}"
    signals = [
        ("Jaeger has its failed call", platform.traces, degraded_trace),
        ("Loki has its warnings", platform.log_store, degraded_lines),
        ("Prometheus has counted the reason", platform.metrics, counted_order),
        ("the SLA traffic light is red", platform.metrics, red_light),
    ]
    pending = {what: find for what, backend, find in signals if backend}
    deadline = order.responded_at + DISCOVERY_TIMEOUT_SECONDS
    while pending:
        for what, find in list(pending.items()):
            if find(platform, order):
                del pending[what]
                yield f"{what} {time.time() - order.responded_at:.1f} s after the answer"
        require(time.time() < deadline or not pending, f"not within a minute: {list(pending)}")
        time.sleep(0.25)
    platform.set_latency(False)
    platform.services.wait_until_settled()
    yield from check_recovery(platform, order)


def check_recovery(platform, order):
    if platform.traces:
        yield from check_recovery_trace(platform, order)
    if platform.log_store:

        def attempts():
            lines = lines_of(platform, order.id)
            changes = [line for line in lines if '"status":"CONFIRMED"' in line.text]
            return {line.fields["trace_id"] for line in lines} if changes else None

        traces = eventually("the line of the confirmation", attempts)
        require(len(traces) > 1, "the recovery has the trace of the request")
        yield f"Loki leads from the order's id to {len(traces)} traces"


def check_recovery_trace(platform, order):
    def recovery():
        tags = {"order_id": order.id}
        spans = platform.traces.search("order-service", "recover order", tags)
        return [span for span in spans if order.trace_id in span.linked_traces]

    spans = eventually("a recovery attempt that links to the order's trace", recovery)
    yield f"recovery attempts in Jaeger with a link to the order's trace: {len(spans)}"


def check_without_observers(platform):
    for observer in platform.running():
        observer.stop()
    order = platform.place()
    require(order.status == 201, f"the order was answered {order.status}")
    seconds = order.responded_at - order.sent_at
    yield f"all of them are stopped, and an order is confirmed after {seconds:.2f} s"
