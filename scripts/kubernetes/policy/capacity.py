"""Enough replicas that one may be lost, and enough database connections for all of them."""

from manifests import pod_spec, title


def replicas(manifests):
    for autoscaler in manifests.of_kind("HorizontalPodAutoscaler"):
        if not 2 <= autoscaler["spec"]["minReplicas"] < autoscaler["spec"]["maxReplicas"]:
            yield f"{title(autoscaler)}: minReplicas must be at least 2, and below maxReplicas"


def connections(manifests):
    """Applies to a database that is part of the overlay."""
    needed = manifests.max_connections_needed()
    for database in manifests.of_kind("StatefulSet"):
        for argument in pod_spec(database)["containers"][0].get("args", []):
            name, _, limit = argument.partition("=")
            if name == "max_connections" and int(limit) < needed:
                yield f"{title(database)}: {argument}, but all replicas together need {needed}"
