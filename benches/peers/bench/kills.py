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
FINISH_TIMEOUT_SECONDS = 60


@dataclass
class KillReport:
    answers: list
    kills: Counter
    # Seconds from the last answer until nothing was unfinished. None: not within the limit.
    seconds_to_finish: float | None
    faults: dict


class Progress:
    """How many callers have an answer."""

    def __init__(self):
        self._changed = threading.Condition()
        self.answered = 0

    def add(self, answer):
        with self._changed:
            self.answered += answer.status is not None
            self._changed.notify_all()

    def wait_for_more(self, count):
        with self._changed:
            target = self.answered + count
            reached = lambda: self.answered >= target
            if not self._changed.wait_for(reached, PROGRESS_TIMEOUT_SECONDS):
                raise DrillFailed(f"orders stopped for {PROGRESS_TIMEOUT_SECONDS} s")


class Killer(threading.Thread):
    """Kills one process after another, each after a number of further answers.

    The number is counted from when the system is ready again, so that a slow start does not bring
    the next kill sooner.
    """

    def __init__(self, system, progress, chance, kills, interval):
        super().__init__(daemon=True)
        self.system, self.progress = system, progress
        self.plan = [
            (chance.choice(system.roles), chance.randint(interval // 2, interval * 3 // 2))
            for _ in range(kills)
        ]
        self.kills = Counter()
        self.error = None

    def run(self):
        try:
            for role, answers in self.plan:
                self.progress.wait_for_more(answers)
                self.system.kill(role)
                self.kills[role] += 1
                time.sleep(DOWN_SECONDS)
                self.system.restart(role)
        except (DrillFailed, OSError) as error:
            self.error = error


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
            future = pool.submit(call, system, order)
            future.add_done_callback(lambda done: progress.add(done.result()))
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
