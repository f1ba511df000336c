"""Log files as Docker's `json-file` driver writes them, for processes without a container."""

import json
import secrets
import threading
from datetime import datetime, timezone


class ContainerLogs:
    """A directory like Docker's `containers`: one directory and one log file for each container."""

    def __init__(self, sandbox, tag):
        self.directory = sandbox.directory("containers")
        self._sandbox = sandbox
        self._tag = tag

    def create(self, name):
        """Creates the log file of a container, with the tag that docker-compose.yml sets."""
        return ContainerLog(self._new_file(), {"tag": self._tag.replace("{{.Name}}", name)})

    def create_foreign(self):
        """Creates the log file of a container that does not belong to this project."""
        return ContainerLog(self._new_file(), None)

    def _new_file(self):
        container_id = secrets.token_hex(32)
        return self._sandbox.file(f"containers/{container_id}/{container_id}-json.log", "")


class ContainerLog:
    def __init__(self, path, attributes):
        self.path = path
        self._attributes = {"attrs": attributes} if attributes else {}

    def follow(self, pipe, stream="stderr"):
        """Copies each line of a process's output to the file, until the process closes it."""

        def copy():
            with pipe:
                for line in pipe:
                    self.write(line.decode(errors="replace"), stream)

        threading.Thread(target=copy, daemon=True).start()

    def write(self, line, stream="stderr"):
        time = datetime.now(timezone.utc).isoformat(timespec="microseconds")
        record = {"log": line, "stream": stream, **self._attributes}
        record["time"] = time.replace("+00:00", "000Z")
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record, separators=(",", ":"), ensure_ascii=False) + "\n")
