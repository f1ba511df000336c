#!/usr/bin/env python3
"""Applies deploy/kubernetes to a real control plane on this machine: etcd, the API server, the
controllers and the scheduler, with certificates, RBAC and the default admission plugins.

Each overlay is applied in a namespace that enforces the Pod Security Standard "restricted", with
strict validation; a warning fails the drill. Planted defects must be refused. Then the controllers
must create every pod, and the scheduler must spread them over nodes that are only objects: no
container runs. Everything that the drill starts or writes is removed at the end.

The programs come from KUBERNETES_BIN_DIR or the PATH. If one is missing, the drill says which and
runs nothing. Exit code 1 then, and if the drill fails.
"""

import argparse
import sys
from pathlib import Path

from kit.admission import check_defects
from kit.control_plane import ControlPlane, missing_programs
from kit.overlays import Overlays
from kit.sandbox import run_drill
from kit.scheduling import Scheduling
from kit.workloads import wait_for_workloads


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--definitions",
        type=Path,
        help="a directory with CustomResourceDefinitions, of the Prometheus operator and of "
        "CloudNativePG; objects without one are skipped",
    )
    parser.add_argument("--logs", help="copy all logs to this directory")
    chosen = parser.parse_args()
    if chosen.definitions and not chosen.definitions.is_dir():
        parser.error(f"{chosen.definitions} is not a directory")
    return chosen


def drill(sandbox, chosen):
    print("starting etcd and the API server …", flush=True)
    plane = ControlPlane(sandbox)
    plane.start()
    for line in plane.versions():
        print(f"  {line}", flush=True)
    overlays = Overlays(plane.kubectl())
    overlays.install_definitions(chosen.definitions)
    print("applying every overlay, first as a dry run", flush=True)
    overlays.apply_all()
    print("controllers:", flush=True)
    for namespace in overlays.namespaces:
        wait_for_workloads(plane.kubectl(), namespace)
    check_defects(plane.kubectl(), overlays.trial(), overlays.trial_namespace)
    print("scheduler and evictions, with nodes that are only objects:", flush=True)
    Scheduling(plane.kubectl(), overlays.example_namespace).run(overlays.namespaces)


def main():
    chosen = arguments()
    if missing := missing_programs():
        names = ", ".join(missing)
        print(f"nothing was run: not in KUBERNETES_BIN_DIR or the PATH: {names}", file=sys.stderr)
        return 1
    return run_drill("kubernetes", chosen.logs, lambda sandbox: drill(sandbox, chosen))


if __name__ == "__main__":
    sys.exit(main())
