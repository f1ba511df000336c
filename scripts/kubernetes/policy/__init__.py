"""What the schemas do not know: our own rules. Each takes the manifests of one overlay and yields what is wrong."""

from policy import capacity, links, network, pods, program, secrets

POLICIES = (
    pods.confined,
    pods.watched,
    pods.ended_gently,
    pods.bounded,
    links.selectors,
    links.ports,
    links.targets,
    links.monitoring,
    secrets.by_reference,
    secrets.gremlin_behind_a_token,
    program.images,
    program.arguments,
    program.variables,
    program.calls,
    capacity.replicas,
    capacity.connections,
    network.numbered,
    network.blocks,
    network.denied_by_default,
    network.reach,
)
