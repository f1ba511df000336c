"""Who reaches whom, worked out from the policies as Kubernetes defines them, and compared with who should."""

import ipaddress

import facts
from manifests import labels_of, matches, pod_of, title

OURS = "ours"
NAMESPACES = {
    OURS: {"kubernetes.io/metadata.name": OURS},
    "kube-system": {"kubernetes.io/metadata.name": "kube-system"},
    "edge": {"valerix/ingress": "true"},
    "monitoring": {"valerix/metrics": "true", "valerix/traces": "true"},
    "elsewhere": {},
}
DNS, OTLP, DATABASE = ("UDP", 53), ("TCP", 4317), ("TCP", 5432)
PROMETHEUS = {"app.kubernetes.io/name": "prometheus"}
# Pods that are not ours, and what they open.
OTHERS = {
    "dns": ("kube-system", {"k8s-app": "kube-dns"}, [DNS, ("TCP", 53)]),
    "ingress controller": ("edge", {}, []),
    "prometheus": ("monitoring", PROMETHEUS, []),
    "collector": ("monitoring", {}, [OTLP, ("TCP", 22)]),
    "a neighbour": (OURS, {}, [("TCP", 80)]),
    "a stranger": ("elsewhere", {}, [("TCP", 443), OTLP, DNS]),
    "a false prometheus": ("elsewhere", PROMETHEUS, []),
}


class Pod:
    def __init__(self, name, namespace, labels, ports, named=None):
        self.name, self.namespace, self.labels, self.ports = name, namespace, labels, ports
        # Named ports; a policy may say those.
        self.named = named or {}


def everybody(manifests):
    pods = [Pod(name, *rest) for name, rest in OTHERS.items()]
    for workload in manifests.workloads():
        opened = [p for c in pod_of(workload)["containers"] for p in c.get("ports", [])]
        named = {port["name"]: port["containerPort"] for port in opened}
        name = labels_of(workload).get("app.kubernetes.io/component", workload["metadata"]["name"])
        pods.append(Pod(name, OURS, labels_of(workload), [("TCP", number) for number in named.values()], named))
    if not any(pod.name == "database" for pod in pods):
        pods.append(Pod("database", OURS, {"cnpg.io/cluster": "valerix-postgres"}, [DATABASE]))
    return pods


def admits(peers, pod):
    """Whether one of a rule's peers is this pod; no peers are all."""
    for peer in peers or [{"namespaceSelector": {}}]:
        inside = matches(peer["namespaceSelector"], NAMESPACES[pod.namespace]) if "namespaceSelector" in peer \
            else pod.namespace == OURS
        if "ipBlock" not in peer and inside and matches(peer.get("podSelector", {}), pod.labels):
            return True
    return False


def opens(ports, target, protocol, number):
    for port in ports or [{}]:
        wanted = port.get("port", number)
        if port.get("protocol", "TCP") == protocol or not port:
            if target.named.get(wanted, wanted) == number:
                return True
    return False


def allowed(policies, direction, pod, other, target, protocol, number):
    """Whether the policies on one pod let it speak with another, in one direction."""
    about = [p["spec"] for p in policies if pod.namespace == OURS and matches(p["spec"]["podSelector"], pod.labels)
             and direction.capitalize() in p["spec"]["policyTypes"]]
    peers = "from" if direction == "ingress" else "to"
    return not about or any(
        admits(rule.get(peers), other) and opens(rule.get("ports"), target, protocol, number)
        for spec in about for rule in spec.get(direction, [])
    )


def wanted(source, target, port):
    """The whole list; docs/kubernetes.md shows it to people."""
    services = tuple(facts.PORTS)
    return (
        (source == "ingress controller" and target == "order")
        or (source == "order" and target in ("inventory", "payment"))
        or (source == "prometheus" and target in services)
        or (source in (*services, "migrate") and target == "database")
        or (source in (*services, "migrate", "database") and target == "dns")
        or (source in services and target == "collector" and port == OTLP)
    )


def rules(policy):
    return [*policy["spec"].get("ingress", []), *policy["spec"].get("egress", [])]


def numbered(manifests):
    """A named port is another number on other pods; Cilium refuses a policy where it is."""
    for policy in manifests.of("NetworkPolicy"):
        for port in (port.get("port") for rule in rules(policy) for port in rule.get("ports", [])):
            if not isinstance(port, int):
                yield f"{title(policy)}: port {port} is a name, not a number"


def blocks(manifests):
    """Addresses are no pods, so that `reach` does not see them."""
    for policy in manifests.of("NetworkPolicy"):
        for peer in (peer for rule in rules(policy) for peer in [*rule.get("from", []), *rule.get("to", [])]):
            network = ipaddress.ip_network(peer.get("ipBlock", {}).get("cidr", "192.0.2.0/24"))
            if network.prefixlen == 0:
                yield f"{title(policy)}: {network} is everybody"


def denied_by_default(manifests):
    """A pod that no other policy names reaches nobody, and nobody reaches it."""
    for workload in manifests.workloads():
        closed = set()
        for policy in manifests.of("NetworkPolicy"):
            spec = policy["spec"]
            if matches(spec["podSelector"], labels_of(workload)) and not spec.get("ingress") and not spec.get("egress"):
                closed |= set(spec["policyTypes"])
        if closed != {"Ingress", "Egress"}:
            yield f"{title(workload)}: not everything is denied by default"


def reach(manifests):
    policies, pods = manifests.of("NetworkPolicy"), everybody(manifests)
    our_labels = [labels_of(workload) for workload in manifests.workloads()]
    for source in pods:
        for target in pods:
            if source is target or not any(pod.labels in our_labels for pod in (source, target)):
                continue
            for protocol, number in target.ports:
                is_so = allowed(policies, "egress", source, target, target, protocol, number) and \
                    allowed(policies, "ingress", target, source, target, protocol, number)
                if is_so != wanted(source.name, target.name, (protocol, number)):
                    verb = "can" if is_so else "cannot"
                    yield f"{source.name} {verb} reach {target.name} at {number}/{protocol}"
