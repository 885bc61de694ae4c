"""
How long Prometheus takes for each query of the dashboards, with 1000 accounts and 100,000 keys.

    python -m tests.bench_dashboards
"""

import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import yaml

from tests.servers import prometheus
from tests.test_dashboards import (
    JOB,
    RULES,
    Asked,
    blocks,
    filled,
    history,
    large_company,
    panels,
    record,
)

ACCOUNTS, KEYS = 1000, 100_000
BAR = 2.0
"""Seconds. A dashboard asks some at the same time, and people wait for the last."""

HOURS = 3
LATEST = 3
"""Samples of every key at the end, a quarter of an hour apart, and one for each hour before."""

TRIES = 3
DAYS = 90
KEY = "aws_iam_access_key_info"


def main() -> None:
    end = float(int(datetime.now(UTC).timestamp()) // 3600 * 3600)
    times = [end - 3600 * hour for hour in range(HOURS, 0, -1)]
    times += [end - 900 * quarter for quarter in range(LATEST - 1, -1, -1)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = time.perf_counter()
        company = large_company(end, ACCOUNTS, KEYS)
        blocks(history(company, times, replicas=("one:10064",), calls=4000), folder)
        built = time.perf_counter() - began
        print(f"\n{ACCOUNTS} accounts, {KEYS:,} keys in Prometheus: made in {built:.0f} s")
        with prometheus(folder, "global: {}") as address:
            asked = Asked(address, end)
            rules = _rules(asked)
            record(asked, folder, fleet=False, seconds=0)
            blocks(_months(end), folder)
        print(f"recording rules, every 5 minutes: {rules:.1f} s")
        with prometheus(folder, "global: {}") as address:
            slowest = _report(Asked(address, end))
    verdict = "met" if slowest <= BAR else "MISSED"
    print(f"slowest {slowest:.2f} s, bar {BAR:.0f} s: {verdict}")
    assert slowest <= BAR


def _months(end: float) -> Iterator[str]:
    """Make 90 days of what the rules say of the fleet, of twelve teams, every five minutes."""
    for name, days in (("active", ""), ("unused", "90"), ("never_used", "30"), ("old", "90")):
        more = f',days="{days}"' if days else ""
        for team in range(12):
            labels = f'job="{JOB}",tag_team="team-{team:02}"{more}'
            for number in range(DAYS * 288, -1, -1):
                value = 1000 + number % 7
                yield f"aws_iam:fleet_access_keys_{name}{{{labels}}} {value} {end - 300 * number}\n"
    yield "# EOF\n"


def _rules(asked: Asked) -> float:
    """Evaluate each of our rules once; give the seconds of all."""
    rules = yaml.safe_load((RULES / "dashboards.yaml").read_text())["groups"][0]["rules"]
    began = time.perf_counter()
    for rule in rules:
        asked.query(rule["expr"])
    return time.perf_counter() - began


def _report(asked: Asked) -> float:
    """Print the times, the slowest of a panel; give the slowest of all."""
    key = asked.query(f'topk(1, {KEY}{{status="Active"}})')[0]["metric"]
    slowest = 0.0
    for board in ("fleet", "account", "key", "exporter"):
        print(f"\n{board:>10}   seconds   the best of {TRIES}, of each panel's slowest query")
        for panel, seconds in _times(asked, board, key):
            print(f"{'':>10}   {seconds:7.3f}   {panel}")
            slowest = max(slowest, seconds)
    return slowest


def _times(asked: Asked, board: str, key: dict[str, str]) -> Iterator[tuple[str, float]]:
    chosen = {"fleet": (), "account": ("account_id",), "exporter": ()}
    names = chosen.get(board, ("account_id", "user", "access_key_id"))
    for panel in panels(board):
        worst = 0.0
        for target in panel.get("targets", ()):
            expr = target["expr"]
            for name in names:
                expr = expr.replace(f'"${name}"', f'"{key[name]}"')
            query = filled(expr, board)
            best = min(_seconds(asked, query, board, target["instant"]) for _ in range(TRIES))
            worst = max(worst, best)
        if panel.get("targets"):
            yield panel["title"], worst


def _seconds(asked: Asked, query: str, board: str, instant: bool) -> float:
    length = DAYS * 86400 if board == "fleet" else HOURS * 3600
    began = time.perf_counter()
    asked.query(query, instant=instant, seconds=length, step=length // 1000)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
