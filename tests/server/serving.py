"""A server in a thread, and its clients."""

import asyncio
import gzip
import http.client
import socket
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from exporter import server
from exporter.server import (
    AccountRow,
    InvalidParameter,
    KeyDetails,
    KeyTable,
    Limits,
    Namesakes,
    Site,
    WebConfig,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ROW = AccountRow(
    id="111111111111",
    name="prod <b>",
    up=False,
    keys=3,
    last_success=NOON - timedelta(hours=2),
    next_refresh=300.0,
    error="assume_role: <no>",
)


class Accounts:
    """Pages that show these accounts, and nothing else."""

    def __init__(self, *rows: AccountRow) -> None:
        self._rows = rows

    def accounts(self) -> Sequence[AccountRow]:
        return self._rows

    def unseen(self) -> Sequence[str]:
        return ["others <b>"]

    def keys(self, parameters: Mapping[str, str]) -> KeyTable:
        raise InvalidParameter("<b> is invalid.")

    def export(self, parameters: Mapping[str, str], format_: str) -> Iterable[bytes]:
        if "invalid" in parameters:
            raise InvalidParameter("<b> is invalid.")
        return [format_.encode(), repr(dict(parameters)).encode()]

    def key(self, account_id: str, key: str, user: str) -> KeyDetails | Namesakes | None:
        return Namesakes(account_id, key, (user, "<b>")) if key == "known" else None

    def configuration(self) -> str:
        return "a: <hidden>\nb: 1\n"


class Chunks:
    """A page of these chunks."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks
        self.size = sum(map(len, chunks))

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks)


def page(content_type: str, names: frozenset[str], compress: bool) -> Chunks:
    text = b"page\n" if compress else f"page {content_type} {sorted(names)}\n".encode()
    return Chunks(gzip.compress(text) if compress else text)


SITE = Site(
    version="1.2.3",
    telemetry_path="/metrics",
    negotiate=lambda accept: f"text/for; accept={accept}",
    metrics=page,
    is_ready=lambda: True,
    content=Accounts(ROW),
    observe=lambda handler, code: None,
)


class Requests(Counter[tuple[str, int]]):
    """Counts requests by handler and status code."""

    def observe(self, handler: str, code: int) -> None:
        self[handler, code] += 1


@contextmanager
def serving(
    site: Site = SITE,
    limits: Limits = Limits(),  # noqa: B008
    web: WebConfig | None = None,
) -> Iterator[int]:
    """Serve *site* in a thread and yield the port."""
    (bound,) = server.bind("127.0.0.1:0")
    loop = asyncio.new_event_loop()
    started = threading.Event()

    async def run() -> None:
        http_server = server.serve(site, [bound], limits, web)
        stop.append(asyncio.Event())
        started.set()
        await stop[0].wait()
        http_server.stop()
        await http_server.close_all_connections()

    stop: list[asyncio.Event] = []
    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    started.wait(5)
    try:
        yield int(bound.getsockname()[1])
    finally:
        loop.call_soon_threadsafe(stop[0].set)
        thread.join(5)
        loop.close()


def request(
    port: int, path: str, method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers=sent)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def connect(port: int, *, receive_buffer: int = 0) -> socket.socket:
    """
    Connect to *port*.

    Args:
        receive_buffer: How many bytes the client accepts before it reads them. 0: the default.
    """
    client = socket.socket()
    client.settimeout(5)
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.connect(("127.0.0.1", port))
    return client


def get(path: str, *headers: str) -> bytes:
    """Return the bytes of a request for *path*."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def read_all(client: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    received = b""
    try:
        while data := client.recv(65536):
            received += data
    except ConnectionResetError:
        pass
    return received
