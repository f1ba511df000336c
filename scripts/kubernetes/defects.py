"""Deliberate defects in the manifests. The check is only worth something if it reports each."""

import copy

from manifests import Manifests, pod_spec


def order_pod(manifests):
    return pod_spec(manifests.find("Deployment", "order-service"))


def order_container(manifests):
    return order_pod(manifests)["containers"][0]


def order_environment(manifests):
    return order_container(manifests)["env"]


def settings(manifests):
    config_maps = manifests.of_kind("ConfigMap")
    return next(c for c in config_maps if "valerix-settings" in c["metadata"]["name"])["data"]


def find(kind, name="order-service"):
    return lambda manifests: manifests.find(kind, name)


def put(parent_of, *path):
    """Sets a field. The last element of the path is the value."""

    def change(manifests):
        parent = parent_of(manifests)
        *parents, key, value = path
        for part in parents:
            parent = parent[part]
        parent[key] = value

    return change


def remove(parent_of, key):
    return lambda manifests: parent_of(manifests).pop(key)


def append(list_of, item):
    return lambda manifests: list_of(manifests).append(item)


def remove_object(kind, name):
    def change(manifests):
        manifests.documents = [
            document
            for document in manifests.documents
            if (document["kind"], document["metadata"]["name"]) != (kind, name)
        ]

    return change


def policy_field(name, *path):
    """Returns a function that finds a field below `spec` of a NetworkPolicy."""

    def field(manifests):
        value = manifests.find("NetworkPolicy", name)["spec"]
        for part in path:
            value = value[part]
        return value

    return field


NO_POD = {"matchLabels": {"a": "b"}}
EVERY_ADDRESS = {"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}

# By description: the change, and a part of the line that must report it.
DEFECTS = {
    "an unknown field of a container": (
        put(order_container, "livenessProb", {}),
        "livenessProb",
    ),
    "an unknown field of a pod": (
        put(order_pod, "restartPolcy", "Always"),
        "restartPolcy",
    ),
    "a number instead of a string": (
        put(find("Deployment"), "metadata", "name", 7),
        "7 is not of type",
    ),
    "a removed API version": (
        put(find("PodDisruptionBudget"), "apiVersion", "policy/v1beta1"),
        "has no policy/v1beta1",
    ),
    "a string instead of a number": (
        put(find("HorizontalPodAutoscaler"), "spec", "maxReplicas", "many"),
        "maxReplicas",
    ),
    "a container that runs as root": (
        put(order_pod, "securityContext", "runAsUser", 0),
        "runAsNonRoot",
    ),
    "a writable root file system": (
        put(order_container, "securityContext", "readOnlyRootFilesystem", False),
        "is writable",
    ),
    "an added capability": (
        put(order_container, "securityContext", "capabilities", {"add": ["NET_RAW"]}),
        "capabilities",
    ),
    "no resource limits": (
        put(order_container, "resources", "limits", {}),
        "limits of cpu",
    ),
    "no readiness probe": (
        remove(order_container, "readinessProbe"),
        "no readinessProbe",
    ),
    "a liveness probe that depends on the database": (
        put(order_container, "livenessProbe", "httpGet", "path", "/readyz"),
        "livenessProbe requests",
    ),
    "a readiness probe that times out too early": (
        put(order_container, "readinessProbe", "timeoutSeconds", 1),
        "the readiness probe times out",
    ),
    "too short a grace period": (
        put(order_pod, "terminationGracePeriodSeconds", 8),
        "terminationGracePeriodSeconds",
    ),
    "no pause before a stop": (
        remove(order_container, "lifecycle"),
        "no preStop sleep",
    ),
    "an image without a version": (
        put(order_container, "image", "valerix"),
        "has no fixed version",
    ),
    "an image of another version": (
        put(order_container, "image", "valerix:9.9.9"),
        "but the program's version is",
    ),
    "an unknown command": (
        put(order_container, "args", ["ordr", "--no-migrate"]),
        "has no command ordr",
    ),
    "a service that migrates the schema": (
        put(order_container, "args", ["order"]),
        "only the Job may change the schema",
    ),
    "a service at another port": (
        put(order_container, "ports", 0, "containerPort", 8080),
        "does not open port 5001",
    ),
    "a misspelt variable": (
        put(settings, "GREMLIN_ENABELD", "false"),
        "does not read a variable GREMLIN_ENABELD",
    ),
    "a reference to an undefined variable": (
        append(order_environment, {"name": "TRACE_URL", "value": "http://$(TRACE_HOST)"}),
        "TRACE_HOST, which is not defined above it",
    ),
    "a password in a ConfigMap": (
        put(settings, "DATABASE_URL", "postgres://u:hunter2@h/db"),
        "looks like a secret",
    ),
    "a literal token": (
        append(order_environment, {"name": "GREMLIN_TOKEN", "value": "x"}),
        "must come from a Secret",
    ),
    "an enabled gremlin without a token": (
        put(order_container, "env", []),
        "enabled without a token",
    ),
    "a Service that selects no pod": (
        put(find("Service"), "spec", "selector", {"app": "order"}),
        "selects no pod",
    ),
    "a Service with a wrong target port": (
        put(find("Service"), "spec", "ports", 0, "targetPort", "web"),
        "does not open",
    ),
    "a disruption budget that selects no pod": (
        put(find("PodDisruptionBudget"), "spec", "selector", NO_POD),
        "selects no pod",
    ),
    "an autoscaler without a Deployment": (
        put(find("HorizontalPodAutoscaler"), "spec", "scaleTargetRef", "name", "x"),
        "there is no Deployment x",
    ),
    "more connections than the database accepts": (
        put(find("HorizontalPodAutoscaler"), "spec", "maxReplicas", 60),
        "max_connections",
    ),
    "a network policy that selects no pod": (
        put(policy_field("valerix-customers"), "podSelector", NO_POD),
        "selects no pod",
    ),
    "a network policy that allows all ingress": (
        put(policy_field("valerix-called-by-order"), "ingress", [{}]),
        "an unrelated pod can reach",
    ),
    "a network policy that allows all egress": (
        put(policy_field("valerix-names"), "egress", [{}]),
        "can reach an unrelated pod",
    ),
    "a named port in a network policy": (
        put(policy_field("valerix-customers", "ingress", 0, "ports", 0), "port", "http"),
        "is a name",
    ),
    "a network policy that allows every address": (
        append(policy_field("valerix-customers", "ingress"), EVERY_ADDRESS),
        "allows every address",
    ),
    "a migration without a time limit": (
        remove(lambda m: m.find("Job", "valerix-migrate")["spec"], "activeDeadlineSeconds"),
        "no activeDeadlineSeconds",
    ),
    "no policy that denies by default": (
        remove_object("NetworkPolicy", "valerix-nothing"),
        "denied by default",
    ),
    "no policy that allows the database": (
        remove_object("NetworkPolicy", "valerix-to-database"),
        "cannot reach database",
    ),
    "no policy that allows Prometheus": (
        remove_object("NetworkPolicy", "valerix-metrics"),
        "prometheus cannot reach",
    ),
    "a URL that leads to no service": (
        remove_object("Service", "payment-service"),
        "does not lead to payment",
    ),
}


def undetected(manifests, violations):
    """Yields a line for each defect that `violations` does not report."""
    for name, (change, expected) in DEFECTS.items():
        broken = Manifests(copy.deepcopy(manifests.documents), manifests.program)
        change(broken)
        lines = list(violations(broken))
        if not any(expected in line for line in lines):
            yield f"planted defect not found: {name}; reported: {lines or 'nothing'}"
