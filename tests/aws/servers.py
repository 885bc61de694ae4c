"""Servers that misbehave below HTTP: each connection is handed to a function."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Serve = Callable[[socket.socket, threading.Event], None]
"""Serves a connection, until the event says that the test has ended."""


@contextmanager
def server(serve: Serve, scheme: str = "http") -> Iterator[str]:
    """Run a TCP server that hands each connection to *serve*, and give its URL."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:

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
            yield f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()
            listener.shutdown(socket.SHUT_RDWR)


def read_request(connection: socket.socket) -> bytes:
    """Read a request with its body. Empty: the connection was closed."""
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65536)
        if not chunk:
            return b""
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    while len(body) < length:
        body += connection.recv(65536)
    return head + body


def always(response: bytes) -> Serve:
    """Answer the first request of a connection with these bytes, and close it."""

    def serve(connection: socket.socket, _: threading.Event) -> None:
        if read_request(connection):
            connection.sendall(response)

    return serve
