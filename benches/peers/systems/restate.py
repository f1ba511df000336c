"""Restate: the order as a saga. Restate's server keeps the journal and calls the services."""

import json
import socket
import urllib.error
import urllib.request

from kit.sandbox import DrillFailed, free_port, wait_for
from kit.services import get
from systems.system import READY_TIMEOUT_SECONDS, System

UNFINISHED = "SELECT count(*) AS n FROM sys_invocation WHERE status <> 'completed'"


class Restate(System):
    """Stock and payment are services of their own, which the order's handler calls."""

    name = "restate"
    roles = ("services", "server")
    order_path = "/restate/call/orders/place"
    steps = "0"

    def __init__(self, stage, success_rate, suffix=""):
        super().__init__(stage, success_rate, suffix)
        self.admin_port, self.node_port = free_port(), free_port()

    def create_schema(self):
        self.postgres.run_file(self.database, self.stage.source("schema.sql"))

    def command(self, role):
        return self._server() if role == "server" else self._services()

    def _server(self):
        return [self.stage.node_app("restate").restate_server, "--no-logo"], {
            "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{self.ports['server']}",
            "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{self.admin_port}",
            "RESTATE_BIND_ADDRESS": f"127.0.0.1:{self.node_port}",
            "RESTATE_LISTEN_MODE": "tcp",
            "RESTATE_ADVERTISED_HOST": "127.0.0.1",
            "RESTATE_NODE_NAME": "peer",
            "RESTATE_BASE_DIR": self.directory / "server" / "data",
            "RESTATE_DISABLE_TELEMETRY": "true",
            # The default is for machines with more cores. On two, more partitions are slower.
            "RESTATE_DEFAULT_NUM_PARTITIONS": "1",
        }

    def _services(self):
        app = self.stage.node_app("restate")
        return [app.node, app.main], {
            "DATABASE_URL": self.url,
            "PORT": self.ports["services"],
            "PAYMENT_SUCCESS_RATE": self.success_rate,
            "STEPS": self.steps,
            "NODE_ENV": "production",
            # The default is two lines for each invocation.
            "RESTATE_LOGGING": "WARN",
        }

    def start(self):
        super().start()
        self._register()

    def _register(self):
        """Tells Restate's server where the services are. The server remembers it."""
        body = {"uri": f"http://127.0.0.1:{self.ports['services']}"}
        wait_for(
            "Restate to accept the services",
            lambda: self._admin("/deployments", body),
            READY_TIMEOUT_SECONDS,
        )
        wait_for("Restate to take orders", self._takes_orders, READY_TIMEOUT_SECONDS)

    def _takes_orders(self):
        """Whether an invalid order reaches the order's handler, which rejects it."""
        url = f"http://127.0.0.1:{self.ports['server']}{self.order_path}"
        try:
            _post(url, {})
        except urllib.error.HTTPError as error:
            return error.code == 400
        except OSError:
            return False
        return False

    def is_ready(self, role):
        if role == "services":
            return _accepts_connections(self.ports[role])
        response = get(self.admin_port, "/health")
        return bool(response) and response[0] == 200

    def restart(self, role):
        super().restart(role)
        wait_for("Restate to take orders again", self._takes_orders, READY_TIMEOUT_SECONDS)

    def _admin(self, path, body):
        try:
            return _post(f"http://127.0.0.1:{self.admin_port}{path}", body)
        except OSError:
            return None

    def unfinished(self):
        result = self._admin("/query", {"query": UNFINISHED})
        if result is None:
            raise DrillFailed("Restate's server does not answer queries")
        return super().unfinished() + result["rows"][0]["n"]


class RestateSteps(Restate):
    """Stock and payment are steps in the journal of the order's handler."""

    name = "restate-steps"
    steps = "1"


def _accepts_connections(port):
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


def _post(url, body):
    headers = {"content-type": "application/json", "accept": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=20) as response:
        return json.load(response)
