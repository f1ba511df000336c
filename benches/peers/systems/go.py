"""The literal design in Go: three services that call each other, and no record of what is owed."""

from systems.system import System


class Go(System):
    name = "go"
    roles = ("inventory", "payments", "orders")
    recovers = False

    def create_schema(self):
        self.postgres.run_file(self.database, self.stage.source("go/schema.sql"))

    def command(self, role):
        programs = self.stage.tool(self.stage.tools / "go", "go-programs")
        return [programs / role], {
            "DATABASE_URL": self.url,
            "PORT": self.ports[role],
            "INVENTORY_SERVICE_URL": f"http://127.0.0.1:{self.ports['inventory']}",
            "PAYMENT_SERVICE_URL": f"http://127.0.0.1:{self.ports['payments']}",
            "PAYMENT_SUCCESS_RATE": self.success_rate,
        }
