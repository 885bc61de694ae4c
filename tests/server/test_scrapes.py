"""Many scrapes at the same time, and clients that do not read, over real sockets."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import pytest

from exporter.server import Limits
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

LARGE = Chunks(*[b"x" * 65536] * 1024)
"""64 MiB: more than the kernel buffers for a client that does not read."""


class Started:
    """Counts the scrapes that have begun to be answered."""

    def __init__(self) -> None:
        self.count = 0

    def negotiate(self, accept: str) -> str:
        self.count += 1
        return f"text/for; accept={accept}"

    def wait(self, count: int = 1) -> None:
        wait_until(lambda: self.count >= count, f"scrapes that have begun: {count}")


class Metrics:
    """Renders pages, counts them, and can be held up."""

    def __init__(self) -> None:
        self.rendered: list[tuple[str, frozenset[str], bool]] = []
        self.go_on = threading.Event()

    def __call__(self, content_type: str, names: frozenset[str], compress: bool) -> Chunks:
        self.rendered.append((content_type, names, compress))
        self.go_on.wait(5)
        return Chunks(b"page\n")


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    metrics = Metrics()
    yield metrics
    metrics.go_on.set()


def test_concurrent_scrapes_share_one_rendering(metrics: Metrics) -> None:
    """Scrapes for the same page at the same time are one rendering, and all get the page."""
    requests, started = Requests(), Started()
    site = replace(SITE, metrics=metrics, observe=requests.observe, negotiate=started.negotiate)
    with serving(site) as port, ThreadPoolExecutor(20) as pool:
        scrapes = [pool.submit(request, port, "/metrics") for _ in range(20)]
        started.wait(20)
        metrics.go_on.set()
        bodies = {scrape.result()[1] for scrape in scrapes}

    assert (len(metrics.rendered), bodies, requests["metrics", 200]) == (1, {b"page\n"}, 20)


def test_scrapes_within_a_second_share_one_rendering(metrics: Metrics) -> None:
    """A scrape shortly after another gets the same page."""
    metrics.go_on.set()
    with serving(replace(SITE, metrics=metrics)) as port:
        for _ in range(3):
            request(port, "/metrics")

    assert len(metrics.rendered) == 1


def test_different_pages_are_not_shared(metrics: Metrics) -> None:
    """The content type, the names and the compression each make another page."""
    metrics.go_on.set()
    with serving(replace(SITE, metrics=metrics)) as port:
        request(port, "/metrics")
        request(port, "/metrics", Accept="x")
        request(port, "/metrics?name[]=a")
        request(port, "/metrics", Accept_Encoding="gzip")

    assert len(set(metrics.rendered)) == 4


def test_a_page_is_not_shared_forever(metrics: Metrics) -> None:
    """A scrape more than a second after another is rendered again."""
    metrics.go_on.set()
    with serving(replace(SITE, metrics=metrics)) as port:
        wait_until(
            lambda: request(port, "/metrics") and len(metrics.rendered) > 1, "another rendering"
        )


def test_too_many_scrapes_are_503(metrics: Metrics) -> None:
    """Beyond the limit, a scrape is answered with 503 at once; probes are not limited."""
    started = Started()
    site = replace(SITE, metrics=metrics, negotiate=started.negotiate)
    with serving(site, Limits(requests=2)) as port:
        scrapes = [connect(port) for _ in range(2)]
        for client in scrapes:
            client.sendall(get("/metrics"))
        started.wait(2)
        answer, body = request(port, "/metrics")
        probe, _ = request(port, "/-/healthy")
        landing_page, _ = request(port, "/")
        metrics.go_on.set()
        answered = [client.recv(15) for client in scrapes]
        for client in scrapes:
            client.close()
        wait_until(lambda: request(port, "/metrics")[0].status == 200, "scrapes are possible again")

    assert body == b"Limit of concurrent requests reached (2), try again later.\n"
    assert (answer.status, probe.status, landing_page.status) == (503, 200, 200)
    assert answered == [b"HTTP/1.1 200 OK"] * 2


def test_zero_is_no_limit(metrics: Metrics) -> None:
    """With a limit of 0, any number of scrapes is answered."""
    started = Started()
    site = replace(SITE, metrics=metrics, negotiate=started.negotiate)
    with serving(site, Limits(requests=0)) as port, ThreadPoolExecutor(60) as pool:
        scrapes = [pool.submit(request, port, "/metrics") for _ in range(60)]
        started.wait(60)
        metrics.go_on.set()

    assert {scrape.result()[0].status for scrape in scrapes} == {200}


def test_scrapes_leave_connections_for_probes() -> None:
    """Where few connections are possible, at most a quarter of them are scrapes."""
    assert Limits(connections=32, requests=40).pages == 8
    assert Limits(connections=1024, requests=40).pages == 40


def test_a_client_that_does_not_read_is_cut_off() -> None:
    """A client that receives nothing for the allowed time is disconnected, and frees its slot."""
    started = Started()
    site = replace(SITE, metrics=lambda *_: LARGE, negotiate=started.negotiate)
    limits = Limits(requests=1, stalled=0.3)
    with serving(site, limits) as port, connect(port, receive_buffer=4096) as client:
        client.sendall(get("/metrics"))
        started.wait()
        assert request(port, "/metrics")[0].status == 503
        wait_until(lambda: request(port, "/metrics", "HEAD")[0].status == 200, "it is cut off")
        received = read_all(client)

    assert len(received) < LARGE.size


@pytest.mark.slow
def test_slow_readers_do_not_keep_others_from_scraping(caplog: pytest.LogCaptureFixture) -> None:
    """A client that has all slots, and does not read, loses one to another client."""
    started = Started()
    site = replace(SITE, metrics=lambda *_: LARGE, negotiate=started.negotiate)
    with serving(site, Limits(requests=3)) as port, ExitStack() as stack:
        readers = [stack.enter_context(connect(port, receive_buffer=4096)) for _ in range(3)]
        for reader in readers:
            reader.sendall(get("/metrics"))
        started.wait(3)
        other = socket.create_connection(("127.0.0.1", port), 5, ("127.0.0.2", 0))
        stack.enter_context(other)
        other.sendall(get("/metrics", "Connection: close"))
        body = read_all(other).partition(b"\r\n\r\n")[2]
        lost = read_all(readers[0])

    assert len(body) == LARGE.size
    assert len(lost) < LARGE.size
    assert caplog.messages == []


def test_a_client_that_reads_slowly_is_cut_off() -> None:
    """A client that receives a little now and then is disconnected after a longer time."""
    started = Started()
    site = replace(SITE, metrics=lambda *_: LARGE, negotiate=started.negotiate)
    limits = Limits(requests=1, stalled=60, response=0.3)
    with serving(site, limits) as port, connect(port, receive_buffer=4096) as client:
        client.sendall(get("/metrics"))
        started.wait()
        assert request(port, "/metrics")[0].status == 503
        wait_until(lambda: request(port, "/metrics", "HEAD")[0].status == 200, "it is cut off")
        received = read_all(client)

    assert len(received) < LARGE.size


def test_a_client_that_reads_receives_everything() -> None:
    """A large page arrives completely, however large its chunks are."""
    chunks = Chunks(*[bytes([number]) * (number * 5000 + 1) for number in range(100)])
    with serving(replace(SITE, metrics=lambda *_: chunks)) as port:
        _, body = request(port, "/metrics")

    assert body == b"".join(chunks)


def test_a_client_that_leaves_frees_its_slot() -> None:
    """A scrape whose client disconnects while it is being answered ends."""
    started = Started()
    site = replace(SITE, metrics=lambda *_: LARGE, negotiate=started.negotiate)
    with serving(site, Limits(requests=1)) as port:
        with connect(port, receive_buffer=4096) as client:
            client.sendall(get("/metrics"))
            started.wait()
            assert request(port, "/metrics")[0].status == 503
        wait_until(lambda: request(port, "/metrics", "HEAD")[0].status == 200, "its slot is free")


def test_pages_are_sent_as_fast_as_they_are_read() -> None:
    """Only as much of a page is rendered as its client receives."""
    sent: list[int] = []

    class Endless(Chunks):
        def __init__(self) -> None:
            super().__init__()
            self.size = 1 << 40

        def __iter__(self) -> Iterator[bytes]:
            while True:
                sent.append(1)
                yield b"x" * 65536

    started = Started()
    site = replace(SITE, metrics=lambda *_: Endless(), negotiate=started.negotiate)
    limits = Limits(requests=1, stalled=0.3)
    with serving(site, limits) as port, connect(port, receive_buffer=4096) as client:
        client.sendall(get("/metrics"))
        started.wait()
        assert request(port, "/metrics")[0].status == 503
        wait_until(lambda: request(port, "/metrics", "HEAD")[0].status == 200, "it is cut off")

    assert 0 < len(sent) * 65536 < 20_000_000
