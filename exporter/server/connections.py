"""Connections, and how long clients may take."""

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from typing import Any

from tornado.iostream import IOStream, SSLIOStream, UnsatisfiableReadError

from exporter.server.limits import Limits
from exporter.server.web_config.certificates import TLS

log = logging.getLogger(__name__)

MAX_HEADER = 16384
"""Bytes. Requests are small, so the limit is tight."""

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
