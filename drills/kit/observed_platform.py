"""The three services and their database, watched by the observability programs that are there."""

import http.client
import json
import re
import secrets
import time
from dataclasses import dataclass

from .container_logs import ContainerLogs
from .database import Database
from .observers import ROOT, Collector, Jaeger, Loki, Prometheus, Promtail
from .sandbox import DrillFailed
from .services import Services
from .telemetry import LogStore, Metrics, Traces

FOREIGN_LINE = "a line of another project's container"
# Longer than DOWNSTREAM_TIMEOUT_MS.
DEGRADING_DELAY_MS = 5000


@dataclass
class PlacedOrder:
    id: str
    status: int
    trace_id: str
    sent_at: float
    responded_at: float


def container_tag():
    """Returns the tag by which Promtail knows the containers of this project."""
    compose = (ROOT / "docker-compose.yml").read_text()
    return re.search(r'tag: "([^"]+)"', compose)[1]


class ObservedPlatform:
    def __init__(self, sandbox, program):
        self.collector, self.jaeger = Collector(sandbox), Jaeger(sandbox)
        self.loki, self.promtail = Loki(sandbox), Promtail(sandbox)
        self.prometheus = Prometheus(sandbox)
        listed = [self.collector, self.jaeger, self.prometheus, self.promtail, self.loki]
        self.observers = {observer.name: observer for observer in listed}
        self.logs = ContainerLogs(sandbox, container_tag())
        self.database = Database(sandbox)
        # Decided once all ports are known.
        self.variables = {"GREMLIN_ENABLED": "true", "PAYMENT_SUCCESS_RATE": "1"}
        self.services = Services(
            sandbox, program, variables=self.variables, container_logs=self.logs
        )
        self.traces = Traces(self.jaeger.port) if self.has("otelcol", "jaeger") else None
        self.metrics = Metrics(self.prometheus.port) if self.has("prometheus") else None
        self.log_store = LogStore(self.loki.port) if self.has("loki", "promtail") else None

    def missing(self):
        return {name for name, observer in self.observers.items() if not observer.program}

    def has(self, *names):
        return not self.missing().intersection(names)

    def start(self):
        if self.traces:
            self.jaeger.start()
            self.collector.start(self.jaeger)
            # Without a scheme, as in docker-compose.yml.
            self.variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"127.0.0.1:{self.collector.otlp_port}"
            self.variables["TRACE_URL"] = f"http://{self.jaeger.address}/trace/{{trace_id}}"
        if self.log_store:
            self.loki.start()
            self.promtail.start(self.loki, self.logs.directory)
        if self.metrics:
            self.prometheus.start(self.services, self.collector)
        self.logs.create_foreign().write(f"{FOREIGN_LINE}\n")
        self.database.start(self.logs.create("postgres"))
        self.services.start(self.database.url)
        self.services.wait_until_ready()
        for observer in self.running():
            observer.wait_until_ready()

    def running(self):
        return [observer for observer in self.observers.values() if observer.process]

    def place(self):
        """Places an order as the dashboard's form does."""
        origin = f"http://127.0.0.1:{self.services.order_port}"
        headers = {
            "origin": origin,
            "sec-fetch-site": "same-origin",
            "idempotency-key": secrets.token_hex(16),
        }
        body = {"product_id": "PROD-001", "quantity": 1}
        sent_at = time.time()
        response, value = self._send("order", "POST", "/orders", body, headers)
        if response.status not in (201, 202):
            raise DrillFailed(f"POST /orders: {response.status} {value}")
        trace_id = response.getheader("x-trace-id")
        return PlacedOrder(value["id"], response.status, trace_id, sent_at, time.time())

    def set_latency(self, is_enabled):
        """Turns on or off that inventory responds later than the order service waits."""
        body = {"enabled": is_enabled, "delay_ms": DEGRADING_DELAY_MS}
        response, value = self._send("inventory", "POST", "/gremlin/latency", body)
        if response.status != 200:
            raise DrillFailed(f"POST /gremlin/latency: {response.status} {value}")

    def get(self, service, path):
        return self._send(service, "GET", path)[1]

    def _send(self, service, method, path, body=None, headers=None):
        port = self.services.ports[service]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            content = {} if body is None else {"content-type": "application/json"}
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, content | (headers or {}))
            response = connection.getresponse()
            return response, json.loads(response.read())
        finally:
            connection.close()
