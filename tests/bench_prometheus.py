"""
What many keys cost Prometheus: series, samples per second, and memory.

    python -m tests.bench_prometheus [--keys=100000] [--minutes=10] [--intervals=1m,2m]

For each interval a Prometheus of its own scrapes the exporter, all of them at the same time, and
without rules. Memory grows for two hours, until Prometheus writes its first block: the figures are
those after as many minutes as are printed. Nothing is asserted.
"""

import argparse
import json
import tempfile
import time
import urllib.parse
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from tests import bench_servers
from tests.servers import get, prometheus, wait_until

CONFIGURATION: Final = """
global: {{scrape_interval: {interval}, scrape_timeout: {interval}}}
scrape_configs:
  - job_name: aws-iam-key-exporter
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""

MEBIBYTE: Final = 2**20


@dataclass(frozen=True, slots=True)
class Scraping:
    """
    A Prometheus that scrapes the exporter.

    Attributes:
        before: Its resident memory before the first scrape, in MiB.
    """

    interval: str
    folder: Path
    address: str
    before: float

    def value(self, query: str) -> float:
        """Return the value of a query with one result."""
        path = f"/api/v1/query?query={urllib.parse.quote(query)}"
        (result,) = json.loads(get(f"http://{self.address}{path}"))["data"]["result"] or [None]
        return float(result["value"][1]) if result else 0.0

    def print_figures(self) -> None:
        own = own_metrics(self.address)
        series = own["prometheus_tsdb_head_series"]
        memory = own["process_resident_memory_bytes"] / MEBIBYTE
        heap = own["go_memstats_heap_inuse_bytes"] / MEBIBYTE
        files = [path.stat().st_size for path in (self.folder / "data" / "wal").iterdir()]
        wal = sum(files) / MEBIBYTE
        scrapes = self.value("count_over_time(up[1h])")
        samples = self.value("scrape_samples_scraped")
        seconds = self.value("scrape_duration_seconds")
        rate = samples / seconds_of(self.interval)
        print(
            f"{self.interval:>8} {series:9,.0f} {rate:9,.0f}/s {memory - self.before:7.0f} MiB"
            f" {1024 * (memory - self.before) / series:5.2f} KiB {heap:6.0f} MiB {wal:5.0f} MiB"
            f" {seconds:7.2f} s, {scrapes:.0f} scrapes"
        )


def seconds_of(interval: str) -> float:
    return float(interval[:-1]) * {"s": 1, "m": 60}[interval[-1]]


def own_metrics(address: str) -> dict[str, float]:
    """Return what Prometheus says about itself, as far as it has no labels."""
    families = text_string_to_metric_families(get(f"http://{address}/metrics"))
    samples = (sample for family in families for sample in family.samples)
    return {sample.name: sample.value for sample in samples if not sample.labels}


def measure(keys: int, minutes: float, intervals: Sequence[str]) -> None:
    with ExitStack() as stack:
        exporter = stack.enter_context(bench_servers.running("exporter", keys))
        started = []
        for interval in intervals:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            text = CONFIGURATION.format(interval=interval, port=exporter.port)
            address = stack.enter_context(prometheus(folder, text))
            before = own_metrics(address)["process_resident_memory_bytes"] / MEBIBYTE
            started.append(Scraping(interval, folder, address, before))
        for each in started:
            wait_until(lambda: each.value("up") == 1, "the first scrape", 600)  # noqa: B023
        time.sleep(60 * minutes)
        print(f"\n{keys:,} keys, {minutes:g} minutes after the first scrape\n")
        print(
            "interval    series   samples      memory  per series   heap     WAL  scrape  scrapes"
        )
        for each in started:
            each.print_figures()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench_prometheus")
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--intervals", default="1m,2m")
    options = parser.parse_args()
    measure(options.keys, options.minutes, options.intervals.split(","))


if __name__ == "__main__":
    main()
