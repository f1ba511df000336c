"""What the program says about itself: the output of `valerix describe --json`."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from render import ROOT


@dataclass(frozen=True)
class Description:
    """The part of the output that the policies use."""

    version: str
    commands: set[str]
    # By the command that runs the service, which is also the component in the pod's labels.
    default_ports: dict[str, int]
    service_names: set[str]
    environment_variables: set[str]
    default_pool_size: int
    liveness_path: str
    readiness_path: str
    readiness_timeout_seconds: float
    drain_timeout_seconds: int
    min_postgres_major_version: int


def describe(program):
    """Runs the program and reads its description."""
    command = [str(program), "describe", "--json"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except OSError as error:
        raise SystemExit(f"✗ cannot run {program}: {error.strerror}") from None
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"✗ {' '.join(command)}: {error.stderr.strip()}") from None
    document = json.loads(output)
    services, probes = document["services"], document["probes"]
    return Description(
        version=document["version"],
        commands=set(document["commands"]),
        default_ports={service["command"]: service["default_port"] for service in services},
        service_names={service["service_name"] for service in services},
        environment_variables=set(document["environment_variables"]),
        default_pool_size=document["default_database_pool_size"],
        liveness_path=probes["liveness_path"],
        readiness_path=probes["readiness_path"],
        readiness_timeout_seconds=probes["readiness_timeout_ms"] / 1000,
        drain_timeout_seconds=document["drain_timeout_seconds"],
        min_postgres_major_version=document["min_postgres_major_version"],
    )


def find_program(option):
    """Returns the path from the command line, else from $VALERIX, else that of a debug build."""
    if named := option or os.environ.get("VALERIX"):
        return Path(named).absolute()
    build()
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug/valerix"


def build():
    """Brings the debug build up to date, so that the check never reads an old program."""
    command = ["cargo", "build", "--locked", "--quiet", "--bin", "valerix"]
    if code := subprocess.run(command, cwd=ROOT, check=False).returncode:
        raise SystemExit(code)
