"""Kubernetes' own schemas, from the package kubernetes-validate: strict ones, which refuse unknown fields."""

import re

import jsonschema
from kubernetes_validate.utils import all_versions, schema_contents
from referencing import Registry, Resource

# `preStop.sleep` is on by default from here.
OLDEST = "1.30"

# Kinds of operators, whose schemas the package does not have. Every other kind must have one.
WITHOUT = {"PrometheusRule", "ServiceMonitor"}


def versions():
    """The oldest that we say it runs on, and the newest known."""
    known = [re.match(r"[0-9]+\.[0-9]+", version)[0] for version in all_versions()]
    newest = max(known, key=lambda version: [int(part) for part in version.split(".")])
    assert OLDEST in known
    return [OLDEST, newest]


class Validator:
    """The schemas of one version. Definitions are read once; the package itself reads them for each object."""

    def __init__(self, version):
        self.version = version
        full = max((v for v in all_versions() if v.startswith(f"{version}.")), key=lambda v: int(v.split(".")[2]))
        self.directory = f"kubernetes-json-schema/v{full}-local-strict"
        definitions = schema_contents(f"{self.directory}/_definitions.json", version)
        self.registry = Resource.from_contents(definitions) @ Registry()
        self.validators = {}

    def validator(self, api, kind):
        """The validator of a kind, or None when there is none."""
        if (api, kind) not in self.validators:
            group, _, number = api.rpartition("/")
            name = "-".join(part for part in (kind.lower(), group.split(".")[0], number) if part)
            try:
                schema = schema_contents(f"{self.directory}/{name}.json", self.version)
                made = jsonschema.validators.Draft202012Validator(schema, registry=self.registry)
            except FileNotFoundError:
                made = None
            self.validators[api, kind] = made
        return self.validators[api, kind]

    def complaints(self, document):
        """What the schema says of a document."""
        kind, name = document.get("kind", "?"), document.get("metadata", {}).get("name", "?")
        if kind in WITHOUT:
            return
        validator = self.validator(document.get("apiVersion", "?"), kind)
        if validator is None:
            yield f"{kind} {name}: Kubernetes {self.version} has no {document.get('apiVersion')} {kind}"
            return
        for error in validator.iter_errors(document):
            path = ".".join(str(part) for part in error.absolute_path)
            yield f"{kind} {name}: {path}: {error.message} (Kubernetes {self.version})"
