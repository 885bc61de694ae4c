"""Floods of clients against the running exporter."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.server.serving import connect, get, read_all, request
from tests.servers import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.process]

FILES = 80
"""How many files the exporter may open: few, so that few clients reach the limit."""

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "x",
    "AWS_SECRET_ACCESS_KEY": "x",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_IAM_KEY_EXPORTER_WEB_LISTEN_ADDRESS": "127.0.0.1:0",
}
"""An account that cannot be read."""


class Running:
    """A running exporter whose log is *log*."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.pid = process.pid
        self._log = log
        wait_until(lambda: "address=" in self.log, "listening")
        self.port = int(self.log.partition("address=127.0.0.1:")[2].split()[0])

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def cpu(self) -> float:
        """Seconds of CPU time that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    @property
    def file_limits(self) -> tuple[int, int]:
        return resource.prlimit(self.pid, resource.RLIMIT_NOFILE)

    def is_healthy(self) -> bool:
        return request(self.port, "/-/healthy")[0].status == 200


@contextmanager
def exporter(folder: Path, limit: str) -> Iterator[Running]:
    """Run the exporter after the shell command *limit*."""
    log = folder / "log"
    shell = ["sh", "-c", f'{limit}; exec "$@"', "sh", sys.executable, "-m", "exporter"]
    with log.open("w") as stderr:
        process = subprocess.Popen(shell, env={**os.environ, **ENVIRONMENT}, stderr=stderr)
    try:
        running = Running(process, log)
        wait_until(running.is_healthy, "it is healthy")
        yield running
    finally:
        process.kill()
        process.wait(10)


def test_the_soft_limit_of_files_is_raised(tmp_path: Path) -> None:
    """The exporter raises the limit of open files as far as it may."""
    with exporter(tmp_path, f"ulimit -Sn 64 && ulimit -Hn {FILES}") as running:
        assert running.file_limits == (FILES, FILES)


@pytest.mark.parametrize("when", ["at start", "later"])
def test_probes_are_answered_when_files_are_exhausted(when: str, tmp_path: Path) -> None:
    """
    With more connections than files, probes are answered, without a busy loop or a flood of logs.

    If the limit is set later, the exporter does not know it: accepting connections fails.
    """
    with (
        exporter(tmp_path, f"ulimit -n {FILES}" if when == "at start" else ":") as running,
        ExitStack() as stack,
    ):
        if when == "later":
            resource.prlimit(running.pid, resource.RLIMIT_NOFILE, (FILES, FILES))
        lines = running.log.count("\n")
        clients = [stack.enter_context(connect(running.port)) for _ in range(3 * FILES)]
        wait_until(running.is_healthy, "a probe is answered", 5)
        assert read_all(clients[0]) == b""  # the oldest is closed

        began = running.cpu
        clients[-1].settimeout(1)
        with pytest.raises(TimeoutError):
            clients[-1].recv(1)  # the newest is not
        used = running.cpu - began

        assert running.is_healthy()
        assert used < 0.5
        assert running.log.count("\n") - lines < 5


def test_clients_that_ask_and_leave_do_not_use_up_files(tmp_path: Path) -> None:
    """Connections that are reset in the middle of a request leave nothing open."""
    with exporter(tmp_path, f"ulimit -n {FILES}") as running:
        for _ in range(3 * FILES):
            with connect(running.port, receive_buffer=4096) as client:
                client.sendall(get("/metrics"))
        wait_until(
            lambda: request(running.port, "/metrics")[0].status == 200, "metrics are served again"
        )
        wait_until(
            lambda: len(list(Path(f"/proc/{running.pid}/fd").iterdir())) < FILES // 2,
            "connections are closed",
        )


def test_malformed_requests_are_metrics_and_not_logged(tmp_path: Path) -> None:
    """Malformed requests are counted in the metrics, and the log has no line about them."""
    with exporter(tmp_path, ":") as running:
        lines = running.log.count("\n")
        for _ in range(50):
            with connect(running.port) as client:
                client.sendall(b"\x16\x03\x01\x02\x00\r\n\r\n")
                read_all(client)
        _, page = request(running.port, "/metrics")

        sample = b'aws_iam_exporter_http_requests_total{code="400",handler="malformed"} 50.0\n'
        assert sample in page
        assert running.log.count("\n") - lines < 5


def test_scrapes_in_progress_do_not_delay_the_end(tmp_path: Path) -> None:
    """SIGTERM ends the exporter within a second and without errors, also while pages are sent."""
    limit = "export AWS_IAM_KEY_EXPORTER_WEB_MAX_REQUESTS=5"
    with exporter(tmp_path, limit) as running, ExitStack() as stack:
        for _ in range(5):
            client = stack.enter_context(connect(running.port, receive_buffer=4096))
            client.sendall(get("/metrics") * 400)  # more than fits into the kernel's buffers
        wait_until(
            lambda: all(request(running.port, "/metrics")[0].status == 503 for _ in range(20)),
            "all pages are in progress",
        )
        began = time.monotonic()
        running.process.terminate()

        assert running.process.wait(5) == 0
        assert time.monotonic() - began < 1
        assert "level=error" not in running.log
        assert running.log.splitlines()[-1].endswith("msg=stopped")
