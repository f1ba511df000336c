"""The overlays of deploy/kubernetes, as scripts/check-kubernetes builds them, on an API server."""

import sys
from pathlib import Path

from .sandbox import DrillFailed, wait_for

ROOT = Path(__file__).resolve().parents[2]
DATABASE_EXAMPLE = ROOT / "deploy/kubernetes/overlays/external/cluster.example.yaml"
TRIAL_NAMESPACE = "valerix-trial"
# A namespace for each overlay that is installed. "With all components" is an upgrade of it.
NAMESPACES = {"trial": TRIAL_NAMESPACE, "external": "valerix-external", "example": "shop"}
MIGRATION = "--selector=app.kubernetes.io/component=migrate"
DEFINITIONS_TIMEOUT_SECONDS = 60
STANDARD = "pod-security.kubernetes.io"


def build_all():
    """Returns the documents of each overlay by name. The modules need the tools' own Python."""
    sys.path.insert(0, str(ROOT / "scripts/kubernetes"))
    import render

    return dict(render.build_all())


class Overlays:
    trial_namespace = TRIAL_NAMESPACE
    example_namespace = NAMESPACES["example"]
    namespaces = list(NAMESPACES.values())

    def __init__(self, kubectl):
        self.kubectl = kubectl
        self.documents = build_all()

    def trial(self):
        return self.documents["trial"]

    def install_definitions(self, directory):
        """Installs CustomResourceDefinitions, and drops the objects that still have none."""
        if directory:
            # Too large for the annotation that a client-side apply writes.
            self.kubectl.run("apply", "--server-side", "--filename", str(directory.absolute()))
            wait_for("the definitions", self._are_established, DEFINITIONS_TIMEOUT_SECONDS)
        lines = self.kubectl.run("api-resources", "--no-headers").splitlines()
        self.kinds = {line.split()[-1] for line in lines}
        used = {d["kind"] for documents in self.documents.values() for d in documents}
        if skipped := sorted((used | {"Cluster"}) - self.kinds):
            print(f"  skipped, because --definitions has none of them: {', '.join(skipped)}")
        self.documents = {
            name: [document for document in documents if document["kind"] in self.kinds]
            for name, documents in self.documents.items()
        }

    def _are_established(self):
        """Not by `kubectl wait`, which sometimes logs a failure when it has succeeded."""
        return all(
            "Established" in [
                condition["type"]
                for condition in definition.get("status", {}).get("conditions") or []
                if condition["status"] == "True"
            ]
            for definition in self.kubectl.get("customresourcedefinitions")
        )

    def apply_all(self):
        for overlay, namespace in NAMESPACES.items():
            self._create_namespace(overlay, namespace)
            self._apply(overlay, namespace)
        if "Cluster" in self.kinds:
            example = ["--namespace", NAMESPACES["external"], "--filename", str(DATABASE_EXAMPLE)]
            self.kubectl.run("apply", "--validate=strict", *example)
            print(f"  {DATABASE_EXAMPLE.name}: applied", flush=True)
        for overlay in ("trial", "external"):
            self._upgrade(f"{overlay} with all components", NAMESPACES[overlay])

    def _create_namespace(self, overlay, name):
        """The overlay's own one, if it has one: Secrets must be in it before the pods are.

        Beside the enforced standard, warnings name a workload whose pods would be refused.
        """
        own = [d for d in self.documents[overlay] if d["kind"] == "Namespace"]
        plain = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        self.kubectl.run("apply", "--filename=-", documents=own or [plain])
        levels = [f"{STANDARD}/{mode}=restricted" for mode in ("enforce", "warn")]
        self.kubectl.run("label", "--overwrite", "namespace", name, *levels)

    def _apply(self, overlay, namespace, *options):
        documents = self.documents[overlay]
        arguments = ["apply", "--validate=strict", "--namespace", namespace, "--filename=-"]
        # Another manager of fields than that of the second command, which applies as the documents
        # say, from the client's side.
        manager = ["--field-manager=drill", "--force-conflicts"]
        dry_run = ["--server-side", "--dry-run=server", *manager]
        self.kubectl.run(*arguments, *dry_run, *options, documents=documents)
        self.kubectl.run(*arguments, *options, documents=documents)
        print(f"  {overlay}: {len(documents)} objects applied in {namespace}", flush=True)

    def _upgrade(self, overlay, namespace):
        """As docs/kubernetes.md describes it: the pod of a Job cannot be changed."""
        documents = self.documents[overlay]
        where = ["--namespace", namespace]
        self.kubectl.run("delete", "job", "valerix-migrate", "--ignore-not-found", *where)
        apply = ["apply", "--validate=strict", *where, "--filename=-"]
        applied = self.kubectl.run(*apply, MIGRATION, documents=documents).splitlines()
        if applied != ["job.batch/valerix-migrate created"]:
            raise DrillFailed(f"the migration's label selects other objects: {applied}")
        self._apply(overlay, namespace)
