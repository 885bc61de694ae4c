"""
The cost of a scrape, compared with other servers that have the same samples.

    python -m tests.bench_servers [--keys=1000,10000,100000] [--all]

Side by side, each in a process of its own: the exporter, the client library's own server, and
Prometheus' pushgateway, if it is installed (apt-get install prometheus-pushgateway). Each account
has 100 keys. While accounts are refreshed, each server gets the samples of 20 accounts per second;
1000 accounts are refreshed once every 15 minutes, which is about one per second.

The times are wall times until the last of the scrapers that begin at once has read the response.
Nothing is asserted.
"""

import argparse
import asyncio
import http.client
import itertools
import random
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Metric, start_http_server
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from exporter import server
from exporter.cli.wiring import SystemClock
from exporter.metrics import Exposition, Format, MetricsStore, RenderOptions, SelfMetrics, negotiate
from exporter.metrics.families import SNAPSHOT_FAMILIES
from exporter.model import AccessKey, AccountSnapshot
from exporter.server import Limits, Site
from tests.builders import a_key, a_snapshot, a_use, an_account, days_ago
from tests.servers import free_port, get, wait_until

KEYS: Final = (1_000, 10_000, 100_000)
KEYS_PER_ACCOUNT: Final = 100
PAUSE: Final = 0.05
"""Seconds between the refreshes of two accounts."""

UNSHARED: Final = 1.1
"""Seconds after which the exporter renders a page again."""

SCRAPES: Final = 3
"""The median of so many is printed."""

SLOW: Final = 100_000
"""Keys from which on eight scrapes of the client library's server take minutes."""

MEMORY_LIMIT: Final = 3.0
"""Resident memory of the exporter, in sizes of the page."""

LOADS: Final = ((1, "identity"), (1, "gzip"), (8, "identity"), (8, "gzip"))


