"""Connections: how many there may be, and how long clients may take."""

import asyncio
import errno
import logging
import os
import re
import resource
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate
from tornado.ioloop import IOLoop
from tornado.iostream import IOStream, SSLIOStream, UnsatisfiableReadError

from exporter.server.networks import client_of
from exporter.server.open_connections import OpenConnections
from exporter.server.web_config import Guard, WebConfig
from exporter.server.web_config.certificates import TLS

log = logging.getLogger(__name__)

EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
"""Errors of accept() that mean that the process or the machine has no resources left."""

MAX_CONNECTIONS = 1024
"""Bounds the memory for connections where file descriptors are plentiful."""

BATCH = 64
"""How many connections are accepted before the event loop does other work."""

PAUSE = 1.0
"""Seconds after which accepting is tried again when resources are exhausted."""

WARNING_INTERVAL = 60.0
"""Seconds between two warnings about exhausted resources."""

MAX_HEADER, MAX_BODY = 16384, 4096
"""Bytes. Requests are small, so the limits are tight."""

TORNADO_400 = b"HTTP/1.1 400 Bad Request\r\n\r\n"
"""Tornado's response to a malformed request."""

BAD_REQUEST = (
    b"HTTP/1.1 400 Bad Request\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: 16\r\n"
    b"Connection: close\r\n"
    b"\r\n"
    b"400 Bad Request\n"
)

TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: 36\r\n"
    b"Connection: close\r\n"
    b"\r\n"
    b"431 Request Header Fields Too Large\n"
)

PLAIN_HTTP = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
"""The response to a request without TLS where TLS is required. That of Go's net/http."""

