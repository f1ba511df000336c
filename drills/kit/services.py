"""The three services, started as in production."""

import http.client
import json
import subprocess
import urllib.parse
from functools import partial

from .sandbox import DrillFailed, free_port, wait_for

SERVICES = ("inventory", "payment", "order")


def get(port, path, timeout=2):
    """Returns the status and the body of a response, or None if there is no response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def post(port, path, body, timeout=2):
    """Returns the body of the response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("POST", path, body, {"content-type": "application/json"})
        return connection.getresponse().read().decode()
    finally:
        connection.close()


class Services:
    """The services, with more `variables` than the usual ones.

    With `container_logs`, their output goes to log files in Docker's format.
    """

    def __init__(self, sandbox, program, name="services", variables=None, container_logs=None):
        self.sandbox = sandbox
        self.program = sandbox.home / "valerix"
        if not self.program.exists():
            sandbox.copy(program, "valerix")
        self.name = name
        self.variables = variables or {}
        self.container_logs = container_logs
        self.ports = {service: free_port() for service in SERVICES}
        self.processes = {}

    def start(self, database_url):
        for service in SERVICES:
            environment = {
                "DATABASE_URL": database_url,
                "PORT": self.ports[service],
                "INVENTORY_SERVICE_URL": f"http://127.0.0.1:{self.ports['inventory']}",
                "PAYMENT_SERVICE_URL": f"http://127.0.0.1:{self.ports['payment']}",
                "GREMLIN_ENABLED": "false",
                "LOG_FORMAT": "json",
            } | self.variables
            directory = self.sandbox.directory(f"{self.name}/{service}")
            command = [self.program, service]
            streams = {"stdout": subprocess.PIPE} if self.container_logs else {}
            process = self.sandbox.start(command, directory, environment, **streams)
            if self.container_logs:
                self.container_logs.create(f"{service}-service").follow(process.stdout)
            self.processes[service] = process

    def wait_until_ready(self, timeout=60):
        for service in SERVICES:
            is_ready = partial(self._is_ready, service)
            wait_for(f"the {service} service to be ready", is_ready, timeout)

    def _is_ready(self, service):
        if self.processes[service].poll() is not None:
            raise DrillFailed(f"the {service} service exited unexpectedly")
        response = get(self.ports[service], "/readyz")
        return response and response[0] == 200

    def stop(self):
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(timeout=30)
        self.processes = {}

    @property
    def order_port(self):
        return self.ports["order"]

    def wait_until_settled(self, timeout=120):
        """Waits until no order is pending, and none owes a release or a refund."""

        def is_settled():
            response = get(self.order_port, "/audit", timeout=30)
            if not response or response[0] != 200:
                return False
            return json.loads(response[1])["orders"]["unsettled"] == 0

        wait_for("every order to be settled", is_settled, timeout, interval=0.25)

    def audit(self, database_url):
        """Returns the report of `valerix audit`. Fails if an invariant is violated."""
        return self.sandbox.run([self.program, "audit"], {"DATABASE_URL": database_url}).rstrip()


def url(user, password, hosts, database, query=""):
    credentials = f"{user}:{urllib.parse.quote(password)}"
    return f"postgres://{credentials}@{','.join(hosts)}/{database}?sslmode=disable{query}"
