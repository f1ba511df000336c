"""One PostgreSQL with pgBackRest and the configuration of deploy/pgbackrest, and the servers restored from it."""

import secrets
import shutil
import time
from pathlib import Path

from .place import free_port, kill_all, wait_for
from .postgres import programs, query, require

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "pgbackrest"
REPOSITORIES = (1, 2)


class Archive:
    """The repositories, and pgBackRest itself."""

    def __init__(self, place):
        require("pgbackrest")
        self.place = place
        place.copy(DEPLOY, "pgbackrest")
        passphrases = [f"repo{number}-cipher-pass={secrets.token_urlsafe(48)}" for number in REPOSITORIES]
        self.secrets = place.file("secrets/passphrases.conf", "\n".join(["[global]", *passphrases, ""]))

    def environment(self, server):
        paths = {
            "PGBACKREST_CONFIG": self.place.home / "pgbackrest" / "pgbackrest.conf",
            "PGBACKREST_CONFIG_INCLUDE_PATH": self.secrets.parent,
            "PGBACKREST_LOG_PATH": self.place.directory(f"{server.name}/backup-log"),
            "PGBACKREST_LOCK_PATH": self.place.directory(f"{server.name}/backup-lock"),
            "PGBACKREST_SPOOL_PATH": self.place.directory(f"{server.name}/backup-spool"),
            "PGBACKREST_PG1_PATH": server.data,
            "PGBACKREST_PG1_PORT": server.port,
            "PGBACKREST_PG1_SOCKET_PATH": server.directory,
            "PGBACKREST_PG1_USER": "postgres",
        }
        return paths | {f"PGBACKREST_REPO{number}_PATH": self.repository(number) for number in REPOSITORIES}

    def repository(self, number):
        return self.place.directory(f"repository{number}")

    def run(self, server, command, *options, limit=300):
        # Not in the server's own directory, which a disaster takes.
        arguments = ["pgbackrest", "--stanza=valerix", *options, command]
        return self.place.run(arguments, self.environment(server), limit)

    def backup(self, server, number, kind):
        """The seconds that it took."""
        begin = time.monotonic()
        self.run(server, "backup", f"--repo={number}", f"--type={kind}")
        return time.monotonic() - begin

    def files(self, number):
        # A file of those that archiving renames meanwhile is met under its next name.
        return [path for path in self.repository(number).rglob("*") if path.is_file() and path.suffix != ".tmp"]

    def size(self, number):
        """Bytes."""
        return sum(path.stat().st_size for path in self.files(number))

    def readable(self, number):
        """Files that are not encrypted."""
        return [path for path in self.files(number) if not path.read_bytes().startswith(b"Salted__")]


class Server:
    """A PostgreSQL in a directory and on a port of its own."""

    def __init__(self, place, name, archive, password):
        self.place = place
        self.name = name
        self.archive = archive
        self.password = password
        self.port = free_port()
        self.directory = place.directory(name)
        self.data = self.directory / "data"

    def create(self):
        password = self.place.file("secrets/superuser", self.password)
        self.place.run([
            programs() / "initdb", "--pgdata", self.data, "--username=postgres", "--auth-host=scram-sha-256",
            "--auth-local=trust", f"--pwfile={password}", "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums",
        ])
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as settings:
            settings.write(f"include '{self.place.home / 'pgbackrest' / 'postgresql.conf'}'\n")

    def start(self):
        # As a restored copy has the settings of the original, what is this server's own comes with the command.
        self.place.start(
            [
                programs() / "postgres", "-D", self.data, "-p", self.port,
                "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self.directory}",
            ],
            self.directory,
            self.archive.environment(self),
        )

    def ready(self, limit=300):
        """Waits until it takes writes: what was archived has been played back."""
        status = self.data / "postmaster.pid"

        def is_ready():
            try:
                lines = status.read_text().splitlines()
            except FileNotFoundError:
                return False
            return len(lines) > 7 and lines[7].strip() == "ready" and self.value("SELECT pg_is_in_recovery()") == "f"

        wait_for(f"{self.name} to take writes", is_ready, limit)

    def restore(self, *options):
        self.place.directory(f"{self.name}/data")
        self.archive.run(self, "restore", *options)

    def destroy(self):
        """Its machine is lost with its disk."""
        kill_all(self.directory)
        shutil.rmtree(self.directory)

    def query(self, statement, database="valerix"):
        return query(self.place, self.port, database, "postgres", self.password, statement)

    def value(self, statement, database="postgres"):
        return self.query(statement, database)[0][0]
