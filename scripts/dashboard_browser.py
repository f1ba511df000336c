"""A demo, and its dashboard in a headless Chromium, for the scripts that take pictures of it.

scripts/measure-replicas starts its processes with it, too.
"""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = Path(sys.argv[0]).name
SERVICES = ("order", "inventory", "payment")
START_TIMEOUT_SECONDS = 60
PAGE_TIMEOUT_SECONDS = 30
STOP_TIMEOUT_SECONDS = 30
POLL_INTERVAL_SECONDS = 0.2
# The page redraws the diagram and the charts after its size or theme has changed.
REDRAW_SECONDS = 1.5
# Root cannot use Chromium's sandbox.
BROWSER_FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
]


def free_ports(count):
    """Returns ports that nothing listens on. Another process can take one before it is used."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def wait_until(what, timeout, is_done):
    end = time.monotonic() + timeout
    while not is_done():
        if time.monotonic() > end:
            sys.exit(f"{SCRIPT}: after {timeout} s still waiting for {what}")
        time.sleep(POLL_INTERVAL_SECONDS)


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except OSError:
        return False


def environment(**extra):
    """Returns the variables of a process. The caller's others could change what a service does."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "PATH") if name in os.environ}
    return kept | {"TZ": "UTC"} | extra


@contextmanager
def process(command, log, **extra):
    """Runs a process in a group of its own. Afterwards it is interrupted, then killed."""
    child = subprocess.Popen(
        command,
        env=environment(**extra),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.wait()


@contextmanager
def demo(program, directory):
    """Runs a demo, and returns the address of the dashboard."""
    ports = free_ports(len(SERVICES))
    flags = [f"--{service}-port={port}" for service, port in zip(SERVICES, ports)]
    log_path = directory / "demo.log"
    command = [program, "demo", f"--data-dir={directory}/data", *flags]
    # A seed makes the gateway decline the same share of payments in each run.
    with open(log_path, "w") as log, process(command, log, PAYMENT_SEED="1") as child:

        def is_ready():
            if child.poll() is not None:
                sys.exit(f"{SCRIPT}: the demo ended:\n{log_path.read_text()}")
            return all(answers(f"http://127.0.0.1:{port}/readyz") for port in ports)

        wait_until("the demo", START_TIMEOUT_SECONDS, is_ready)
        yield f"http://127.0.0.1:{ports[0]}"


def load(program, url, rate, seconds, products):
    """Places orders at a steady rate. Each order chooses one of the products at random."""
    flags = [f"--url={url}", f"--rate={rate}", f"--seconds={seconds}"]
    flags.append(f"--product-id={','.join(products)}")
    return process([program, "load", *flags], subprocess.DEVNULL)


class Browser:
    """A page in a Chromium, controlled by WebDriver."""

    def __init__(self, driver_url):
        self._driver_url = driver_url
        capabilities = {"browserName": "chrome", "goog:chromeOptions": {"args": BROWSER_FLAGS}}
        session = self._request("POST", "", {"capabilities": {"alwaysMatch": capabilities}})
        self._session = session["sessionId"]

    def _request(self, method, path, body=None):
        request = urllib.request.Request(
            f"{self._driver_url}/session{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)["value"]

    def _command(self, path, body):
        return self._request("POST", f"/{self._session}/{path}", body)

    def _devtools(self, command, **parameters):
        return self._command("goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(self, url):
        self._command("url", {"url": url})

    def evaluate(self, expression):
        return self._command("execute/sync", {"script": f"return {expression}", "args": []})

    def click(self, selector):
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def wait_until(self, what, expression):
        wait_until(what, PAGE_TIMEOUT_SECONDS, lambda: self.evaluate(expression))

    def wait_for(self, selector):
        self.wait_until(selector, f"document.querySelector({json.dumps(selector)}) !== null")

    def show(self, screen, theme):
        """Sets the size of the screen, and the theme that the system prefers."""
        self._devtools("Emulation.setDeviceMetricsOverride", **screen)
        scheme = {"name": "prefers-color-scheme", "value": theme}
        self._devtools("Emulation.setEmulatedMedia", features=[scheme])
        time.sleep(REDRAW_SECONDS)

    def picture(self):
        """Returns what the screen shows, as a PNG."""
        picture = self._devtools("Page.captureScreenshot", format="png")
        return base64.b64decode(picture["data"])

    def close(self):
        self._request("DELETE", f"/{self._session}")


@contextmanager
def browser(directory):
    [port] = free_ports(1)
    with open(directory / "chromedriver.log", "w") as log:
        command = ["chromedriver", f"--port={port}"]
        # Chromium writes its profile to a temporary directory, which must go, too.
        with process(command, log, TMPDIR=str(directory)):
            url = f"http://127.0.0.1:{port}"
            wait_until("chromedriver", START_TIMEOUT_SECONDS, lambda: answers(f"{url}/status"))
            page = Browser(url)
            try:
                yield page
            finally:
                page.close()


def program_of(parser, args):
    """Returns the path of the program, or exits with a sentence that says how to build it."""
    program = args.program.resolve()
    if not program.is_file():
        parser.error(f"{program} does not exist: build it with `cargo build --locked`")
    return str(program)


def add_program(parser):
    parser.add_argument(
        "--program",
        type=Path,
        default=ROOT / "target/debug/valerix",
        help="the valerix to run [default: target/debug/valerix]",
    )


def exit_on_signals():
    """Lets a signal end the script as an exception does, so that what it started ends, too."""
    for stop in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, lambda *_: sys.exit(f"{SCRIPT}: stopped"))


@contextmanager
def scratch_directory():
    with tempfile.TemporaryDirectory(prefix=f"valerix-{SCRIPT}-") as name:
        os.chmod(name, 0o755)  # started as root, PostgreSQL runs as another user
        yield Path(name)
