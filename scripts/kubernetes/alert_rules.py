"""The PrometheusRule, made from the rules that Prometheus itself reads: kustomize cannot put a file into an object's field."""

import yaml

from render import DEPLOY, ROOT

MADE = DEPLOY / "components/monitoring/rules.yaml"
HEAD = "# Made from infra/prometheus/rules by `make kubernetes-rules`; the check compares.\n"


def made():
    groups = []
    for file in sorted((ROOT / "infra/prometheus/rules").glob("*.yml")):
        groups += yaml.safe_load(file.read_text())["groups"]
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "valerix", "labels": {"app.kubernetes.io/part-of": "valerix"}},
        "spec": {"groups": groups},
    }
    return HEAD + yaml.safe_dump(rule, sort_keys=False, width=120)


def write():
    MADE.write_text(made())


def complaints():
    if not MADE.exists() or MADE.read_text() != made():
        yield "the PrometheusRule is not what infra/prometheus/rules says: make kubernetes-rules"
