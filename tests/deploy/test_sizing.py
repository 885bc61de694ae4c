"""deploy/README.md: the figures of its sizing table that can be counted."""

import math
import re
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from exporter.cli.wiring import SystemClock
from exporter.config import Config
from exporter.metrics import Exposition, Format, MetricsStore, RenderOptions, SelfMetrics
from exporter.metrics.families import SNAPSHOT_FAMILIES
from exporter.model import ReportMode
from tests.builders import (
    PROD,
    FakeClock,
    MonitoredAccount,
    a_key,
    a_snapshot,
    a_use,
    add_users,
    an_account,
    days_ago,
    some_sessions,
)
from tests.fake_aws import FakeAws

FOLDER: Final = Path(__file__).parents[2] / "deploy"
README: Final = (FOLDER / "README.md").read_text()
KEYS: Final = 100
"""Keys, and users, of each account of the table."""

REPORT: Final = 18
"""Requests per day and account for credential reports."""

SIZES: Final = {"MiB": 2**20}


def table() -> list[list[str]]:
    """Return the rows of the sizing table, without its header."""
    section = README.partition("## Sizing\n")[2].partition("\n## ")[0]
    rows = re.findall(r"(?m)^\| (\d.*) \|$", section)
    return [[cell.replace(",", "") for cell in re.split(r" \| (?!$)", row)] for row in rows]


def column(number: int) -> list[float]:
    return [float(re.sub(r"[^\d.]", "", row[number])) for row in table()]


def scrape(accounts: int, keys: int) -> bytes:
    """Render a page about accounts with *keys* active and used keys each."""
    store = MetricsStore(RenderOptions())
    for number in range(accounts):
        snapshot = a_snapshot(
            *(
                a_key(
                    f"AKIA{number:08}{key:08}",
                    f"user-{key:06}",
                    last_use=a_use(key),
                    created=days_ago(500),
                )
                for key in range(keys)
            ),
            account=an_account(f"{number:012}", f"account-{number}"),
        )
        store.publish(snapshot.account, snapshot)
    exposition = Exposition(store, SelfMetrics(version="1"), SystemClock())
    names = frozenset(family.name for family in SNAPSHOT_FAMILIES)
    return exposition.render(Format.TEXT, names=names)


def series(page: bytes) -> int:
    return sum(not line.startswith(b"#") for line in page.splitlines())


def test_each_row_is_about_the_same_accounts() -> None:
    """Each account has as many keys as the text says."""
    assert f"For accounts of {KEYS} users with one active key each, at the defaults:" in README
    assert len(table()) == 3
    assert column(0) == [KEYS * accounts for accounts in column(1)]


def test_series_and_pages() -> None:
    """Series are as many as the table says, and the page has its size, within 5 %."""
    page = scrape(10, KEYS)
    per_account = series(page) / 10

    assert column(2) == pytest.approx([per_account * count for count in column(1)], rel=0.01)
    sizes = [len(page) / 10 * count / SIZES["MiB"] for count in column(1)]
    assert column(3) == pytest.approx(sizes, rel=0.05)


def test_series_of_a_key_and_of_an_account() -> None:
    """The text says how many series each key and each account has."""
    ours = scrape(1, 2 * KEYS)
    per_key = (series(ours) - series(scrape(1, KEYS))) / KEYS
    per_account = series(ours) - 2 * KEYS * per_key

    match = re.search(r"Each key has (\d+) series and ([\d,]+) bytes", README)
    assert match is not None
    assert int(match[1]) == per_key
    assert int(match[2].replace(",", "")) == pytest.approx(len(ours) / (2 * KEYS), rel=0.1)
    assert f"each account has {per_account:.0f} series in addition" in README


def test_requests_and_workers(
    aws: FakeAws, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refresh makes the requests that the table multiplies, and takes the time that it says."""
    defaults = Config().collection
    for name, value in aws.environment(PROD).items():
        monkeypatch.setenv(name, value)
    add_users(aws.account(PROD), KEYS, keys=KEYS)
    sessions = some_sessions(
        aws.url, clock, requests_per_second=defaults.requests_per_second, burst=defaults.burst
    )
    account = MonitoredAccount(aws, clock, report_mode=ReportMode.AUTO, sessions=sessions)
    account.refresh()
    clock.advance(seconds=defaults.interval.total_seconds())
    account.refresh()
    calls = {"ListUsers": 1, "ListAccessKeys": KEYS, "GetAccessKeyLastUsed": KEYS}
    requests = sum(calls.values())
    interval = defaults.interval.total_seconds()
    daily = requests * (timedelta(days=1) / defaults.interval) + REPORT
    seconds = (requests - defaults.burst) / defaults.requests_per_second

    assert {name: account.calls[name] for name in calls} == calls
    assert column(5) == pytest.approx([daily * count for count in column(1)], rel=0.005)
    assert column(6) == [math.ceil(count * seconds / interval) for count in column(1)]
    assert f"{requests} requests at 5 per second take {seconds:.0f} seconds" in README
    assert f"The default is {defaults.workers};" in README


def test_links_exist() -> None:
    """The target of each relative link in this folder's documents exists."""
    names = "README.md", "image/README.md", "systemd/README.md", "compose/README.md"
    for file in (FOLDER / name for name in names):
        targets = re.findall(r"\]\((?!http|#)([^)#]+)", file.read_text())
        missing = [target for target in targets if not (file.parent / target).exists()]
        assert missing == [], file
