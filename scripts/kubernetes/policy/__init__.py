"""The project's own rules, for what the schemas cannot check.

Each policy takes the manifests of one overlay and yields a line for every violation.
"""

from policy import capacity, network, pods, program, references, secrets

POLICIES = (
    pods.restricted,
    pods.probes,
    pods.graceful_shutdown,
    pods.job_deadlines,
    references.selectors,
    references.ports,
    references.services,
    references.monitoring,
    secrets.by_reference,
    secrets.gremlin_requires_token,
    program.images,
    program.arguments,
    program.variables,
    program.service_urls,
    capacity.replicas,
    capacity.connections,
    network.port_numbers,
    network.address_blocks,
    network.denied_by_default,
    network.reachability,
)
