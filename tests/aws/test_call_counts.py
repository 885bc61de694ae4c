"""A refresh makes no more calls than it has to."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from exporter.model import ReportMode
from tests import fake_aws
from tests.aws import ALL_MODES, Monitor
from tests.builders import NOON, FakeClock, add_key, add_users, last_use_of, last_uses_of


def test_with_a_known_report(prod: fake_aws.Account, clock: FakeClock, monitor: Monitor) -> None:
    """In guide mode a refresh takes one call per page of users and one per key."""
    add_users(prod, 5, keys=3)
    add_key(prod, "user-0000", status="Inactive")
    add_key(prod, "user-0001", status="Expired")
    account = monitor()
    account.refresh()
    clock.advance(minutes=15)
    account.refresh()

    assert account.calls == {"ListUsers": 1, "GetAccessKeyLastUsed": 5}


def test_first_refresh(prod: fake_aws.Account, monitor: Monitor) -> None:
    """In guide mode the first refresh lists keys only for users that have some."""
    add_users(prod, 5, keys=3)
    add_key(prod, "user-0000", status="Inactive")
    account = monitor()
    account.refresh()

    assert account.calls == {
        "ListUsers": 1,
        "GenerateCredentialReport": 1,
        "GetCredentialReport": 1,
        "ListAccessKeys": 3,
        "GetAccessKeyLastUsed": 4,
    }


def test_a_report_every_four_hours(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """During a day of refreshes each credential report that AWS has at hand takes two calls."""
    add_users(prod, 2, keys=2)
    account = monitor()
    total: Counter[str] = Counter()
    for _ in range(96):
        account.refresh()
        total += account.calls
        clock.advance(minutes=15)

    assert total == {
        "ListUsers": 96,
        "ListAccessKeys": 2,
        "GetAccessKeyLastUsed": 2 * 96,
        "GenerateCredentialReport": 6,
        "GetCredentialReport": 6,
    }


def test_without_reports(prod: fake_aws.Account, clock: FakeClock, monitor: Monitor) -> None:
    """Without reports a refresh takes one call per page, per user and per active key."""
    add_users(prod, 5, keys=3)
    add_key(prod, "user-0000", status="Inactive")
    account = monitor(report_mode=ReportMode.OFF)
    account.refresh()
    clock.advance(minutes=15)
    account.refresh()

    assert account.calls == {"ListUsers": 1, "ListAccessKeys": 5, "GetAccessKeyLastUsed": 3}


def test_values_between_reports(prod: fake_aws.Account, clock: FakeClock, monitor: Monitor) -> None:
    """In values mode a refresh between two reports only lists the users."""
    add_users(prod, 5, keys=3)
    add_key(prod, "user-0000", status="Inactive")
    account = monitor(report_mode=ReportMode.VALUES)
    account.refresh()
    clock.advance(hours=4)
    account.refresh()

    assert account.calls == {"ListUsers": 1}


def test_values_with_a_new_report(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """In values mode a new report takes two calls if AWS has it at hand."""
    add_users(prod, 5, keys=3)
    add_key(prod, "user-0000", status="Inactive")
    account = monitor(report_mode=ReportMode.VALUES)
    account.refresh()
    clock.advance(hours=5)
    next(prod.keys).use()
    account.refresh()

    assert account.calls == {
        "ListUsers": 1,
        "GenerateCredentialReport": 1,
        "GetCredentialReport": 1,
    }
    assert account.last_uses == last_uses_of(prod)


@pytest.mark.parametrize("status", ["Inactive", "Expired"])
@pytest.mark.parametrize("report_mode", [ReportMode.AUTO, ReportMode.OFF, ReportMode.VALUES])
def test_a_key_that_is_deactivated(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor, report_mode: ReportMode, status: Any
) -> None:
    """The last use of a key is read once more after it was deactivated, and never again."""
    key = add_key(prod)
    account = monitor(report_mode=report_mode)
    account.refresh()
    key.use("ec2", "us-east-1", at=NOON + timedelta(minutes=1))
    key.status = status
    clock.advance(hours=5)
    account.refresh()
    deactivated = account.calls["GetAccessKeyLastUsed"]
    clock.advance(hours=5)
    account.refresh()

    assert (deactivated, account.calls["GetAccessKeyLastUsed"]) == (1, 0)
    assert account.last_uses == last_uses_of(prod)


@ALL_MODES
def test_a_key_that_is_reactivated(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor, report_mode: ReportMode
) -> None:
    """The last use of a key is read again after it was reactivated."""
    key = add_key(prod, status="Inactive")
    account = monitor(report_mode=report_mode)
    account.refresh()
    clock.advance(hours=5)
    key.status = "Active"
    key.use()
    account.refresh()

    assert account.last_uses == {key.id: last_use_of(key)}


def test_an_inactive_key_is_checked_daily(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """Without reports an inactive key is checked daily: it may have been active for a moment."""
    key = add_key(prod, status="Inactive")
    account = monitor(report_mode=ReportMode.OFF)
    account.refresh()
    key.use("ec2", "us-east-1", at=NOON + timedelta(minutes=1))
    calls = []
    for _ in range(3):
        clock.advance(hours=12)
        account.refresh()
        calls.append(account.calls["GetAccessKeyLastUsed"])

    assert calls == [0, 1, 0]
    assert account.last_uses == {key.id: last_use_of(key)}
