"""What kustomize makes of deploy/kubernetes."""

import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy/kubernetes"
OWN = ROOT / "target/tools/bin/kustomize"


def build(directory):
    """The documents that `kustomize build` makes of a directory."""
    if OWN.exists():
        command = [str(OWN), "build"]
    else:
        command = ["kustomize", "build"] if shutil.which("kustomize") else ["kubectl", "kustomize"]
    done = subprocess.run([*command, str(directory)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"✗ {directory}: {done.stderr.strip()}")
    # "Warning: … is deprecated" and the like would otherwise never be read.
    if done.stderr.strip():
        raise SystemExit(f"✗ {directory}: {done.stderr.strip()}")
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def all_targets():
    """Each overlay as it stands, and each with every component at once; and the example."""
    overlays = sorted(path.parent for path in DEPLOY.glob("overlays/*/kustomization.yaml"))
    components = sorted(path.parent for path in DEPLOY.glob("components/*/kustomization.yaml"))
    with tempfile.TemporaryDirectory(dir=ROOT / "target") as scratch, ThreadPoolExecutor() as pool:
        wanted = {directory.name: directory for directory in [*overlays, DEPLOY / "example"]}
        for overlay in overlays:
            taken = yaml.safe_load((overlay / "kustomization.yaml").read_text()).get("components", [])
            more = [c for c in components if c not in [(overlay / t).resolve() for t in taken]]
            wanted[f"{overlay.name} with all components"] = combined(Path(scratch), overlay, more)
        yield from zip(wanted, pool.map(build, wanted.values()))


def combined(scratch, overlay, components):
    """A kustomization of an overlay and components."""
    here = scratch / overlay.name
    here.mkdir()
    text = {
        "resources": [os.path.relpath(overlay, here)],
        "components": [os.path.relpath(component, here) for component in components],
    }
    (here / "kustomization.yaml").write_text(yaml.safe_dump(text))
    return here


def example_complaints(external):
    """Whether the example of a database cluster is the one that the overlay reaches for."""
    example = yaml.safe_load((DEPLOY / "overlays/external/cluster.example.yaml").read_text())
    name, bound = example["metadata"]["name"], example["spec"]["postgresql"]["parameters"]["max_connections"]
    for secret in external.referenced_secrets():
        if secret not in (f"{name}-app", f"{name}-ca"):
            yield f"the overlay wants Secret {secret}, which a cluster named {name} does not make"
    needed = external.connections_at_most()
    if int(bound) < needed:
        yield f"max_connections is {bound}, and all replicas at their most need {needed}"
