"""The health check of the image, without the image: the command in the Dockerfile."""

import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
VARIABLE = "AWS_IAM_KEY_EXPORTER_WEB_PROBE_LISTEN_ADDRESS"

pytestmark = pytest.mark.process


def check(address: str | None) -> int:
    """Run the health check with *address* in the variable; its exit code."""
    (text,) = re.findall(r"(?m)^    CMD (\[.*\])$", DOCKERFILE)
    program, *arguments = json.loads(text)
    assert program == "/app/bin/python"
    environment = {} if address is None else {VARIABLE: address}
    command = [sys.executable, *arguments]
    ended = subprocess.run(
        command, env=environment, check=False, stderr=subprocess.DEVNULL, timeout=30
    )
    return ended.returncode


@contextmanager
def answering(status: int, family: socket.AddressFamily = socket.AF_INET) -> Iterator[int]:
    """Run a server that answers /-/healthy with *status*; its port on the loopback interface."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/-/healthy" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    class Server(ThreadingHTTPServer):
        address_family = family

    host = "127.0.0.1" if family is socket.AF_INET else "::1"
    with Server((host, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("form", ["127.0.0.1:{}", ":{}", "0.0.0.0:{}", "127.0.0.1:{}, [::1]:1"])
def test_it_finds_the_probe_address(form: str) -> None:
    """It asks the first address of the variable, in each form that the flag accepts."""
    with answering(200) as port:
        assert check(form.format(port)) == 0


def test_it_finds_an_ipv6_address() -> None:
    """An IPv6 address is in brackets."""
    with answering(200, socket.AF_INET6) as port:
        assert check(f"[::1]:{port}") == 0


def test_another_status_is_a_failure() -> None:
    """A server that does not answer with 200 is not healthy."""
    with answering(503) as port:
        assert check(f"127.0.0.1:{port}") == 1


@pytest.mark.parametrize("address", [None, "", "127.0.0.1:1"])
def test_no_answer_is_a_failure(address: str | None) -> None:
    """Without an address, or a server at it, the check fails."""
    assert check(address) == 1


def test_the_documented_address_is_the_one_of_the_image() -> None:
    """The README names the variable and the address that the Dockerfile sets."""
    (address,) = re.findall(rf"(?m)^ENV {VARIABLE}=(\S+)$", DOCKERFILE)
    readme = (ROOT / "deploy" / "image" / "README.md").read_text()

    assert f"`{VARIABLE}`, `{address}`" in readme
    assert f"address of the health check | {address}," in readme


def test_the_base_image_can_be_pinned() -> None:
    """Both stages are built from the image that a build argument names."""
    assert re.findall(r"(?m)^FROM (\S+)", DOCKERFILE) == ["${PYTHON_IMAGE}"] * 2
    assert re.findall(r"(?m)^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE) == ["python:3.13-slim"]
