"""Builds the overlays of deploy/kubernetes with kustomize."""

import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy/kubernetes"
INSTALLED_KUSTOMIZE = ROOT / "target/tools/bin/kustomize"


def build(directory):
    """Returns the documents that `kustomize build` prints for a directory."""
    if INSTALLED_KUSTOMIZE.exists():
        command = [str(INSTALLED_KUSTOMIZE), "build"]
    elif shutil.which("kustomize"):
        command = ["kustomize", "build"]
    else:
        command = ["kubectl", "kustomize"]
    result = subprocess.run([*command, str(directory)], capture_output=True, text=True, check=False)
    # Warnings fail the check too, for example about a deprecated field: kustomize exits with 0.
    if result.returncode or result.stderr.strip():
        raise SystemExit(f"✗ {directory}: {result.stderr.strip()}")
    return [document for document in yaml.safe_load_all(result.stdout) if document]


def build_all():
    """Yields name and documents: of each overlay, of each with all components, of the example."""
    overlays = sorted(path.parent for path in DEPLOY.glob("overlays/*/kustomization.yaml"))
    components = sorted(path.parent for path in DEPLOY.glob("components/*/kustomization.yaml"))
    with (
        tempfile.TemporaryDirectory(dir=ROOT / "target") as scratch,
        ThreadPoolExecutor() as pool,
    ):
        directories = {directory.name: directory for directory in [*overlays, DEPLOY / "example"]}
        for overlay in overlays:
            kustomization = yaml.safe_load((overlay / "kustomization.yaml").read_text())
            used = [(overlay / path).resolve() for path in kustomization.get("components", [])]
            unused = [path for path in components if path not in used]
            name = f"{overlay.name} with all components"
            directories[name] = combine(Path(scratch), overlay, unused)
        yield from zip(directories, pool.map(build, directories.values()))


def combine(scratch, overlay, components):
    """Writes a kustomization that consists of an overlay and components."""
    directory = scratch / overlay.name
    directory.mkdir()
    kustomization = {
        "resources": [os.path.relpath(overlay, directory)],
        "components": [os.path.relpath(path, directory) for path in components],
    }
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return directory


def example_violations(external):
    """Checks that the example of a database cluster fits the overlay for an external database."""
    path = DEPLOY / "overlays/external/cluster.example.yaml"
    example = yaml.safe_load(path.read_text())
    name = example["metadata"]["name"]
    limit = int(example["spec"]["postgresql"]["parameters"]["max_connections"])
    for secret in external.referenced_secrets():
        if secret not in (f"{name}-app", f"{name}-ca"):
            yield f"the overlay uses Secret {secret}, which a cluster named {name} does not create"
    needed = external.max_connections_needed()
    if limit < needed:
        yield f"max_connections is {limit}, but all replicas together need {needed}"
