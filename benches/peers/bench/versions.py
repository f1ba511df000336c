"""The versions of what is compared, and the machine."""

import json
import os
import platform
import re
import subprocess
from pathlib import Path

# Those whose version matters. Other packages have theirs in the lock file.
PACKAGES = {
    "restate": (
        "@restatedev/restate-server",
        "@restatedev/restate-sdk",
        "postgres",
        "node-linux",
    ),
    "dbos": ("@dbos-inc/dbos-sdk", "fastify", "postgres", "node-linux"),
}


def describe(stage):
    """Returns the lines of a list."""
    packages = [f"{name}: {_packages(stage, name)}" for name in PACKAGES]
    go = _output("go", "version", directory=stage.source("go")).removeprefix("go version ")
    return [
        f"{_output(stage.program, '--version')} at commit {_commit()}",
        f"PostgreSQL {stage.postgres.version()}, its default settings",
        *packages,
        f"go: {go}; {_modules(stage)}",
        _machine(),
    ]


def _packages(stage, name):
    lock = json.loads(stage.source(f"{name}/package-lock.json").read_text())["packages"]
    versions = []
    for package in PACKAGES[name]:
        path = next(path for path in lock if path.startswith(f"node_modules/{package}"))
        versions.append(f"{package.replace('node-linux', 'Node.js')} {lock[path]['version']}")
    return ", ".join(versions)


def _modules(stage):
    text = stage.source("go/go.mod").read_text()
    direct = re.findall(r"^\s+(\S+) (v\S+)$", text, re.MULTILINE)
    return ", ".join(f"{module} {version}" for module, version in direct)


def _commit():
    directory = Path(__file__).parent
    return _output("git", "describe", "--always", "--dirty", "--exclude=*", directory=directory)


def _output(*command, directory=None):
    environment = os.environ | {"GOTOOLCHAIN": "local"}
    try:
        result = subprocess.run(
            command, cwd=directory, env=environment, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "of unknown version"
    return result.stdout.strip()


def _machine():
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    kib = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1])
    model = cpu[1] if cpu else platform.machine()
    cores, memory = os.cpu_count(), round(kib * 1024 / 1e9)
    return f"{model}, {cores} cores, {memory} GB; Linux {platform.release()}"
