"""How a pod runs, is watched, and ends."""

import facts
from manifests import pod_of, title

# To send the last spans, after the drain.
FLUSH_SECONDS = 2


def confined(manifests):
    """The Pod Security Standard "restricted", and a little more."""
    for workload in manifests.workloads():
        name, pod = title(workload), pod_of(workload)
        context = pod.get("securityContext", {})
        if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
            yield f"{name}: runAsNonRoot and a runAsUser other than 0 are wanted"
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{name}: no seccompProfile RuntimeDefault"
        for field in ("automountServiceAccountToken", "enableServiceLinks"):
            if pod.get(field) is not False:
                yield f"{name}: {field} is not false"
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            if pod.get(field):
                yield f"{name}: {field}"
        if any("hostPath" in volume for volume in pod.get("volumes", [])):
            yield f"{name}: a hostPath volume"
        for container in pod["containers"] + pod.get("initContainers", []):
            context = container.get("securityContext", {})
            if context.get("readOnlyRootFilesystem") is not True:
                yield f"{name}: the root file system can be written"
            if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
                yield f"{name}: privileges can be gained"
            if context.get("capabilities") != {"drop": ["ALL"]}:
                yield f"{name}: capabilities other than none"
            resources = container.get("resources", {})
            for part in ("requests", "limits"):
                if set(resources.get(part, {})) != {"cpu", "memory"}:
                    yield f"{name}: {part} of cpu and memory are wanted"


def watched(manifests):
    """Probes as the contract of /livez and /readyz has it; for the database, any."""
    for workload in manifests.of("Deployment", "StatefulSet"):
        for container in pod_of(workload)["containers"]:
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                if probe not in container:
                    yield f"{title(workload)}: no {probe}"
    for workload in manifests.services():
        container = pod_of(workload)["containers"][0]
        for probe, path in (("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
            asked = container.get(probe, {}).get("httpGet", {})
            if asked != {"path": path, "port": "http"}:
                yield f"{title(workload)}: {probe} asks {asked}, not {path} at http"
        if container.get("readinessProbe", {}).get("timeoutSeconds", 1) <= facts.READY_SECONDS:
            yield f"{title(workload)}: /readyz may take {facts.READY_SECONDS} s, and its probe does not wait so long"


def ended_gently(manifests):
    """What is under way is finished, and no request meets a closed door."""
    for workload in manifests.services():
        name, pod = title(workload), pod_of(workload)
        pause = pod["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        if pause < 1:
            yield f"{name}: no pause before it stops"
        needed = pause + facts.DRAIN_SECONDS + FLUSH_SECONDS
        if pod.get("terminationGracePeriodSeconds", 30) < needed:
            yield f"{name}: terminationGracePeriodSeconds is less than the {needed} s that its end may take"
        rolling = workload["spec"].get("strategy", {}).get("rollingUpdate", {})
        if rolling.get("maxUnavailable") != 0:
            yield f"{name}: an update may take replicas away before others are there"


def bounded(manifests):
    """A Job that hangs ends as failed."""
    for job in manifests.of("Job"):
        if not job["spec"].get("activeDeadlineSeconds"):
            yield f"{title(job)}: no activeDeadlineSeconds"
