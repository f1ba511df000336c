"""A PostgreSQL server with pgBackRest and the configuration of deploy/pgbackrest.

Servers that are restored from its backups are of the same kind.
"""

import secrets
import shutil
import time
from pathlib import Path

from .postgres import bin_directory, query, require
from .sandbox import free_port, kill_all, wait_for

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "pgbackrest"
REPOSITORIES = (1, 2)
# pgBackRest's encrypted files begin with this.
ENCRYPTED_FILE_PREFIX = b"Salted__"


class Backups:
    """pgBackRest and its repositories."""

    def __init__(self, sandbox):
        require("pgbackrest")
        self.sandbox = sandbox
        sandbox.copy(DEPLOY, "pgbackrest")
        passphrases = [
            f"repo{number}-cipher-pass={secrets.token_urlsafe(48)}" for number in REPOSITORIES
        ]
        lines = ["[global]", *passphrases, ""]
        self.secrets = sandbox.file("secrets/passphrases.conf", "\n".join(lines))

    def environment(self, server):
        directory = self.sandbox.directory
        variables = {
            "PGBACKREST_CONFIG": self.sandbox.home / "pgbackrest" / "pgbackrest.conf",
            "PGBACKREST_CONFIG_INCLUDE_PATH": self.secrets.parent,
            "PGBACKREST_LOG_PATH": directory(f"{server.name}/backup-log"),
            "PGBACKREST_LOCK_PATH": directory(f"{server.name}/backup-lock"),
            "PGBACKREST_SPOOL_PATH": directory(f"{server.name}/backup-spool"),
            "PGBACKREST_PG1_PATH": server.data,
            "PGBACKREST_PG1_PORT": server.port,
            "PGBACKREST_PG1_SOCKET_PATH": server.directory,
            "PGBACKREST_PG1_USER": "postgres",
        }
        for number in REPOSITORIES:
            variables[f"PGBACKREST_REPO{number}_PATH"] = self.repository(number)
        return variables

    def repository(self, number):
        return self.sandbox.directory(f"repository{number}")

    def run(self, server, command, *options, timeout=300):
        # Not in the server's own directory, which the disaster destroys.
        arguments = ["pgbackrest", "--stanza=valerix", *options, command]
        return self.sandbox.run(arguments, self.environment(server), timeout)

    def back_up(self, server, number, kind):
        """Makes a backup and returns how many seconds it took."""
        start = time.monotonic()
        self.run(server, "backup", f"--repo={number}", f"--type={kind}")
        return time.monotonic() - start

    def files(self, number):
        # Archiving renames `.tmp` files at any moment.
        return [
            path
            for path in self.repository(number).rglob("*")
            if path.is_file() and path.suffix != ".tmp"
        ]

    def size(self, number):
        """In bytes."""
        return sum(path.stat().st_size for path in self.files(number))

    def unencrypted_files(self, number):
        return [
            path
            for path in self.files(number)
            if not path.read_bytes().startswith(ENCRYPTED_FILE_PREFIX)
        ]


class Server:
    """A PostgreSQL server with its own directory and port."""

    def __init__(self, sandbox, name, backups, password):
        self.sandbox = sandbox
        self.name = name
        self.backups = backups
        self.password = password
        self.port = free_port()
        self.directory = sandbox.directory(name)
        self.data = self.directory / "data"

    def create(self):
        password_file = self.sandbox.file("secrets/superuser", self.password)
        self.sandbox.run(
            [
                bin_directory() / "initdb",
                f"--pgdata={self.data}",
                "--username=postgres",
                "--auth-host=scram-sha-256",
                "--auth-local=trust",
                f"--pwfile={password_file}",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--data-checksums",
            ]
        )
        settings = self.sandbox.home / "pgbackrest" / "postgresql.conf"
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as config:
            config.write(f"include '{settings}'\n")

    def start(self):
        # A restored server has the configuration file of the original, so the settings that differ
        # are on the command line.
        self.sandbox.start(
            [
                bin_directory() / "postgres",
                f"-D{self.data}",
                f"-p{self.port}",
                "--listen_addresses=127.0.0.1",
                f"--unix_socket_directories={self.directory}",
            ],
            self.directory,
            self.backups.environment(self),
        )

    def wait_until_writable(self, timeout=300):
        """Waits until the server has replayed the archived WAL and accepts writes."""
        pid_file = self.data / "postmaster.pid"

        def is_writable():
            try:
                lines = pid_file.read_text().splitlines()
            except FileNotFoundError:
                return False
            is_ready = len(lines) > 7 and lines[7].strip() == "ready"
            return is_ready and self.value("SELECT pg_is_in_recovery()") == "f"

        wait_for(f"{self.name} to accept writes", is_writable, timeout)

    def restore(self, *options):
        self.sandbox.directory(f"{self.name}/data")
        self.backups.run(self, "restore", *options)

    def destroy(self):
        """Loses the server with its disk."""
        kill_all(self.directory)
        shutil.rmtree(self.directory)

    def query(self, statement, database="valerix"):
        return query(self.sandbox, self.port, database, "postgres", self.password, statement)

    def value(self, statement, database="postgres"):
        return self.query(statement, database)[0][0]