AUTHORITY = re.compile(r"https?://[^/?]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Limits:
    """
    What clients may use. Times are in seconds.

    Attributes:
        connections: How many connections may be open. At the limit, a new one replaces another: see
            OpenConnections.
        requests: How many requests for metrics may be in progress, and how many for the landing
            page; others are answered with 503. 0: any number.
        header: How long a client may take to send the header of a request, and the body.
        idle: How long a connection may be idle between two requests. Long, because Prometheus
            reuses connections between scrapes.
        stalled: How long a client may take to receive a part of a response.
        response: How long a client may take to receive a response.
    """

    connections: int = MAX_CONNECTIONS
    requests: int = 40
    header: float = 10.0
    idle: float = 300.0
    stalled: float = 30.0
    response: float = 300.0

    @property
    def pages(self) -> int:
        """How many requests of one kind may be in progress. 0: any number."""
        # At most a quarter of the connections, so that some are left for probes.
        return min(self.requests, max(1, self.connections // 4))


def raise_file_limit() -> int:
    """Raise the limit of open files as far as this process may, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # macOS: the hard limit is higher than the kernel allows
        return soft
    return hard


def max_connections(files: int) -> int:
    """
    Return how many connections may be open: the other half of the files is for requests to AWS.

    Args:
        files: How many files may be open. Negative: any number (`resource.RLIM_INFINITY`).
    """
    return max(1, min(files // 2, MAX_CONNECTIONS)) if files >= 0 else MAX_CONNECTIONS


class State(Enum):
    """What a connection waits for: a request, the rest of its header, its body, the response."""

    IDLE = auto()
    HEADER = auto()
    BODY = auto()
    RESPONSE = auto()


class Connection(IOStream):
    """
    The connection of one client. Closes itself when the client is too slow.

    Attributes:
        admitted: Whether its last request was admitted.
        sending: A page is being sent: the connection is not closed in favor of a new one.
    """

    def __init__(
        self, accepted: socket.socket, limits: Limits, malformed: Callable[[int], None]
    ) -> None:
        # The time for the first header includes the TLS handshake.
        super().__init__(accepted, max_buffer_size=4 * MAX_HEADER, read_chunk_size=MAX_HEADER)
        self.admitted = False
        self.sending = False
        self._limits = limits
        self._malformed = malformed
        self._awaiting = State.HEADER
        self._timer = self.io_loop.call_later(limits.header, self.close)

    def wait_for_request(self) -> None:
        """Called when the connection is ready for a request."""
        if self._awaiting is State.RESPONSE:
            # What arrived with or after the last request is the beginning of the next one.
            self._enter(State.HEADER if self._read_buffer_size else State.IDLE)

    def header_received(self) -> None:
        self._enter(State.BODY)

    def request_received(self) -> None:
        self._enter(State.RESPONSE)

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        size: int | None = super().read_from_fd(buf)
        if size and self._awaiting is State.IDLE:
            self._enter(State.HEADER)
        # Without a read that waits for more, a request has arrived and is about to be handled.
        if size == 0 and (self._awaiting is State.RESPONSE or self._read_future is None):
            # The client sends no more, but it may still read. Tornado would close the connection;
            # after an empty line, which may precede a request, it does so after the response.
            if self._read_buffer_size:
                return None
            buf[0] = ord("\n")
            return 1
        return size

    def write(self, data: bytes | memoryview) -> "asyncio.Future[None]":
        if data == TORNADO_400:
            self._malformed(400)
            data = BAD_REQUEST
        written = super().write(data)
        if not written.done():
            timer = self.io_loop.call_later(self._limits.stalled, self.close)
            written.add_done_callback(lambda _: self.io_loop.remove_timeout(timer))
        return written

    def close(self, exc_info: Any = False) -> None:  # noqa: FBT002 (Tornado's signature)
        if not self.closed():
            self.io_loop.remove_timeout(self._timer)
            if isinstance(exc_info, UnsatisfiableReadError):  # the header is too large
                self._malformed(431)
                with suppress(OSError):
                    self.socket.recv(4 * MAX_HEADER)  # else the client could lose the response
                with suppress(OSError):  # it is gone, or receives nothing
                    self.socket.send(TOO_LARGE)
        super().close(exc_info)

    def _enter(self, state: State) -> None:
        if self.closed():
            return
        self._awaiting = state
        self.io_loop.remove_timeout(self._timer)
        if state is State.IDLE:
            self._timer = self.io_loop.call_later(self._limits.idle, self.close)
        elif state is not State.RESPONSE:
            self._timer = self.io_loop.call_later(self._limits.header, self.close)


class TLSConnection(Connection, SSLIOStream):
    """
    A connection that is encrypted.

    Raises:
        OSError: The client is gone.
        ValueError: As OSError.
    """

    def __init__(
        self, accepted: socket.socket, limits: Limits, malformed: Callable[[int], None], tls: TLS
    ) -> None:
        encrypted = tls.context.wrap_socket(
            accepted, server_side=True, do_handshake_on_connect=False
        )
        super().__init__(encrypted, limits, malformed)
        self._tls = tls
        self.wait_for_handshake().add_done_callback(self._handshake_done)

    def _handshake_done(self, handshake: "asyncio.Future[Any]") -> None:
        # No request has been read by now.
        failed = handshake.cancelled() or handshake.exception() is not None
        if not failed and not self._tls.admits(self.socket.getpeercert()):
            log.debug("client certificate without an allowed name")
            self.close()

    def close(self, exc_info: Any = False) -> None:  # noqa: FBT002 (Tornado's signature)
        if isinstance(exc_info, ssl.SSLError) and not self.closed():
            log.debug("TLS failed", extra={"error": str(exc_info)})
            if exc_info.reason == "HTTP_REQUEST":
                self._respond_in_plain_text()
        super().close(exc_info)

    def _respond_in_plain_text(self) -> None:
        self._malformed(400)
        descriptor = self.socket.fileno()
        try:
            os.read(descriptor, MAX_HEADER)  # else the client could lose the response
            os.write(descriptor, PLAIN_HTTP)
        except OSError:
            pass  # the client has sent nothing more, or is gone


class Server(HTTPServer):
    """
    An HTTP server that limits what its clients use.

    Tornado's own accepts connections without limit, and when there are no file descriptors left it
    tries again without a pause and logs each attempt.

    Args:
        observe: Counts a request that no handler responds to, given a name for it and the status
            code: malformed ones, which are not logged, and those that *web* refuses.
        web: TLS, passwords and rate limits. None: there are none.
    """

    def initialize(  # type: ignore[override]  # the constructor passes its arguments on to this
        self,
        application: Any,
        *,
        limits: Limits,
        observe: Callable[[str, int], None],
        web: WebConfig | None = None,
    ) -> None:
        super().initialize(
            application,
            idle_connection_timeout=2 * (limits.header + limits.idle),  # Connection has its own
            max_body_size=MAX_BODY,
            max_header_size=MAX_HEADER,
        )
        self._limits = limits
        self._observe = observe
        self._web = web
        self._keeping_up_to_date = asyncio.ensure_future(web.keep_up_to_date()) if web else None
        self._open = OpenConnections[Connection](limits.connections)
        self._listeners: list[socket.socket] = []
        self._accepting = False
        self._warn_after = 0.0

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        self._listeners += sockets
        self._resume()

    def stop(self) -> None:
        self._pause()
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        if self._keeping_up_to_date is not None:
            self._keeping_up_to_date.cancel()

    def start_request(self, server_conn: Any, request_conn: Any) -> HTTPMessageDelegate:
        connection: Connection = server_conn.stream
        connection.wait_for_request()
        self._resume()
        delegate = super().start_request(server_conn, request_conn)
        if self._web is None:
            connection.admitted = True
        else:
            delegate = Guard(delegate, request_conn, self._web, self._observe)
        return _Request(delegate, connection, self._open.renew)

    def on_close(self, server_conn: Any) -> None:
        super().on_close(server_conn)
        self._open.remove(server_conn.stream)
        self._resume()

    def _resume(self) -> None:
        if not self._accepting and self._listeners:
            self._accepting = True
            for listener in self._listeners:
                IOLoop.current().add_handler(listener, self._accept, IOLoop.READ)

    def _pause(self) -> None:
        if self._accepting:
            self._accepting = False
            for listener in self._listeners:
                IOLoop.current().remove_handler(listener)

    def _accept(self, listener: socket.socket, _events: int) -> None:
        # At most half of the limit: each has time to send a request before it can be replaced.
        for _ in range(max(1, min(BATCH, self._limits.connections // 2))):
            candidate = self._open.least_wanted() if self._open.is_full else None
            if self._open.is_full and candidate is None:
                self._pause()  # until a connection is closed, or waits for a request
                return
            try:
                accepted, address = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    continue  # the client is gone
                self._warn(error)
                if not self._drop(self._open.least_wanted()):
                    self._pause()
                    IOLoop.current().call_later(PAUSE, self._resume)
                return
            self._drop(candidate)
            try:
                connection = self._connect(accepted)
            except (OSError, ValueError):
                accepted.close()  # the client is gone
                continue
            self._open.add(connection, client_of(str(address[0])) if address else "")
            self.handle_stream(connection, address)

    def _connect(self, accepted: socket.socket) -> Connection:
        tls = self._web.tls if self._web is not None else None
        if tls is None:
            return Connection(accepted, self._limits, self._count_malformed)
        return TLSConnection(accepted, self._limits, self._count_malformed, tls)

    def _count_malformed(self, status: int) -> None:
        self._observe("malformed", status)

    def _drop(self, connection: Connection | None) -> bool:
        """Close *connection*, if there is one."""
        if connection is None:
            return False
        self._open.remove(connection)
        connection.close()
        return True

    def _warn(self, error: OSError) -> None:
        now = IOLoop.current().time()
        if now >= self._warn_after:
            self._warn_after = now + WARNING_INTERVAL
            log.warning("cannot accept connections", extra={"error": error.strerror})


class _Request(HTTPMessageDelegate):
    """Reports the progress of a request to its connection."""

    def __init__(
        self,
        delegate: HTTPMessageDelegate,
        connection: Connection,
        received: Callable[[Connection], None],
    ) -> None:
        self._delegate = delegate
        self._connection = connection
        self._received = received

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> Awaitable[None] | None:
        self._connection.header_received()
        target = _origin_form(start_line.path)
        return self._delegate.headers_received(start_line._replace(path=target), headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._delegate.data_received(chunk)

    def finish(self) -> None:
        self._connection.request_received()
        self._received(self._connection)
        self._delegate.finish()

    def on_connection_close(self) -> None:
        self._delegate.on_connection_close()


def _origin_form(target: str) -> str:
    """
    Return *target* without scheme and host, if it has them.

    Source: RFC 9112, section 3.2.2: a server must accept the absolute form.
    """
    authority = AUTHORITY.match(target)
    if authority is None:
        return target
    rest = target[authority.end() :]
    return rest if rest.startswith("/") else f"/{rest}"
