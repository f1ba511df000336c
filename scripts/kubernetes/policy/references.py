"""Every reference from one object to another finds its target."""

import config_files
from manifests import pod_labels, pod_spec, selector_matches, title

SPREAD_OVER = ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]


def selectors(manifests):
    for workload in manifests.of_kind("Deployment", "StatefulSet"):
        if not selector_matches(workload["spec"]["selector"], pod_labels(workload)):
            yield f"{title(workload)}: its selector does not match its own pods"
    for kind, field in (
        ("Service", "selector"),
        ("PodDisruptionBudget", "selector"),
        ("NetworkPolicy", "podSelector"),
    ):
        for document in manifests.of_kind(kind):
            selector = document["spec"][field]
            selector = {"matchLabels": selector} if kind == "Service" else selector
            selected = [
                workload
                for workload in manifests.workloads()
                if selector_matches(selector, pod_labels(workload))
            ]
            if not selected:
                yield f"{title(document)}: selects no pod"
            if kind != "NetworkPolicy" and len(selected) > 1:
                yield f"{title(document)}: selects pods of {', '.join(map(title, selected))}"
    for workload in manifests.workloads():
        for constraint in pod_spec(workload).get("topologySpreadConstraints", []):
            if not selector_matches(constraint["labelSelector"], pod_labels(workload)):
                yield f"{title(workload)}: its topology spread constraint selects other pods"


def ports(manifests):
    for service in manifests.of_kind("Service"):
        selector = {"matchLabels": service["spec"]["selector"]}
        for workload in manifests.workloads():
            if selector_matches(selector, pod_labels(workload)):
                yield from service_ports(service, workload)
    for ingress in manifests.of_kind("Ingress"):
        for path in (p for rule in ingress["spec"]["rules"] for p in rule["http"]["paths"]):
            backend = path["backend"]["service"]
            service = manifests.find("Service", backend["name"])
            names = [port["name"] for port in service["spec"]["ports"]] if service else []
            if backend["port"].get("name") not in names:
                yield f"{title(ingress)}: the backend of {path['path']} does not exist: {backend}"


def service_ports(service, workload):
    containers = pod_spec(workload)["containers"]
    open_ports = {p["name"]: p["containerPort"] for c in containers for p in c.get("ports", [])}
    for port in service["spec"]["ports"]:
        target = port.get("targetPort", port["port"])
        number = open_ports.get(target, target)
        if number not in open_ports.values():
            yield (
                f"{title(service)}: the target of port {port['port']} is {target}, "
                f"which {title(workload)} does not open"
            )
        elif number != port["port"]:
            yield f"{title(service)}: port {port['port']}, but {title(workload)} opens {number}"


def services(manifests):
    """Each service has an autoscaler, a disruption budget, spread pods, and its ConfigMaps."""
    scaled = []
    for autoscaler in manifests.of_kind("HorizontalPodAutoscaler"):
        target = autoscaler["spec"]["scaleTargetRef"]
        scaled.append(target["name"])
        workload = manifests.find(target["kind"], target["name"])
        if workload is None:
            yield f"{title(autoscaler)}: there is no {target['kind']} {target['name']}"
        elif "replicas" in workload["spec"]:
            yield f"{title(workload)}: sets replicas, which conflicts with its autoscaler"
    budgets = [b["spec"]["selector"] for b in manifests.of_kind("PodDisruptionBudget")]
    for workload in manifests.service_deployments():
        if workload["metadata"]["name"] not in scaled:
            yield f"{title(workload)}: no HorizontalPodAutoscaler"
        if not any(selector_matches(selector, pod_labels(workload)) for selector in budgets):
            yield f"{title(workload)}: no PodDisruptionBudget"
        constraints = pod_spec(workload).get("topologySpreadConstraints", [])
        if [constraint["topologyKey"] for constraint in constraints] != SPREAD_OVER:
            yield f"{title(workload)}: its pods are not spread over hosts and zones"
        for container in pod_spec(workload)["containers"]:
            for source in container.get("envFrom", []):
                if not manifests.find("ConfigMap", source["configMapRef"]["name"]):
                    name = source["configMapRef"]["name"]
                    yield f"{title(workload)}: there is no ConfigMap {name}"


def monitoring(manifests):
    """The alert rules and the dashboard rely on these labels and on the scrape interval."""
    scrape_interval = config_files.PROMETHEUS["global"]["scrape_interval"]
    scrape_configs = config_files.PROMETHEUS["scrape_configs"]
    job = next(config for config in scrape_configs if config["job_name"] == "valerix")
    names = manifests.program.service_names
    if {target["labels"]["service"] for target in job["static_configs"]} != names:
        yield f"prometheus.yml: does not scrape exactly {', '.join(sorted(names))}"
    for monitor in manifests.of_kind("ServiceMonitor"):
        selected = [
            service
            for service in manifests.of_kind("Service")
            if selector_matches(monitor["spec"]["selector"], service["metadata"].get("labels", {}))
        ]
        if {service["metadata"]["name"] for service in selected} != names:
            yield f"{title(monitor)}: does not select exactly {', '.join(sorted(names))}"
        for service in selected:
            if service["metadata"]["labels"].get(monitor["spec"]["jobLabel"]) != job["job_name"]:
                yield f"{title(service)}: its series would not have the label job={job['job_name']}"
        for endpoint in monitor["spec"]["endpoints"]:
            if endpoint["interval"] != scrape_interval:
                yield f"{title(monitor)}: its interval differs from infra/prometheus/prometheus.yml"
            for service in selected:
                if endpoint["port"] not in [port["name"] for port in service["spec"]["ports"]]:
                    yield f"{title(monitor)}: {title(service)} has no port {endpoint['port']}"
