"""Connections without requests, slow and malformed requests, over real sockets."""

import logging
import socket
import threading
from contextlib import ExitStack
from dataclasses import replace

import pytest

from exporter.server import Limits, max_connections
from tests.server.serving import (
    SITE,
    Chunks,
    Requests,
    connect,
    get,
    read_all,
    request,
    serving,
)
from tests.servers import wait_until


def is_open(client: socket.socket, data: bytes) -> bool:
    """Send *data* and return whether the server has not closed the connection."""
    try:
        client.sendall(data)
    except OSError:
        return False
    return True


def ask(client: socket.socket) -> bytes:
    """Send a request and return the first line of the response."""
    client.sendall(get("/-/healthy"))
    return client.recv(1000).partition(b"\r\n")[0]


def test_new_connections_replace_the_oldest_idle_ones() -> None:
    """At the limit, the connections that have waited longest for a request are closed."""
    with serving(limits=Limits(connections=3)) as port, ExitStack() as stack:
        first, second, third = [stack.enter_context(connect(port)) for _ in range(3)]
        answers = [ask(client) for client in (first, second, third, first)]

        answer, _ = request(port, "/-/healthy")

        assert (answer.status, read_all(second)) == (200, b"")
        answers += [ask(client) for client in (first, third)]

    assert answers == [b"HTTP/1.1 200 OK"] * 6


def test_a_page_in_progress_is_not_closed_for_new_connections() -> None:
    """A scrape is completed, however many connections arrive meanwhile."""
    large = Chunks(*[b"x" * 65536] * 256)
    site = replace(SITE, metrics=lambda *_: large)
    with serving(site, Limits(connections=4)) as port, ExitStack() as stack:
        scrape = stack.enter_context(connect(port))
        scrape.sendall(get("/metrics", "Connection: close"))
        received = scrape.recv(1000)
        for _ in range(20):
            stack.enter_context(connect(port))
        answer, _ = request(port, "/-/healthy")
        received += read_all(scrape)

    assert answer.status == 200
    assert len(received.partition(b"\r\n\r\n")[2]) == large.size


def test_half_a_header_is_cut_off() -> None:
    """A client that does not complete the header of its first request is disconnected."""
    with serving(limits=Limits(header=0.2, idle=60)) as port, connect(port) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\n")

        assert read_all(client) == b""


def test_a_slow_header_is_cut_off() -> None:
    """Sending a byte now and then does not extend the time for the header."""
    with serving(limits=Limits(header=0.3, idle=60)) as port, connect(port) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        wait_until(lambda: not is_open(client, b"x"), "it is cut off", 3)


def test_a_slow_header_of_a_later_request_is_cut_off() -> None:
    """The time for a header is the same for later requests of a connection."""
    with serving(limits=Limits(header=0.3, idle=60)) as port, connect(port) as client:
        client.sendall(get("/-/healthy"))
        client.recv(1000)
        client.sendall(b"GET /metrics HTTP/1.1\r\n")

        assert read_all(client) == b""


def test_a_header_that_begins_with_the_last_request_is_cut_off() -> None:
    """The time for a header is the same if its beginning arrives together with another request."""
    with serving(limits=Limits(header=0.3, idle=60)) as port, connect(port) as client:
        client.sendall(get("/-/healthy") * 2 + b"GET /metrics HTTP/1.1\r\n")

        assert read_all(client).count(b"200 OK") == 2


def test_a_slow_body_is_cut_off() -> None:
    """A client that does not complete the body of its request is disconnected."""
    with serving(limits=Limits(header=0.3)) as port, connect(port) as client:
        client.sendall(get("/-/healthy", "Content-Length: 100"))

        assert read_all(client) == b""


def test_idle_connections_are_closed() -> None:
    """A connection that waits too long for another request is closed."""
    with serving(limits=Limits(header=60, idle=0.2)) as port, connect(port) as client:
        client.sendall(get("/-/healthy"))

        assert read_all(client).endswith(b"Healthy\n")


