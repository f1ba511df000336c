"""The three services, as they would run anywhere."""

import http.client
import json
import urllib.parse

from .place import DrillFailed, free_port, wait_for

ROLES = ("inventory", "payment", "order")


def get(port, path, limit=2):
    """The status and text of an answer; nothing where there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=limit)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


class Services:
    def __init__(self, place, program, name="services"):
        self.place = place
        self.program = place.home / "valerix"
        if not self.program.exists():
            place.copy(program, "valerix")
        self.name = name
        self.ports = {role: free_port() for role in ROLES}
        self.running = {}

    def start(self, database_url):
        for role in ROLES:
            environment = {
                "DATABASE_URL": database_url,
                "PORT": self.ports[role],
                "INVENTORY_SERVICE_URL": f"http://127.0.0.1:{self.ports['inventory']}",
                "PAYMENT_SERVICE_URL": f"http://127.0.0.1:{self.ports['payment']}",
                "GREMLIN_ENABLED": "false",
                "LOG_FORMAT": "json",
            }
            directory = self.place.directory(f"{self.name}/{role}")
            self.running[role] = self.place.start([self.program, role], directory, environment)

    def ready(self, limit=60):
        for role in ROLES:
            wait_for(f"the {role} service to be ready", lambda: self._is_ready(role), limit)

    def _is_ready(self, role):
        if self.running[role].poll() is not None:
            raise DrillFailed(f"the {role} service ended by itself")
        answer = get(self.ports[role], "/readyz")
        return answer and answer[0] == 200

    def stop(self):
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            process.wait(timeout=30)
        self.running = {}

    @property
    def order_port(self):
        return self.ports["order"]

    def settle(self, limit=120):
        """Waits until no order is pending or owes anything; gives the time of the last look."""
        def settled():
            answer = get(self.order_port, "/audit", limit=30)
            return answer and answer[0] == 200 and json.loads(answer[1])["orders"]["unsettled"] == 0
        wait_for("every order to reach its end", settled, limit, every=0.25)

    def audit(self, database_url):
        """The books, by `valerix audit`, which fails where an invariant is violated."""
        return self.place.run([self.program, "audit"], {"DATABASE_URL": database_url}).rstrip()


def url(user, password, hosts, database, query=""):
    credentials = f"{user}:{urllib.parse.quote(password)}"
    return f"postgres://{credentials}@{','.join(hosts)}/{database}?sslmode=disable{query}"