def accounts(keys: int) -> Iterator[AccountSnapshot]:
    """Yield snapshots with *keys* keys in all. One key in ten has never been used."""
    rng = random.Random(1)

    def key(number: int) -> AccessKey:
        use = a_use(rng.random() * 400)
        id_ = f"AKIA{rng.getrandbits(64):016X}"
        return a_key(id_, user=f"user-{number:06}", last_use=use, created=days_ago(500))

    for number in range(keys // KEYS_PER_ACCOUNT):
        first = number * KEYS_PER_ACCOUNT
        yield a_snapshot(
            *map(key, range(first, first + KEYS_PER_ACCOUNT)),
            account=an_account(f"{number:012}", f"account-{number}"),
        )


def texts(keys: int, at_once: int = 1) -> Iterator[str]:
    """Yield the samples of so many accounts *at_once* as text."""
    names = frozenset(family.name for family in SNAPSHOT_FAMILIES)
    remaining = accounts(keys)
    while snapshots := list(itertools.islice(remaining, at_once)):
        store = MetricsStore(RenderOptions())
        for snapshot in snapshots:
            store.publish(snapshot.account, snapshot)
        exposition = Exposition(store, SelfMetrics(version="bench", process=False), SystemClock())
        yield exposition.render(Format.TEXT, names=names).decode()


# The servers. Each prints its port when it has all samples, and refreshes accounts between two
# lines on its standard input.


def refreshing(refresh: Callable[[int], None], count: int) -> None:
    """Refresh one account after the other from one line on standard input to the next."""
    stop = threading.Event()

    def run() -> None:
        for number in itertools.cycle(range(count)):
            if stop.wait(PAUSE):
                return
            refresh(number)

    for _ in sys.stdin:
        thread = threading.Thread(target=run)
        thread.start()
        sys.stdin.readline()
        stop.set()
        thread.join()
        stop.clear()


def serve_exporter(keys: int) -> None:
    store = MetricsStore(RenderOptions())
    few: list[AccountSnapshot] = []
    for snapshot in accounts(keys):
        store.publish(snapshot.account, snapshot)
        if len(few) < 10:
            few.append(snapshot)
    exposition = Exposition(store, SelfMetrics(version="bench"), SystemClock())
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

    def refresh(number: int) -> None:
        store.publish(few[number].account, few[number])

    async def run() -> None:
        server.serve(site, [bound], Limits(requests=0))
        print(bound.getsockname()[1], flush=True)
        await asyncio.to_thread(refreshing, refresh, len(few))

    asyncio.run(run())


class Families(Collector):
    """The families of all accounts, as a collector has them that is written as is usual."""

    def __init__(self, keys: int) -> None:
        self.accounts = [list(text_string_to_metric_families(text)) for text in texts(keys)]

    def collect(self) -> Iterator[Metric]:
        for families in zip(*self.accounts, strict=True):
            first = families[0]
            merged = Metric(first.name, first.documentation, first.type)
            merged.samples = [sample for family in families for sample in family.samples]
            yield merged

    def refresh(self, number: int) -> None:
        for family in self.accounts[number]:
            family.samples = [each._replace(labels={**each.labels}) for each in family.samples]


def serve_client_library(keys: int) -> None:
    registry = CollectorRegistry()
    families = Families(keys)
    registry.register(families)
    port = free_port()
    start_http_server(port, addr="127.0.0.1", registry=registry)
    print(port, flush=True)
    refreshing(families.refresh, 10)


def serve_pushgateway(keys: int) -> None:
    port = free_port()
    command = ["prometheus-pushgateway", f"--web.listen-address=127.0.0.1:{port}"]
    command += ["--push.disable-consistency-check", "--log.level=error"]
    # Debian's default is a file, from which the next run would restore what this one pushed.
    command += ["--persistence.file="]
    process = subprocess.Popen(command)
    try:
        wait_until(lambda: get(f"http://127.0.0.1:{port}/-/ready"), "the pushgateway is ready")
        # Each push takes as long as there are groups: all accounts in a few, which stay, and those
        # that are refreshed in one of their own.
        for number, text in enumerate(texts(keys, at_once=50)):
            push(port, f"all-{number}", text)
        few = list(itertools.islice(texts(keys), 10))
        print(port, process.pid, flush=True)
        refreshing(lambda number: push(port, "refreshed", few[number]), len(few))
    finally:
        process.kill()
        process.wait(10)


def push(port: int, group: str, text: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request("PUT", f"/metrics/job/bench/part/{group}", text.encode())
    response = connection.getresponse()
    response.read()
    assert response.status in (200, 202), response.status
    connection.close()


SERVERS: Final = {
    "exporter": serve_exporter,
    "client library": serve_client_library,
    "pushgateway": serve_pushgateway,
}


# The scrapers.


def scrape(port: int, clients: int, encoding: str) -> None:
    """Scrape with *clients* at once, several times; prints the seconds and the size of each."""

    async def one() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        lines = ["GET /metrics HTTP/1.1", "Host: x", "Connection: close"]
        head = "\r\n".join([*lines, f"Accept-Encoding: {encoding}", "", ""])
        writer.write(head.encode())
        size = 0
        while data := await reader.read(1 << 20):
            size += len(data)
        writer.close()
        return size

    async def run() -> list[int]:
        return await asyncio.gather(*[one() for _ in range(clients)])

    for _ in range(SCRAPES):
        time.sleep(UNSHARED)
        began = time.perf_counter()
        sizes = asyncio.run(run())
        print(time.perf_counter() - began, max(sizes))


class Running:
    """
    A running server.

    Attributes:
        port: Where it listens.
        page: The size of its page in bytes, once it was scraped.
    """

    def __init__(self, name: str, keys: int) -> None:
        command = [sys.executable, "-m", "tests.bench_servers", name, str(keys)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        port, *pid = map(int, self.process.stdout.readline().split())
        self.port = port
        self._pid = pid[0] if pid else self.process.pid
        self.page = 0

    def seconds(self, clients: int, encoding: str) -> float:
        command = [sys.executable, "-m", "tests.bench_servers", "scrape"]
        command += [str(self.port), str(clients), encoding]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        results = [line.split() for line in output.splitlines()]
        self.page = max(self.page, *(int(size) for _, size in results))
        return statistics.median(float(seconds) for seconds, _ in results)

    @contextmanager
    def refreshing(self) -> Iterator[None]:
        self._say()
        yield
        self._say()

    def _say(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def memory(self, field: str) -> float:
        """Return a memory of the process in MiB: ``VmRSS`` now, ``VmHWM`` the most so far."""
        with Path(f"/proc/{self._pid}/status").open(encoding="ascii") as lines:
            kilobytes = next(line.split()[1] for line in lines if line.startswith(field))
        return int(kilobytes) / 1024


@contextmanager
def running(name: str, keys: int) -> Iterator[Running]:
    started = Running(name, keys)
    try:
        yield started
    finally:
        assert started.process.stdin is not None
        started.process.stdin.close()
        time.sleep(0.1)
        started.process.terminate()
        started.process.wait(30)


# The results.


def measure(name: str, keys: int, *, all_loads: bool) -> None:
    with running(name, keys) as started:
        resident = started.memory("VmRSS")
        times = []
        for refreshed in (False, True):
            for clients, encoding in LOADS:
                if name == "client library" and keys >= SLOW and clients > 1 and not all_loads:
                    times.append("       -")
                elif refreshed:
                    with started.refreshing():
                        times.append(f"{started.seconds(clients, encoding):8.3f}")
                else:
                    times.append(f"{started.seconds(clients, encoding):8.3f}")
        page = started.page / 2**20
        print(
            f"{name:15} {page:6.1f} MiB {resident:5.0f} MiB {started.memory('VmHWM'):5.0f} MiB"
            f" {' '.join(times)}",
            flush=True,
        )
        if name == "exporter" and keys >= SLOW:
            share = resident / page
            met = "met" if share <= MEMORY_LIMIT else "MISSED"
            print(f"{'':15} resident: {share:.1f} pages; limit of {MEMORY_LIMIT:g}: {met}")


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench_servers")
    parser.add_argument("--keys", default=",".join(map(str, KEYS)), help="how many keys")
    parser.add_argument("--all", action="store_true", help="also what takes minutes")
    options = parser.parse_args(arguments)
    for keys in map(int, options.keys.split(",")):
        samples = sum(
            not line.startswith("#")
            for text in itertools.islice(texts(keys), 1)
            for line in text.splitlines()
        )
        count = samples * keys // KEYS_PER_ACCOUNT
        print(f"\nscrapes of {keys:,} keys, {count:,} samples, by 1 or 8 scrapers; seconds\n")
        print(f"{'':26}     resident memory  {'idle':35} while accounts are refreshed")
        kinds = [f"{n} {'gzip' if e == 'gzip' else 'plain'}" for n, e in LOADS]
        loads = " ".join(f"{kind:>8}" for kind in (*kinds, *kinds))
        print(f"{'':15} {'page':>10} {'before':>9} {'highest':>9} {loads}")
        for name in SERVERS:
            if name == "pushgateway" and shutil.which("prometheus-pushgateway") is None:
                print("pushgateway     is not installed: apt-get install prometheus-pushgateway")
            else:
                measure(name, keys, all_loads=options.all)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["scrape", port, clients, encoding]:
            scrape(int(port), int(clients), encoding)
        case [name, keys] if name in SERVERS:
            SERVERS[name](int(keys))
        case arguments:
            main(arguments)
