"""Orders at a steady rate while processes are killed and started again."""

import random
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bench.caller import call
from bench.order_check import find_faults
from kit.sandbox import DrillFailed

# One product is scarce, so that some orders fail for want of stock.
STOCK = {**{f"P-{number}": 100_000 for number in range(1, 10)}, "SCARCE": 15}
PAYMENT_SUCCESS_RATE = 0.9
MAX_CALLERS = 512
MAX_QUANTITY = 3
# A supervisor, too, needs a moment to start a process again.
DOWN_SECONDS = 0.2
PROGRESS_TIMEOUT_SECONDS = 60
# After a restart, callers wait. The system has caught up when at most this many are left.
MAX_WAITING_WHEN_CAUGHT_UP = 5
CATCH_UP_TIMEOUT_SECONDS = 30
FINISH_TIMEOUT_SECONDS = 60


@dataclass
class KillReport:
    answers: list
    kills: Counter
    # Seconds from the last answer until nothing was unfinished. None: not within the limit.
    seconds_to_finish: float | None
    faults: dict


class Progress:
    """Counts the orders that were sent, and the callers that have an answer or will get none."""

    def __init__(self):
        self._changed = threading.Condition()
        self.sent, self.ended = 0, 0

    def send(self):
        with self._changed:
            self.sent += 1

    def end(self, _future):
        with self._changed:
            self.ended += 1
            self._changed.notify_all()

    def wait_until_caught_up(self):
        """Waits until few callers are left. A system that is overloaded may never get there."""
        with self._changed:
            self._changed.wait_for(
                lambda: self.sent - self.ended <= MAX_WAITING_WHEN_CAUGHT_UP,
                CATCH_UP_TIMEOUT_SECONDS,
            )

    def wait_for_more(self, count):
        """Waits until this many further callers have ended."""
        with self._changed:
            target = self.ended + count
            if not self._changed.wait_for(lambda: self.ended >= target, PROGRESS_TIMEOUT_SECONDS):
                raise DrillFailed(f"no {count} answers within {PROGRESS_TIMEOUT_SECONDS} s")


class Killer(threading.Thread):
    """Kills one process after another, each after a number of further answers.

    The number is counted from when the system has caught up with the orders that arrived while it
    was away. A slow start brings the next kill no sooner.
    """

    def __init__(self, system, progress, chance, kills, interval):
        super().__init__(daemon=True)
        self.system, self.progress = system, progress
        self.plan = [
            (role, chance.randint(interval // 2, interval * 3 // 2))
            for role in choose_roles(system.roles, chance, kills)
        ]
        self.kills = Counter()
        self.error = None

    def run(self):
        try:
            for role, answers in self.plan:
                self.progress.wait_until_caught_up()
                self.progress.wait_for_more(answers)
                self.system.kill(role)
                self.kills[role] += 1
                time.sleep(DOWN_SECONDS)
                self.system.restart(role)
        except (DrillFailed, OSError) as error:
            self.error = error


def choose_roles(roles, chance, kills):
    """Chooses each role equally often, give or take one, in random order."""
    chosen = []
    while len(chosen) < kills:
        chosen += chance.sample(roles, len(roles))
    chosen = chosen[:kills]
    chance.shuffle(chosen)
    return chosen


def send_orders(system, chance, chosen):
    """Sends orders until all kills have happened. Returns the answers and the kills."""
    progress = Progress()
    interval = max(1, chosen.orders // max(1, chosen.kills))
    killer = Killer(system, progress, chance, chosen.kills, interval)
    calls = []
    killer.start()
    with ThreadPoolExecutor(MAX_CALLERS) as pool:
        start = time.monotonic()
        while len(calls) < chosen.orders or killer.is_alive():
            time.sleep(max(0, start + len(calls) / chosen.rate - time.monotonic()))
            order = {
                "product_id": chance.choice(list(STOCK)),
                "quantity": chance.randint(1, MAX_QUANTITY),
            }
            progress.send()
            future = pool.submit(call, system, order)
            future.add_done_callback(progress.end)
            calls.append(future)
    if killer.error:
        raise DrillFailed(f"{system.name}: {killer.error}")
    return [future.result() for future in calls], killer.kills


def time_to_finish(system):
    """Returns the seconds until nothing is unfinished, or None after the limit."""
    start = time.monotonic()
    while (seconds := time.monotonic() - start) < FINISH_TIMEOUT_SECONDS:
        if system.unfinished() == 0:
            return seconds
        if not system.recovers:
            return None
        time.sleep(0.1)
    return None


def kill_processes(stage, kind, chosen):
    system = kind(stage, PAYMENT_SUCCESS_RATE, suffix="-kills")
    system.prepare(STOCK)
    system.start()
    answers, kills = send_orders(system, random.Random(chosen.seed), chosen)
    seconds = time_to_finish(system)
    faults = find_faults(system, answers, STOCK)
    system.stop()
    print(f"  {system.name}: {len(answers)} orders", file=sys.stderr, flush=True)
    return KillReport(answers, kills, seconds, faults)
