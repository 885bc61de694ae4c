"""
Run the exporter, Prometheus and Alertmanager on this machine, as they are shipped.

The exporter reads the simulated AWS of its demo. The notifications that Alertmanager sends are
printed. About three minutes after the start, a key is used that has been dormant for most of a
year; its alert arrives a minute later. The exporter is started again when it ends, as systemd and
Kubernetes do. Ctrl-C stops everything.

Only addresses, and the intervals of scrapes and rule evaluations, differ from the shipped files.
"""

import argparse
import json
import logging
import os
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
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from exporter import demo

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "deploy" / "prometheus"

PACKAGES = {"prometheus": "prometheus", "alertmanager": "prometheus-alertmanager"}
"""Debian's package of each program. Debian also names the program Alertmanager like its package."""

WELCOME = """
  exporter      http://{exporter}/
  Prometheus    http://{prometheus}/alerts
  Alertmanager  http://{alertmanager}/

  its log       {folder}/exporter.log
  what changed  {events} --state.path={folder}/state.db

Notifications follow, starting with the existing findings. In about three minutes, the dormant key
of user backup-2019 in account pipelines is used. Kill the exporter if you like: it is started
again, reports nothing twice, and no alert resolves. Press Ctrl-C to stop.
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
    parser = argparse.ArgumentParser(description="Run the exporter with Prometheus, as a demo.")
    parser.add_argument(
        "--wake-up",
        type=float,
        default=demo.WAKE_UP,
        metavar="SECONDS",
        help="when the dormant key is used (default: %(default)g)",
    )
    wake_up = parser.parse_args().wake_up
    interrupted: list[int] = []

    def interrupt(number: int, _: object) -> None:
        interrupted.append(number)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    try:
        with ExitStack() as stack:
            run(stack, wake_up)
    except (Missing, OSError, KeyboardInterrupt) as error:
        # Ctrl-C also ends the programs, which may be noticed while cleaning up.
        if not interrupted:
            print(error, file=sys.stderr)
            return 1
        print("stopped")
    return 0


def run(stack: ExitStack, wake_up: float) -> None:
    """
    Start everything, and run until Prometheus or Alertmanager exits.

    Args:
        wake_up: Seconds until the dormant key is used.

    Raises:
        Missing: A program is not installed, or exited.
    """
    programs = {name: find(name) for name in PACKAGES}
    folder = Path(
        stack.enter_context(
            tempfile.TemporaryDirectory(prefix="demo-stack-", ignore_cleanup_errors=True)
        )
    )
    webhook = stack.enter_context(receiver())
    addresses = {name: free_address() for name in ("exporter", *PACKAGES)}

    routes = (SHIPPED / "alertmanager.yml").read_text(encoding="utf-8")
    (folder / "alertmanager.yml").write_text(routes.replace("127.0.0.1:9095", webhook), "utf-8")
    start_exporter = partial(run_exporter, folder, addresses["exporter"], simulate_aws(wake_up))
    running = {"exporter": stack.enter_context(start_exporter())}
    copy_rules(folder / "rules")
    configuration = PROMETHEUS.format(rules=folder / "rules", **addresses)
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
    print(WELCOME.format(folder=folder, events=demo.events_command(), **addresses), flush=True)
    while True:
        time.sleep(0.5)
        for name in [name for name, child in running.items() if child.poll() is not None]:
            if name != "exporter":
                raise Missing(f"{name} exited unexpectedly")
            print("The exporter has ended, and is started again.\n", flush=True)
            running[name] = stack.enter_context(start_exporter())


def copy_rules(folder: Path) -> None:
    """Copy the rules to *folder*, with evaluations that nobody has to wait for."""
    folder.mkdir()
    for file in (SHIPPED / "rules").glob("*.yaml"):
        text = re.sub(r"(?m)^( +interval:) .*", r"\1 5s", file.read_text(encoding="utf-8"))
        (folder / file.name).write_text(text, encoding="utf-8")


def simulate_aws(wake_up: float) -> str:
    """
    Start the simulated AWS in this process, so that it outlives the exporter.

    Returns:
        The configuration of the exporter.

    Raises:
        Missing: What it needs is not installed.
    """
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else it prints every request
    try:
        return demo.serve(wake_up=wake_up)
    except ImportError as error:
        raise Missing(f"pip install 'aws-iam-key-exporter[demo]' is required ({error})") from error


@contextmanager
def run_exporter(
    folder: Path, address: str, configuration: str
) -> Iterator[subprocess.Popen[bytes]]:
    """
    Run the exporter with its state and log in *folder*.

    Raises:
        Missing: It does not start.
    """
    file, log = folder / "exporter.yml", folder / "exporter.log"
    file.write_text(configuration, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "exporter",
        f"--config.file={file}",
        f"--state.path={folder / 'state.db'}",
        f"--web.listen-address={address}",
    ]
    with process(command, log, demo.ENVIRONMENT) as child:
        wait(partial(ready, address), child, log)
        yield child


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
def process(
    command: list[str], log: Path, variables: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run *command* with its output added to *log*, and terminate it on exit."""
    inherited = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(("AWS_", "STATE_DIRECTORY"))
    }
    environment = {**inherited, **(variables or {})}
    with (
        log.open("ab") as output,
        subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output, env=environment) as child,
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
