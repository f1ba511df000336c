"""A PostgreSQL server with the default settings, and an empty database for the services."""

import secrets
import subprocess

from .postgres import bin_directory, query
from .sandbox import DrillFailed, free_port, wait_for
from .services import url

START_TIMEOUT_SECONDS = 60


class Database:
    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.port = free_port()
        self.password = secrets.token_urlsafe(18)
        self.directory = sandbox.directory("postgres")

    @property
    def url(self):
        return url("postgres", self.password, [f"127.0.0.1:{self.port}"], "valerix")

    def start(self, log):
        """Starts the server. Its output goes to the log of a container."""
        data = self.directory / "data"
        password_file = self.sandbox.file("secrets/postgres", self.password)
        self.sandbox.run(
            [
                bin_directory() / "initdb",
                f"--pgdata={data}",
                "--username=postgres",
                "--auth=scram-sha-256",
                f"--pwfile={password_file}",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
            ]
        )
        options = [f"-D{data}", f"-p{self.port}", "--listen_addresses=127.0.0.1", "--fsync=off"]
        server = self.sandbox.start(
            [
                bin_directory() / "postgres",
                *options,
                f"--unix_socket_directories={self.directory}",
            ],
            self.directory,
            stdout=subprocess.PIPE,
        )
        log.follow(server.stdout)
        wait_for("PostgreSQL to be ready", self._is_ready, START_TIMEOUT_SECONDS)
        self._query("CREATE DATABASE valerix")

    def _is_ready(self):
        try:
            return self._query("SELECT 1")
        except DrillFailed:
            return False

    def _query(self, statement):
        return query(self.sandbox, self.port, "postgres", "postgres", self.password, statement)
