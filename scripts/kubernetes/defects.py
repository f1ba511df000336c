"""Mistakes made on purpose. Each must be noticed; a check that notices nothing is worth nothing."""

import copy

from manifests import Manifests, pod_of


def of(kind, name="order-service"):
    return lambda manifests: manifests.named(kind, name)


def container(manifests):
    return pod_of(manifests.named("Deployment", "order-service"))["containers"][0]


def pod(manifests):
    return pod_of(manifests.named("Deployment", "order-service"))


def settings(manifests):
    return next(c for c in manifests.of("ConfigMap") if "valerix-settings" in c["metadata"]["name"])["data"]


def without(kind, name):
    def change(manifests):
        manifests.documents = [d for d in manifests.documents if (d["kind"], d["metadata"]["name"]) != (kind, name)]
    return change


def put(where, *path):
    """Sets what the path leads to, whose last part is the value."""
    def change(manifests):
        place = where(manifests)
        *parents, key, value = path
        for part in parents:
            place = place[part]
        place[key] = value
    return change


# What is done, and what must be said.
DEFECTS = {
    "an unknown field": (put(container, "livenessProb", {}), "livenessProb"),
    "an unknown field of a pod": (put(pod, "restartPolcy", "Always"), "restartPolcy"),
    "a number for a text": (put(of("Deployment"), "metadata", "name", 7), "7 is not of type"),
    "an API that is gone": (put(of("PodDisruptionBudget"), "apiVersion", "policy/v1beta1"), "has no policy/v1beta1"),
    "a wrong kind of value": (put(of("HorizontalPodAutoscaler"), "spec", "maxReplicas", "many"), "maxReplicas"),
    "root": (put(pod, "securityContext", "runAsUser", 0), "runAsNonRoot"),
    "a writable root file system": (put(container, "securityContext", "readOnlyRootFilesystem", False), "can be written"),
    "a capability": (put(container, "securityContext", "capabilities", {"add": ["NET_RAW"]}), "capabilities"),
    "no limits": (put(container, "resources", "limits", {}), "limits of cpu"),
    "no readiness": (lambda m: container(m).pop("readinessProbe"), "no readinessProbe"),
    "liveness that asks the database": (put(container, "livenessProbe", "httpGet", "path", "/readyz"), "livenessProbe asks"),
    "too short an end": (put(pod, "terminationGracePeriodSeconds", 8), "terminationGracePeriodSeconds"),
    "no pause before the end": (lambda m: container(m).pop("lifecycle"), "no pause"),
    "an image without a version": (put(container, "image", "valerix"), "left open"),
    "another version": (put(container, "image", "valerix:9.9.9"), "Cargo.toml"),
    "a migrating service": (put(container, "args", ["order"]), "alone changes the schema"),
    "a misspelt variable": (put(settings, "GREMLIN_ENABELD", "false"), "GREMLIN_ENABELD"),
    "a password in the open": (put(settings, "DATABASE_URL", "postgres://u:hunter2@h/db"), "looks like a secret"),
    "a token in the open": (lambda m: container(m)["env"].append({"name": "GREMLIN_TOKEN", "value": "x"}), "from a Secret"),
    "an open gremlin": (put(container, "env", []), "open to all"),
    "a service that selects nobody": (put(of("Service"), "spec", "selector", {"app": "order"}), "selects no pod"),
    "a service's wrong port": (put(of("Service"), "spec", "ports", 0, "targetPort", "web"), "does not open"),
    "a budget for nobody": (put(of("PodDisruptionBudget"), "spec", "selector", {"matchLabels": {"a": "b"}}), "selects no pod"),
    "an autoscaler of nothing": (put(of("HorizontalPodAutoscaler"), "spec", "scaleTargetRef", "name", "x"), "there is no Deployment x"),
    "too many connections": (put(of("HorizontalPodAutoscaler"), "spec", "maxReplicas", 60), "max_connections"),
    "a policy for nobody": (put(of("NetworkPolicy", "valerix-customers"), "spec", "podSelector", {"matchLabels": {"a": "b"}}), "selects no pod"),
    "a policy that lets all in": (put(of("NetworkPolicy", "valerix-called-by-order"), "spec", "ingress", [{}]), "a stranger can reach"),
    "a policy that lets all out": (put(of("NetworkPolicy", "valerix-names"), "spec", "egress", [{}]), "can reach a stranger"),
    "a named port in a policy": (put(of("NetworkPolicy", "valerix-customers"), "spec", "ingress", 0, "ports", 0, "port", "http"), "is a name"),
    "a policy for every address": (lambda m: of("NetworkPolicy", "valerix-customers")(m)["spec"]["ingress"].append({"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}), "is everybody"),
    "a migration without an end": (lambda m: of("Job", "valerix-migrate")(m)["spec"].pop("activeDeadlineSeconds"), "no activeDeadlineSeconds"),
    "no policy that denies": (without("NetworkPolicy", "valerix-nothing"), "denied by default"),
    "no way to the database": (without("NetworkPolicy", "valerix-to-database"), "cannot reach database"),
    "no way from Prometheus": (without("NetworkPolicy", "valerix-metrics"), "prometheus cannot reach"),
    "payment at a wrong address": (without("Service", "payment-service"), "payment is not at"),
}


def unnoticed(manifests, complaints):
    for name, (change, wanted) in DEFECTS.items():
        broken = Manifests(copy.deepcopy(manifests.documents))
        change(broken)
        said = list(complaints(broken))
        if not any(wanted in line for line in said):
            yield f"deliberate defect not noticed: {name}; said was {said or 'nothing'}"