def test_idle_connections_have_more_time_than_headers() -> None:
    """Between two requests, a connection may be idle for longer than a header may take."""
    with serving(limits=Limits(header=0.1, idle=60)) as port, connect(port) as client:
        client.sendall(get("/-/healthy"))
        client.recv(1000)
        with connect(port) as other:
            assert read_all(other) == b""  # the time for a header has passed
        client.sendall(get("/-/healthy"))

        assert client.recv(1000).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno\r\n",
    ],
)
def test_malformed_requests_are_counted(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A malformed request is answered with 400 and counted, and not logged."""
    requests = Requests()
    caplog.set_level(logging.INFO)
    with serving(replace(SITE, observe=requests.observe)) as port, connect(port) as client:
        client.sendall(data)
        response = read_all(client)

    assert response.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert response.endswith(b"\r\nConnection: close\r\n\r\n400 Bad Request\n")
    assert (requests, caplog.messages) == ({("malformed", 400): 1}, [])


def test_large_headers_are_malformed(caplog: pytest.LogCaptureFixture) -> None:
    """A request with a large header is answered with 431, counted as malformed, and not logged."""
    requests = Requests()
    caplog.set_level(logging.INFO)
    with serving(replace(SITE, observe=requests.observe)) as port, connect(port) as client:
        client.sendall(get("/", "X: " + "x" * 20000))
        response = read_all(client)

    assert response.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    head, _, body = response.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert (requests, caplog.messages) == ({("malformed", 431): 1}, [])


@pytest.mark.parametrize("path", ["/?name[]=%ff", "/metrics?name[]=%ff"])
def test_invalid_arguments_are_not_logged(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """Arguments that are not UTF-8 are never an entry in the log."""
    caplog.set_level(logging.INFO)
    with serving() as port:
        status = request(port, path)[0].status

    assert (status in (200, 400), caplog.messages) == (True, [])


def test_requests_are_counted() -> None:
    """Requests are counted by handler and status code."""
    requests = Requests()
    with serving(replace(SITE, observe=requests.observe, is_ready=lambda: False)) as port:
        for path in ("/metrics", "/", "/-/healthy", "/-/ready", "/nothing", "/nothing"):
            request(port, path)
        request(port, "/metrics", "POST")

    assert requests == {
        ("metrics", 200): 1,
        ("metrics", 405): 1,
        ("landing", 200): 1,
        ("healthy", 200): 1,
        ("ready", 503): 1,
        ("not_found", 404): 2,
    }


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://x/metrics", 200),
        ("HTTPS://x:1/metrics?name[]=a", 200),
        ("http://x", 200),
        ("http://x?a=b", 200),
        ("http://x/nothing", 404),
        ("/http://x/metrics", 404),
    ],
)
def test_absolute_targets(target: str, status: int) -> None:
    """The target of a request may be a complete URL, as proxies write it."""
    with serving() as port:
        assert request(port, target)[0].status == status


def test_pipelined_requests_are_answered_in_order() -> None:
    """Requests that are sent at once are all answered."""
    with serving() as port, connect(port) as client:
        client.sendall(get("/-/healthy") * 50 + get("/nothing", "Connection: close"))
        response = read_all(client)

    assert (response.count(b"200 OK"), response.count(b"404 Not Found\r\n")) == (50, 1)


def test_a_flood_of_pipelined_requests_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    """A client that sends requests and reads no answers is disconnected, and not logged."""
    site = replace(SITE, metrics=lambda *_: Chunks(b"x" * 65536))
    limits = Limits(stalled=0.3)
    with serving(site, limits) as port, connect(port, receive_buffer=4096) as client:
        wait_until(lambda: not is_open(client, get("/metrics") * 100), "it is cut off")

    assert caplog.messages == []


@pytest.mark.parametrize("path", ["/-/healthy", "/metrics", "/"])
def test_a_client_that_closes_its_side_is_answered(path: str) -> None:
    """A client that sends nothing more still receives the complete answer, and then the end."""
    closed = threading.Event()
    large = Chunks(*[b"x" * 65536] * 128)

    def metrics(*_: object) -> Chunks:
        closed.wait(5)
        return large

    with serving(replace(SITE, metrics=metrics)) as port, connect(port) as client:
        client.sendall(get(path))
        client.shutdown(socket.SHUT_WR)
        request(port, "/-/healthy")  # by now the server has seen the end
        closed.set()
        head, _, body = read_all(client).partition(b"\r\n\r\n")

    assert f"Content-Length: {len(body)}".encode() in head
    assert len(body) > 0


def test_many_names_are_answered() -> None:
    """A request can name as many families as its header has space for."""
    names = "&".join(f"name[]=n{number}" for number in range(1000))
    with serving() as port:
        assert request(port, f"/metrics?{names}")[0].status == 200


def test_default_limits() -> None:
    """The documented limits are the defaults."""
    limits = Limits()

    assert (limits.requests, limits.header, limits.stalled) == (40, 10, 30)


def test_half_of_the_files_are_for_connections() -> None:
    """Connections use at most half of the files that may be open, and never many."""
    limits = [max_connections(files) for files in (1, 64, 1024, 1_000_000, -1)]

    assert limits == [1, 32, 512, 1024, 1024]


def test_connections_do_not_accumulate() -> None:
    """Connections that come and go do not use up the limit."""
    with serving(limits=Limits(connections=5)) as port, connect(port) as first:
        first.sendall(get("/-/healthy"))
        first.recv(1000)
        for _ in range(20):
            connect(port).close()
        wait_until(lambda: request(port, "/-/healthy")[0].status == 200, "probes are answered")
