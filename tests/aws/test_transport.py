"""A request takes a limited time and a limited amount of memory, whatever the server sends."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from exporter.aws import Operation
from exporter.aws.api import Aborted
from exporter.aws.transport import MAX_BODY
from exporter.cli.app import SystemClock
from exporter.model import ReadError, Reason
from tests.builders import an_account, an_api, request_once, some_sessions

Serve = Callable[[socket.socket, threading.Event], None]

DEADLINE = 0.6
"""Seconds; real ones, since the sockets are real."""


@contextmanager
def server(serve: Serve) -> Iterator[str]:
    """Run a TCP server that hands each connection to *serve*, and give its URL."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while not ended.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=run, args=(connection,), daemon=True).start()

        def run(connection: socket.socket) -> None:
            with connection, suppress(OSError):  # the exporter has gone
                serve(connection, ended)

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()
            listener.shutdown(socket.SHUT_RDWR)


def silent(connection: socket.socket, ended: threading.Event) -> None:
    """Accept and never answer."""
    ended.wait(30)


def slow_headers(connection: socket.socket, ended: threading.Event) -> None:
    """Send the headers byte by byte, for ever."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not ended.wait(0.05):
        connection.sendall(b"x")


def slow_body(connection: socket.socket, ended: threading.Event) -> None:
    """Send a body byte by byte."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not ended.wait(0.05):
        connection.sendall(b"x")


def slow_chunks(connection: socket.socket, ended: threading.Event) -> None:
    """Send a chunked body that does not end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not ended.wait(0.05):
        connection.sendall(b"1\r\nx\r\n")


def huge(connection: socket.socket, ended: threading.Event) -> None:
    """Send more than is read."""
    connection.recv(65536)
    connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {10 * MAX_BODY}\r\n\r\n".encode())
    for _ in range(10 * MAX_BODY // 65536):
        connection.sendall(b"x" * 65536)


@pytest.mark.parametrize("serve", [silent, slow_headers, slow_body, slow_chunks])
def test_the_deadline_ends_a_request(serve: Serve) -> None:
    """The deadline of a refresh ends a request that is under way, however bytes arrive."""
    clock = SystemClock()
    with server(serve) as url:
        api = an_api(some_sessions(url, clock), an_account(), clock, deadline=DEADLINE)
        began = time.monotonic()
        with pytest.raises(Aborted) as raised:
            api.sign_in()
        seconds = time.monotonic() - began

    assert raised.value.error.reason in (Reason.DEADLINE, Reason.TIMEOUT)
    assert seconds < 10 * DEADLINE


def test_a_huge_response_is_refused() -> None:
    """A response beyond the limit is malformed, and read no further."""
    clock = SystemClock()
    with server(huge) as url, pytest.raises(ReadError) as raised:
        request_once(some_sessions(url, clock), clock, Operation.LIST_USERS)

    assert raised.value.reason is Reason.MALFORMED
    assert str(MAX_BODY) in str(raised.value)


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLEEXAMPLE12")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
