"""kubectl, with objects as its input and as its output."""

import json
import os
import shutil
import subprocess

from .sandbox import DrillFailed

TIMEOUT_SECONDS = 300


def find_program(name):
    """Looks in KUBERNETES_BIN_DIR first, then in the PATH. Returns None if there is none."""
    directory = os.environ.get("KUBERNETES_BIN_DIR")
    return (directory and shutil.which(name, path=directory)) or shutil.which(name)


class Kubectl:
    def __init__(self, sandbox, config):
        cache = sandbox.home / "kubectl-cache"
        self.command = [find_program("kubectl"), f"--kubeconfig={config}", f"--cache-dir={cache}"]
        self.environment = sandbox.environment({})

    def attempt(self, *arguments, documents=(), text=None):
        """Returns exit code, standard output and standard error.

        The input is the text, else the documents. They are no `List`: that one kubectl validates
        itself, instead of the server.
        """
        stream = "\n---\n".join(json.dumps(document) for document in documents)
        result = subprocess.run(
            [*self.command, *arguments],
            input=text or stream,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        return result.returncode, result.stdout, result.stderr.strip()

    def run(self, *arguments, documents=()):
        """Returns standard output. A warning fails too: kubectl itself would exit with 0."""
        code, output, errors = self.attempt(*arguments, documents=documents)
        if code or errors:
            command = " ".join(arguments[:4])
            raise DrillFailed(f"'kubectl {command}' failed with exit code {code}:\n{errors}")
        return output

    def succeeds(self, *arguments):
        return self.attempt(*arguments)[0] == 0

    def get(self, kinds, namespace="default", *arguments):
        """Returns the objects of these kinds (`pods,services`), if they have one in a namespace."""
        output = self.run("get", kinds, "--namespace", namespace, "--output=json", *arguments)
        return json.loads(output)["items"]
