"""Manifests contain no secret, and an enabled gremlin requires a token."""

import re

from manifests import pod_spec, title

SECRET_NAME = re.compile(r"password|passwd|token|secret|credential|private", re.IGNORECASE)
# user:password@host with a literal password. $(VARIABLE) is a reference, not a literal.
PASSWORD_IN_URL = re.compile(r"://[^/@\s:]+:(?!\$\()[^@\s]+@")


def by_reference(manifests):
    for document in manifests.of_kind("Secret"):
        yield f"{title(document)}: a Secret in a manifest"
    for document in manifests.of_kind("ConfigMap"):
        for key, value in document.get("data", {}).items():
            if SECRET_NAME.search(key) or PASSWORD_IN_URL.search(value):
                yield f"{title(document)}: {key} looks like a secret"
    for workload in manifests.workloads():
        for container in pod_spec(workload)["containers"]:
            variables = container.get("env", [])
            values = [variable["value"] for variable in variables if "value" in variable]
            values += map(str, container.get("args", []) + container.get("command", []))
            if any(PASSWORD_IN_URL.search(value) for value in values):
                yield f"{title(workload)}: a URL contains a password"
            for variable in variables:
                name, source = variable["name"], variable.get("valueFrom", {})
                if SECRET_NAME.search(name) and "secretKeyRef" not in source:
                    yield f"{title(workload)}: {name} must come from a Secret"


def gremlin_requires_token(manifests):
    for workload in manifests.service_deployments():
        for container in pod_spec(workload)["containers"]:
            is_enabled = manifests.literal_variables(container).get("GREMLIN_ENABLED") != "false"
            if is_enabled and not any(map(is_required_token, container.get("env", []))):
                yield f"{title(workload)}: the gremlin is enabled without a token"


def is_required_token(variable):
    reference = variable.get("valueFrom", {}).get("secretKeyRef", {})
    return variable["name"] == "GREMLIN_TOKEN" and not reference.get("optional")
