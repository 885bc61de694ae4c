"""
How long Prometheus takes for each query of the dashboards, with 1000 accounts and 100,000 keys.

    python -m tests.bench_dashboards [KEYS]
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from tests.grafana.boards import BOARDS, interpolate, panels
from tests.grafana.history import history, large_company, write_blocks
from tests.grafana.live import Client
from tests.servers import prometheus

KEYS = 100_000
KEYS_PER_ACCOUNT = 100
BASELINE = "count(aws_iam_access_key_info)"
"""What looking at every key once takes."""

LIMIT = 5.0
"""Times the baseline. A dashboard sends several queries at once, and people wait for the last."""

HOURS = 3
QUARTERS = 3
"""Samples of each key: one per hour, and the last ones 15 minutes apart."""

TURNS = 5
POINTS = 1000
"""Of a chart that does not say how many it needs."""

SELECTED = {
    "fleet": (),
    "account": ("account_id",),
    "key": ("account_id", "user", "access_key_id"),
    "exporter": (),
}
"""Variables to set to a key that exists, by dashboard."""


def main() -> None:
    keys = int(sys.argv[1]) if len(sys.argv) > 1 else KEYS
    accounts = keys // KEYS_PER_ACCOUNT
    end = float(int(datetime.now(UTC).timestamp()) // 3600 * 3600)
    times = [end - 3600 * hour for hour in range(HOURS, 0, -1)]
    times += [end - 900 * quarter for quarter in range(QUARTERS - 1, -1, -1)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.perf_counter()
        company = large_company(end, accounts, keys)
        write_blocks(history(company, times, replicas=("one:10064",), requests=4000), folder)
        seconds = time.perf_counter() - start
        print(f"\n{accounts} accounts, {keys:,} keys in Prometheus: created in {seconds:.0f} s")
        with prometheus(folder, "global: {}") as address:
            slowest = _report(Client(address, end))
    verdict = "met" if slowest <= LIMIT else "MISSED"
    print(f"slowest {slowest:.1f} times the baseline, limit {LIMIT:.0f} times: {verdict}")
    assert slowest <= LIMIT


@dataclass(frozen=True, slots=True)
class Query:
    """
    The slowest query of a panel.

    Attributes:
        points: Of a range query. 0: an instant query.
    """

    seconds: float
    title: str
    expr: str
    points: int


def _report(client: Client) -> float:
    """Print the time of each panel's slowest query. Returns the slowest of all, in baselines."""
    key = client.query('topk(1, aws_iam_access_key_info{status="Active"})')[0]["metric"]
    baseline = min(_time(client, BASELINE) for _ in range(TURNS))
    print(f"{baseline:.3f} s: {BASELINE}")
    slowest = 0.0
    for board in BOARDS:
        print(f"\n{board:>10}   seconds   times   slowest query of each panel")
        for query in _slowest_queries(client, board, key):
            times = query.seconds / baseline
            if times > 1:
                times = _compare(client, query)
            print(f"{'':>10}   {query.seconds:7.3f}   {times:5.1f}   {query.title}", flush=True)
            slowest = max(slowest, times)
    return slowest


def _slowest_queries(client: Client, board: str, key: dict[str, str]) -> Iterator[Query]:
    selected = {name: key[name] for name in SELECTED[board]}
    for panel in panels(board):
        queries = []
        for target in panel.get("targets", ()):
            expr = interpolate(target["expr"], board, selected)
            points = 0 if target["instant"] else panel.get("maxDataPoints", POINTS)
            title = f"{panel['title']} ({target['refId']})"
            queries.append(Query(_time(client, expr, points), title, expr, points))
        if queries:
            yield max(queries, key=lambda query: query.seconds)


def _compare(client: Client, query: Query) -> float:
    """How often the baseline fits into *query*, by turns: a busy machine slows down both."""
    return median(
        _time(client, query.expr, query.points) / _time(client, BASELINE) for _ in range(TURNS)
    )


def _time(client: Client, expr: str, points: int = 0) -> float:
    """
    The seconds that a query takes.

    Args:
        points: Of a range query. 0: an instant query.
    """
    length = HOURS * 3600
    start = time.perf_counter()
    client.query(expr, instant=not points, seconds=length, step=length // (points or 1))
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
