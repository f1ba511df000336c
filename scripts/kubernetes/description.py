"""What the program and its other configuration say of themselves, read where they say it, so that nothing is said twice."""

import re

import yaml

from render import ROOT


def text(path):
    return (ROOT / path).read_text()


def one(pattern, path):
    """The one place in a file that a pattern names; when the file is rewritten, this is noticed rather than skipped."""
    found = re.findall(pattern, text(path))
    assert len(found) == 1, f"{path}: {pattern} is there {len(found)} times"
    return found[0]


VERSION = re.search(r'^version = "(.+)"', text("Cargo.toml"), re.MULTILINE)[1]
VARIABLES = {name for path in sorted((ROOT / "src/cli").glob("*.rs")) for name in re.findall(r'env = "([A-Z_]+)"', path.read_text())}
# By their own names, read by OpenTelemetry's libraries.
VARIABLES |= {"OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG", "OTEL_RESOURCE_ATTRIBUTES"}
COMMANDS = {name.lower() for name in re.findall(r"\n    ([A-Z]\w+)[({]", text("src/cli/mod.rs").split("enum Command")[1].split("\n}")[0])}
PORTS = {
    role: int(one(rf"Command::{role.capitalize()}\(args\)(?:(?!Command::)[\s\S])*?config\((\d+)\)", "src/main.rs"))
    for role in ("order", "inventory", "payment")
}
POOL = int(one(r'env = "DATABASE_POOL_SIZE", default_value_t = (\d+)', "src/cli/mod.rs"))
DRAIN_SECONDS = int(one(r"const DRAIN_SECONDS: u64 = (\d+)", "src/platform/listener.rs"))
READY_SECONDS = int(one(r"const DEADLINE: Duration = Duration::from_millis\((\d+)\)", "src/platform/health.rs")) / 1000
PROMETHEUS = yaml.safe_load(text("infra/prometheus/prometheus.yml"))
COMPOSE = yaml.safe_load(text("docker-compose.yml"))
