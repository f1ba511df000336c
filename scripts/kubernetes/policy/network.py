"""Which pod can reach which: computed from the network policies, compared with the intended list.

The computation follows the semantics that Kubernetes defines for network policies.
"""

import ipaddress
from dataclasses import dataclass, field

from manifests import pod_labels, pod_spec, selector_matches, title

OWN_NAMESPACE = "own"
NAMESPACE_LABELS = {
    OWN_NAMESPACE: {"kubernetes.io/metadata.name": OWN_NAMESPACE},
    "kube-system": {"kubernetes.io/metadata.name": "kube-system"},
    "edge": {"valerix/ingress": "true"},
    "monitoring": {"valerix/metrics": "true", "valerix/traces": "true"},
    "other": {},
}
DNS, OTLP, DATABASE = ("UDP", 53), ("TCP", 4317), ("TCP", 5432)
PROMETHEUS_LABELS = {"app.kubernetes.io/name": "prometheus"}
# Pods outside the manifests: namespace, labels and open ports.
EXTERNAL_PODS = {
    "dns": ("kube-system", {"k8s-app": "kube-dns"}, [DNS, ("TCP", 53)]),
    "ingress controller": ("edge", {}, []),
    "prometheus": ("monitoring", PROMETHEUS_LABELS, []),
    "collector": ("monitoring", {}, [OTLP, ("TCP", 22)]),
    "an unrelated pod of the same namespace": (OWN_NAMESPACE, {}, [("TCP", 80)]),
    "an unrelated pod": ("other", {}, [("TCP", 443), OTLP, DNS]),
    "an unrelated pod with Prometheus's labels": ("other", PROMETHEUS_LABELS, []),
}
# A database that an overlay expects to exist.
EXTERNAL_DATABASE_LABELS = {"cnpg.io/cluster": "valerix-postgres"}


@dataclass
class Pod:
    name: str
    namespace: str
    labels: dict
    # Protocol and number.
    ports: list
    # A policy may refer to a port by its name.
    named_ports: dict = field(default_factory=dict)


def all_pods(manifests):
    pods = [Pod(name, *rest) for name, rest in EXTERNAL_PODS.items()]
    for workload in manifests.workloads():
        ports = [p for c in pod_spec(workload)["containers"] for p in c.get("ports", [])]
        named_ports = {port["name"]: port["containerPort"] for port in ports}
        numbers = [("TCP", number) for number in named_ports.values()]
        labels = pod_labels(workload)
        name = labels.get("app.kubernetes.io/component", workload["metadata"]["name"])
        pods.append(Pod(name, OWN_NAMESPACE, labels, numbers, named_ports))
    if not any(pod.name == "database" for pod in pods):
        pods.append(Pod("database", OWN_NAMESPACE, EXTERNAL_DATABASE_LABELS, [DATABASE]))
    return pods


def peers_include(peers, pod):
    """Whether a rule's peers include the pod. Without peers, a rule applies to every pod."""
    for peer in peers or [{"namespaceSelector": {}}]:
        if "namespaceSelector" in peer:
            labels = NAMESPACE_LABELS[pod.namespace]
            namespace_matches = selector_matches(peer["namespaceSelector"], labels)
        else:
            namespace_matches = pod.namespace == OWN_NAMESPACE
        pod_matches = selector_matches(peer.get("podSelector", {}), pod.labels)
        if "ipBlock" not in peer and namespace_matches and pod_matches:
            return True
    return False


def ports_include(ports, target, protocol, number):
    """Whether a rule's ports include the target's. Without ports, a rule applies to every port."""
    for port in ports or [{}]:
        if port and port.get("protocol", "TCP") != protocol:
            continue
        expected = port.get("port", number)
        if target.named_ports.get(expected, expected) == number:
            return True
    return False


def is_allowed(policies, direction, pod, peer, target, protocol, number):
    """Whether the policies that select `pod` allow its traffic with `peer` in one direction.

    `target` is the one of both that opens the port.
    """
    specs = [
        policy["spec"]
        for policy in policies
        if pod.namespace == OWN_NAMESPACE
        and selector_matches(policy["spec"]["podSelector"], pod.labels)
        and direction.capitalize() in policy["spec"]["policyTypes"]
    ]
    peers = "from" if direction == "ingress" else "to"
    return not specs or any(
        peers_include(rule.get(peers), peer)
        and ports_include(rule.get("ports"), target, protocol, number)
        for spec in specs
        for rule in spec.get(direction, [])
    )


def is_intended(services, source, target, port):
    """The complete list of allowed connections. docs/kubernetes.md shows it as a table."""
    return (
        (source == "ingress controller" and target == "order")
        or (source == "order" and target in ("inventory", "payment"))
        or (source == "prometheus" and target in services)
        or (source in (*services, "migrate") and target == "database")
        or (source in (*services, "migrate", "database") and target == "dns")
        or (source in services and target == "collector" and port == OTLP)
    )


def rules_of(policy):
    return [*policy["spec"].get("ingress", []), *policy["spec"].get("egress", [])]


def port_numbers(manifests):
    """A named port can be a different number on other pods, and Cilium rejects such a policy."""
    for policy in manifests.of_kind("NetworkPolicy"):
        for rule in rules_of(policy):
            for port in (port.get("port") for port in rule.get("ports", [])):
                if not isinstance(port, int):
                    yield f"{title(policy)}: port {port} is a name, not a number"


def address_blocks(manifests):
    """`reachability` considers pods only, so address blocks need a check of their own."""
    for policy in manifests.of_kind("NetworkPolicy"):
        for rule in rules_of(policy):
            for peer in [*rule.get("from", []), *rule.get("to", [])]:
                if "ipBlock" not in peer:
                    continue
                block = ipaddress.ip_network(peer["ipBlock"]["cidr"])
                if block.prefixlen == 0:
                    yield f"{title(policy)}: {block} allows every address"


def denied_by_default(manifests):
    """A pod without any other policy has no traffic in either direction."""
    for workload in manifests.workloads():
        denied = set()
        for policy in manifests.of_kind("NetworkPolicy"):
            spec = policy["spec"]
            has_rules = spec.get("ingress") or spec.get("egress")
            if selector_matches(spec["podSelector"], pod_labels(workload)) and not has_rules:
                denied |= set(spec["policyTypes"])
        if denied != {"Ingress", "Egress"}:
            yield f"{title(workload)}: traffic is not denied by default"


def reachability(manifests):
    policies, pods = manifests.of_kind("NetworkPolicy"), all_pods(manifests)
    services = tuple(manifests.program.default_ports)
    own_labels = [pod_labels(workload) for workload in manifests.workloads()]
    for source in pods:
        for target in pods:
            if source is target or not any(p.labels in own_labels for p in (source, target)):
                continue
            for protocol, number in target.ports:
                port = (target, protocol, number)
                can_leave = is_allowed(policies, "egress", source, target, *port)
                can_enter = is_allowed(policies, "ingress", target, source, *port)
                can_reach = can_leave and can_enter
                if can_reach != is_intended(services, source.name, target.name, (protocol, number)):
                    verb = "can" if can_reach else "cannot"
                    yield f"{source.name} {verb} reach {target.name} at {number}/{protocol}"
