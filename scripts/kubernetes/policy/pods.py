"""How a pod is confined, probed and stopped."""

from manifests import pod_spec, title

# Time for the last spans, which the program sends after the drain.
TELEMETRY_FLUSH_SECONDS = 2


def restricted(manifests):
    """The Pod Security Standard "restricted", a read-only root file system, and resource limits."""
    for workload in manifests.workloads():
        name, pod = title(workload), pod_spec(workload)
        context = pod.get("securityContext", {})
        if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
            yield f"{name}: needs runAsNonRoot, and a runAsUser other than 0"
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{name}: needs the seccompProfile RuntimeDefault"
        for field in ("automountServiceAccountToken", "enableServiceLinks"):
            if pod.get(field) is not False:
                yield f"{name}: {field} must be false"
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            if pod.get(field):
                yield f"{name}: {field} is not allowed"
        if any("hostPath" in volume for volume in pod.get("volumes", [])):
            yield f"{name}: a hostPath volume is not allowed"
        for container in pod["containers"] + pod.get("initContainers", []):
            yield from (f"{name}: {line}" for line in restricted_container(container))


def restricted_container(container):
    context = container.get("securityContext", {})
    if context.get("readOnlyRootFilesystem") is not True:
        yield "the root file system is writable"
    if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
        yield "privilege escalation is possible"
    if context.get("capabilities") != {"drop": ["ALL"]}:
        yield "must drop all capabilities and add none"
    for part in ("requests", "limits"):
        if set(container.get("resources", {}).get(part, {})) != {"cpu", "memory"}:
            yield f"needs {part} of cpu and memory"


def probes(manifests):
    """The services are probed at the routes made for it; for the database, any probe will do."""
    program = manifests.program
    for workload in manifests.of_kind("Deployment", "StatefulSet"):
        for container in pod_spec(workload)["containers"]:
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                if probe not in container:
                    yield f"{title(workload)}: no {probe}"
    for workload in manifests.service_deployments():
        container = pod_spec(workload)["containers"][0]
        for probe, path in (
            ("startupProbe", program.liveness_path),
            ("livenessProbe", program.liveness_path),
            ("readinessProbe", program.readiness_path),
        ):
            request = container.get(probe, {}).get("httpGet", {})
            if request != {"path": path, "port": "http"}:
                yield f"{title(workload)}: {probe} requests {request}, not {path} at port http"
        timeout = container.get("readinessProbe", {}).get("timeoutSeconds", 1)
        if timeout <= program.readiness_timeout_seconds:
            yield (
                f"{title(workload)}: the readiness probe times out after {timeout} s, but "
                f"{program.readiness_path} may take {program.readiness_timeout_seconds} s"
            )


def graceful_shutdown(manifests):
    """Requests in progress finish, and no new request reaches a closed port."""
    for workload in manifests.service_deployments():
        name, pod = title(workload), pod_spec(workload)
        lifecycle = pod["containers"][0].get("lifecycle", {})
        pause = lifecycle.get("preStop", {}).get("sleep", {}).get("seconds", 0)
        if pause < 1:
            yield f"{name}: no preStop sleep"
        needed = pause + manifests.program.drain_timeout_seconds + TELEMETRY_FLUSH_SECONDS
        if pod.get("terminationGracePeriodSeconds", 30) < needed:
            yield f"{name}: a stop may take {needed} s, terminationGracePeriodSeconds allows less"
        update = workload["spec"].get("strategy", {}).get("rollingUpdate", {})
        if update.get("maxUnavailable") != 0:
            yield f"{name}: maxUnavailable must be 0, or an update reduces the running replicas"


def job_deadlines(manifests):
    """A job that hangs fails after a time."""
    for job in manifests.of_kind("Job"):
        if not job["spec"].get("activeDeadlineSeconds"):
            yield f"{title(job)}: no activeDeadlineSeconds"
