"""
How a request is sent: within a time limit for the whole response, and a limit for its size.

botocore only limits the time between two bytes, so that a server that sends a byte a second keeps a
request for hours; and it reads whatever arrives into memory.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

import urllib3.exceptions
from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)
from botocore.credentials import Credentials
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError

from exporter.model import Clock

MAX_BODY: Final = 16 * 1024 * 1024
"""The largest response that is read, in bytes. A credential report of 5000 users has 1 MB."""

REQUEST_SECONDS: Final = 60.0
"""The longest that one request may take, in seconds, until its response is complete."""

CHECK_SECONDS: Final = 0.2
"""Seconds between two looks at the requests that are in flight."""


class ResponseTooLargeError(Exception):
    """A response is larger than MAX_BODY."""


@dataclass(slots=True)
class Call:
    """
    A request that is being made.

    Attributes:
        credentials: What it is signed with.
        expires_at: When it is given up, in seconds of the monotonic clock.
        expired: It was.
        status: The HTTP status of the response. 0: there was none yet.
        content_type: That of the response.
        connection: The socket that is in use.
    """

    credentials: Credentials
    expires_at: float
    expired: bool = False
    status: int = 0
    content_type: str = ""
    connection: socket.socket | None = None


current_call: ContextVar[Call] = ContextVar("current_call")
"""
The request that this thread is making.

botocore offers no parameter for what its handlers need to know about a single request.
"""


class Watchdog:
    """Breaks the connections of requests that take too long, from a thread of its own."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._calls: dict[int, Call] = {}
        self._some = threading.Event()
        self._started = False

    @contextlib.contextmanager
    def watch(self, call: Call) -> Iterator[None]:
        """Watch *call* until the block is left."""
        with self._lock:
            self._calls[id(call)] = call
            if not self._started:
                self._started = True
                threading.Thread(target=self._run, name="watchdog", daemon=True).start()
        self._some.set()
        try:
            yield
        finally:
            with self._lock:
                del self._calls[id(call)]

    def _run(self) -> None:
        while True:
            self._some.wait()
            now = self._clock.monotonic()
            with self._lock:
                for call in self._calls.values():
                    if now >= call.expires_at:
                        _break(call)
                if not self._calls:
                    self._some.clear()
            time.sleep(CHECK_SECONDS)


def _break(call: Call) -> None:
    call.expired = True
    if call.connection is not None:
        with contextlib.suppress(OSError):  # it is closed already
            call.connection.shutdown(socket.SHUT_RDWR)


class _Breakable:
    """A connection that tells the call that uses it about its socket."""

    _handle: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        connection: socket.socket = super()._new_conn()  # type: ignore[misc]
        # A second handle of the same socket: TLS takes the first one over.
        self._handle = connection.dup()
        self._register()
        return connection

    def request(self, *args: Any, **kwargs: Any) -> Any:
        self._register()
        return super().request(*args, **kwargs)  # type: ignore[misc]

    def close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.close()
        super().close()  # type: ignore[misc]

    def _register(self) -> None:
        call = current_call.get(None)
        if call is not None:
            call.connection = self._handle


class _HTTPConnection(_Breakable, AWSHTTPConnection):  # type: ignore[misc]
    pass


class _HTTPSConnection(_Breakable, AWSHTTPSConnection):  # type: ignore[misc]
    pass


class _HTTPConnectionPool(AWSHTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSConnectionPool(AWSHTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


class Transport:
    """
    Sends the requests of one client.

    Args:
        http_session: The client's botocore.httpsession.URLLib3Session.
    """

    def __init__(self, http_session: Any, clock: Clock) -> None:
        self._session = http_session
        self._clock = clock
        pools = {"http": _HTTPConnectionPool, "https": _HTTPSConnectionPool}
        http_session._pool_classes_by_scheme = pools
        http_session._manager.pool_classes_by_scheme = pools

    def send(self, request: Any, **_: object) -> Any:
        """
        Send a request and read its response: a handler of botocore's event `before-send`.

        Raises:
            ResponseTooLargeError: The response is larger than MAX_BODY.
        """
        call = current_call.get()
        left = max(0.001, call.expires_at - self._clock.monotonic())
        # The time to wait for a single byte; the watchdog sees to the whole.
        read_timeout = self._session._timeout
        if isinstance(read_timeout, urllib3.Timeout):
            read_timeout = read_timeout.read_timeout
        request.context["read_timeout"] = min(float(read_timeout), left)
        request.stream_output = True
        response = self._session.send(request)
        call.status = response.status_code
        call.content_type = str(response.headers.get("content-type", ""))
        response._content = _read(response.raw, request)
        return response


def _read(raw: Any, request: Any) -> bytes:
    chunks: list[bytes] = []
    size = 0
    try:
        for chunk in raw.stream(65536):
            size += len(chunk)
            if size > MAX_BODY:
                raw.close()
                raise ResponseTooLargeError(f"the response has more than {MAX_BODY} bytes")
            chunks.append(chunk)
    except urllib3.exceptions.ReadTimeoutError as error:
        raise ReadTimeoutError(endpoint_url=request.url, error=error) from error
    except urllib3.exceptions.HTTPError as error:
        raise ConnectionClosedError(
            endpoint_url=request.url, error=error, request=request
        ) from error
    return b"".join(chunks)
