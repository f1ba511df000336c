"""One private PostgreSQL server with its default, durable settings."""

import secrets
import urllib.parse

from kit.postgres import bin_directory, query
from kit.sandbox import free_port, wait_for

START_TIMEOUT_SECONDS = 60


class Postgres:
    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.port = free_port()
        self.password = secrets.token_urlsafe(18)
        self.directory = sandbox.directory("postgres")
        self.process = None

    def start(self):
        password_file = self.sandbox.file("secrets/superuser", self.password)
        data = self.directory / "data"
        self.sandbox.run(
            [
                bin_directory() / "initdb",
                f"--pgdata={data}",
                "--username=postgres",
                "--auth=scram-sha-256",
                f"--pwfile={password_file}",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
            ]
        )
        command = [
            bin_directory() / "postgres",
            f"-D{data}",
            f"-p{self.port}",
            "--listen_addresses=127.0.0.1",
            f"--unix_socket_directories={self.directory}",
        ]
        self.process = self.sandbox.start(command, self.directory)
        wait_for("PostgreSQL to be ready", self._is_ready, START_TIMEOUT_SECONDS)

    def _is_ready(self):
        command = [bin_directory() / "pg_isready", "-q", "-h", "127.0.0.1", "-p", self.port]
        process = self.sandbox.start(command, self.sandbox.directory("pg_isready"))
        return process.wait() == 0

    def url(self, database):
        password = urllib.parse.quote(self.password)
        return f"postgres://postgres:{password}@127.0.0.1:{self.port}/{database}?sslmode=disable"

    def query(self, database, statement):
        """Executes a statement and returns its rows, each a list of strings."""
        port, password = self.port, self.password
        return query(self.sandbox, port, database, "postgres", password, statement)

    def number(self, database, statement):
        return int(self.query(database, statement)[0][0])

    def create(self, database):
        self.query("postgres", f'CREATE DATABASE "{database}"')

    def run_file(self, database, path):
        """Executes a file of statements, each in its own transaction."""
        copy = self.sandbox.copy(path, path.name)
        options = ["-Xq", "-v", "ON_ERROR_STOP=1", "-f", copy]
        self.sandbox.run([bin_directory() / "psql", *options, self.url(database)])

    def version(self):
        return self.query("postgres", "SHOW server_version")[0][0]
