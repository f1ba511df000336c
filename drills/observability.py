#!/usr/bin/env python3
"""Follows orders through the observability chain: the three services write traces, metrics and
logs, and the OpenTelemetry Collector, Jaeger, Prometheus, Promtail and Loki run with the files of
infra/. Grafana does not run: the drill sends the queries of its dashboards and links.

Needs PostgreSQL (`make postgres`) and these programs, on the PATH or at the path that a variable
names: otelcol (OTELCOL), jaeger (JAEGER), prometheus (PROMETHEUS), loki (LOKI) and promtail
(PROMTAIL). A part whose programs are missing is skipped, and the output says so.

Everything that the drill starts or writes is removed at the end. Exit code 1 if a part fails, or if
all are skipped.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kit import grafana_checks, signal_checks
from kit.observed_platform import ObservedPlatform
from kit.sandbox import DrillFailed, run_drill

TRACING, LOGGING, METRICS = {"otelcol", "jaeger"}, {"loki", "promtail"}, {"prometheus"}


@dataclass
class Part:
    title: str
    needs: set
    check: Callable


PARTS = [
    Part("The dashboards are well-formed", set(), grafana_checks.check_definitions),
    Part("An order is one trace through three services", TRACING, signal_checks.check_trace),
    Part("The log lines of an order are in Loki", LOGGING, signal_checks.check_logs),
    Part("Promtail restarts", LOGGING, signal_checks.check_promtail_restart),
    Part("Prometheus reads all targets and rules", METRICS, grafana_checks.check_targets),
    Part("A degraded order is found within a minute", set(), signal_checks.check_degraded_order),
    Part("The dashboards' queries to Prometheus have data", METRICS, grafana_checks.check_panels),
    Part("The dashboards' queries to Loki have lines", LOGGING, grafana_checks.check_log_panels),
    Part("Links lead from logs to traces and back", TRACING | LOGGING, grafana_checks.check_links),
    Part(
        "The services run without the observability programs",
        set(),
        signal_checks.check_without_observers,
    ),
]


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--program", default="target/release/valerix", help="the valerix to run [%(default)s]"
    )
    parser.add_argument("--logs", help="copy all logs to this directory")
    chosen = parser.parse_args()
    if not Path(chosen.program).is_file():
        parser.error(f"{chosen.program} does not exist: build it, or set --program")
    return chosen


def drill(sandbox, chosen):
    platform = ObservedPlatform(sandbox, Path(chosen.program))
    missing = platform.missing()
    for name, observer in platform.observers.items():
        print(f"{name:>10}  {observer.program or 'missing: ' + observer.how_to_name()}")
    runnable = [part for part in PARTS if not missing.intersection(part.needs)]
    skipped = [part for part in PARTS if part not in runnable]
    if len(missing) == len(platform.observers):
        raise DrillFailed("no part can run: see drills/observability.py --help")
    print("starting …", flush=True)
    platform.start()
    for part in runnable:
        print(f"\n{part.title}", flush=True)
        for line in part.check(platform):
            print(f"  {line}", flush=True)
    for part in skipped:
        names = ", ".join(sorted(missing.intersection(part.needs)))
        print(f"\nskipped: {part.title} (needs {names})")


def main():
    chosen = arguments()
    return run_drill("observability", chosen.logs, lambda sandbox: drill(sandbox, chosen))


if __name__ == "__main__":
    sys.exit(main())
