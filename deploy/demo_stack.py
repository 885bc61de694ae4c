"""
Run the exporter's demo, Prometheus and Alertmanager on this machine, as they are shipped.

Prints the notifications that Alertmanager sends. About three minutes after the start, a key is used
that has been dormant for most of a year; its alert arrives a minute later. Ctrl-C stops everything.

Only addresses, and the intervals of scrapes and rule evaluations, differ from the shipped files.
"""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "deploy" / "prometheus"

PACKAGES = {"prometheus": "prometheus", "alertmanager": "prometheus-alertmanager"}
"""Debian's package of each program. Debian also names the program Alertmanager like its package."""

WELCOME = """
  exporter      http://{exporter}/
  Prometheus    http://{prometheus}/alerts
  Alertmanager  http://{alertmanager}/

Notifications follow, starting with the existing findings. In about three minutes, the dormant key
of user backup-2019 in account pipelines is used. Press Ctrl-C to stop.
"""

PROMETHEUS = """
global: {{scrape_interval: 5s, evaluation_interval: 5s}}
rule_files: ["{rules}/*.yaml"]
alerting: {{alertmanagers: [{{static_configs: [{{targets: ["{alertmanager}"]}}]}}]}}
scrape_configs:
  - job_name: aws-iam-key-exporter
    static_configs: [{{targets: ["{exporter}"]}}]
"""


class Missing(Exception):
    """A program is missing or does not run; the message says what to do."""


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ExitStack() as stack:
            run(stack)
    except Missing as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped")
    return 0


def run(stack: ExitStack) -> None:
    """
    Start everything, and run until one of the programs exits.

    Raises:
        Missing: A program is not installed, or exited.
    """
    programs = {name: find(name) for name in PACKAGES}
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="demo-stack-")))
    webhook = stack.enter_context(receiver())
    addresses = {name: free_address() for name in PACKAGES}

    routes = (SHIPPED / "alertmanager.yml").read_text(encoding="utf-8")
    (folder / "alertmanager.yml").write_text(routes.replace("127.0.0.1:9095", webhook), "utf-8")
    exporter = [sys.executable, "-m", "exporter", "--demo", "--web.listen-address=127.0.0.1:0"]
    running = {"the exporter": stack.enter_context(process(exporter, folder / "exporter.log"))}
    addresses["exporter"] = listening(running["the exporter"], folder / "exporter.log")
    configuration = PROMETHEUS.format(rules=SHIPPED / "rules", **addresses)
    (folder / "prometheus.yml").write_text(configuration, encoding="utf-8")
    for name, options in {
        "alertmanager": ["--cluster.listen-address=", f"--storage.path={folder / 'alerts'}"],
        "prometheus": [f"--storage.tsdb.path={folder / 'data'}"],
    }.items():
        command = [
            programs[name],
            f"--config.file={folder / name}.yml",
            f"--web.listen-address={addresses[name]}",
            "--log.level=warn",
            *options,
        ]
        running[name] = stack.enter_context(process(command, folder / f"{name}.log"))
        wait(partial(ready, addresses[name]), running[name], folder / f"{name}.log")
    print(WELCOME.format(**addresses), flush=True)
    while all(child.poll() is None for child in running.values()):
        time.sleep(0.5)
    exited = next(name for name, child in running.items() if child.poll() is not None)
    raise Missing(f"{exited} exited unexpectedly")


def find(name: str) -> str:
    found = shutil.which(name) or shutil.which(PACKAGES[name])
    if found is None:
        raise Missing(
            f"{name} is not installed: apt-get install {PACKAGES[name]},"
            " or put its release from https://prometheus.io/download/ on the PATH"
        )
    return found


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@contextmanager
def process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run *command* with its output in *log*, and terminate it on exit."""
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output) as child,
    ):
        try:
            yield child
        finally:
            child.terminate()


def wait(condition: Callable[[], bool], child: subprocess.Popen[bytes], log: Path) -> None:
    """
    Wait until *condition* holds.

    Raises:
        Missing: It did not within a minute, or *child* exited; the message has its output.
    """
    end = time.monotonic() + 60
    while not condition():
        if child.poll() is not None or time.monotonic() > end:
            output = log.read_text(encoding="utf-8", errors="replace")
            raise Missing(f"{Path(str(child.args[0])).name} does not start:\n{output}")  # type: ignore[index]
        time.sleep(0.1)


def listening(child: subprocess.Popen[bytes], log: Path) -> str:
    """Return the address that the exporter logs that it listens on."""
    pattern = re.compile(r'msg=listening .*?address="?([\w.:]+)')
    wait(lambda: bool(pattern.search(log.read_text(encoding="utf-8"))), child, log)
    found = pattern.search(log.read_text(encoding="utf-8"))
    assert found is not None
    return found.group(1)


def ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/-/ready", timeout=1) as response:
            return bool(response.status == 200)
    except OSError:
        return False


# -- notifications -----------------------------------------------------------------------------


@contextmanager
def receiver() -> Iterator[str]:
    """Print the notifications that Alertmanager sends to the address that this yields."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class _Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        print(format_notification(json.loads(body)), flush=True)
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Do not log requests."""


def format_notification(notification: dict[str, Any]) -> str:
    """Return a notification of Alertmanager as text."""
    lines = [f"{time.strftime('%H:%M:%S')}  to {notification['receiver']}"]
    for alert in notification["alerts"]:
        labels = alert["labels"]
        lines.append(f"  {alert['status']} {labels['severity']} {labels['alertname']}")
        text = alert["annotations"]["description"]
        lines += textwrap.wrap(text, 96, initial_indent=" " * 4, subsequent_indent=" " * 4)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
