"""Customers: orders at a steady rate, whatever the answers take, and what each of them was told."""

import asyncio
import json
import random
import threading
import time
from dataclasses import dataclass, field

PRODUCTS = ("PROD-001", "PROD-002", "PROD-003")


@dataclass
class Order:
    """Times are seconds since 1970, as the database's are."""

    sent: float
    answered: float | None = None
    # None: no answer.
    status: int | None = None
    id: str | None = None

    @property
    def acknowledged(self):
        return self.status in (201, 202)


@dataclass
class Customers:
    """Open loop: each order has its time, so that a service that stalls is not spared."""

    port: int
    rate: float
    patience: float = 10
    orders: list[Order] = field(default_factory=list)

    def __enter__(self):
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._come()), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """No more orders; waits for the answers that are still to come."""
        self._stop.set()
        self._thread.join()

    async def _come(self):
        begin, number, under_way = time.monotonic(), 0, set()
        while not self._stop.is_set():
            await asyncio.sleep(max(0, begin + number / self.rate - time.monotonic()))
            number += 1
            task = asyncio.create_task(self._order())
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        await asyncio.gather(*under_way)

    async def _order(self):
        order = Order(sent=time.time())
        self.orders.append(order)
        try:
            async with asyncio.timeout(self.patience):
                status, body = await self._post()
        except (OSError, TimeoutError, ValueError, IndexError):
            return
        order.id = body.get("id") or body.get("order_id")
        order.answered, order.status = time.time(), status

    async def _post(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            body = json.dumps({"product_id": random.choice(PRODUCTS), "quantity": 1})
            head = f"POST /orders HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write((head + body).encode())
            answer = await reader.read()
        finally:
            writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)

    def first_acknowledged_after(self, moment):
        """The first order that was sent after a moment and acknowledged; nothing while there is none."""
        times = [order.answered for order in list(self.orders) if order.acknowledged and order.sent >= moment]
        return min(times, default=None)

    def between(self, begin, end):
        return [order for order in list(self.orders) if begin <= order.sent < end]


def by_answer(orders):
    """How many got which answer."""
    counts = {}
    for order in orders:
        answer = str(order.status or "no answer")
        counts[answer] = counts.get(answer, 0) + 1
    return ", ".join(f"{answer}: {count}" for answer, count in sorted(counts.items())) or "none"
