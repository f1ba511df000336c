"""Generates the PrometheusRule from the rule files that Prometheus reads.

kustomize cannot insert a file into a field of an object, so the result is stored in the repository.
"""

import yaml

from render import DEPLOY, ROOT

GENERATED = DEPLOY / "components/monitoring/rules.yaml"
HEADER = """\
# Generated from infra/prometheus/rules by `make kubernetes-rules`. `make kubernetes` compares them.
"""


def generate():
    groups = []
    for file in sorted((ROOT / "infra/prometheus/rules").glob("*.yml")):
        groups += yaml.safe_load(file.read_text())["groups"]
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "valerix", "labels": {"app.kubernetes.io/part-of": "valerix"}},
        "spec": {"groups": groups},
    }
    return HEADER + yaml.safe_dump(rule, sort_keys=False, width=100)


def write():
    GENERATED.write_text(generate())


def violations():
    if not GENERATED.exists() or GENERATED.read_text() != generate():
        yield (
            "the PrometheusRule differs from infra/prometheus/rules: run `make kubernetes-rules`"
        )
