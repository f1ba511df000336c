"""What refers to something else finds it."""

import facts
from manifests import labels_of, matches, pod_of, title


def selectors(manifests):
    for workload in manifests.of("Deployment", "StatefulSet"):
        if not matches(workload["spec"]["selector"], labels_of(workload)):
            yield f"{title(workload)}: its selector does not match its own pods"
    for kind, where in (("Service", "selector"), ("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
        for document in manifests.of(kind):
            selector = document["spec"][where]
            selector = {"matchLabels": selector} if kind == "Service" else selector
            found = [w for w in manifests.workloads() if matches(selector, labels_of(w))]
            if not found:
                yield f"{title(document)}: selects no pod"
            if kind != "NetworkPolicy" and len(found) > 1:
                yield f"{title(document)}: selects pods of {', '.join(title(w) for w in found)}"
    for workload in manifests.workloads():
        for constraint in pod_of(workload).get("topologySpreadConstraints", []):
            if not matches(constraint["labelSelector"], labels_of(workload)):
                yield f"{title(workload)}: spreads pods that are not its own"


def ports(manifests):
    for service in manifests.of("Service"):
        for workload in manifests.workloads():
            if not matches({"matchLabels": service["spec"]["selector"]}, labels_of(workload)):
                continue
            open_ports = {p["name"]: p["containerPort"] for c in pod_of(workload)["containers"] for p in c.get("ports", [])}
            for port in service["spec"]["ports"]:
                target = port.get("targetPort", port["port"])
                number = open_ports.get(target, target)
                if number not in open_ports.values():
                    yield f"{title(service)}: port {port['port']} leads to {target}, which {title(workload)} does not open"
                elif number != port["port"]:
                    yield f"{title(service)}: port {port['port']}, and {title(workload)} opens {number}"
    for ingress in manifests.of("Ingress"):
        for path in (p for rule in ingress["spec"]["rules"] for p in rule["http"]["paths"]):
            backend = path["backend"]["service"]
            service = manifests.named("Service", backend["name"])
            names = [port["name"] for port in service["spec"]["ports"]] if service else []
            if backend["port"].get("name") not in names:
                yield f"{title(ingress)}: {path['path']} leads to {backend}, which is not there"


def targets(manifests):
    scaled = []
    for scaler in manifests.of("HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        scaled.append(target["name"])
        found = manifests.named(target["kind"], target["name"])
        if found is None:
            yield f"{title(scaler)}: there is no {target['kind']} {target['name']}"
        elif "replicas" in found["spec"]:
            yield f"{title(found)}: replicas, which its autoscaler decides"
    for workload in manifests.services():
        name = workload["metadata"]["name"]
        if name not in scaled:
            yield f"{title(workload)}: no HorizontalPodAutoscaler"
        if not any(matches(b["spec"]["selector"], labels_of(workload)) for b in manifests.of("PodDisruptionBudget")):
            yield f"{title(workload)}: no PodDisruptionBudget"
        keys = [c["topologyKey"] for c in pod_of(workload).get("topologySpreadConstraints", [])]
        if keys != ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]:
            yield f"{title(workload)}: not spread over machines and zones"
        for container in pod_of(workload)["containers"]:
            for source in container.get("envFrom", []):
                if not manifests.named("ConfigMap", source["configMapRef"]["name"]):
                    yield f"{title(workload)}: there is no ConfigMap {source['configMapRef']['name']}"


def monitoring(manifests):
    """Labels and interval are what the alert rules and the dashboard count on."""
    job = next(c for c in facts.PROMETHEUS["scrape_configs"] if c["job_name"] == "valerix")
    wanted = {target["labels"]["service"] for target in job["static_configs"]}
    for monitor in manifests.of("ServiceMonitor"):
        taken = [s for s in manifests.of("Service") if matches(monitor["spec"]["selector"], s["metadata"].get("labels", {}))]
        if {service["metadata"]["name"] for service in taken} != wanted:
            yield f"{title(monitor)}: takes other Services than {', '.join(sorted(wanted))}"
        for service in taken:
            if service["metadata"]["labels"].get(monitor["spec"]["jobLabel"]) != job["job_name"]:
                yield f"{title(service)}: its series would not bear job={job['job_name']}"
        for endpoint in monitor["spec"]["endpoints"]:
            if endpoint["interval"] != facts.PROMETHEUS["global"]["scrape_interval"]:
                yield f"{title(monitor)}: another interval than infra/prometheus/prometheus.yml"
            if any(endpoint["port"] not in [port["name"] for port in s["spec"]["ports"]] for s in taken):
                yield f"{title(monitor)}: a Service has no port {endpoint['port']}"
