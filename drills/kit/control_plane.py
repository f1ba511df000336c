"""A Kubernetes control plane on this machine: etcd, API server, controllers and scheduler."""

from .certificates import Authority
from .kubectl import Kubectl, find_program
from .sandbox import DrillFailed, free_port, wait_for

PROGRAMS = ("etcd", "openssl", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
SERVICE_ADDRESSES = "10.96.0.0/16"
START_TIMEOUT_SECONDS = 180
# Reserved for documentation: the API server refuses to advertise a loopback address.
ADVERTISED_ADDRESS = "192.0.2.1"


def missing_programs():
    return [name for name in (*PROGRAMS, "kubectl") if not find_program(name)]


class ControlPlane:
    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.port = free_port()
        self.authority = Authority(sandbox, find_program("openssl"))
        self.processes = {}

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}"

    def start(self):
        self._start_etcd()
        self._start_api_server()
        self._wait_until_ready()
        self._start_client("kube-controller-manager", self._controller_options())
        self._start_client("kube-scheduler", [])

    def _start(self, name, options, environment=None):
        command = [find_program(name), *options]
        directory = self.sandbox.directory(name)
        self.processes[name] = self.sandbox.start(command, directory, environment)

    def _start_etcd(self):
        client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self.etcd_url = client
        options = {
            "data-dir": self.sandbox.directory("etcd") / "data",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
        }
        self._start("etcd", [f"--{name}={value}" for name, value in options.items()])

    def _start_api_server(self):
        certificate, key = self.authority.server_certificate("kube-apiserver")
        signing_key, public_key = self.authority.signing_key("service-accounts")
        options = {
            "etcd-servers": self.etcd_url,
            "bind-address": "127.0.0.1",
            "secure-port": self.port,
            "advertise-address": ADVERTISED_ADDRESS,
            "endpoint-reconciler-type": "none",
            "service-cluster-ip-range": SERVICE_ADDRESSES,
            "authorization-mode": "Node,RBAC",
            "anonymous-auth": "false",
            # PodSecurity alone must refuse privileged pods. It is enabled by default.
            "allow-privileged": "true",
            "enable-admission-plugins": "NodeRestriction",
            "client-ca-file": self.authority.certificate,
            "tls-cert-file": certificate,
            "tls-private-key-file": key,
            "service-account-issuer": self.url,
            "service-account-key-file": public_key,
            "service-account-signing-key-file": signing_key,
        }
        self._start("kube-apiserver", [f"--{name}={value}" for name, value in options.items()])

    def _controller_options(self):
        return [
            # Nodes without a kubelet send no heartbeat.
            "--node-monitor-grace-period=24h",
            "--use-service-account-credentials",
            f"--service-account-private-key-file={self.authority.signing_key_file}",
            f"--root-ca-file={self.authority.certificate}",
        ]

    def _start_client(self, name, options):
        """Starts a client of the API server, which serves nothing itself."""
        config = self._client_config(name, f"system:{name}")
        address = [
            "--bind-address=127.0.0.1",
            f"--secure-port={free_port()}",
            f"--cert-dir={self.sandbox.directory(f'{name}/served')}",
            "--leader-elect=false",
        ]
        self._start(name, [f"--kubeconfig={config}", *address, *options])

    def _client_config(self, name, user, group=None):
        """Writes a kubeconfig. The user and its group are in the certificate."""
        certificate, key = self.authority.client_certificate(name, user, group)
        return self.sandbox.file(
            f"{name}.kubeconfig",
            f"""apiVersion: v1
kind: Config
current-context: drill
contexts: [{{ name: drill, context: {{ cluster: drill, user: drill }} }}]
clusters:
  - name: drill
    cluster: {{ server: "{self.url}", certificate-authority: "{self.authority.certificate}" }}
users:
  - name: drill
    user: {{ client-certificate: "{certificate}", client-key: "{key}" }}
""",
        )

    def _wait_until_ready(self):
        kubectl = self.kubectl()

        def is_ready():
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise DrillFailed(f"{name} ended: see {name}.log (--logs keeps it)")
            return kubectl.succeeds("get", "--raw=/readyz")

        wait_for("the API server to be ready", is_ready, START_TIMEOUT_SECONDS, interval=0.5)

    def kubectl(self):
        config = self.sandbox.home / "admin.kubeconfig"
        if not config.exists():
            self._client_config("admin", "admin", "system:masters")
        return Kubectl(self.sandbox, config)

    def versions(self):
        """Returns one line for each program, as it names its own version."""
        for name in PROGRAMS[:1] + PROGRAMS[2:]:
            output = self.sandbox.run([find_program(name), "--version"])
            yield output.splitlines()[0]
