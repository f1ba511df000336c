"""Three nodes, each of etcd, Patroni and PostgreSQL, with the configuration of deploy/patroni."""

import json
import secrets
import signal
import time
from pathlib import Path

from .place import DrillFailed, free_port, kill_all, send, wait_for
from .postgres import Gone, Session, programs, query, require
from .services import get

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "patroni"
NAMES = ("node1", "node2", "node3")
# Bytes. Each node tells its position every few seconds only, and orders go on meanwhile.
CLOSE = 16 * 2**20


def settings(path):
    """The variables of an environment file."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


class Node:
    def __init__(self, cluster, name):
        self.cluster = cluster
        self.name = name
        self.directory = cluster.place.directory(name)
        self.sql, self.api, self.etcd_client, self.etcd_peer = (free_port() for _ in range(4))

    def start(self):
        """Each in a directory below the node's, by which its processes are found."""
        place = self.cluster.place
        place.start(["etcd"], place.directory(f"{self.name}/etcd"), self._etcd())
        config = place.home / "patroni.yml"
        place.start(["patroni", config], place.directory(f"{self.name}/patroni"), self._patroni())

    def _etcd(self):
        client, peer = (f"http://127.0.0.1:{port}" for port in (self.etcd_client, self.etcd_peer))
        members = [f"{node.name}=http://127.0.0.1:{node.etcd_peer}" for node in self.cluster.nodes]
        return settings(DEPLOY / "etcd.env") | {
            "ETCD_NAME": self.name,
            "ETCD_DATA_DIR": self.directory / "etcd" / "data",
            "ETCD_LISTEN_PEER_URLS": peer,
            "ETCD_LISTEN_CLIENT_URLS": client,
            "ETCD_INITIAL_ADVERTISE_PEER_URLS": peer,
            "ETCD_ADVERTISE_CLIENT_URLS": client,
            "ETCD_INITIAL_CLUSTER": ",".join(members),
        }

    def _patroni(self):
        sql, api = f"127.0.0.1:{self.sql}", f"127.0.0.1:{self.api}"
        return {
            "PATRONI_NAME": self.name,
            "PATRONI_ETCD3_HOSTS": ",".join(f"127.0.0.1:{node.etcd_client}" for node in self.cluster.nodes),
            "PATRONI_RESTAPI_LISTEN": api,
            "PATRONI_RESTAPI_CONNECT_ADDRESS": api,
            "PATRONI_POSTGRESQL_LISTEN": sql,
            "PATRONI_POSTGRESQL_CONNECT_ADDRESS": sql,
            "PATRONI_POSTGRESQL_DATA_DIR": self.directory / "postgres",
            "PATRONI_POSTGRESQL_BIN_DIR": programs(),
            "PATRONI_POSTGRESQL_PGPASS": self.directory / "patroni" / "pgpass",
            "PATRONI_SUPERUSER_USERNAME": "postgres",
            "PATRONI_SUPERUSER_PASSWORD": self.cluster.superuser_password,
            "PATRONI_REPLICATION_USERNAME": "replicator",
            "PATRONI_REPLICATION_PASSWORD": self.cluster.replication_password,
        }

    def kill(self):
        kill_all(self.directory)

    def freeze(self):
        send(self.directory, signal.SIGSTOP)

    def thaw(self):
        send(self.directory, signal.SIGCONT)

    def session(self):
        return Session(self.cluster.place, self.sql, "postgres", "postgres", self.cluster.superuser_password)

    def holds_the_lock(self):
        """Patroni has the leader's key in etcd, and its PostgreSQL runs as primary."""
        answer = get(self.api, "/primary", limit=0.5)
        return bool(answer) and answer[0] == 200


class Cluster:
    def __init__(self, place):
        require("etcd", "patroni")
        self.place = place
        self.superuser_password, self.replication_password, self.password = (
            secrets.token_urlsafe(18) for _ in range(3)
        )
        place.copy(DEPLOY / "patroni.yml", "patroni.yml")
        self.nodes = [Node(self, name) for name in NAMES]

    def start(self):
        for node in self.nodes:
            node.start()
        primary = self.whole(limit=120)
        for statement in (
            f"CREATE ROLE valerix LOGIN PASSWORD '{self.password}'",
            "CREATE DATABASE valerix OWNER valerix",
        ):
            self.query(primary, statement, "postgres")

    def members(self):
        for node in self.nodes:
            answer = get(node.api, "/cluster", limit=1)
            if answer and answer[0] == 200:
                return json.loads(answer[1])["members"]
        return []

    def whole(self, limit=90):
        """Waits until one leads and the others follow it closely, one of them synchronously; gives the one that leads."""
        def leader():
            members = self.members()
            lines = {member.get("timeline") for member in members}
            roles = sorted(member["role"] for member in members)
            lags = [member.get("lag", 0) for member in members]
            follow = all(isinstance(lag, int) and lag < CLOSE for lag in lags)
            running = all(member["state"] in ("running", "streaming") for member in members)
            if roles != ["leader", "replica", "sync_standby"] or len(lines) != 1 or not follow or not running:
                return None
            name = next(member["name"] for member in members if member["role"] == "leader")
            return next(node for node in self.nodes if node.name == name)
        try:
            return wait_for("all three nodes to be in their places", leader, limit, every=0.25)
        except DrillFailed as error:
            raise DrillFailed(f"{error}: {self.members()}") from None

    def query(self, node, statement, database="valerix"):
        return query(self.place, node.sql, database, "postgres", self.superuser_password, statement)

    def hosts(self):
        return [f"127.0.0.1:{node.sql}" for node in self.nodes]


class PromotionWatch:
    """Asks the standbys, again and again, whether they still are."""

    def __init__(self, nodes):
        self.sessions = {node: node.session() for node in nodes}
        for node, session in self.sessions.items():
            if session.value("SELECT pg_is_in_recovery()", limit=10) != "t":
                raise DrillFailed(f"{node.name} is no standby")

    def wait(self, limit):
        """When the first of them takes writes and has the leader's key, and which: the two times, and the node."""
        primary = wait_for("a standby to be promoted", self._promoted, limit, every=0.02)
        promoted = time.time()
        wait_for("Patroni to say so", primary.holds_the_lock, 30, every=0.02)
        locked = time.time()
        for session in self.sessions.values():
            session.close()
        return primary, promoted, locked

    def _promoted(self):
        for node, session in self.sessions.items():
            try:
                if session.value("SELECT pg_is_in_recovery()") == "f":
                    return node
            except Gone:
                raise DrillFailed(f"{node.name}, a standby, does not answer") from None
        return None
