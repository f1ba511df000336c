"""Orders from wrk: a closed loop of clients, each with one connection that is kept open."""

import json
from dataclasses import dataclass
from pathlib import Path

from kit.sandbox import DrillFailed

PRODUCTS = 1000
SCRIPT = Path(__file__).resolve().parents[1] / "orders.lua"
# wrk does not count latencies above this limit.
TIMEOUT_SECONDS = 20


@dataclass
class LoadResult:
    seconds: float
    # In milliseconds. None: not measured.
    p50: float | None
    p99: float | None
    # Error statuses, connections that failed, requests without an answer.
    failed: int = 0


def place_orders(sandbox, port, path, clients, seconds):
    command = [
        "wrk",
        "--threads=1",
        f"--connections={clients}",
        f"--duration={seconds}s",
        f"--timeout={TIMEOUT_SECONDS}s",
        f"--script={sandbox.copy(SCRIPT, SCRIPT.name)}",
        f"http://127.0.0.1:{port}",
    ]
    output = sandbox.run(command, {"ORDER_PATH": path, "PRODUCTS": PRODUCTS})
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if not lines:
        raise DrillFailed(f"wrk printed no figures:\n{output}")
    figures = json.loads(lines[-1])
    return LoadResult(
        seconds=figures["seconds"],
        p50=figures["p50"] / 1000,
        p99=figures["p99"] / 1000,
        failed=figures["failed"],
    )
