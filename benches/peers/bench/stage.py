"""The sandbox of one comparison: a PostgreSQL server, and copies of what the systems run.

PostgreSQL's user, which runs all processes, may not be able to read the checkout.
"""

from dataclasses import dataclass
from pathlib import Path

from bench.postgres import Postgres
from kit.sandbox import DrillFailed

PEERS = Path(__file__).resolve().parents[1]
INSTALL = "run scripts/install-peers"


@dataclass
class NodeApp:
    """A program for Node.js, with its packages. Node.js itself is one of them."""

    directory: Path

    def _only(self, pattern):
        found = list((self.directory / "node_modules").glob(pattern))
        if len(found) != 1:
            raise DrillFailed(f"{self.directory.name}: {pattern} is missing: {INSTALL}")
        return found[0]

    @property
    def node(self):
        return self._only("node-linux-*/bin/node")

    @property
    def restate_server(self):
        return self._only("@restatedev/restate-server-linux-*/bin/restate-server")

    @property
    def main(self):
        return self.directory / "src" / "main.js"


class Stage:
    orders_bench = PEERS.parent / "orders"

    def __init__(self, sandbox, program, tools):
        self.sandbox, self.program, self.tools = sandbox, Path(program), Path(tools)
        self.postgres = Postgres(sandbox)
        self.postgres.start()

    def source(self, name):
        return PEERS / name

    def tool(self, path, name):
        """Copies a program, or a directory of programs, once."""
        copy = self.sandbox.home / name
        if not copy.exists():
            if not path.exists():
                raise DrillFailed(f"{path} is missing: {INSTALL}")
            self.sandbox.copy(path, name)
        return copy

    def node_app(self, name):
        app = NodeApp(self.tool(self.tools / name, f"{name}-app"))
        if not (app.directory / "src").exists():
            self.sandbox.copy(PEERS / name / "src", f"{name}-app/src")
        return app
