"""
Prometheus, Alertmanager and the exporter as processes.

Prometheus and Alertmanager are tested in two releases: see Release. Tests of programs that are
missing are skipped, or fail with REQUIRE_REAL_SERVERS=1, as in CI.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Final, NoReturn

import pytest

PACKAGES = {
    "amtool": "prometheus-alertmanager",
    "bwrap": "bubblewrap",
    "chromium": "chromium",
    "curl": "curl",
    "haproxy": "haproxy",
    "nginx": "nginx-light",
    "openssl": "openssl",
    "prometheus": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "promtool": "prometheus",
    "sqlite3": "sqlite3",
    "systemd-analyze": "systemd",
    "systemd-sysusers": "systemd",
    "systemd-tmpfiles": "systemd",
}
"""The Debian package of each installed program."""


class Release(StrEnum):
    """
    A release of Prometheus and Alertmanager. The fixture `release` runs a test with each.

    Attributes:
        INSTALLED: The programs on PATH: in CI those of Debian 12, Prometheus 2.42.
        NEWER: Prometheus 3, its Alertmanager, and vmalert, as `.ci/newer-servers` downloads them.
    """

    INSTALLED = "installed"
    NEWER = "newer"


def newer_servers() -> Path:
    """Return the directory of the programs of Release.NEWER, which may not exist."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("NEWER_SERVERS") or Path(cache, "aws-iam-key-exporter", "servers"))


def find(program: str, release: Release = Release.INSTALLED) -> str:
    """Find *program*, else skip the test; with REQUIRE_REAL_SERVERS=1 fail it."""
    if release is Release.INSTALLED:
        found = shutil.which(program)
        text = f"{program} is not installed: apt-get install {PACKAGES[program]}"
    else:
        folder = newer_servers()
        found = shutil.which(program, path=folder)
        text = f"{folder} has no {program}: run .ci/newer-servers, or set NEWER_SERVERS"
    return found if found is not None else missing(text)


def missing(text: str) -> NoReturn:
    """Skip the test because of what *text* says is missing; with REQUIRE_REAL_SERVERS=1 fail it."""
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
def prometheus(
    folder: Path, configuration: str, release: Release = Release.INSTALLED
) -> Iterator[str]:
    """Run a Prometheus with its data in *folder*; its address."""
    file = folder / "prometheus.yml"
    file.write_text(configuration, encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    command = [
        find("prometheus", release),
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


PROGRAM: Final = (sys.executable, "-m", "exporter")


class Exporter:
    """
    A running exporter, started as a user starts it.

    Args:
        program: The command that is given the flags.
        wrapper: A command that becomes the exporter, given its command line.
        inherit: File descriptors that it inherits.
        listen: Where it listens if no flag says so. None: where its environment says.

    Attributes:
        lines: Its log so far.
    """

    def __init__(
        self,
        *flags: str,
        environment: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
        inherit: Sequence[int] = (),
        program: Sequence[str] = PROGRAM,
        listen: str | None = "127.0.0.1:0",
    ) -> None:
        command = [*wrapper, *program, *flags]
        has_address = any(flag.startswith("--web.listen-address") for flag in flags)
        if listen is not None and not has_address:
            command.append(f"--web.listen-address={listen}")
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **(environment or {})},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=inherit,
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
        """The address on which it listens, not only for probes; waits until it does."""
        event = "msg=listening address="
        wait_until(lambda: event in self.log or self.process.poll() is not None, "listening")
        return self.log.partition(event)[2].split()[0]

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
def exporter(
    *flags: str,
    environment: Mapping[str, str] | None = None,
    wrapper: Sequence[str] = (),
    inherit: Sequence[int] = (),
    program: Sequence[str] = PROGRAM,
    listen: str | None = "127.0.0.1:0",
) -> Iterator[Exporter]:
    """Run the exporter with *flags*, on a free port of 127.0.0.1 unless they set an address."""
    running = Exporter(
        *flags,
        environment=environment,
        wrapper=wrapper,
        inherit=inherit,
        program=program,
        listen=listen,
    )
    try:
        yield running
    finally:
        running.process.terminate()  # not kill(), which would lose its coverage
        running.process.wait(10)
        assert running.process.stderr is not None
        running._reader.join(5)
        running.process.stderr.close()
