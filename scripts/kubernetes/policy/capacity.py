"""There are enough replicas to lose one, and enough connections for all."""

from manifests import pod_of, title


def replicas(manifests):
    for scaler in manifests.of("HorizontalPodAutoscaler"):
        if not 2 <= scaler["spec"]["minReplicas"] < scaler["spec"]["maxReplicas"]:
            yield f"{title(scaler)}: at least two replicas, and room to grow, are wanted"


def connections(manifests):
    """For a database that is in the overlay itself."""
    for database in manifests.of("StatefulSet"):
        for argument in pod_of(database)["containers"][0].get("args", []):
            name, _, bound = argument.partition("=")
            if name == "max_connections" and int(bound) < manifests.connections_at_most():
                yield f"{title(database)}: {argument}, and all replicas need {manifests.connections_at_most()}"
