"""A request takes a limited time and a limited amount of memory, whatever the server sends."""

import gc
import resource
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.aws import Operation
from exporter.aws.api import Aborted
from exporter.aws.transport import MAX_BODY
from exporter.cli.wiring import SystemClock
from exporter.model import ReadError, Reason
from tests.aws.servers import Serve, always, read_request, server
from tests.builders import an_account, an_api, request_once, some_sessions

# Python's ssl does not close a socket that is reset right before its handshake, until it is
# collected.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning"
)

DEADLINE = 0.6
"""Seconds; real ones, since the sockets are real."""

PLENTY = 20.0
"""Seconds that requests which are answered do not take."""


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


def slow_handshake(connection: socket.socket, ended: threading.Event) -> None:
    """Send a TLS handshake byte by byte: the beginning of a long record."""
    connection.sendall(b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xfb\x03\x03")
    while not ended.wait(0.05):
        connection.sendall(b"x")


@pytest.mark.parametrize(
    ("serve", "scheme"),
    [
        (silent, "http"),
        (slow_headers, "http"),
        (slow_body, "http"),
        (slow_chunks, "http"),
        (silent, "https"),
        (slow_handshake, "https"),
    ],
)
def test_the_deadline_ends_a_request(serve: Serve, scheme: str) -> None:
    """The deadline of a refresh ends a request that is under way, however bytes arrive."""
    clock = SystemClock()
    with server(serve, scheme) as url:
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


def slow_tunnel(connection: socket.socket, ended: threading.Event) -> None:
    """Answer a proxy's CONNECT byte by byte."""
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not ended.wait(0.05):
        connection.sendall(b"x")


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("serve", [silent, slow_tunnel])
def test_the_deadline_ends_a_request_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch, serve: Serve, scheme: str
) -> None:
    """A proxy that does not answer keeps a refresh no longer than its deadline."""
    clock = SystemClock()
    with server(serve) as proxy:
        monkeypatch.setenv(f"{scheme}_proxy", proxy)
        url = f"{scheme}://iam.invalid"
        api = an_api(some_sessions(url, clock), an_account(), clock, deadline=DEADLINE)
        began = time.monotonic()
        with pytest.raises(Aborted) as raised:
            api.sign_in()

    assert raised.value.error.reason in (Reason.DEADLINE, Reason.TIMEOUT)
    assert time.monotonic() - began < 10 * DEADLINE


IDENTITY = (
    b"<GetCallerIdentityResponse><GetCallerIdentityResult><Account>111111111111</Account>"
    b"<Arn>arn:aws:iam::111111111111:user/x</Arn></GetCallerIdentityResult>"
    b"</GetCallerIdentityResponse>"
)

USERS = b"<ListUsersResponse><ListUsersResult><Users/></ListUsersResult></ListUsersResponse>"


def answer(connection: socket.socket, body: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


class Ahead(SystemClock):
    """A clock that can be set ahead of that of this machine by *seconds*."""

    seconds = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.seconds


def test_a_connection_that_goes_silent() -> None:
    """A kept connection on which nothing comes any more ends with the deadline too."""
    silent_ones = []

    def serve(connection: socket.socket, ended: threading.Event) -> None:
        request = read_request(connection)
        answer(connection, IDENTITY if b"GetCallerIdentity" in request else USERS)
        if read_request(connection):
            silent_ones.append(request)
            ended.wait(30)

    clock = Ahead()
    with server(serve) as url:
        deadline = clock.monotonic() + PLENTY
        api = an_api(some_sessions(url, clock), an_account(), clock, deadline=PLENTY)
        api.sign_in()
        api.call(Operation.LIST_USERS)
        # Only now: on a busy machine, the requests before could take all of a short deadline.
        clock.seconds = deadline - DEADLINE - time.monotonic()
        began = time.monotonic()
        with pytest.raises((Aborted, ReadError)):
            api.call(Operation.LIST_USERS)
        seconds = time.monotonic() - began

    assert seconds < 10 * DEADLINE
    assert [b"ListUsers" in request for request in silent_ones] == [True]


def test_a_connection_is_not_used_after_a_broken_response() -> None:
    """What is left of a response that was given up is not taken for the next one."""
    connections = []

    def serve(connection: socket.socket, ended: threading.Event) -> None:
        connections.append(connection)
        first = len(connections) == 1
        while read_request(connection):
            if first:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n<Us")
            else:
                answer(connection, USERS)

    clock = SystemClock()
    with server(serve) as url:
        sessions = some_sessions(url, clock, read_timeout=0.2)
        with pytest.raises(ReadError) as raised:
            request_once(sessions, clock, Operation.LIST_USERS)
        request_once(sessions, clock, Operation.LIST_USERS)
        request_once(sessions, clock, Operation.LIST_USERS)

    assert raised.value.reason is Reason.TIMEOUT
    assert len(connections) == 2


BROKEN = {
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n<Us",
    "half a header": b"HTTP/1.1 200 OK\r\nContent-Le",
    "nothing": b"",
    "no HTTP": b"SSH-2.0-OpenSSH_9.9\r\n",
    "a chunk of no length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "not XML": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n<Us",
    "an error": b"HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\n<Us",
}


def test_broken_responses_leak_nothing() -> None:
    """Two hundred broken requests leave no file open, and take no memory."""
    clock = SystemClock()

    def fail(times: int) -> None:
        for body in BROKEN.values():
            with server(always(body)) as url:
                sessions = some_sessions(url, clock, read_timeout=0.3)
                for _ in range(times):
                    with pytest.raises(ReadError):
                        request_once(sessions, clock, Operation.LIST_USERS)

    fail(2)
    gc.collect()
    files, memory = open_files(), peak_memory()
    fail(30)
    gc.collect()

    assert open_files() <= files + 2
    assert peak_memory() - memory < 30


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def peak_memory() -> float:
    """The peak of this process's resident memory, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_broken_connections_leak_nothing(scheme: str) -> None:
    """Connections that are cut, also in the middle of a TLS handshake, leave no file open."""

    def cut(connection: socket.socket, ended: threading.Event) -> None:
        connection.recv(65536)

    clock = SystemClock()
    with server(cut, scheme) as url:
        sessions = some_sessions(url, clock)
        for number in range(60):
            if number == 10:
                gc.collect()
                files = open_files()
            with pytest.raises(ReadError) as raised:
                request_once(sessions, clock, Operation.LIST_USERS)
            assert raised.value.reason is Reason.NETWORK
    gc.collect()

    assert open_files() <= files + 2


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLEEXAMPLE12")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    yield
    gc.collect()  # so that what is left open is reported here
