"""A caller that sends one order once."""

import http.client
import json
import time
from dataclasses import dataclass

TIMEOUT_SECONDS = 60
# While the system restarts, no process accepts connections.
CONNECT_INTERVAL_SECONDS = 0.05


@dataclass
class Answer:
    # None: the connection broke, or no response came in time.
    status: int | None = None
    order_id: str | None = None

    @property
    def accepted(self):
        return self.status is not None and 200 <= self.status < 300


def call(system, order):
    """Waits until the system accepts a connection, then sends the order once, and never again."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", system.order_port, TIMEOUT_SECONDS)
        try:
            connection.connect()
            break
        except OSError:
            connection.close()
            if time.monotonic() > deadline:
                return Answer()
            time.sleep(CONNECT_INTERVAL_SECONDS)
    try:
        headers = {"content-type": "application/json"}
        connection.request("POST", system.order_path, json.dumps(order), headers)
        response = connection.getresponse()
        body = json.loads(response.read() or b"{}")
        return Answer(response.status, body.get("id") or body.get("order_id"))
    except (OSError, http.client.HTTPException, ValueError):
        return Answer()
    finally:
        connection.close()
