"""Builds every overlay, and says everything that is wrong with it; then breaks one on purpose, to see that it would be said."""

import sys
import time

import defects
import render
import rules
import schema
from manifests import Manifests
from policy import POLICIES


def complaints(manifests, validator):
    """Everything wrong with one built overlay. The policies count on objects of the right shape."""
    found = [line for document in manifests.documents for line in validator.complaints(document)]
    return found or [line for policy in POLICIES for line in policy(manifests)]


def main():
    if sys.argv[1:] == ["--write-rules"]:
        rules.write()
        return 0
    began = time.monotonic()
    found = list(rules.complaints())
    validators = [schema.Validator(version) for version in schema.versions()]
    newest = validators[-1]
    built = {name: Manifests(documents) for name, documents in render.all_targets()}
    for name, manifests in built.items():
        # The older schemas see what the newest let through; our own policies do not depend on the version.
        lines = complaints(manifests, newest)
        lines += [line for older in validators[:-1] for d in manifests.documents for line in older.complaints(d)]
        found += [f"{name}: {line}" for line in lines]
        print(f"{name}: {len(manifests.documents)} objects, {manifests.kinds()}")
    found += [f"cluster.example.yaml: {line}" for line in render.example_complaints(built["external"])]
    found += defects.unnoticed(built["trial"], lambda broken: complaints(broken, newest))
    for line in found:
        print(f"✗ {line}", file=sys.stderr)
    if found:
        return 1
    print(
        f"✓ schemas of Kubernetes {', '.join(v.version for v in validators)} (strict), {len(POLICIES)} policies, "
        f"{len(defects.DEFECTS)} deliberate defects noticed, {time.monotonic() - began:.1f} s; no schema at hand for "
        f"{', '.join(sorted(schema.WITHOUT))}"
    )
    return 0


sys.exit(main())
