#!/usr/bin/env python3
"""Compares the same order on Valerix, on Restate, on DBOS, and in the literal design in Go.

All run on one private PostgreSQL with its default, durable settings, in interleaved rounds, beside
pgbench with the four statements of an order. Then the processes of each are killed under load, and
its orders, stock and payments are checked. Prints Markdown. Everything that it starts or writes is
removed at the end. Exit code 1 if it could not compare.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The checkout stays as it is.
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "drills"))

from bench.docs import update_docs
from bench.kills import kill_processes
from bench.report import full_report, short
from bench.rounds import run_rounds
from bench.stage import Stage
from bench.versions import describe
from kit.sandbox import DrillFailed, temporary_sandbox
from systems.dbos import Dbos
from systems.go import Go
from systems.pgbench import Pgbench
from systems.restate import Restate, RestateSteps
from systems.valerix import Valerix

SYSTEMS = {kind.name: kind for kind in (Valerix, Pgbench, Go, Restate, RestateSteps, Dbos)}

NUMBERS = (
    ("--rounds", 3, "how often each system takes its turn"),
    ("--seconds", 8, "of a measurement with 32 clients; with one client, half of that"),
    ("--warm-up", 2, "seconds before each turn"),
    ("--orders", 300, "how many orders arrive at least while processes are killed"),
    ("--kills", 10, "how many processes are killed; 0 leaves this part out"),
    ("--rate", 30, "orders per second while processes are killed"),
    ("--seed", 1, "of these orders and kills"),
)


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--program", default="target/release/valerix", help="the valerix to run [%(default)s]"
    )
    parser.add_argument(
        "--tools", default="target/tools/peers", help="where the others are [%(default)s]"
    )
    parser.add_argument(
        "--systems", default=",".join(SYSTEMS), help="which to compare [%(default)s]"
    )
    for name, default, meaning in NUMBERS:
        parser.add_argument(name, type=int, default=default, help=f"{meaning} [%(default)s]")
    parser.add_argument("--logs", help="copy all logs to this directory")
    parser.add_argument(
        "--markdown",
        action="store_true",
        help="also replace the figures in docs/peers.md and README.md",
    )
    return check(parser, parser.parse_args())


def check(parser, chosen):
    chosen.systems = chosen.systems.split(",")
    if unknown := set(chosen.systems) - set(SYSTEMS):
        parser.error(f"--systems takes {', '.join(SYSTEMS)}, not {', '.join(unknown)}")
    for name in ("rounds", "seconds", "warm_up", "orders", "rate"):
        if getattr(chosen, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    if chosen.kills < 0:
        parser.error("--kills must be at least 0")
    if "valerix" in chosen.systems and not os.access(chosen.program, os.X_OK):
        parser.error(f"{chosen.program} does not exist: build it, or set --program")
    if not shutil.which("wrk"):
        parser.error("wrk is missing: run `make bench-tools`")
    return chosen


def compare(sandbox, chosen):
    stage = Stage(sandbox, chosen.program, chosen.tools)
    kinds = [SYSTEMS[name] for name in chosen.systems]
    results = run_rounds(stage, kinds, chosen)
    if chosen.kills > 0:
        print("kills", file=sys.stderr, flush=True)
    reports = {
        kind.name: kill_processes(stage, kind, chosen)
        for kind in kinds
        if chosen.kills > 0 and kind is not Pgbench
    }
    report = full_report(chosen, describe(stage), results, reports)
    print(report)
    if chosen.markdown:
        update_docs(ROOT, {"docs/peers.md": report, "README.md": short(results, reports)})


def main():
    chosen = arguments()
    try:
        with temporary_sandbox("peers", chosen.logs) as sandbox:
            compare(sandbox, chosen)
    except DrillFailed as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
