"""pgbench: the four statements of an order, without a service."""

import shutil
import statistics

from bench.load import PRODUCTS, LoadResult
from kit.postgres import bin_directory
from systems.system import System

MAX_CLIENTS = 16
MAX_THREADS = 2
LOG_PREFIX = "latency"


class Pgbench(System):
    name = "pgbench"

    def prepare(self, stock):
        """The schema brings its own stock."""
        self.postgres.create(self.database)
        self.postgres.run_file(self.database, self.stage.orders_bench / "base_schema.sql")

    def place_orders(self, clients, seconds):
        clients = min(clients, MAX_CLIENTS)
        beside_server = bin_directory() / "pgbench"
        script = self.stage.orders_bench / "pgbench_order.sql"
        command = [
            beside_server if beside_server.exists() else shutil.which("pgbench"),
            "--no-vacuum",
            "--protocol=prepared",
            f"--client={clients}",
            f"--jobs={min(clients, MAX_THREADS)}",
            f"--time={seconds}",
            f"--define=products={PRODUCTS}",
            f"--file={self.sandbox.copy(script, script.name)}",
        ]
        # A log of each transaction costs time, so only one client alone writes one.
        log = ["--log", f"--log-prefix={LOG_PREFIX}"] if clients == 1 else []
        self.sandbox.run([*command, *log, self.url], directory=self.directory)
        if not log:
            return LoadResult(seconds=seconds, p50=None, p99=None)
        cuts = statistics.quantiles(self._latencies(), n=100)
        return LoadResult(seconds=seconds, p50=cuts[49], p99=cuts[98])

    def _latencies(self):
        """Reads and removes the logs. The third field of a line is microseconds."""
        latencies = []
        for path in self.directory.glob(f"{LOG_PREFIX}.*"):
            with open(path, encoding="utf-8") as log:
                latencies += [int(line.split()[2]) / 1000 for line in log]
            path.unlink()
        return latencies
