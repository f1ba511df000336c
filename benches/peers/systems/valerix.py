"""Valerix: three services of the program that is measured."""

from systems.system import System


class Valerix(System):
    name = "valerix"
    roles = ("inventory", "payment", "order")
    unfinished_query = "SELECT count(*) FROM unsettled_orders"

    @property
    def program(self):
        return self.stage.tool(self.stage.program, "valerix-program")

    def create_schema(self):
        self.sandbox.run([self.program, "migrate"], {"DATABASE_URL": self.url})

    def command(self, role):
        return [self.program, role], {
            "DATABASE_URL": self.url,
            "PORT": self.ports[role],
            "INVENTORY_SERVICE_URL": f"http://127.0.0.1:{self.ports['inventory']}",
            "PAYMENT_SERVICE_URL": f"http://127.0.0.1:{self.ports['payment']}",
            "PAYMENT_SUCCESS_RATE": self.success_rate,
            "LOG_FORMAT": "json",
        }
