"""A temporary directory and its processes. Both are removed however the drill ends."""

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

KILL_TIMEOUT_SECONDS = 30


class DrillFailed(Exception):
    """The drill did not show what it was meant to show."""


class Sandbox:
    """A temporary directory, `home`, and processes.

    Each process has a working directory below `home`, or `home` in its environment. That is how the
    sandbox finds it again.
    """

    def __init__(self, name):
        # PostgreSQL refuses to run as root.
        self.user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        self.home = Path(tempfile.mkdtemp(prefix=f"valerix-{name}-"))
        self._change_owner(self.home)
        self._watcher = subprocess.Popen(
            [sys.executable, __file__, self.home], stdin=subprocess.PIPE, start_new_session=True
        )

    def _change_owner(self, path):
        if self.user:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def directory(self, name):
        path = self.home / name
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._change_owner(path)
        return path

    def file(self, name, text, mode=0o600):
        """Writes a file that only the processes' user can read."""
        path = self.home / name
        self.directory(path.parent.relative_to(self.home))
        path.touch(mode=mode)
        path.write_text(text)
        self._change_owner(path)
        return path

    def copy(self, source, name):
        """Copies a file or directory to where the processes' user can read it."""
        target = self.home / name
        if Path(source).is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
        for path in [target, *target.rglob("*")]:
            self._change_owner(path)
        return target

    def _as_user(self):
        if not self.user:
            return {}
        groups = os.getgrouplist(self.user.pw_name, self.user.pw_gid)
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": groups}

    def environment(self, extra):
        """Returns `extra` and a few neutral variables.

        The caller's other variables, such as a DATABASE_URL, must not reach the processes.
        """
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TZ") if name in os.environ}
        return kept | {"HOME": str(self.home)} | {k: str(value) for k, value in extra.items()}

    def start(self, command, directory, environment=None, **options):
        """Starts a process. Its output goes to `<directory>.log`, unless `options` redirect it."""
        with open(f"{directory}.log", "ab") as log:
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
            return subprocess.Popen(
                [str(part) for part in command],
                cwd=directory,
                env=self.environment(environment or {}),
                start_new_session=True,
                **(streams | options),
                **self._as_user(),
            )

    def run(self, command, environment=None, timeout=300, directory=None):
        """Runs a command to its end and returns its standard output."""
        result = subprocess.run(
            [str(part) for part in command],
            cwd=directory or self.home,
            env=self.environment(environment or {}),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            **self._as_user(),
        )
        if result.returncode != 0:
            start = " ".join(map(str, command[:3]))
            end = "\n".join((result.stdout + result.stderr).strip().splitlines()[-15:])
            raise DrillFailed(f"'{start} …' failed with exit code {result.returncode}:\n{end}")
        return result.stdout

    def close(self):
        remove(self.home)
        self._watcher.stdin.close()
        self._watcher.wait()


def processes_of(directory, or_in_environment=True):
    """Finds the processes that work below the directory or have it in their environment.

    A process group is not enough: PostgreSQL's processes leave their parent's group. A working
    directory is not enough either: pgBackRest's helpers change to the root directory.
    """
    marks = [f"{directory}{end}".encode() for end in ("/", "\0")]
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            cwd = os.readlink(entry / "cwd").removesuffix(" (deleted)")
            environment = (entry / "environ").read_bytes() if or_in_environment else b""
        except OSError:
            continue
        if Path(cwd).is_relative_to(directory) or any(mark in environment for mark in marks):
            found.append(int(entry.name))
    return found


def send_signal(directory, number, or_in_environment=True):
    """Sends a signal to all processes of a directory."""
    for process in processes_of(directory, or_in_environment):
        try:
            os.kill(process, number)
        except ProcessLookupError:
            pass


def kill_all(directory, or_in_environment=True):
    """Kills all processes of a directory as a power failure would.

    They are stopped first, so that none of them can react to the death of another.
    """
    send_signal(directory, signal.SIGSTOP, or_in_environment)
    deadline = time.monotonic() + KILL_TIMEOUT_SECONDS
    while processes_of(directory, or_in_environment):
        send_signal(directory, signal.SIGKILL, or_in_environment)
        if time.monotonic() > deadline:
            raise DrillFailed(f"processes in {directory} do not end")
        time.sleep(0.02)


def remove(home):
    kill_all(home)
    shutil.rmtree(home, ignore_errors=True)


_allocated_ports = set()


def free_port():
    """Returns a free port below the range from which the system assigns ports."""
    while True:
        port = random.randrange(15_000, 30_000)
        if port in _allocated_ports:
            continue
        with socket.socket() as attempt:
            try:
                attempt.bind(("127.0.0.1", port))
            except OSError:
                continue
        _allocated_ports.add(port)
        return port


def wait_for(what, condition, timeout, interval=0.05):
    """Waits until `condition` returns a true value, and returns that value."""
    deadline = time.monotonic() + timeout
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise DrillFailed(f"waited {timeout} s for {what}")
        time.sleep(interval)


def interrupt(number, _frame):
    raise KeyboardInterrupt(number)


@contextmanager
def temporary_sandbox(name, log_directory):
    """Creates a sandbox and removes it. With a log directory, its logs are copied there first."""
    signal.signal(signal.SIGTERM, interrupt)
    sandbox = Sandbox(name)
    try:
        yield sandbox
    finally:
        if log_directory:
            kill_all(sandbox.home)
            for log in sandbox.home.rglob("*.log"):
                target = Path(log_directory) / log.relative_to(sandbox.home)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(log, target)
        sandbox.close()


def run_drill(name, log_directory, drill):
    """Runs a drill in a sandbox, prints its result, and returns the exit code."""
    try:
        with temporary_sandbox(name, log_directory) as sandbox:
            drill(sandbox)
    except DrillFailed as error:
        print(f"\nfailed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print("\npassed")
    return 0


if __name__ == "__main__":
    # The watcher. The drill holds the other end of its standard input, which closes however the
    # drill ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdin.read()
    remove(Path(sys.argv[1]))
