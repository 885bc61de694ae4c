"""
How long Prometheus takes for each query of the dashboards, with 1000 accounts and 100,000 keys.

    python -m tests.bench_dashboards
"""

import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from tests.grafana.boards import BOARDS, dashboard_rules, interpolate, panels
from tests.grafana.history import JOB, history, large_company, sample, write_blocks
from tests.grafana.live import RULE_INTERVAL, Client, record
from tests.servers import prometheus

ACCOUNTS, KEYS = 1000, 100_000
LIMIT = 2.0
"""Seconds. A dashboard sends several queries at once, and people wait for the last."""

HOURS = 3
QUARTERS = 3
"""Samples of each key: one per hour, and the last ones 15 minutes apart."""

TRIES = 3
DAYS = 90
TEAMS = 12
SELECTED = {
    "fleet": (),
    "account": ("account_id",),
    "key": ("account_id", "user", "access_key_id"),
    "exporter": (),
}
"""Variables to set to a key that exists, by dashboard."""


def main() -> None:
    end = float(int(datetime.now(UTC).timestamp()) // 3600 * 3600)
    times = [end - 3600 * hour for hour in range(HOURS, 0, -1)]
    times += [end - 900 * quarter for quarter in range(QUARTERS - 1, -1, -1)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.perf_counter()
        company = large_company(end, ACCOUNTS, KEYS)
        write_blocks(history(company, times, replicas=("one:10064",), requests=4000), folder)
        seconds = time.perf_counter() - start
        print(f"\n{ACCOUNTS} accounts, {KEYS:,} keys in Prometheus: created in {seconds:.0f} s")
        with prometheus(folder, "global: {}") as address:
            client = Client(address, end)
            rules = _time_rules(client)
            record(client, folder, totals=False, seconds=0)
            write_blocks(_months_of_totals(end), folder)
        print(f"recording rules, every {RULE_INTERVAL} s: {rules:.1f} s")
        with prometheus(folder, "global: {}") as address:
            slowest = _report(Client(address, end))
    verdict = "met" if slowest <= LIMIT else "MISSED"
    print(f"slowest {slowest:.2f} s, limit {LIMIT:.0f} s: {verdict}")
    assert slowest <= LIMIT


def _months_of_totals(end: float) -> Iterator[str]:
    """90 days of the fleet totals of twelve teams, as recorded every five minutes."""
    for name, days in (("active", ""), ("unused", "90"), ("never_used", "30"), ("old", "90")):
        for team in range(TEAMS):
            labels = {"job": JOB, "tag_team": f"team-{team:02}", **({"days": days} if days else {})}
            for number in range(DAYS * 86400 // RULE_INTERVAL, -1, -1):
                value = str(1000 + number % 7)
                at = end - RULE_INTERVAL * number
                yield sample(f"aws_iam:fleet_access_keys_{name}", labels, value, at)
    yield "# EOF\n"


def _time_rules(client: Client) -> float:
    """Evaluate each recording rule once. Returns the seconds for all of them."""
    start = time.perf_counter()
    for rule in dashboard_rules():
        client.query(rule["expr"])
    return time.perf_counter() - start


def _report(client: Client) -> float:
    """Print the time of each panel's slowest query. Returns the slowest of all, in seconds."""
    key = client.query('topk(1, aws_iam_access_key_info{status="Active"})')[0]["metric"]
    slowest = 0.0
    for board in BOARDS:
        print(f"\n{board:>10}   seconds   best of {TRIES}, slowest query of each panel")
        for title, seconds in _time_panels(client, board, key):
            print(f"{'':>10}   {seconds:7.3f}   {title}")
            slowest = max(slowest, seconds)
    return slowest


def _time_panels(client: Client, board: str, key: dict[str, str]) -> Iterator[tuple[str, float]]:
    selected = {name: key[name] for name in SELECTED[board]}
    for panel in panels(board):
        slowest = 0.0
        for target in panel.get("targets", ()):
            expr = interpolate(target["expr"], board, selected)
            best = min(_time_query(client, expr, board, target["instant"]) for _ in range(TRIES))
            slowest = max(slowest, best)
        if panel.get("targets"):
            yield panel["title"], slowest


def _time_query(client: Client, expr: str, board: str, instant: bool) -> float:
    length = DAYS * 86400 if board == "fleet" else HOURS * 3600
    start = time.perf_counter()
    client.query(expr, instant=instant, seconds=length, step=length // 1000)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
