"""Three nodes with etcd, Patroni and PostgreSQL, and the configuration of deploy/patroni."""

import json
import os
import re
import secrets
import signal
import time
from pathlib import Path

from .postgres import ConnectionLost, Session, bin_directory, query, require
from .sandbox import DrillFailed, free_port, kill_all, send_signal, wait_for
from .services import get, post

PROJECT = Path(__file__).resolve().parents[2]
DEPLOY = PROJECT / "deploy" / "patroni"
# Where scripts/install-drills puts newer programs than the system's.
NEWER_PROGRAMS = PROJECT / "target" / "tools" / "patroni"
NAMES = ("node1", "node2", "node3")
# Each node reports its position only every few seconds, while orders continue. In bytes.
MAX_LAG = 16 * 2**20
# Patroni's roles in a healthy cluster, sorted.
SYNCHRONOUS_ROLES = ["leader", "replica", "sync_standby"]
ASYNCHRONOUS_ROLES = ["leader", "replica", "replica"]


def read_environment_file(path):
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def patroni_settings(changes):
    """Returns deploy/patroni/patroni.yml with other values of some of its settings."""
    text = (DEPLOY / "patroni.yml").read_text()
    for name, value in changes.items():
        text, count = re.subn(rf"^( *{re.escape(name)}): .*$", rf"\1: {value}", text, flags=re.M)
        if count != 1:
            raise DrillFailed(f"patroni.yml has {count} settings with the name {name}")
    return text


def find_programs(sandbox):
    """Returns the commands of Patroni and etcd.

    PATRONI and ETCD name other programs than those of `make drill-tools`.
    """
    patroni, etcd = ["patroni"], ["etcd"]
    if NEWER_PROGRAMS.is_dir():
        # The processes' user may not be able to read the originals.
        copy = sandbox.copy(NEWER_PROGRAMS, "programs")
        patroni = ["env", f"PYTHONPATH={copy}", "/usr/bin/python3", "-m", "patroni"]
        etcd = [copy / "etcd"]
    if chosen := os.environ.get("PATRONI"):
        patroni = [chosen]
    if chosen := os.environ.get("ETCD"):
        etcd = [chosen]
    require(patroni[0], etcd[0])
    return patroni, etcd


class Node:
    def __init__(self, cluster, name):
        self.cluster = cluster
        self.name = name
        self.directory = cluster.sandbox.directory(name)
        self.postgres_port, self.patroni_port = free_port(), free_port()
        self.etcd_client_port, self.etcd_peer_port = free_port(), free_port()

    def start(self):
        """Starts each process in a directory below the node's, where `kill` finds it."""
        sandbox = self.cluster.sandbox
        etcd = self.cluster.etcd
        sandbox.start(etcd, sandbox.directory(f"{self.name}/etcd"), self._etcd_environment())
        sandbox.start(
            [*self.cluster.patroni, sandbox.home / "patroni.yml"],
            sandbox.directory(f"{self.name}/patroni"),
            self._patroni_environment(),
        )

    def _etcd_environment(self):
        client = f"http://127.0.0.1:{self.etcd_client_port}"
        peer = f"http://127.0.0.1:{self.etcd_peer_port}"
        members = [
            f"{node.name}=http://127.0.0.1:{node.etcd_peer_port}" for node in self.cluster.nodes
        ]
        return read_environment_file(DEPLOY / "etcd.env") | {
            "ETCD_NAME": self.name,
            "ETCD_DATA_DIR": self.directory / "etcd" / "data",
            "ETCD_LISTEN_PEER_URLS": peer,
            "ETCD_LISTEN_CLIENT_URLS": client,
            "ETCD_INITIAL_ADVERTISE_PEER_URLS": peer,
            "ETCD_ADVERTISE_CLIENT_URLS": client,
            "ETCD_INITIAL_CLUSTER": ",".join(members),
        }

    def _patroni_environment(self):
        postgres, api = f"127.0.0.1:{self.postgres_port}", f"127.0.0.1:{self.patroni_port}"
        etcd = [f"127.0.0.1:{node.etcd_client_port}" for node in self.cluster.nodes]
        return {
            "PATRONI_NAME": self.name,
            "PATRONI_ETCD3_HOSTS": ",".join(etcd),
            "PATRONI_RESTAPI_LISTEN": api,
            "PATRONI_RESTAPI_CONNECT_ADDRESS": api,
            "PATRONI_POSTGRESQL_LISTEN": postgres,
            "PATRONI_POSTGRESQL_CONNECT_ADDRESS": postgres,
            "PATRONI_POSTGRESQL_DATA_DIR": self.directory / "postgres",
            "PATRONI_POSTGRESQL_BIN_DIR": bin_directory(),
            "PATRONI_POSTGRESQL_PGPASS": self.directory / "patroni" / "pgpass",
            "PATRONI_SUPERUSER_USERNAME": "postgres",
            "PATRONI_SUPERUSER_PASSWORD": self.cluster.superuser_password,
            "PATRONI_REPLICATION_USERNAME": "replicator",
            "PATRONI_REPLICATION_PASSWORD": self.cluster.replication_password,
        }

    def kill(self):
        kill_all(self.directory)

    def freeze(self):
        send_signal(self.directory, signal.SIGSTOP)

    def unfreeze(self):
        send_signal(self.directory, signal.SIGCONT)

    def crash_postgres(self):
        """Kills PostgreSQL, but not Patroni, which has its directory in the environment."""
        kill_all(self.directory / "postgres", or_in_environment=False)

    def cut_replication(self):
        """Stops what sends WAL, so that the standbys receive nothing more, and see no error."""
        senders = "SELECT pid FROM pg_stat_replication"
        for (pid,) in self.cluster.query(self, senders, "postgres"):
            os.kill(int(pid), signal.SIGSTOP)

    def session(self):
        password = self.cluster.superuser_password
        return Session(self.cluster.sandbox, self.postgres_port, "postgres", "postgres", password)

    def is_etcd_leader(self):
        status = json.loads(post(self.etcd_client_port, "/v3/maintenance/status", "{}"))
        return status["leader"] == status["header"]["member_id"]

    def is_leader(self):
        """Whether Patroni holds the leader key in etcd and PostgreSQL runs as primary."""
        response = get(self.patroni_port, "/primary", timeout=0.5)
        return bool(response) and response[0] == 200


