"""The objects of one built overlay, and what the policies ask of them."""

import facts

WORKLOADS = ("Deployment", "StatefulSet", "Job")


class Manifests:
    """All documents that kustomize made."""

    def __init__(self, documents):
        self.documents = documents

    def of(self, *kinds):
        return [document for document in self.documents if document["kind"] in kinds]

    def kinds(self):
        kinds = [document["kind"] for document in self.documents]
        return ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds)))

    def workloads(self):
        return self.of(*WORKLOADS)

    def services(self):
        """The workloads that serve: those of the program, not its database."""
        return [w for w in self.of("Deployment") if role(w) in facts.PORTS]

    def named(self, kind, name):
        return next((d for d in self.of(kind) if d["metadata"]["name"] == name), None)

    def settings(self, container):
        """Every variable of a container that has a literal value, those of its ConfigMaps too."""
        values = {}
        for source in container.get("envFrom", []):
            found = self.named("ConfigMap", source.get("configMapRef", {}).get("name"))
            values |= (found or {}).get("data", {})
        return values | {e["name"]: e["value"] for e in container.get("env", []) if "value" in e}

    def referenced_secrets(self):
        secrets = set()
        for workload in self.workloads():
            pod = pod_of(workload)
            secrets |= {v["secret"]["secretName"] for v in pod.get("volumes", []) if "secret" in v}
            for variable in (v for c in pod["containers"] for v in c.get("env", [])):
                reference = variable.get("valueFrom", {}).get("secretKeyRef")
                secrets |= {reference["name"]} if reference else set()
        return secrets

    def connections_at_most(self):
        """Database connections of all replicas at their most, amid a rolling update, with the migration and what
        PostgreSQL keeps for its superuser."""
        total = 1 + 3
        for workload in self.services():
            name, scalers = workload["metadata"]["name"], self.of("HorizontalPodAutoscaler")
            most = [s["spec"]["maxReplicas"] for s in scalers if s["spec"]["scaleTargetRef"]["name"] == name]
            surge = workload["spec"].get("strategy", {}).get("rollingUpdate", {}).get("maxSurge", 1)
            pods = max(most, default=1) + surge
            pool = self.settings(pod_of(workload)["containers"][0]).get("DATABASE_POOL_SIZE", facts.POOL)
            total += pods * int(pool)
        return total


def pod_of(workload):
    return workload["spec"]["template"]["spec"]


def labels_of(workload):
    return workload["spec"]["template"]["metadata"].get("labels", {})


def role(workload):
    return labels_of(workload).get("app.kubernetes.io/component")


def title(document):
    return f"{document['kind']} {document['metadata']['name']}"


def matches(selector, labels):
    """Whether a label selector takes these labels. An empty one takes all."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for wish in selector.get("matchExpressions", []):
        value, operator = labels.get(wish["key"]), wish["operator"]
        good = {
            "In": value in wish.get("values", []),
            "NotIn": value not in wish.get("values", []),
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }[operator]
        if not good:
            return False
    return True
