"""Defects that only a server can judge. Each must be refused, for the expected reason."""

import copy

from .sandbox import DrillFailed

POD_SECURITY = 'violates PodSecurity "restricted:latest"'


def find(documents, kind, name):
    return next(d for d in documents if (d["kind"], d["metadata"]["name"]) == (kind, name))


def pod(deployment):
    return deployment["spec"]["template"]["spec"]


def container(deployment):
    return pod(deployment)["containers"][0]


# The name of the object, the change, and what the server must answer.
OBJECT_DEFECTS = {
    "an unknown field of a container": (
        ("Deployment", "order-service"),
        lambda d: container(d).update(livenessProb={}),
        "strict decoding error: unknown field",
    ),
    "a removed API version": (
        ("PodDisruptionBudget", "order-service"),
        lambda d: d.update(apiVersion="policy/v1beta1"),
        "no matches for kind",
    ),
    "a selector that does not match the pods": (
        ("Deployment", "order-service"),
        lambda d: d["spec"].update(selector={"matchLabels": {"a": "b"}}),
        "`selector` does not match template `labels`",
    ),
    "a volume that is not defined": (
        ("Deployment", "order-service"),
        lambda d: container(d).update(volumeMounts=[{"name": "a", "mountPath": "/a"}]),
        "volumeMounts[0].name: Not found",
    ),
    "a limit below the request": (
        ("Deployment", "order-service"),
        lambda d: container(d)["resources"]["limits"].update(cpu="1m"),
        "must be less than or equal to cpu limit",
    ),
    "a rollout that can never move": (
        ("Deployment", "order-service"),
        lambda d: d["spec"]["strategy"]["rollingUpdate"].update(maxSurge=0),
        "may not be 0 when `maxSurge` is 0",
    ),
    "a disruption budget with two limits": (
        ("PodDisruptionBudget", "order-service"),
        lambda d: d["spec"].update(minAvailable=1),
        "minAvailable and maxUnavailable cannot be both set",
    ),
    "an autoscaler with fewer replicas at most than at least": (
        ("HorizontalPodAutoscaler", "order-service"),
        lambda d: d["spec"].update(maxReplicas=1),
        "must be greater than or equal to `minReplicas`",
    ),
    "a network policy with a port that cannot be": (
        ("NetworkPolicy", "valerix-customers"),
        lambda d: d["spec"]["ingress"][0].update(ports=[{"port": 70000}]),
        "must be between 1 and 65535",
    ),
    "another pod for an existing Job": (
        ("Job", "valerix-migrate"),
        lambda d: container(d).update(args=["migrate", "--help"]),
        "field is immutable",
    ),
}

# Changes of the order service's pod, and what the server must name.
POD_DEFECTS = {
    "a privileged container": (
        lambda p: p["containers"][0]["securityContext"].update(
            privileged=True, allowPrivilegeEscalation=True
        ),
        "privileged",
    ),
    "a container that may gain privileges": (
        lambda p: p["containers"][0]["securityContext"].pop("allowPrivilegeEscalation"),
        "allowPrivilegeEscalation != false",
    ),
    "a container that keeps its capabilities": (
        lambda p: p["containers"][0]["securityContext"].pop("capabilities"),
        "unrestricted capabilities",
    ),
    "a pod that may run as root": (
        lambda p: p["securityContext"].pop("runAsNonRoot"),
        "runAsNonRoot != true",
    ),
    "a pod without a seccomp profile": (
        lambda p: p["securityContext"].pop("seccompProfile"),
        "seccompProfile",
    ),
    "a pod on the network of its node": (lambda p: p.update(hostNetwork=True), "host namespaces"),
    "a directory of the node": (
        lambda p: p.update(volumes=[{"name": "etc", "hostPath": {"path": "/etc"}}]),
        "hostPath",
    ),
}


def check_defects(kubectl, documents, namespace):
    """Fails unless the server refuses each defect, and accepts the same objects without it."""

    def dry_run(document):
        arguments = ["--dry-run=server", "--validate=strict", "--namespace", namespace]
        return kubectl.attempt("apply", *arguments, "--filename=-", documents=[document])

    def refuse(name, document, *reasons):
        code, _, errors = dry_run(document)
        if code == 0 or not all(reason in errors for reason in reasons):
            raise DrillFailed(f"{name} is not refused for {reasons}: {errors or 'accepted'}")

    for name, ((kind, object_name), change, reason) in OBJECT_DEFECTS.items():
        document = copy.deepcopy(find(documents, kind, object_name))
        accept(dry_run, document)
        change(document)
        refuse(name, document, reason)
    accept(dry_run, pod_of(documents))
    for name, (change, reason) in POD_DEFECTS.items():
        document = pod_of(documents)
        change(document["spec"])
        refuse(name, document, POD_SECURITY, reason)
    print(f"{len(OBJECT_DEFECTS)} planted defects refused by the server's validation:")
    print(f"  {'; '.join(OBJECT_DEFECTS)}")
    print(f"{len(POD_DEFECTS)} refused by the standard restricted: {'; '.join(POD_DEFECTS)}")


def accept(dry_run, document):
    code, _, errors = dry_run(document)
    if code or errors:
        raise DrillFailed(f"{document['kind']} without a defect is not accepted: {errors}")


def pod_of(documents):
    """A pod as the Deployment of the order service describes it."""
    spec = copy.deepcopy(pod(find(documents, "Deployment", "order-service")))
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "defect"}, "spec": spec}
