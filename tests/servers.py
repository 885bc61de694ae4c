"""Prometheus, Alertmanager and the exporter as processes. Tests skip if one is not installed."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

PACKAGES = {
    "amtool": "prometheus-alertmanager",
    "prometheus": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "promtool": "prometheus",
}
"""The Debian package of each program."""


def find(program: str) -> str:
    """Find *program*, else skip the test; with REQUIRE_REAL_SERVERS=1 fail it."""
    found = shutil.which(program)
    if found is not None:
        return found
    text = f"{program} is not installed: apt-get install {PACKAGES[program]}"
    if os.environ.get("REQUIRE_REAL_SERVERS") == "1":
        pytest.fail(text)
    pytest.skip(text)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(url: str, timeout: float = 5.0) -> str:
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return str(answer.read().decode())


def wait_until(holds: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Wait until *holds* returns something true; an OSError counts as false."""
    end = time.monotonic() + seconds
    while True:
        try:
            if holds():
                return
        except OSError:
            pass
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


@contextmanager
def prometheus(folder: Path, configuration: str) -> Iterator[str]:
    """Run a Prometheus with its data in *folder*; its address."""
    file = folder / "prometheus.yml"
    file.write_text(configuration, encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    command = [
        find("prometheus"),
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--log.level=error",
    ]
    process = subprocess.Popen(command)
    try:
        wait_until(lambda: get(f"http://{address}/-/ready"), "Prometheus is ready")
        yield address
    finally:
        process.terminate()
        process.wait(10)


class Exporter:
    """
    A running exporter, started as a user starts it.

    Attributes:
        lines: Its log so far.
    """

    def __init__(self, *flags: str, environment: Mapping[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "exporter", *flags]
        if not any(flag.startswith("--web.listen-address") for flag in flags):
            command.append("--web.listen-address=127.0.0.1:0")
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **(environment or {})},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)

    @property
    def log(self) -> str:
        return "".join(self.lines)

    @property
    def address(self) -> str:
        """The address on which it listens; waits until it does."""
        wait_until(lambda: "address=" in self.log or self.process.poll() is not None, "listening")
        return self.log.partition("address=")[2].split()[0]

    def get(self, path: str) -> str:
        return get(f"http://{self.address}{path}")

    def wait_until_ready(self) -> None:
        wait_until(lambda: self.get("/-/ready"), "every account was refreshed once")

    def end(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Send signal *number*; the exit code, and the seconds until the process ended."""
        began = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(20)
        seconds = time.monotonic() - began
        self._reader.join(5)
        return code, seconds


@contextmanager
def exporter(*flags: str, environment: Mapping[str, str] | None = None) -> Iterator[Exporter]:
    """Run the exporter with *flags*, on a free port of 127.0.0.1 unless they set an address."""
    running = Exporter(*flags, environment=environment)
    try:
        yield running
    finally:
        running.process.terminate()  # not kill(), which would lose its coverage
        running.process.wait(10)
        assert running.process.stderr is not None
        running._reader.join(5)
        running.process.stderr.close()