class Cluster:
    def __init__(self, sandbox, settings):
        self.sandbox = sandbox
        self.patroni, self.etcd = find_programs(sandbox)
        self.superuser_password = secrets.token_urlsafe(18)
        self.replication_password = secrets.token_urlsafe(18)
        self.password = secrets.token_urlsafe(18)
        sandbox.file("patroni.yml", patroni_settings(settings))
        is_asynchronous = settings.get("synchronous_mode") == "false"
        self.roles = ASYNCHRONOUS_ROLES if is_asynchronous else SYNCHRONOUS_ROLES
        self.nodes = [Node(self, name) for name in NAMES]

    def versions(self):
        commands = (self.patroni, self.etcd, [bin_directory() / "postgres"])
        outputs = [self.sandbox.run([*command, "--version"]) for command in commands]
        numbers = [re.search(r"\d+\.\d+(\.\d+)?", output)[0] for output in outputs]
        return "Patroni {}, etcd {}, PostgreSQL {}".format(*numbers)

    def start(self):
        for node in self.nodes:
            node.start()
        primary = self.wait_until_healthy(timeout=120)
        for statement in (
            f"CREATE ROLE valerix LOGIN PASSWORD '{self.password}'",
            "CREATE DATABASE valerix OWNER valerix",
        ):
            self.query(primary, statement, "postgres")

    def members(self):
        for node in self.nodes:
            response = get(node.patroni_port, "/cluster", timeout=1)
            if response and response[0] == 200:
                return json.loads(response[1])["members"]
        return []

    def wait_until_healthy(self, timeout=90):
        """Waits until two standbys follow a leader, one of them synchronous unless replication is
        asynchronous. Returns the leader.

        A standby may lag by at most MAX_LAG.
        """
        try:
            return wait_for("the cluster to be healthy", self._leader, timeout, interval=0.25)
        except DrillFailed as error:
            raise DrillFailed(f"{error}: {self.members()}") from None

    def wait_for_leader(self):
        """Returns the node that holds the leader key and is primary."""

        def find():
            return next((node for node in self.nodes if node.is_leader()), None)

        return wait_for("a primary", find, timeout=60)

    def _leader(self):
        """Returns the leader of a healthy cluster, else None."""
        members = self.members()
        if sorted(member["role"] for member in members) != self.roles:
            return None
        if len({member.get("timeline") for member in members}) != 1:
            return None
        for member in members:
            lag = member.get("lag", 0)
            # Patroni reports an unknown lag as a string.
            if not isinstance(lag, int) or lag >= MAX_LAG:
                return None
            if member["state"] not in ("running", "streaming"):
                return None
        name = next(member["name"] for member in members if member["role"] == "leader")
        return next(node for node in self.nodes if node.name == name)

    def query(self, node, statement, database="valerix"):
        port, password = node.postgres_port, self.superuser_password
        return query(self.sandbox, port, database, "postgres", password, statement)

    def hosts(self):
        return [f"127.0.0.1:{node.postgres_port}" for node in self.nodes]


class PromotionWatch:
    """Polls the standbys until one is promoted."""

    def __init__(self, nodes):
        self.sessions = {node: node.session() for node in nodes}
        for node, session in self.sessions.items():
            if session.value("SELECT pg_is_in_recovery()", timeout=10) != "t":
                raise DrillFailed(f"{node.name} is not a standby")

    def wait(self, timeout):
        """Returns the times of the promotion and of the leader key."""
        primary = wait_for("a standby to be promoted", self._promoted, timeout, interval=0.02)
        promoted_at = time.time()
        wait_for("Patroni to hold the leader key", primary.is_leader, 30, interval=0.02)
        leader_at = time.time()
        for session in self.sessions.values():
            session.close()
        return promoted_at, leader_at

    def _promoted(self):
        for node, session in self.sessions.items():
            try:
                if session.value("SELECT pg_is_in_recovery()") == "f":
                    return node
            except ConnectionLost:
                raise DrillFailed(f"the standby {node.name} does not respond") from None
        return None
