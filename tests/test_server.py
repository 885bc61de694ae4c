"""The HTTP server, over real sockets."""

import asyncio
import gzip
import http.client
import re
import socket
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from exporter import server
from exporter.server import AccountRow, Site
from exporter.server.landing import format_duration, render

ROOT = Path(__file__).parent.parent
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
SITE = Site(
    version="1.2.3",
    telemetry_path="/metrics",
    metrics=lambda accept, names, compress: (
        gzip.compress(b"page\n") if compress else f"page {accept} {sorted(names)}\n".encode(),
        "text/plain; version=0.0.4; charset=utf-8",
    ),
    is_ready=lambda: True,
    accounts=lambda: [ROW],
)


@contextmanager
def serving(site: Site = SITE) -> Iterator[int]:
    """Serve *site* in a thread and yield the port."""
    (bound,) = server.bind("127.0.0.1:0")
    loop = asyncio.new_event_loop()
    started = threading.Event()

    async def run() -> None:
        http_server = server.serve(site, [bound])
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


def test_the_metrics_are_served() -> None:
    """Metrics are rendered for the Accept header and name[], and have their content type."""
    with serving() as port:
        answer, body = request(port, "/metrics?name[]=b&name[]=a", Accept="x/y")

    assert (answer.status, body) == (200, b"page x/y ['a', 'b']\n")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_gzip_if_accepted() -> None:
    """A response is compressed, with Content-Encoding, if the client accepts gzip."""
    with serving() as port:
        answer, body = request(port, "/metrics", Accept_Encoding="gzip")

    assert (answer.headers["Content-Encoding"], gzip.decompress(body)) == ("gzip", b"page\n")


@pytest.mark.parametrize("accepted", ["gzip;q=0", "gzip; q=0.0", "identity", "br"])
def test_no_gzip_if_not_accepted(accepted: str) -> None:
    """A response is not compressed if the client does not accept gzip."""
    with serving() as port:
        answer, _ = request(port, "/metrics", Accept_Encoding=accepted)

    assert answer.headers["Content-Encoding"] is None


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/-/ready"])
def test_head_has_no_body(path: str) -> None:
    """HEAD returns what GET returns, with Content-Length and without the body."""
    with serving() as port:
        answer, body = request(port, path, method="HEAD")

    assert (answer.status, body, int(answer.headers["Content-Length"]) > 0) == (200, b"", True)


@pytest.mark.parametrize("path", ["/nothing", "/metrics/", "/metricsx", "/-/", "//"])
def test_unknown_paths_are_not_found(path: str) -> None:
    """Unknown paths are 404, including those with the prefix of a known one."""
    with serving() as port:
        answer, _ = request(port, path)

    assert answer.status == 404


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/-/ready", "/nothing"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_other_methods_are_not_allowed(path: str, method: str) -> None:
    """Methods other than GET and HEAD are 405."""
    with serving() as port:
        answer, body = request(port, path, method=method)

    assert (answer.status, body) == (405, b"405 Method Not Allowed\n")


def test_healthy_does_not_depend_on_ready() -> None:
    """Before the first refresh of every account the exporter is healthy but not ready."""
    with serving(replace(SITE, is_ready=lambda: False)) as port:
        statuses = [request(port, path)[0].status for path in ("/-/healthy", "/-/ready")]

    assert statuses == [200, 503]


def test_the_landing_page_escapes_text() -> None:
    """Names, errors and the telemetry path cannot inject markup."""
    with serving(replace(SITE, telemetry_path='/"><b>')) as port:
        _, body = request(port, "/")

    text = body.decode()
    assert "prod &lt;b&gt;" in text
    assert "assume_role: &lt;no&gt;" in text
    assert "<b>" not in text


def cells(row: AccountRow) -> list[str]:
    """Return the texts of the cells of *row* on the landing page."""
    page = render(version="1.2.3", telemetry_path="/metrics", accounts=[row], now=NOON)
    return re.findall(r"<td.*?>(.*?)</td>", page.decode())


