"""How the exporter is served, over real sockets."""

import asyncio
import gzip
import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from exporter import server
from exporter.server import AccountLine, Site

LINE = AccountLine("111111111111", "prod <b>", "down", "3", "2h ago", "in 5m", "assume_role: <no>")
SITE = Site(
    version="1.2.3",
    telemetry_path="/metrics",
    metrics=lambda accept, names, packed: (
        gzip.compress(b"page\n") if packed else f"page {accept} {sorted(names)}\n".encode(),
        "text/plain; version=0.0.4; charset=utf-8",
    ),
    is_ready=lambda: True,
    accounts=lambda: [LINE],
)


@contextmanager
def serving(site: Site = SITE) -> Iterator[int]:
    """Serve *site* in a thread, and give the port."""
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


def ask(
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
    """The metrics get the Accept header and names, and their type goes out."""
    with serving() as port:
        answer, body = ask(port, "/metrics?name[]=b&name[]=a", Accept="x/y")

    assert (answer.status, body) == (200, b"page x/y ['a', 'b']\n")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_gzip_where_it_is_asked_for() -> None:
    """A client that accepts gzip gets it, and is told."""
    with serving() as port:
        answer, body = ask(port, "/metrics", Accept_Encoding="gzip")

    assert (answer.headers["Content-Encoding"], gzip.decompress(body)) == ("gzip", b"page\n")


@pytest.mark.parametrize("accepted", ["gzip;q=0", "gzip; q=0.0", "identity", "br"])
def test_no_gzip_where_it_is_refused(accepted: str) -> None:
    """A client that does not want gzip gets none."""
    with serving() as port:
        answer, _ = ask(port, "/metrics", Accept_Encoding=accepted)

    assert answer.headers["Content-Encoding"] is None


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/-/ready"])
def test_head_answers_without_a_body(path: str) -> None:
    """HEAD answers as GET does, with the length and without the body."""
    with serving() as port:
        answer, body = ask(port, path, method="HEAD")

    assert (answer.status, body, int(answer.headers["Content-Length"]) > 0) == (200, b"", True)


@pytest.mark.parametrize("path", ["/nothing", "/metrics/", "/metricsx", "/-/", "//"])
def test_anything_else_is_not_found(path: str) -> None:
    """Paths that nobody serves are 404, also those that begin like one."""
    with serving() as port:
        answer, _ = ask(port, path)

    assert answer.status == 404


def test_posting_is_not_allowed() -> None:
    """A method that a page does not have is 405."""
    with serving() as port:
        answer, _ = ask(port, "/metrics", method="POST")

    assert answer.status == 405


def test_healthy_does_not_depend_on_ready() -> None:
    """Before every account was tried the process is healthy and not ready."""
    with serving(replace(SITE, is_ready=lambda: False)) as port:
        statuses = [ask(port, path)[0].status for path in ("/-/healthy", "/-/ready")]

    assert statuses == [200, 503]


def test_the_landing_page_escapes_what_it_shows() -> None:
    """Names and errors cannot inject markup."""
    with serving() as port:
        _, body = ask(port, "/")

    text = body.decode()
    assert "prod &lt;b&gt;" in text
    assert "assume_role: &lt;no&gt;" in text


def test_a_scrape_that_fails_is_a_500_and_the_next_is_not() -> None:
    """An error in rendering costs that scrape alone."""
    answers: Iterator[Exception | tuple[bytes, str]] = iter(
        [ZeroDivisionError("x"), (b"page\n", "text/plain")]
    )

    def metrics(*_: object) -> tuple[bytes, str]:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with serving(replace(SITE, metrics=metrics)) as port:
        statuses = [ask(port, "/metrics")[0].status for _ in range(2)]

    assert statuses == [500, 200]


def test_a_slow_scrape_holds_up_no_probe() -> None:
    """Probes answer while scrapes are being rendered."""
    release = threading.Event()

    def metrics(*_: object) -> tuple[bytes, str]:
        release.wait(5)
        return b"page\n", "text/plain"

    with serving(replace(SITE, metrics=metrics)) as port:
        scrapes = [threading.Thread(target=ask, args=(port, "/metrics")) for _ in range(5)]
        for scrape in scrapes:
            scrape.start()
        status = ask(port, "/-/healthy")[0].status
        release.set()
        for scrape in scrapes:
            scrape.join(5)

    assert status == 200


def test_another_telemetry_path() -> None:
    """The metrics are where the operator wants them, and nowhere else."""
    with serving(replace(SITE, telemetry_path="/m.x")) as port:
        statuses = [ask(port, path)[0].status for path in ("/m.x", "/metrics", "/mzx")]

    assert statuses == [200, 404, 404]


@pytest.mark.parametrize("address", ["", "10064", "127.0.0.1:", "127.0.0.1:http", ":99999"])
def test_what_is_no_address_is_refused(address: str) -> None:
    """An address needs a colon and a port."""
    with pytest.raises(OSError, match="not an address such as :10064"):
        server.bind(address)


def test_a_host_that_is_no_name_is_refused() -> None:
    """A host that no name can be is an error like any other."""
    with pytest.raises(OSError, match="not the name of a host"):
        server.bind("a..b:1")


def test_a_large_body_is_not_swallowed() -> None:
    """Who sends more than anybody has to is cut off."""
    with serving() as port, socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(b"POST /metrics HTTP/1.1\r\nContent-Length: 50000000\r\n\r\n")

        answer = client.recv(100)

    assert answer.startswith(b"HTTP/1.1 400") or answer == b""


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0", ":0"])
def test_addresses(address: str) -> None:
    """IPv4, IPv6 and all interfaces can be listened on."""
    sockets = server.bind(address)

    shown = [server.address_of(bound) for bound in sockets]
    for bound in sockets:
        bound.close()
    assert all(int(text.rpartition(":")[2]) > 0 for text in shown)
