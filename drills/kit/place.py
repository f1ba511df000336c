"""A temporary directory with processes of its own; at the end of the drill, however it ends, nothing of both is left."""

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


class DrillFailed(Exception):
    """What the drill was to show is not so; the text says what."""


class Place:
    """All its processes work in directories below `home`, or know of it, by which they are found again."""

    def __init__(self, name):
        # PostgreSQL does not run as root.
        self.user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        self.home = Path(tempfile.mkdtemp(prefix=f"valerix-{name}-"))
        self._own(self.home)
        self._watcher = subprocess.Popen(
            [sys.executable, __file__, self.home], stdin=subprocess.PIPE, start_new_session=True
        )

    def _own(self, path):
        if self.user:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def directory(self, name):
        path = self.home / name
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._own(path)
        return path

    def file(self, name, text, mode=0o600):
        """For secrets too: nobody but the processes' user reads it."""
        path = self.home / name
        self.directory(path.parent.relative_to(self.home))
        path.touch(mode=mode)
        path.write_text(text)
        self._own(path)
        return path

    def copy(self, source, name):
        """Copies a file or directory to where the processes' user can read it."""
        target = self.home / name
        if Path(source).is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
        for path in [target, *target.rglob("*")]:
            self._own(path)
        return target

    def _as_user(self):
        if not self.user:
            return {}
        groups = os.getgrouplist(self.user.pw_name, self.user.pw_gid)
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": groups}

    def environment(self, extra):
        """Nothing of the caller's but where programs are: what is set for another database must not leak in."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TZ") if name in os.environ}
        return kept | {"HOME": str(self.home)} | {name: str(value) for name, value in extra.items()}

    def start(self, command, directory, environment=None, **options):
        """Starts a process that goes on. What it says is in `<directory>.log`, unless `options` say otherwise."""
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

    def run(self, command, environment=None, limit=300, directory=None):
        """Runs a command to its end and returns what it printed."""
        done = subprocess.run(
            [str(part) for part in command],
            cwd=directory or self.home,
            env=self.environment(environment or {}),
            capture_output=True,
            text=True,
            timeout=limit,
            **self._as_user(),
        )
        if done.returncode != 0:
            said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
            raise DrillFailed(f"'{' '.join(map(str, command[:3]))} …' failed with {done.returncode}:\n{said}")
        return done.stdout

    def end(self):
        sweep(self.home)
        self._watcher.stdin.close()
        self._watcher.wait()


def processes_in(directory):
    """Those that work below this directory, or have it in their environment: PostgreSQL's processes are not in their
    parent's group, and pgBackRest's helpers go to the root directory."""
    marks = [f"{directory}{end}".encode() for end in ("/", "\0")]
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            where = os.readlink(entry / "cwd").removesuffix(" (deleted)")
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if Path(where).is_relative_to(directory) or any(mark in environment for mark in marks):
            found.append(int(entry.name))
    return found


def send(directory, number):
    """A signal to all processes of a directory."""
    for process in processes_in(directory):
        try:
            os.kill(process, number)
        except ProcessLookupError:
            pass


def kill_all(directory):
    """As when the machine loses its power: none of them sees another die."""
    send(directory, signal.SIGSTOP)
    deadline = time.monotonic() + 30
    while processes_in(directory):
        send(directory, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise DrillFailed(f"processes in {directory} do not end")
        time.sleep(0.02)


def sweep(home):
    kill_all(home)
    shutil.rmtree(home, ignore_errors=True)


_given = set()


def free_port():
    """Below the range from which the system gives out ports by itself."""
    while True:
        port = random.randrange(15_000, 30_000)
        if port in _given:
            continue
        with socket.socket() as attempt:
            try:
                attempt.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port


def wait_for(what, condition, limit, every=0.05):
    """Waits until the condition gives something, and returns that."""
    deadline = time.monotonic() + limit
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise DrillFailed(f"waited {limit} s for {what}")
        time.sleep(every)


def interrupted(number, _frame):
    raise KeyboardInterrupt(number)


@contextmanager
def place(name, keep):
    """The drill's place; with `keep`, its logs are copied there at the end."""
    signal.signal(signal.SIGTERM, interrupted)
    here = Place(name)
    try:
        yield here
    finally:
        if keep:
            kill_all(here.home)
            for log in here.home.rglob("*.log"):
                target = Path(keep) / log.relative_to(here.home)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(log, target)
        here.end()


def outcome(name, keep, drill):
    """Runs a drill in a place of its own and says how it ended; returns the exit code."""
    try:
        with place(name, keep) as here:
            drill(here)
    except DrillFailed as error:
        print(f"\nfailed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print("\npassed")
    return 0


if __name__ == "__main__":
    # The watcher: the other end of its input is the drill, and closes however that ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdin.read()
    sweep(Path(sys.argv[1]))
