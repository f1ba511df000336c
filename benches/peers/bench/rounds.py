"""Interleaved rounds: in each, every system takes its turn, with 32 clients and with one."""

import os
import sys
import time
from collections import defaultdict
from dataclasses import dataclass

from bench.load import PRODUCTS
from bench.usage import Usage
from kit.sandbox import DrillFailed, wait_for

MANY_CLIENTS = 32
STOCK = {product: 2_000_000_000 for product in range(1, PRODUCTS + 1)}
FINISH_TIMEOUT_SECONDS = 60
CONFIRMED = "SELECT count(*) FROM orders WHERE status = 'CONFIRMED'"
AGREEMENT = """
    SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM orders WHERE status = 'CONFIRMED'),
           (SELECT sum(reserved) FROM inventory),
           (SELECT count(*) FROM payments WHERE status = 'SUCCESS')"""


@dataclass
class Figures:
    """One measurement. Latencies and processor times are in milliseconds."""

    rate: float
    p50: float | None
    p99: float | None
    failed: int
    system_time: float
    postgres_time: float
    others: float

    @property
    def time(self):
        return self.system_time + self.postgres_time


def measure(system, clients, seconds):
    postgres = system.postgres
    postgres.query("postgres", "CHECKPOINT")
    confirmed = system.number(CONFIRMED)
    before, start = Usage.read(system.pids(), postgres.process.pid), time.monotonic()
    result = system.place_orders(clients, seconds)
    usage = Usage.read(system.pids(), postgres.process.pid).since(before)
    elapsed = time.monotonic() - start
    orders = system.number(CONFIRMED) - confirmed
    if orders == 0:
        raise DrillFailed(f"{system.name} confirmed no order")
    wait_until_finished(system)
    return Figures(
        rate=orders / result.seconds,
        p50=result.p50,
        p99=result.p99,
        failed=result.failed,
        system_time=1000 * usage.system / orders,
        postgres_time=1000 * usage.postgres / orders,
        others=usage.others_share(elapsed),
    )


def wait_until_finished(system):
    """No order may continue while the next measurement runs."""
    finished = lambda: system.unfinished() == 0
    wait_for(f"all orders of {system.name} to be finished", finished, FINISH_TIMEOUT_SECONDS)


def check_agreement(system):
    """Fails unless every order is confirmed, holds its unit of stock, and is paid once."""
    counts = [int(value) for value in system.query(AGREEMENT)[0]]
    if len(set(counts)) != 1:
        orders, confirmed, reserved, paid = counts
        raise DrillFailed(
            f"{system.name}: of {orders} orders, {confirmed} are confirmed, {reserved} hold stock "
            f"and {paid} are paid"
        )


def take_turn(system, seconds, warm_up):
    system.start()
    system.place_orders(MANY_CLIENTS, warm_up)
    wait_until_finished(system)
    many = measure(system, MANY_CLIENTS, seconds)
    # Half as long, so that a comparison takes less than ten minutes.
    one = measure(system, 1, max(1, seconds // 2))
    check_agreement(system)
    system.stop()
    progress = f"{system.name}: {many.rate:.0f} orders/s, alone {one.p50:.2f} ms"
    print(f"  {progress}", file=sys.stderr, flush=True)
    return many, one


def run_rounds(stage, kinds, chosen):
    """Returns the measurements of each system: a list of pairs, with 32 clients and with one."""
    systems = [kind(stage, success_rate=1) for kind in kinds]
    for system in systems:
        system.prepare(STOCK)
        system.start()
        system.stop()
    # Copies and new databases must not be written to the disk during a measurement.
    os.sync()
    results = defaultdict(list)
    for number in range(chosen.rounds):
        print(f"round {number + 1} of {chosen.rounds}", file=sys.stderr, flush=True)
        # Another system is the first in each round.
        shift = number % len(systems)
        for system in systems[shift:] + systems[:shift]:
            results[system.name].append(take_turn(system, chosen.seconds, chosen.warm_up))
    return results
