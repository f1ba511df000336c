"""The objects of one built overlay, and what the policies ask about them."""

WORKLOAD_KINDS = ("Deployment", "StatefulSet", "Job")
# `superuser_reserved_connections` of PostgreSQL, by default.
SUPERUSER_CONNECTIONS = 3
MIGRATION_CONNECTIONS = 1


class Manifests:
    """All documents that kustomize built, with the description of the program that they run."""

    def __init__(self, documents, program):
        self.documents = documents
        self.program = program

    def of_kind(self, *kinds):
        return [document for document in self.documents if document["kind"] in kinds]

    def count_by_kind(self):
        kinds = [document["kind"] for document in self.documents]
        return ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds)))

    def workloads(self):
        return self.of_kind(*WORKLOAD_KINDS)

    def service_deployments(self):
        """The Deployments of the three services."""
        return [w for w in self.of_kind("Deployment") if component(w) in self.program.default_ports]

    def find(self, kind, name):
        return next((d for d in self.of_kind(kind) if d["metadata"]["name"] == name), None)

    def literal_variables(self, container):
        """Environment variables with a literal value, including those from ConfigMaps."""
        values = {}
        for source in container.get("envFrom", []):
            config_map = self.find("ConfigMap", source.get("configMapRef", {}).get("name"))
            values |= (config_map or {}).get("data", {})
        return values | {e["name"]: e["value"] for e in container.get("env", []) if "value" in e}

    def referenced_secrets(self):
        secrets = set()
        for workload in self.workloads():
            pod = pod_spec(workload)
            secrets |= {v["secret"]["secretName"] for v in pod.get("volumes", []) if "secret" in v}
            for variable in (v for c in pod["containers"] for v in c.get("env", [])):
                reference = variable.get("valueFrom", {}).get("secretKeyRef")
                secrets |= {reference["name"]} if reference else set()
        return secrets

    def max_connections_needed(self):
        """Database connections that can be open at once.

        Every service runs its largest number of replicas and is being updated, the migration runs,
        and PostgreSQL reserves some connections for its superuser.
        """
        total = MIGRATION_CONNECTIONS + SUPERUSER_CONNECTIONS
        max_replicas = {
            autoscaler["spec"]["scaleTargetRef"]["name"]: autoscaler["spec"]["maxReplicas"]
            for autoscaler in self.of_kind("HorizontalPodAutoscaler")
        }
        for workload in self.service_deployments():
            surge = workload["spec"].get("strategy", {}).get("rollingUpdate", {}).get("maxSurge", 1)
            pods = max_replicas.get(workload["metadata"]["name"], 1) + surge
            variables = self.literal_variables(pod_spec(workload)["containers"][0])
            total += pods * int(variables.get("DATABASE_POOL_SIZE", self.program.default_pool_size))
        return total


def pod_spec(workload):
    return workload["spec"]["template"]["spec"]


def pod_labels(workload):
    return workload["spec"]["template"]["metadata"].get("labels", {})


def component(workload):
    """`order`, `inventory`, `payment`, `migrate` or `database`."""
    return pod_labels(workload).get("app.kubernetes.io/component")


def title(document):
    return f"{document['kind']} {document['metadata']['name']}"


def selector_matches(selector, labels):
    """Whether a label selector matches the labels. An empty selector matches everything."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(
        expression_matches(expression, labels)
        for expression in selector.get("matchExpressions", [])
    )


def expression_matches(expression, labels):
    value, values = labels.get(expression["key"]), expression.get("values", [])
    return {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }[expression["operator"]]
