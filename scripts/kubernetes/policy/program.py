"""The program accepts its arguments and variables, and runs in the right image."""

import re
from urllib.parse import urlsplit

import config_files
from manifests import component, pod_spec, title

# $(NAME) in a value: another variable of the same container.
VARIABLE_REFERENCE = re.compile(r"\$\((\w+)\)")
SERVICES_CALLED_BY_ORDER = ("inventory", "payment")


def images(manifests):
    version = manifests.program.version
    postgres_image = config_files.COMPOSE["services"]["postgres"]["image"]
    for workload in manifests.workloads():
        for container in pod_spec(workload)["containers"]:
            image = container["image"]
            name, _, tag = image.partition(":")
            if tag in ("", "latest"):
                yield f"{title(workload)}: image {name} has no fixed version"
            elif name.rsplit("/", 1)[-1] == "valerix" and tag != version:
                yield f"{title(workload)}: image {tag}, but the program's version is {version}"
            elif name == "postgres":
                if image != postgres_image:
                    yield f"{title(workload)}: {image}, but docker-compose.yml has {postgres_image}"
                oldest = manifests.program.min_postgres_major_version
                if int(re.match(r"\d*", tag)[0] or 0) < oldest:
                    yield f"{title(workload)}: {image}, but the program needs {oldest} or newer"


def program_containers(manifests):
    """Yields workload and container of everything that runs the program."""
    for workload in manifests.workloads():
        for container in pod_spec(workload)["containers"]:
            if container["name"] == "valerix":
                yield workload, container


def arguments(manifests):
    migrations = 0
    for workload, container in program_containers(manifests):
        command, *flags = container.get("args", ["?"])
        if command not in manifests.program.commands:
            yield f"{title(workload)}: the program has no command {command}"
        if command == "migrate":
            migrations += 1
        elif command != component(workload):
            yield f"{title(workload)}: runs {command}, but its component is {component(workload)}"
        elif flags != ["--no-migrate"]:
            yield f"{title(workload)}: flags {flags}, but only the Job may change the schema"
        port = manifests.program.default_ports.get(command)
        if port and [p["containerPort"] for p in container.get("ports", [])] != [port]:
            yield f"{title(workload)}: does not open port {port}"
    if migrations != 1:
        yield f"{migrations} workloads migrate the schema instead of 1"


def variables(manifests):
    for workload, container in program_containers(manifests):
        variables = container.get("env", [])
        names = [variable["name"] for variable in variables]
        referenced = set()
        for position, variable in enumerate(variables):
            for name in VARIABLE_REFERENCE.findall(variable.get("value", "")):
                referenced.add(name)
                # Kubernetes expands references to variables above only.
                if name not in names[:position]:
                    yield (
                        f"{title(workload)}: {variable['name']} refers to {name}, "
                        "which is not defined above it"
                    )
        known = manifests.program.environment_variables | referenced
        for name in {*names, *manifests.literal_variables(container)} - known:
            yield f"{title(workload)}: the program does not read a variable {name}"
        if "DATABASE_URL" not in names:
            yield f"{title(workload)}: no DATABASE_URL"


def service_urls(manifests):
    """The order service's URLs lead to the other two services."""
    for workload, container in program_containers(manifests):
        if component(workload) != "order":
            continue
        for name in SERVICES_CALLED_BY_ORDER:
            url = manifests.literal_variables(container).get(f"{name.upper()}_SERVICE_URL", "")
            address = urlsplit(url)
            service = manifests.find("Service", address.hostname)
            ports = [port["port"] for port in service["spec"]["ports"]] if service else []
            selector = service["spec"]["selector"] if service else {}
            if address.port not in ports or selector["app.kubernetes.io/component"] != name:
                yield f"{title(workload)}: {url} does not lead to {name}"
