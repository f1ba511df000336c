"""PostgreSQL's programs, and a session to ask a server by."""

import os
import re
import select
import shutil
import subprocess
from pathlib import Path

from .place import DrillFailed

OLDEST = 15


def programs():
    """The directory of the newest server programs on this machine."""
    found = {}
    candidates = [*os.environ["PATH"].split(":"), *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
    for directory in candidates:
        # Not every directory of the PATH can be read by everybody.
        if os.access(f"{directory}/initdb", os.X_OK):
            version = subprocess.run([f"{directory}/postgres", "--version"], capture_output=True, text=True).stdout
            found[int(re.search(r"\d+", version)[0])] = Path(directory)
    if not found or max(found) < OLDEST:
        raise DrillFailed(f"PostgreSQL {OLDEST} or newer is needed: make drill-tools")
    return found[max(found)]


def require(*commands):
    for command in commands:
        if not shutil.which(command):
            raise DrillFailed(f"{command} is needed: make drill-tools")


class Gone(Exception):
    """The server does not answer, or the session broke."""


class Session:
    """One connection by psql, which answers one row after the other without being started anew."""

    def __init__(self, place, port, database, user, password):
        command = [programs() / "psql", "-XqAt", "-h", "127.0.0.1", "-p", port, "-U", user, database]
        environment = {"PGPASSWORD": password, "PGCONNECT_TIMEOUT": 2, "PGAPPNAME": "drill"}
        self.process = place.start(
            command,
            place.directory("psql"),
            environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
        )

    def value(self, statement, limit=2):
        """The one value that a statement gives."""
        try:
            self.process.stdin.write(statement.rstrip(";") + ";\n")
            self.process.stdin.flush()
        except OSError as error:
            raise Gone from error
        if not select.select([self.process.stdout], [], [], limit)[0]:
            raise Gone
        line = self.process.stdout.readline()
        if not line:
            raise Gone
        return line.rstrip("\n")

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def query(place, port, database, user, password, statement):
    """Rows of a statement, or what several change; each row a list of texts."""
    command = [programs() / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", port, "-U", user]
    said = place.run([*command, "-F", "\t", "-c", statement, database], {"PGPASSWORD": password})
    return [line.split("\t") for line in said.splitlines()]
