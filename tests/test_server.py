"""The HTTP server, over real sockets."""

import gzip
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from exporter import server
from tests.server.serving import SITE, Chunks, request, serving


def test_the_metrics_are_served() -> None:
    """Metrics are rendered for the Accept header and name[], and have their content type."""
    with serving() as port:
        answer, body = request(port, "/metrics?name[]=b&name[]=a", Accept="x/y")

    assert (answer.status, body) == (200, b"page text/for; accept=x/y ['a', 'b']\n")
    assert answer.headers["Content-Type"] == "text/for; accept=x/y"


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
    """Methods other than GET and HEAD are 405, which says so."""
    with serving() as port:
        answer, body = request(port, path, method=method)

    assert (answer.status, body) == (405, b"405 Method Not Allowed\n")
    assert answer.headers["Allow"] == "GET, HEAD"


def test_healthy_does_not_depend_on_ready() -> None:
    """Before the first refresh of every account the exporter is healthy but not ready."""
    with serving(replace(SITE, is_ready=lambda: False)) as port:
        statuses = [request(port, path)[0].status for path in ("/-/healthy", "/-/ready")]

    assert statuses == [200, 503]


def test_a_failed_scrape_does_not_affect_the_next() -> None:
    """An error while rendering is a 500 for that scrape only."""
    answers: Iterator[Exception | Chunks] = iter([ZeroDivisionError("x"), Chunks(b"page\n")])

    def metrics(*_: object) -> Chunks:
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

    def metrics(*_: object) -> Chunks:
        release.wait(5)
        return Chunks(b"page\n")

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
        client.sendall(b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n")

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
