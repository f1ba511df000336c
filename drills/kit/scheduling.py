"""The scheduler and the eviction API, with nodes and readiness that are only objects."""

import json

from .sandbox import DrillFailed, wait_for
from .workloads import Objects

TIMEOUT_SECONDS = 120
# Each node by name, with its zone.
NODES = {"node1": "a", "node2": "b", "node3": "b"}
ORDER_PODS = "--selector=app.kubernetes.io/component=order"
MAX_ORDER_REPLICAS = 6
BUDGET_REFUSAL = "Cannot evict pod as it would violate the pod's disruption budget"


def node(name, zone):
    size = {"cpu": "16", "memory": "64Gi", "pods": "110", "ephemeral-storage": "100Gi"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone},
        },
        "status": {
            "capacity": size,
            "allocatable": size,
            "conditions": [{"type": "Ready", "status": "True", "reason": "Drill"}],
        },
    }


def volume():
    """For the claim of the trial's database."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "drill"},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": "/nowhere"},
        },
    }


class Scheduling:
    """In one namespace, whose pods are all of one version."""

    def __init__(self, kubectl, namespace):
        self.kubectl = kubectl
        self.namespace = namespace

    def run(self, namespaces):
        nodes = [node(name, zone) for name, zone in NODES.items()]
        self.kubectl.run("create", "--filename=-", documents=[*nodes, volume()])
        for namespace in namespaces:
            self._check_spread(namespace)
        print(f"  {len(NODES)} nodes: every pod has one, no two replicas of a service share one")
        self._scale_without_one_node()
        self._evict_unready_pods()
        self._evict_ready_pods()

    def _order_pods(self):
        """The pods of the order service that are not about to end."""
        pods = self.kubectl.get("pods", self.namespace, ORDER_PODS)
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def _wait_for_scheduled_pods(self, number):
        def are_scheduled():
            pods = [pod for pod in self._order_pods() if pod["spec"].get("nodeName")]
            return len(pods) == number and pods

        return wait_for(f"nodes for {number} pods", are_scheduled, TIMEOUT_SECONDS, interval=0.5)

    def _check_spread(self, namespace):
        def are_scheduled():
            pods = Objects(self.kubectl, namespace).of("Pod").values()
            return all(pod["spec"].get("nodeName") for pod in pods) and pods

        what = f"nodes for all pods of {namespace}"
        used = set()
        for pod in wait_for(what, are_scheduled, TIMEOUT_SECONDS, interval=0.5):
            if version := pod["metadata"]["labels"].get("pod-template-hash"):
                pair = (version, pod["spec"]["nodeName"])
                if pair in used:
                    raise DrillFailed(f"two pods of version {version} share {pair[1]}")
                used.add(pair)

    def _scale_without_one_node(self):
        """A node that takes no pods must not count as an empty one: nothing could be scheduled."""
        self.kubectl.run("cordon", "node3")
        patch = json.dumps({"spec": {"minReplicas": MAX_ORDER_REPLICAS}})
        autoscaler = ["hpa", "order-service", "--namespace", self.namespace]
        self.kubectl.run("patch", *autoscaler, "--type=merge", f"--patch={patch}")
        pods = self._wait_for_scheduled_pods(MAX_ORDER_REPLICAS)
        nodes = [pod["spec"]["nodeName"] for pod in pods]
        counts = ", ".join(f"{name}: {nodes.count(name)}" for name in NODES)
        print(f"  node3 takes no pods, order has {len(pods)} replicas: {counts}", flush=True)

    def _evict(self, pod):
        """Asks for an eviction, as `kubectl drain` does. Returns the reason of a refusal, or ''."""
        name = pod["metadata"]["name"]
        metadata = {"name": name, "namespace": self.namespace}
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
        path = f"/api/v1/namespaces/{self.namespace}/pods/{name}/eviction"
        arguments = ["create", f"--raw={path}", "--filename=-"]
        code, _, errors = self.kubectl.attempt(*arguments, text=json.dumps(eviction))
        return errors if code else ""

    def _evict_unready_pods(self):
        """While the database is unreachable no pod is ready, and a node must still be drainable."""
        pods = self._order_pods()
        for pod in pods:
            self._report(pod, is_ready=False)
        for pod in pods[:2]:
            if refusal := self._evict(pod):
                raise DrillFailed(f"a pod that is not ready cannot be evicted: {refusal}")
        self._wait_for_scheduled_pods(MAX_ORDER_REPLICAS)
        print("  none is ready: two were evicted at once, and replaced", flush=True)

    def _evict_ready_pods(self):
        pods = self._order_pods()
        for pod in pods:
            self._report(pod, is_ready=True)
        wait_for("the budget to count ready pods", self._allows_one, TIMEOUT_SECONDS, interval=0.5)
        if refusal := self._evict(pods[0]):
            raise DrillFailed(f"the budget does not allow one eviction: {refusal}")
        refusal = self._evict(pods[1])
        if BUDGET_REFUSAL not in refusal:
            raise DrillFailed(f"the budget allows a second eviction: {refusal or 'accepted'}")
        print("  all are ready: one was evicted, and a second eviction refused", flush=True)

    def _allows_one(self):
        for budget in self.kubectl.get("poddisruptionbudgets", self.namespace):
            if budget["metadata"]["name"] == "order-service":
                status = budget["status"]
                healthy = status["currentHealthy"] == MAX_ORDER_REPLICAS
                return healthy and status["disruptionsAllowed"] == 1
        return False

    def _report(self, pod, is_ready):
        """Reports what a kubelet would report of a running pod. A pending one needs no budget."""
        condition = {"type": "Ready", "status": str(is_ready)}
        patch = json.dumps({"status": {"phase": "Running", "conditions": [condition]}})
        target = ["pod", pod["metadata"]["name"], "--namespace", self.namespace]
        self.kubectl.run("patch", *target, "--subresource=status", f"--patch={patch}")