def test_the_landing_page_shows_an_account() -> None:
    """A row shows state, ID, name, keys, last success, next refresh and last error."""
    row = replace(ROW, name="prod", error="assume_role: no")

    assert cells(row) == ["down", "111111111111", "prod", "3", "2h ago", "in 5m", "assume_role: no"]


def test_the_landing_page_shows_what_is_unknown() -> None:
    """Before the first refresh of an account its row shows what is unknown."""
    row = AccountRow(
        id="", name="default", up=None, keys=None, last_success=None, next_refresh=None, error=""
    )

    assert cells(row) == ["pending", "unknown", "default", "unknown", "never", "in progress", ""]


def test_no_keys_are_not_unknown_keys() -> None:
    """An account without keys is up and has 0 keys."""
    row = cells(replace(ROW, up=True, keys=0))

    assert (row[0], row[3]) == ("up", "0")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (172800, "2d")],
)
def test_durations_are_short(seconds: int, text: str) -> None:
    """A duration is written in the largest unit of which it has at least two."""
    assert format_duration(timedelta(seconds=seconds)) == text


def test_the_landing_page_is_package_data() -> None:
    """The template is declared as package data, so that a wheel contains it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    data = project["tool"]["setuptools"]["package-data"]
    files = {path for path in (ROOT / "exporter").rglob("*") if path.is_file()}
    modules = {path for path in files if path.suffix in (".py", ".pyc")}

    declared = {
        path
        for package, patterns in data.items()
        for pattern in patterns
        for path in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    assert declared == files - modules


def test_a_failed_scrape_does_not_affect_the_next() -> None:
    """An error while rendering is a 500 for that scrape only."""
    answers: Iterator[Exception | tuple[bytes, str]] = iter(
        [ZeroDivisionError("x"), (b"page\n", "text/plain")]
    )

    def metrics(*_: object) -> tuple[bytes, str]:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with serving(replace(SITE, metrics=metrics)) as port:
        statuses = [request(port, "/metrics")[0].status for _ in range(2)]

    assert statuses == [500, 200]


def test_slow_scrapes_do_not_delay_probes() -> None:
    """Probes are answered while scrapes are being rendered."""
    release = threading.Event()

    def metrics(*_: object) -> tuple[bytes, str]:
        release.wait(5)
        return b"page\n", "text/plain"

    with serving(replace(SITE, metrics=metrics)) as port:
        scrapes = [threading.Thread(target=request, args=(port, "/metrics")) for _ in range(5)]
        for scrape in scrapes:
            scrape.start()
        status = request(port, "/-/healthy")[0].status
        release.set()
        for scrape in scrapes:
            scrape.join(5)

    assert status == 200


def test_another_telemetry_path() -> None:
    """The metrics are served at the telemetry path only."""
    with serving(replace(SITE, telemetry_path="/m.x")) as port:
        statuses = [request(port, path)[0].status for path in ("/m.x", "/metrics", "/mzx")]

    assert statuses == [200, 404, 404]


@pytest.mark.parametrize("address", ["", "10064", "127.0.0.1:", "127.0.0.1:http", ":99999"])
def test_invalid_addresses_are_rejected(address: str) -> None:
    """An address has a colon and a port."""
    with pytest.raises(OSError, match="not an address such as :10064"):
        server.bind(address)


def test_invalid_host_names_are_rejected() -> None:
    """A host that cannot be a name is an OSError."""
    with pytest.raises(OSError, match=r"invalid host name: a\.\.b"):
        server.bind("a..b:1")


def test_large_requests_are_rejected() -> None:
    """A request with a large body is rejected without reading it."""
    with serving() as port, socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(b"POST /metrics HTTP/1.1\r\nContent-Length: 50000000\r\n\r\n")

        answer = client.recv(100)

    assert answer.startswith(b"HTTP/1.1 400") or answer == b""


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0", ":0"])
def test_addresses(address: str) -> None:
    """IPv4, IPv6 and all interfaces can be listened on, and the port is known."""
    sockets = server.bind(address)

    shown = [server.address_of(bound) for bound in sockets]
    for bound in sockets:
        bound.close()
    assert all(int(text.rpartition(":")[2]) > 0 for text in shown)
