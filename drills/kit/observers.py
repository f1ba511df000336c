"""The observability programs, each with the configuration that its container has.

Ports, addresses and paths differ, and nothing else: each change is listed with its program.
"""

import os
import shutil
from pathlib import Path

from .sandbox import DrillFailed, free_port, wait_for
from .services import SERVICES, get

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_SECONDS = 90
# The port of each service in docker-compose.yml.
CONTAINER_PORTS = {"order": 5001, "inventory": 5002, "payment": 5003}


def find_program(name):
    """Returns the path that the variable names (`LOKI` for `loki`), or that of the PATH."""
    variable = name.upper()
    if chosen := os.environ.get(variable):
        if not os.access(chosen, os.X_OK):
            raise DrillFailed(f"{variable} names {chosen}, which is not a program")
        return str(Path(chosen).absolute())
    return shutil.which(name)


def configuration(path, changes):
    """Returns the text of a configuration file of this project, with other addresses and paths."""
    text = (ROOT / path).read_text()
    for there, here in changes.items():
        if there not in text:
            raise DrillFailed(f"{path} does not contain {there!r}: adapt the drill")
        text = text.replace(there, str(here))
    return text


class Observer:
    """A program that may be missing. `port` is that of its API, `ready_path` that of its health."""

    name = None
    ready_path = None

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.program = find_program(self.name)
        self.port = free_port()
        self.health_port = self.port
        self.directory = sandbox.directory(self.name)
        self.process = None

    def how_to_name(self):
        return f"install it, or set {self.name.upper()} to its path"

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def launch(self, arguments, environment=None):
        command = [self.program, *arguments]
        try:
            self.process = self.sandbox.start(command, self.directory, environment)
        except OSError as error:
            raise DrillFailed(f"{self.program} does not start: {error.strerror}") from error

    def configure(self, path, changes):
        name = f"{self.name}-configuration/{Path(path).name}"
        return self.sandbox.file(name, configuration(path, changes))

    def wait_until_ready(self):
        wait_for(f"{self.name} to be ready", self._is_ready, START_TIMEOUT_SECONDS, interval=0.2)

    def _is_ready(self):
        if self.process.poll() is not None:
            lines = Path(f"{self.directory}.log").read_text(errors="replace").splitlines()
            raise DrillFailed("\n".join([f"{self.name} ended:", *lines[-15:]]))
        response = get(self.health_port, self.ready_path)
        return response and response[0] == 200

    def log_lines(self):
        return Path(f"{self.directory}.log").read_text(errors="replace").splitlines()

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=30)


class Jaeger(Observer):
    name = "jaeger"
    ready_path = "/status"

    def start(self):
        self.otlp_port, self.health_port, grpc_port = free_port(), free_port(), free_port()
        changes = {
            "0.0.0.0:4317": f"127.0.0.1:{self.otlp_port}",
            "0.0.0.0:13133": f"127.0.0.1:{self.health_port}",
        }
        path = self.configure("infra/jaeger.yml", changes)
        # The file leaves these to their defaults, which are free in a container.
        ports = {
            "extensions.jaeger_query.http.endpoint": self.address,
            "extensions.jaeger_query.grpc.endpoint": f"127.0.0.1:{grpc_port}",
            "service.telemetry.metrics.level": "none",
        }
        options = [f"--set={key}={value}" for key, value in ports.items()]
        # In the container, the default of this address is Jaeger's own receiver.
        own_traces = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.otlp_port}"}
        self.launch([f"--config={path}", *options], own_traces)


class Collector(Observer):
    """`port` is that of the collector's own metrics."""

    name = "otelcol"
    ready_path = "/"

    def start(self, jaeger):
        self.otlp_port, self.health_port = free_port(), free_port()
        changes = {
            "0.0.0.0:4317": f"127.0.0.1:{self.otlp_port}",
            "jaeger:4317": f"127.0.0.1:{jaeger.otlp_port}",
            "0.0.0.0:13133": f"127.0.0.1:{self.health_port}",
            "host: 0.0.0.0": "host: 127.0.0.1",
            "port: 8888": f"port: {self.port}",
        }
        self.launch([f"--config={self.configure('infra/otel-collector.yml', changes)}"])


class Prometheus(Observer):
    name = "prometheus"
    # The path of the health check in docker-compose.yml is /-/healthy.
    ready_path = "/-/ready"

    def start(self, services, collector):
        rules = self.sandbox.copy(ROOT / "infra" / "prometheus" / "rules", "prometheus-rules")
        changes = {
            f"{service}-service:{CONTAINER_PORTS[service]}": f"127.0.0.1:{services.ports[service]}"
            for service in SERVICES
        } | {
            "otel-collector:8888": collector.address,
            "localhost:9090": self.address,
            "rules/*.yml": rules / "*.yml",
        }
        path = self.configure("infra/prometheus/prometheus.yml", changes)
        self.launch(
            [
                f"--config.file={path}",
                f"--storage.tsdb.path={self.directory / 'data'}",
                "--storage.tsdb.retention.time=30d",
                "--storage.tsdb.retention.size=2GB",
                f"--web.listen-address={self.address}",
            ]
        )


class Loki(Observer):
    name = "loki"
    ready_path = "/ready"

    def start(self):
        changes = {
            "http_listen_port: 3100": f"http_listen_port: {self.port}",
            "grpc_listen_port: 9096": f"grpc_listen_port: {free_port()}",
            ": /loki": f": {self.directory}",
        }
        path = self.configure("infra/loki.yml", changes)
        self.launch([f"-config.file={path}", *loopback_only()])


class Promtail(Observer):
    name = "promtail"
    ready_path = "/ready"

    def start(self, loki, container_directory):
        changes = {
            "http_listen_port: 9080": f"http_listen_port: {self.port}",
            "/positions/positions.yml": self.directory / "positions.yml",
            "loki:3100": loki.address,
            "/var/lib/docker/containers": container_directory,
        }
        path = self.configure("infra/promtail.yml", changes)
        self.launch([f"-config.file={path}", *loopback_only()])


def loopback_only():
    """In containers, Loki and Promtail listen on all addresses."""
    return [f"-server.{kind}-listen-address=127.0.0.1" for kind in ("http", "grpc")]
