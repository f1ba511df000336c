"""The common part of all systems: a database, processes, and orders over HTTP."""

import subprocess
from functools import partial

from bench.load import place_orders
from kit.sandbox import DrillFailed, free_port, wait_for
from kit.services import get

READY_TIMEOUT_SECONDS = 60
STOP_TIMEOUT_SECONDS = 30


class System:
    # The name in the tables and on the command line.
    name = None
    # The processes, in the order in which they start. The last one takes the orders.
    roles = ()
    order_path = "/orders"
    # Whether something finishes the orders of a process that died.
    recovers = True
    # Counts the orders that are not finished: pending, or with something left to give back.
    unfinished_query = "SELECT count(*) FROM orders WHERE status LIKE 'PENDING%'"

    def __init__(self, stage, success_rate, suffix=""):
        self.sandbox, self.postgres, self.stage = stage.sandbox, stage.postgres, stage
        self.success_rate = success_rate
        self.database = f"{self.name}{suffix}"
        self.directory = self.sandbox.directory(self.database)
        self.ports = {role: free_port() for role in self.roles}
        self.processes = {}

    def prepare(self, stock):
        """Creates the database, with this stock of each product."""
        self.postgres.create(self.database)
        self.create_schema()
        rows = ", ".join(f"('{product}', {units})" for product, units in stock.items())
        self.query(f"INSERT INTO inventory (product_id, stock) VALUES {rows}")
        self.query("VACUUM ANALYZE")

    def create_schema(self):
        raise NotImplementedError

    def command(self, role):
        """Returns the command and the environment of a process."""
        raise NotImplementedError

    def query(self, statement):
        return self.postgres.query(self.database, statement)

    def number(self, statement):
        return self.postgres.number(self.database, statement)

    @property
    def url(self):
        return self.postgres.url(self.database)

    def start(self):
        for role in self.roles:
            self.launch(role)
        for role in self.roles:
            self.wait_until_ready(role)

    def launch(self, role):
        command, environment = self.command(role)
        directory = self.sandbox.directory(f"{self.database}/{role}")
        self.processes[role] = self.sandbox.start(command, directory, environment)

    def wait_until_ready(self, role):
        is_ready = partial(self._runs_and_is_ready, role)
        wait_for(f"{self.name} {role} to be ready", is_ready, READY_TIMEOUT_SECONDS)

    def _runs_and_is_ready(self, role):
        if (code := self.processes[role].poll()) is not None:
            log = (self.directory / f"{role}.log").read_text(errors="replace").splitlines()
            end = "\n".join(log[-8:])
            raise DrillFailed(f"{self.name}: {role} ended with exit code {code}:\n{end}")
        return self.is_ready(role)

    def is_ready(self, role):
        response = get(self.ports[role], "/readyz")
        return response and response[0] == 200

    def kill(self, role):
        """Kills a process as `kill -9` does, and waits for its end."""
        self.processes[role].kill()
        self.processes[role].wait()

    def restart(self, role):
        self.launch(role)
        self.wait_until_ready(role)

    def stop(self):
        """Ends the process that takes orders first."""
        for role in reversed(self.roles):
            process = self.processes.pop(role)
            process.terminate()
            try:
                process.wait(timeout=STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def pids(self):
        return [process.pid for process in self.processes.values()]

    @property
    def order_port(self):
        return self.ports[self.roles[-1]]

    def place_orders(self, clients, seconds):
        return place_orders(self.sandbox, self.order_port, self.order_path, clients, seconds)

    def unfinished(self):
        return self.number(self.unfinished_query)
