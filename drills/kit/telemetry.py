"""Clients of the APIs of Jaeger, Prometheus and Loki, which Grafana uses too."""

import http.client
import json
import math
import time
import urllib.parse
from dataclasses import dataclass

from .sandbox import DrillFailed

REQUEST_TIMEOUT_SECONDS = 30


def fetch(port, path, **parameters):
    """Returns the status and the JSON value of a GET request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=REQUEST_TIMEOUT_SECONDS)
    try:
        query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
        connection.request("GET", path + query)
        response = connection.getresponse()
        text = response.read().decode()
    except (OSError, http.client.HTTPException) as error:
        raise DrillFailed(f"GET {path} at port {port}: {error}") from error
    finally:
        connection.close()
    try:
        return response.status, json.loads(text)
    except ValueError:
        return response.status, text


@dataclass
class Span:
    id: str
    service: str
    name: str
    tags: dict
    # (type, trace id, span id): CHILD_OF for the parent, FOLLOWS_FROM for a link.
    references: list
    # In microseconds since 1970.
    start: int

    @property
    def parents(self):
        return [span for kind, _, span in self.references if kind == "CHILD_OF"]

    @property
    def linked_traces(self):
        return [trace for kind, trace, _ in self.references if kind == "FOLLOWS_FROM"]

    @property
    def is_sql(self):
        return "db.query.text" in self.tags


class Traces:
    """Jaeger's API, as Grafana's data source for Jaeger uses it."""

    def __init__(self, port):
        self.port = port

    def services(self):
        return self._data("/api/services")

    def trace(self, trace_id):
        """Returns the spans of a trace; none if Jaeger does not know it."""
        status, value = fetch(self.port, f"/api/traces/{trace_id}")
        return self._spans(value["data"]) if status == 200 else []

    def search(self, service, operation, tags):
        """Returns the spans of the traces that have an operation with these tags."""
        end = int(time.time() * 1e6)
        found = self._data(
            "/api/traces",
            service=service,
            operation=operation,
            tags=json.dumps(tags),
            start=end - 3_600_000_000,
            end=end,
            limit=20,
        )
        return self._spans(found)

    def _data(self, path, **parameters):
        status, value = fetch(self.port, path, **parameters)
        if status != 200:
            raise DrillFailed(f"Jaeger: {path}: {status} {value}")
        return value["data"]

    def _spans(self, traces):
        return [self._span(trace, span) for trace in traces for span in trace["spans"]]

    def _span(self, trace, span):
        references = [
            (reference["refType"], reference["traceID"], reference["spanID"])
            for reference in span["references"]
        ]
        return Span(
            id=span["spanID"],
            service=trace["processes"][span["processID"]]["serviceName"],
            name=span["operationName"],
            tags={tag["key"]: tag["value"] for tag in span["tags"]},
            references=references,
            start=span["startTime"],
        )


class Metrics:
    """Prometheus' API."""

    def __init__(self, port):
        self.port = port

    def api(self, path, **parameters):
        status, value = fetch(self.port, f"/api/v1/{path}", **parameters)
        if status != 200 or value["status"] != "success":
            raise DrillFailed(f"Prometheus: {parameters or path}: {status} {value}")
        return value["data"]

    def values(self, expression):
        """Returns the current value of each series."""
        result = self.api("query", query=expression)["result"]
        return [float(series["value"][1]) for series in result]

    def numbers_in_range(self, expression, seconds, step=5):
        """Returns all numbers that a panel over the last seconds shows."""
        end = time.time()
        result = self.api("query_range", query=expression, start=end - seconds, end=end, step=step)
        values = [float(value) for series in result["result"] for _, value in series["values"]]
        return [value for value in values if not math.isnan(value)]


@dataclass
class LogLine:
    labels: dict
    time: float
    text: str

    @property
    def fields(self):
        return json.loads(self.text)


class LogStore:
    """Loki's API."""

    def __init__(self, port):
        self.port = port

    def _data(self, path, **parameters):
        status, value = fetch(self.port, f"/loki/api/v1/{path}", **parameters)
        if status != 200:
            raise DrillFailed(f"Loki: {parameters or path}: {status} {value}")
        return value.get("data", [])

    def label_names(self):
        return self._data("labels")

    def lines(self, expression, start=None, end=None):
        """Returns the lines of the last hour, or between two times, oldest first."""
        end = end or time.time() + 1
        start = start or end - 3600
        parameters = {"start": int(start * 1e9), "end": int(end * 1e9), "limit": 1000}
        streams = self._data("query_range", query=expression, **parameters)["result"]
        lines = [
            LogLine(stream["stream"], int(nanoseconds) / 1e9, text)
            for stream in streams
            for nanoseconds, text in stream["values"]
        ]
        return sorted(lines, key=lambda line: line.time)
