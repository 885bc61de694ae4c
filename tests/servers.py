"""The real programs that some tests run: found, or the test is skipped with what to install."""

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PACKAGES = {
    "amtool": "prometheus-alertmanager",
    "prometheus": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "promtool": "prometheus",
}
"""Debian's package of each program."""


def find(program: str) -> str:
    """
    Find *program*, else skip the test; or fail it where REQUIRE_REAL_SERVERS=1 is set.
    """
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
    """Wait until *holds* answers with something true; an OSError meanwhile counts as not yet."""
    end = time.monotonic() + seconds
    while True:
        try:
            if holds():
                return
        except OSError:
            pass
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)


@contextmanager
def prometheus(folder: Path, configuration: str) -> Iterator[str]:
    """Run a Prometheus with its data in *folder*, and give its address."""
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
