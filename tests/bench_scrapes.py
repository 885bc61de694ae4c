"""
The cost of samples and scrapes of 100,000 keys.

What `tests.bench_servers` measures, scrapes compared with other servers; how many samples there are
and how long rendering them takes; memory and liveness while many clients scrape at once.

    python -m tests.bench_scrapes

The exporter's server and the clients run in separate processes. Nothing is asserted.
"""

import asyncio
import http.client
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, Self

from exporter import server
from exporter.cli.wiring import SystemClock
from exporter.metrics import (
    Exposition,
    Format,
    MetricsStore,
    RenderOptions,
    SelfMetrics,
    negotiate,
)
from exporter.metrics.families import SNAPSHOT_FAMILIES
from exporter.model import AccessKey
from exporter.server import Limits, Site
from tests import bench_servers
from tests.builders import a_key, a_snapshot, a_use, an_account, days_ago

KEYS: Final = 100_000
ACCOUNTS: Final = 1000
MEMORY_LIMIT = 300
"""MiB that the clients may add to the resident memory."""

PROBE_LIMIT = 1.0
"""Seconds within which /-/healthy must be answered."""

SECONDS = 5.0
"""How long the clients that never read stay connected."""


# The exporter's server.


def serve() -> None:
    """Serve the metrics of one account until killed, with any number of scrapes."""
    clock = SystemClock()
    store = MetricsStore(RenderOptions())
    snapshot = a_snapshot(*_keys(KEYS), account=an_account())
    store.publish(snapshot.account, snapshot)
    exposition = Exposition(store, SelfMetrics(version="bench"), clock)
    (bound,) = server.bind("127.0.0.1:0")
    site = Site(
        version="bench",
        telemetry_path="/metrics",
        negotiate=negotiate,
        metrics=lambda content_type, names, gzip: exposition.page(
            Format(content_type), names=names, gzip=gzip
        ),
        is_ready=lambda: True,
        content=None,
        observe=exposition.count_request,
    )

    async def run() -> None:
        server.serve(site, [bound], Limits(requests=0))
        print(bound.getsockname()[1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(run())


def _keys(count: int) -> Iterator[AccessKey]:
    rng = random.Random(1)
    for number in range(count):
        use = a_use(rng.random() * 400)
        user = f"user-{number:06}"
        yield a_key(f"AKIA{number:016}", user=user, last_use=use, created=days_ago(500))


# The samples.


def print_samples() -> None:
    """Print how many samples there are, and how long they take to be rendered and sent."""
    each = KEYS // ACCOUNTS
    snapshots = [
        a_snapshot(*_keys(each), account=an_account(f"{number:012}", f"account-{number}"))
        for number in range(ACCOUNTS)
    ]
    store = MetricsStore(RenderOptions())
    began = time.process_time()
    for snapshot in snapshots:
        store.publish(snapshot.account, snapshot)
    published = time.process_time() - began
    samples, size, scraped = _scrape(store)

    empty = MetricsStore(RenderOptions())
    empty.publish(an_account(), a_snapshot())
    per_account, _, _ = _scrape(empty)
    per_key = (samples - per_account * ACCOUNTS) / KEYS
    print(f"\nsamples of {KEYS:,} keys in {ACCOUNTS:,} accounts\n")
    print(f"{samples:,}: {per_key:.2f} per key, {per_account} per account")
    print(f"{size / samples:.0f} bytes per sample")
    print(f"published in {1e6 * published / KEYS:.1f} us of CPU time per key")
    print(f"scraped in {1e9 * scraped / samples:.0f} ns of CPU time per sample")


def _scrape(store: MetricsStore) -> tuple[int, int, float]:
    """Return the number of samples of accounts, their size in bytes, and seconds of CPU time."""
    exposition = Exposition(store, SelfMetrics(version="bench"), SystemClock())
    names = frozenset(family.name for family in SNAPSHOT_FAMILIES)
    seconds = []
    for _ in range(5):
        began = time.process_time()
        page = exposition.render(Format.TEXT, names=names)
        seconds.append(time.process_time() - began)
    samples = [line for line in page.splitlines() if not line.startswith(b"#")]
    return len(samples), len(page), min(seconds)


# The clients.


def read(port: int, clients: int, encoding: str) -> None:
    """Scrape with all *clients* at the same time, and read the responses."""

    async def scrape() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        writer.write(_request(encoding))
        size = 0
        while data := await reader.read(1 << 20):
            size += len(data)
        writer.close()
        return size

    async def run() -> None:
        sizes = await asyncio.gather(*[scrape() for _ in range(clients)])
        assert min(sizes) == max(sizes), sizes

    asyncio.run(run())


def ignore(port: int, clients: int, encoding: str) -> None:
    """Scrape with *clients*, and never read."""
    with ExitStack() as stack:
        for _ in range(clients):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.sendall(_request(encoding))
        time.sleep(SECONDS)


def _request(encoding: str) -> bytes:
    lines = ["GET /metrics HTTP/1.1", "Host: x", "Connection: close"]
    return "\r\n".join([*lines, f"Accept-Encoding: {encoding}", "", ""]).encode()


CLIENTS = {"read": read, "ignore": ignore}

LOADS = {
    "one scrape": ("read", 1, "identity"),
    "one scrape, gzip": ("read", 1, "gzip"),
    "50 parallel scrapes": ("read", 50, "identity"),
    "50 parallel scrapes, gzip": ("read", 50, "gzip"),
    "30 clients that never read": ("ignore", 30, "identity"),
    "30 clients that never read, gzip": ("ignore", 30, "gzip"),
}


# The results.


class Watch:
    """
    Watches a server from the outside.

    Attributes:
        memory: The highest resident memory seen, in MiB.
        slowest: The longest that /-/healthy took, in seconds.
    """

    def __init__(self, pid: int, port: int) -> None:
        self._pid = pid
        self._port = port
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._probe), threading.Thread(target=self._weigh)]
        self.memory = self.slowest = 0.0

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _probe(self) -> None:
        while not self._stop.wait(0.02):
            began = time.perf_counter()
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
            connection.request("GET", "/-/healthy")
            assert connection.getresponse().read() == b"Healthy\n"
            connection.close()
            self.slowest = max(self.slowest, time.perf_counter() - began)

    def _weigh(self) -> None:
        while not self._stop.wait(0.02):
            self.memory = max(self.memory, resident_memory(self._pid))


