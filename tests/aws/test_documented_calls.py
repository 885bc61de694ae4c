"""The numbers of calls that README.md and docs/comparison.md name are those of a refresh."""

from datetime import timedelta
from pathlib import Path

import pytest

from exporter.model import ReportMode
from tests import fake_aws
from tests.aws import Monitor
from tests.builders import FakeClock

ROOT = Path(__file__).parent.parent.parent
COMPARISON = (ROOT / "docs/comparison.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def fill(account: fake_aws.Account, *, users: int, keys: int, inactive: int) -> None:
    """Create *keys* keys for *users* users, *inactive* of which are not active."""
    created = account.created - timedelta(days=900)
    owners = [account.add_user(f"user-{number:04}", created=created) for number in range(users)]
    for number in range(keys):
        at = created + timedelta(minutes=number // users)
        key = owners[number % users].add_key(created=at)
        if number < inactive:
            key.status = "Inactive"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "first", "then"),
    [
        (ReportMode.OFF, 2502, 2351),
        (ReportMode.GUIDE, 2503, 1501),
        (ReportMode.VALUES, 1153, 1),
    ],
)
def test_a_large_account(
    prod: fake_aws.Account,
    clock: FakeClock,
    monitor: Monitor,
    mode: ReportMode,
    first: int,
    then: int,
) -> None:
    """An account with 1000 users and 1500 keys takes the calls that docs/comparison.md names."""
    fill(prod, users=1000, keys=1500, inactive=150)
    clock.advance(minutes=1)
    account = monitor(report_mode=mode)
    account.refresh()
    calls = [sum(account.calls.values())]
    clock.advance(minutes=15)
    account.refresh()
    calls.append(sum(account.calls.values()))

    assert calls == [first, then]
    assert f"`{mode}`: first refresh, then each | {first:,}; {then:,} |" in COMPARISON
    if mode is ReportMode.GUIDE:
        assert f"| {first:,} at first, then {then:,} per refresh |" in README


def test_a_small_account(prod: fake_aws.Account, clock: FakeClock, monitor: Monitor) -> None:
    """An account with 200 users and a key each takes the calls that README.md names."""
    fill(prod, users=200, keys=200, inactive=0)
    account = monitor(report_mode=ReportMode.OFF)
    account.refresh()
    clock.advance(minutes=15)
    account.refresh()
    calls = sum(account.calls.values())

    assert f"takes {calls} calls per refresh, {calls * 96:,} events a day" in README
