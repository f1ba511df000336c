"""An open-loop load of orders, and the response to each."""

import asyncio
import json
import random
import threading
import time
from dataclasses import dataclass, field

PRODUCTS = ("PROD-001", "PROD-002", "PROD-003")


def deliver_all(units):
    """Returns the SQL that delivers this many units of each product."""
    return f"""
        WITH moved AS (
            UPDATE inventory SET stock = stock + {units}, stocked = stocked + {units}
            RETURNING product_id, stock, reserved, stocked)
        INSERT INTO deliveries (product_id, quantity, stock, reserved, stocked)
        SELECT product_id, {units}, stock, reserved, stocked FROM moved"""


@dataclass
class Order:
    """An order that was sent. Times are seconds since 1970, as the database's are."""

    sent_at: float
    responded_at: float | None = None
    # None: no response.
    status: int | None = None
    id: str | None = None

    @property
    def acknowledged(self):
        return self.status in (201, 202)


@dataclass
class OrderLoad:
    """Sends orders at a fixed rate, whether or not earlier orders have a response."""

    port: int
    rate: float
    timeout: float = 10
    orders: list[Order] = field(default_factory=list)

    def __enter__(self):
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Stops sending, and waits for the outstanding responses."""
        self._stop.set()
        self._thread.join()

    async def _run(self):
        start, number, in_progress = time.monotonic(), 0, set()
        while not self._stop.is_set():
            await asyncio.sleep(max(0, start + number / self.rate - time.monotonic()))
            number += 1
            task = asyncio.create_task(self._place_order())
            in_progress.add(task)
            task.add_done_callback(in_progress.discard)
        await asyncio.gather(*in_progress)

    async def _place_order(self):
        order = Order(sent_at=time.time())
        self.orders.append(order)
        try:
            async with asyncio.timeout(self.timeout):
                status, body = await self._post()
        except (OSError, TimeoutError, ValueError, IndexError):
            return
        order.id = body.get("id") or body.get("order_id")
        order.responded_at, order.status = time.time(), status

    async def _post(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            body = json.dumps({"product_id": random.choice(PRODUCTS), "quantity": 1})
            head = (
                "POST /orders HTTP/1.1\r\n"
                "host: localhost\r\n"
                "connection: close\r\n"
                f"content-length: {len(body)}\r\n\r\n"
            )
            writer.write((head + body).encode())
            response = await reader.read()
        finally:
            writer.close()
        head, _, body = response.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)

    def first_acknowledged_after(self, moment):
        """When the first order that was sent after `moment` was acknowledged, or None."""
        times = [
            order.responded_at
            for order in list(self.orders)
            if order.acknowledged and order.sent_at >= moment
        ]
        return min(times, default=None)

    def sent_between(self, start, end):
        return [order for order in list(self.orders) if start <= order.sent_at < end]


def count_by_status(orders):
    counts = {}
    for order in orders:
        status = str(order.status or "no response")
        counts[status] = counts.get(status, 0) + 1
    return ", ".join(f"{status}: {count}" for status, count in sorted(counts.items())) or "none"