def resident_memory(pid: int) -> float:
    """Return the resident memory of process *pid* in MiB."""
    with Path(f"/proc/{pid}/status").open(encoding="ascii") as lines:
        kilobytes = next(line.split()[1] for line in lines if line.startswith("VmRSS"))
    return int(kilobytes) / 1024


@contextmanager
def _server() -> Iterator[tuple[int, int]]:
    """Run the server; its process ID and port."""
    command = [sys.executable, "-m", "tests.bench_scrapes", "serve"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.pid, int(process.stdout.readline())
    finally:
        process.kill()
        process.wait(10)


def main() -> None:
    bench_servers.main([])
    print_samples()
    print(f"\nscrapes of {KEYS:,} keys, any number of requests allowed\n")
    print(f"{'':34}     wall    memory     added  slowest probe")
    added, slowest = 0.0, 0.0
    for load, (kind, clients, encoding) in LOADS.items():
        with _server() as (pid, port):
            before = resident_memory(pid)
            began = time.perf_counter()
            command = [sys.executable, "-m", "tests.bench_scrapes", kind]
            with Watch(pid, port) as watch:
                subprocess.run([*command, str(port), str(clients), encoding], check=True)
            seconds = time.perf_counter() - began
            more = watch.memory - before
            print(
                f"{load:34} {seconds:6.1f} s {before:5.0f} MiB {more:5.0f} MiB"
                f" {1000 * watch.slowest:8.0f} ms"
            )
            added, slowest = max(added, more), max(slowest, watch.slowest)
    print(
        f"\nlimit of {MEMORY_LIMIT} MiB more: {_verdict(added <= MEMORY_LIMIT)}, at most"
        f" {added:.0f} MiB\nlimit of {PROBE_LIMIT:g} s for /-/healthy:"
        f" {_verdict(slowest <= PROBE_LIMIT)}, at most {1000 * slowest:.0f} ms"
    )


def _verdict(met: bool) -> str:
    return "met" if met else "MISSED"


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            main()
        case ["serve"]:
            serve()
        case [kind, port, clients, encoding]:
            CLIENTS[kind](int(port), int(clients), encoding)
