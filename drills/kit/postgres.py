"""PostgreSQL's programs, and sessions for queries."""

import os
import re
import select
import shutil
import subprocess
from pathlib import Path

from .sandbox import DrillFailed

MIN_MAJOR_VERSION = 15


def bin_directory():
    """Returns the directory that POSTGRES_BIN_DIR names, or that of the newest server."""
    if chosen := os.environ.get("POSTGRES_BIN_DIR"):
        return Path(chosen)
    found = {}
    installed = map(str, Path("/usr/lib/postgresql").glob("*/bin"))
    for directory in [*os.environ["PATH"].split(":"), *installed]:
        # os.access also skips directories of the PATH that this user cannot read.
        if os.access(f"{directory}/initdb", os.X_OK):
            command = [f"{directory}/postgres", "--version"]
            version = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            found[int(re.search(r"\d+", version)[0])] = Path(directory)
    if not found or max(found) < MIN_MAJOR_VERSION:
        raise DrillFailed(
            f"PostgreSQL {MIN_MAJOR_VERSION} or newer is missing: run `make postgres`"
        )
    return found[max(found)]


def require(*commands):
    for command in commands:
        if not shutil.which(command):
            raise DrillFailed(f"{command} is missing: run `make drill-tools`")


class ConnectionLost(Exception):
    """The server does not respond, or the session broke."""


class Session:
    """One connection, held by a psql that executes statement after statement."""

    def __init__(self, sandbox, port, database, user, password):
        psql = bin_directory() / "psql"
        command = [psql, "-XqAt", "-h", "127.0.0.1", "-p", port, "-U", user, database]
        environment = {"PGPASSWORD": password, "PGCONNECT_TIMEOUT": 2, "PGAPPNAME": "drill"}
        self.process = sandbox.start(
            command,
            sandbox.directory("psql"),
            environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
        )

    def value(self, statement, timeout=2):
        """Executes a statement that returns one value."""
        try:
            self.process.stdin.write(statement.rstrip(";") + ";\n")
            self.process.stdin.flush()
        except OSError as error:
            raise ConnectionLost from error
        if not select.select([self.process.stdout], [], [], timeout)[0]:
            raise ConnectionLost
        line = self.process.stdout.readline()
        if not line:
            raise ConnectionLost
        return line.rstrip("\n")

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def query(sandbox, port, database, user, password, statement):
    """Executes a statement and returns its rows, each a list of strings."""
    psql = bin_directory() / "psql"
    options = ["-XqAt", "-F", "\t", "-v", "ON_ERROR_STOP=1"]
    address = ["-h", "127.0.0.1", "-p", port, "-U", user]
    command = [psql, *options, *address, "-c", statement, database]
    output = sandbox.run(command, {"PGPASSWORD": password})
    return [line.split("\t") for line in output.splitlines()]
