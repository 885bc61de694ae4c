"""The HTTP server: how many connections there may be, and what happens to each request."""

import asyncio
import errno
import logging
import re
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate
from tornado.ioloop import IOLoop

from exporter.server.connections import MAX_HEADER, Connection, TLSConnection
from exporter.server.limits import Limits
from exporter.server.networks import client_of
from exporter.server.open_connections import OpenConnections
from exporter.server.web_config import Guard, WebConfig

log = logging.getLogger(__name__)

EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
"""Errors of accept() that mean that the process or the machine has no resources left."""

BATCH = 64
"""How many connections are accepted before the event loop does other work."""

PAUSE = 1.0
"""Seconds after which accepting is tried again when resources are exhausted."""

WARNING_INTERVAL = 60.0
"""Seconds between two warnings about exhausted resources."""

MAX_BODY = 4096
"""Bytes. No request needs one."""

AUTHORITY = re.compile(r"https?://[^/?]*", re.IGNORECASE)


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
