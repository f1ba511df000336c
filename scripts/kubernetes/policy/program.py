"""What is said to the program, it understands."""

import re

import facts
from manifests import pod_of, role, title
from urllib.parse import urlsplit


def images(manifests):
    for workload in manifests.workloads():
        for container in pod_of(workload)["containers"]:
            name, _, tag = container["image"].partition(":")
            if tag in ("", "latest"):
                yield f"{title(workload)}: the version of image {name} is left open"
            elif name.rsplit("/", 1)[-1] == "valerix" and tag != facts.VERSION:
                yield f"{title(workload)}: image {tag}, and Cargo.toml says {facts.VERSION}"
            elif name == "postgres" and container["image"] != facts.COMPOSE["services"]["postgres"]["image"]:
                yield f"{title(workload)}: {container['image']} is not what docker-compose.yml has"


def ours(manifests):
    """Workload and container of everything that runs the program."""
    for workload in manifests.workloads():
        for container in pod_of(workload)["containers"]:
            if container["name"] == "valerix":
                yield workload, container


def arguments(manifests):
    migrations = 0
    for workload, container in ours(manifests):
        command, *flags = container.get("args", ["?"])
        if command not in facts.COMMANDS:
            yield f"{title(workload)}: there is no command {command}"
        if command == "migrate":
            migrations += 1
        elif command != role(workload):
            yield f"{title(workload)}: runs {command} under the label {role(workload)}"
        elif flags != ["--no-migrate"]:
            yield f"{title(workload)}: {flags}: the Job alone changes the schema"
        if command in facts.PORTS and [p["containerPort"] for p in container.get("ports", [])] != [facts.PORTS[command]]:
            yield f"{title(workload)}: does not open port {facts.PORTS[command]}"
    if migrations != 1:
        yield f"{migrations} migrations"


def variables(manifests):
    for workload, container in ours(manifests):
        names = [e["name"] for e in container.get("env", [])]
        for position, variable in enumerate(container.get("env", [])):
            for used in re.findall(r"\$\((\w+)\)", variable.get("value", "")):
                if used not in names[:position]:
                    yield f"{title(workload)}: {variable['name']} uses {used}, which is not said above it"
        helpers = {used for e in container.get("env", []) for used in re.findall(r"\$\((\w+)\)", e.get("value", ""))}
        for name in {*names, *manifests.settings(container)} - facts.VARIABLES - helpers:
            yield f"{title(workload)}: the program knows no variable {name}"
        if "DATABASE_URL" not in names:
            yield f"{title(workload)}: no DATABASE_URL"


def calls(manifests):
    """Order finds the other two."""
    for workload, container in ours(manifests):
        if role(workload) != "order":
            continue
        for called in ("inventory", "payment"):
            address = urlsplit(manifests.settings(container).get(f"{called.upper()}_SERVICE_URL", ""))
            service = manifests.named("Service", address.hostname)
            ports = [port["port"] for port in service["spec"]["ports"]] if service else []
            if address.port not in ports or service["spec"]["selector"]["app.kubernetes.io/component"] != called:
                yield f"{title(workload)}: {called} is not at {address.geturl()}"
