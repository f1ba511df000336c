"""Kubernetes' own schemas from the package kubernetes-validate, in their strict variant.

A strict schema rejects unknown fields.
"""

import re

import jsonschema
from kubernetes_validate.utils import all_versions, schema_contents
from referencing import Registry, Resource

# The first version that has `preStop.sleep` enabled by default.
MIN_VERSION = "1.30"

# Custom resources, whose schemas the package lacks. Every other kind must have a schema.
KINDS_WITHOUT_SCHEMA = {"PrometheusRule", "ServiceMonitor"}


def versions():
    """The oldest version that the manifests support, and the newest that the package knows."""
    known = [re.match(r"[0-9]+\.[0-9]+", version)[0] for version in all_versions()]
    newest = max(known, key=lambda version: [int(part) for part in version.split(".")])
    assert MIN_VERSION in known
    return [MIN_VERSION, newest]


class Validator:
    """The schemas of one version.

    It reads the definitions once; the package itself would read them for every object.
    """

    def __init__(self, version):
        self.version = version
        patches = [full for full in all_versions() if full.startswith(f"{version}.")]
        latest = max(patches, key=lambda full: int(full.split(".")[2]))
        self.directory = f"kubernetes-json-schema/v{latest}-local-strict"
        definitions = schema_contents(f"{self.directory}/_definitions.json", version)
        self.registry = Resource.from_contents(definitions) @ Registry()
        self.validators = {}

    def validator(self, api, kind):
        """Returns the validator of a kind, or None if Kubernetes has no such kind."""
        if (api, kind) not in self.validators:
            group, _, number = api.rpartition("/")
            name = "-".join(part for part in (kind.lower(), group.split(".")[0], number) if part)
            try:
                schema = schema_contents(f"{self.directory}/{name}.json", self.version)
            except FileNotFoundError:
                self.validators[api, kind] = None
            else:
                draft = jsonschema.validators.Draft202012Validator
                self.validators[api, kind] = draft(schema, registry=self.registry)
        return self.validators[api, kind]

    def errors(self, document):
        kind, name = document.get("kind", "?"), document.get("metadata", {}).get("name", "?")
        if kind in KINDS_WITHOUT_SCHEMA:
            return
        api = document.get("apiVersion", "?")
        validator = self.validator(api, kind)
        if validator is None:
            yield f"{kind} {name}: Kubernetes {self.version} has no {api} {kind}"
            return
        for error in validator.iter_errors(document):
            path = ".".join(str(part) for part in error.absolute_path)
            yield f"{kind} {name}: {path}: {error.message} (Kubernetes {self.version})"
