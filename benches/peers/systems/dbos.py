"""DBOS: the order as a workflow of four steps. DBOS is a library, so there is one process."""

from systems.system import System


class Dbos(System):
    name = "dbos"
    roles = ("app",)
    unfinished_query = """
        SELECT (SELECT count(*) FROM orders WHERE status = 'PENDING')
             + (SELECT count(*) FROM dbos.workflow_status
                WHERE status IN ('PENDING', 'ENQUEUED', 'DELAYED'))"""

    def create_schema(self):
        self.postgres.run_file(self.database, self.stage.source("schema.sql"))

    def command(self, role):
        app = self.stage.node_app("dbos")
        return [app.node, app.main], {
            "DATABASE_URL": self.url,
            "PORT": self.ports[role],
            "PAYMENT_SUCCESS_RATE": self.success_rate,
            "NODE_ENV": "production",
        }
