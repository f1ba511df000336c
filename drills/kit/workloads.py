"""The objects that the controllers must create for the applied ones, without a kubelet."""

from .sandbox import DrillFailed, wait_for

TIMEOUT_SECONDS = 180
KINDS = (
    "deployments,replicasets,statefulsets,jobs,pods,persistentvolumeclaims,"
    "poddisruptionbudgets,horizontalpodautoscalers,endpointslices,services"
)
# metrics-server is no part of this drill.
WARNINGS_WITHOUT_METRICS = {"FailedGetResourceMetric", "FailedComputeMetricsReplicas"}
# Expected before the drill adds nodes and a volume.
WARNINGS_WITHOUT_NODES = {"FailedScheduling"}


class Objects:
    """The objects of a namespace, by kind and name."""

    def __init__(self, kubectl, namespace):
        self.by_kind = {}
        for item in kubectl.get(KINDS, namespace):
            self.by_kind.setdefault(item["kind"], {})[item["metadata"]["name"]] = item

    def of(self, kind):
        return self.by_kind.get(kind, {})

    def owned_by(self, kind, owner):
        """The objects of a kind that a controller made for the owner."""
        uid = owner["metadata"]["uid"]
        return [
            item
            for item in self.of(kind).values()
            if any(o["uid"] == uid for o in item["metadata"].get("ownerReferences", []))
        ]


def unfinished(objects):
    """Yields what the controllers still have to do."""
    yield from unfinished_deployments(objects)
    for name, owner in [*objects.of("StatefulSet").items(), *objects.of("Job").items()]:
        if not objects.owned_by("Pod", owner):
            yield f"{name} has no pod"
    for name, budget in objects.of("PodDisruptionBudget").items():
        minimum = objects.of("HorizontalPodAutoscaler")[name]["spec"]["minReplicas"]
        if budget.get("status", {}).get("expectedPods") != minimum:
            yield f"the disruption budget {name} does not count {minimum} pods"
    for name, service in objects.of("Service").items():
        if not objects.owned_by("EndpointSlice", service):
            yield f"the Service {name} has no EndpointSlice"


def unfinished_deployments(objects):
    """The autoscalers set the replicas, because the manifests name none."""
    for name, autoscaler in objects.of("HorizontalPodAutoscaler").items():
        minimum = autoscaler["spec"]["minReplicas"]
        sets = objects.owned_by("ReplicaSet", objects.of("Deployment")[name])
        pods = sum(len(objects.owned_by("Pod", replica_set)) for replica_set in sets)
        # After a change of the template, pods of both versions exist until the new ones are ready.
        if not sets or pods < minimum:
            yield f"{name} has {pods} pods instead of {minimum}"


def wait_for_workloads(kubectl, namespace):
    remaining = []

    def are_complete():
        nonlocal remaining
        remaining = list(unfinished(Objects(kubectl, namespace)))
        return not remaining

    try:
        wait_for("the controllers", are_complete, TIMEOUT_SECONDS, interval=1)
    except DrillFailed as error:
        raise DrillFailed(f"{error} in {namespace}: {'; '.join(remaining)}") from None
    check_warnings(kubectl, namespace)
    objects = Objects(kubectl, namespace)
    counts = [f"{len(items)} {kind}" for kind, items in sorted(objects.by_kind.items())]
    print(f"  {namespace}: {', '.join(counts)}", flush=True)


def check_warnings(kubectl, namespace):
    """A refused pod, for example, is a warning of its ReplicaSet."""
    expected = WARNINGS_WITHOUT_METRICS | WARNINGS_WITHOUT_NODES
    for event in kubectl.get("events", namespace, "--field-selector=type=Warning"):
        if event["reason"] not in expected:
            name = event["involvedObject"]["name"]
            raise DrillFailed(f"{namespace}, {name}: {event['reason']}: {event['message']}")
