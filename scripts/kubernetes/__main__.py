"""Checks every overlay of deploy/kubernetes against Kubernetes' schemas and the project's policies.

Afterwards it inserts known defects into one overlay and verifies that the check reports each.
"""

import argparse
import sys
import time

import alert_rules
import defects
import description
import render
import schema
from manifests import Manifests
from policy import POLICIES


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/check-kubernetes", description=__doc__)
    parser.add_argument(
        "--program",
        help="the valerix that describes itself [default: $VALERIX, else a debug build]",
    )
    parser.add_argument(
        "--write-rules",
        action="store_true",
        help="generate the PrometheusRule from infra/prometheus/rules, and check nothing",
    )
    return parser.parse_args()


def violations(manifests, validator):
    """Everything wrong with one built overlay. Policies run only if all objects fit the schema."""
    errors = [line for document in manifests.documents for line in validator.errors(document)]
    return errors or [line for policy in POLICIES for line in policy(manifests)]


def check(program):
    """Yields one line for each problem of the overlays, and for each defect that is not found."""
    yield from alert_rules.violations()
    oldest, newest = (schema.Validator(version) for version in schema.versions())
    overlays = {name: Manifests(documents, program) for name, documents in render.build_all()}
    for name, manifests in overlays.items():
        print(f"{name}: {len(manifests.documents)} objects, {manifests.count_by_kind()}")
        lines = violations(manifests, newest)
        # The policies do not depend on the version, so they run once.
        lines += [line for document in manifests.documents for line in oldest.errors(document)]
        yield from (f"{name}: {line}" for line in lines)
    for line in render.example_violations(overlays["external"]):
        yield f"cluster.example.yaml: {line}"
    yield from defects.undetected(overlays["trial"], lambda broken: violations(broken, newest))
    print(
        f"schemas of Kubernetes {oldest.version} and {newest.version} (strict), "
        f"{len(POLICIES)} policies, {len(defects.DEFECTS)} planted defects; "
        f"no schema for {', '.join(sorted(schema.KINDS_WITHOUT_SCHEMA))}"
    )


def main():
    chosen = arguments()
    if chosen.write_rules:
        alert_rules.write()
        return 0
    program = description.describe(description.find_program(chosen.program))
    start = time.monotonic()
    problems = list(check(program))
    for line in problems:
        print(f"✗ {line}", file=sys.stderr)
    if problems:
        return 1
    print(f"✓ no violation, every planted defect found, {time.monotonic() - start:.1f} s")
    return 0


sys.exit(main())
