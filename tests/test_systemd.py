"""The service manager: sockets that it passes on, and what it is notified of."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from exporter.cli.systemd import notify
from exporter.server import address_of, inherited
from tests.servers import exporter, get, wait_until

NO_ACCOUNT = {
    "AWS_ACCESS_KEY_ID": "x",
    "AWS_SECRET_ACCESS_KEY": "x",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
}
"""An account that cannot be read."""

ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3, inheritable=True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Passes a socket on as systemd does: as descriptor 3 of the process with this id."""


@contextmanager
def manager(address: str) -> Iterator[socket.socket]:
    """A socket that notifications are received from."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address)
        receiver.settimeout(20)
        yield receiver


@pytest.fixture
def address(tmp_path: Path) -> str:
    return str(tmp_path / "notify")


def test_a_notification(address: str) -> None:
    """A state is sent as one datagram to the socket that the variable names."""
    with manager(address) as receiver:
        notify("READY=1", {"NOTIFY_SOCKET": address})

        assert receiver.recv(100) == b"READY=1"


def test_an_abstract_socket() -> None:
    """A name that begins with @ is one in the abstract namespace."""
    name = f"aws-iam-key-exporter-{os.getpid()}"
    with manager(f"\0{name}") as receiver:
        notify("STOPPING=1", {"NOTIFY_SOCKET": f"@{name}"})

        assert receiver.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize("variables", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}])
def test_nobody_to_notify(variables: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    """Without a service manager, or with one that is out of reach, nothing happens."""
    notify("READY=1", variables)

    assert caplog.messages == []


def test_a_manager_that_is_gone(address: str, caplog: pytest.LogCaptureFixture) -> None:
    """A notification that cannot be sent is a warning, and no more."""
    notify("READY=1", {"NOTIFY_SOCKET": address})

    assert caplog.messages == ["cannot notify the service manager"]


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_FDS": "1", "LISTEN_PID": "1"},
        {"LISTEN_FDS": "0", "LISTEN_PID": "7"},
        {"LISTEN_FDS": "x", "LISTEN_PID": "7"},
    ],
)
def test_no_sockets_are_passed_on(variables: dict[str, str]) -> None:
    """Sockets for another process, or none, are an error, and the variables are removed."""
    with pytest.raises(OSError, match="systemd has passed on no sockets"):
        inherited(variables, 7)

    assert variables == {}


def test_the_address_of_a_unix_socket(tmp_path: Path) -> None:
    """The address of a Unix socket is its path."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "http"))

        assert address_of(listener) == str(tmp_path / "http")


@pytest.mark.slow
@pytest.mark.process
def test_the_exporter_serves_on_a_socket_of_systemd(address: str) -> None:
    """It serves on the socket, says when it is ready and stopping, and binds no port itself."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        manager(address) as receiver,
    ):
        os.set_inheritable(listener.fileno(), True)
        port = listener.getsockname()[1]
        wrapper = [sys.executable, "-c", ACTIVATE, str(listener.fileno())]
        with exporter(
            "--web.systemd-socket",
            environment={**NO_ACCOUNT, "NOTIFY_SOCKET": address},
            wrapper=wrapper,
            inherit=(listener.fileno(),),
        ) as running:
            assert receiver.recv(100) == b"READY=1"
            assert get(f"http://127.0.0.1:{port}/-/healthy") == "Healthy\n"
            assert running.log.count("address=") == 1
            running.process.send_signal(signal.SIGTERM)
            assert receiver.recv(100) == b"STOPPING=1"
            wait_until(lambda: running.process.poll() == 0, "it has ended")


@pytest.mark.slow
@pytest.mark.process
def test_a_socket_of_systemd_is_required() -> None:
    """Without a socket, --web.systemd-socket is an error in one sentence, and exit code 1."""
    with exporter("--web.systemd-socket", environment=NO_ACCOUNT) as running:
        assert running.process.wait(20) == 1
        wait_until(lambda: "passed on no sockets" in running.log, "the message")

    assert running.log.count("\n") == 1
