"""No secret is in a manifest, and the gremlin is behind one."""

import re

from manifests import pod_of, title

SECRET = re.compile(r"password|passwd|token|secret|credential|private", re.IGNORECASE)
# user:password@host with a literal password; $(VARIABLE) is not one.
IN_ADDRESS = re.compile(r"://[^/@\s:]+:(?!\$\()[^@\s]+@")


def by_reference(manifests):
    for document in manifests.of("Secret"):
        yield f"{title(document)}: a Secret in a manifest"
    for document in manifests.of("ConfigMap"):
        for key, value in document.get("data", {}).items():
            if SECRET.search(key) or IN_ADDRESS.search(value):
                yield f"{title(document)}: {key} looks like a secret"
    for workload in manifests.workloads():
        for container in pod_of(workload)["containers"]:
            said = [e["value"] for e in container.get("env", []) if "value" in e]
            said += [str(a) for a in container.get("args", []) + container.get("command", [])]
            if any(IN_ADDRESS.search(text) for text in said):
                yield f"{title(workload)}: an address with a password in it"
            for variable in container.get("env", []):
                if SECRET.search(variable["name"]) and "secretKeyRef" not in variable.get("valueFrom", {}):
                    yield f"{title(workload)}: {variable['name']} does not come from a Secret"


def gremlin_behind_a_token(manifests):
    for workload in manifests.services():
        for container in pod_of(workload)["containers"]:
            guarded = any(e["name"] == "GREMLIN_TOKEN" and not
                          e.get("valueFrom", {}).get("secretKeyRef", {}).get("optional") for e in container.get("env", []))
            if manifests.settings(container).get("GREMLIN_ENABLED") != "false" and not guarded:
                yield f"{title(workload)}: the gremlin is open to all"
