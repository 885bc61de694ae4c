"""In each mode, nothing is later than documented, for exactly the documented calls."""

from collections import Counter
from datetime import timedelta

import pytest

from exporter.model import Reason, ReportMode, TagSource
from tests import fake_aws
from tests.aws import Monitor
from tests.builders import (
    FakeClock,
    MonitoredAccount,
    add_key,
    add_users,
    days_ago,
    last_uses_of,
    some_sessions,
)
from tests.fake_aws import FakeAws

NEVER_LATE = pytest.mark.parametrize("report_mode", [ReportMode.AUTO, ReportMode.OFF])


def next_refresh(clock: FakeClock, account: MonitoredAccount) -> MonitoredAccount:
    clock.advance(minutes=15)
    account.refresh()
    return account


@NEVER_LATE
def test_a_new_key_of_an_old_user(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor, report_mode: ReportMode
) -> None:
    """A new key is seen at the next refresh."""
    add_key(prod)
    account = monitor(report_mode=report_mode)
    account.refresh()
    add_key(prod, created=clock.now())

    assert next_refresh(clock, account).last_uses == last_uses_of(prod)


@NEVER_LATE
def test_a_deactivation(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor, report_mode: ReportMode
) -> None:
    """A deactivation is seen at the next refresh."""
    key = add_key(prod)
    account = monitor(report_mode=report_mode)
    account.refresh()
    key.status = "Inactive"
    (seen,) = next_refresh(clock, account).latest.keys

    assert seen.status == "Inactive"


@pytest.mark.parametrize("report_mode", [ReportMode.AUTO, ReportMode.OFF, ReportMode.GUIDE])
def test_a_reactivation_and_use(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor, report_mode: ReportMode
) -> None:
    """A key that is re-activated and used is active and just used at the next refresh."""
    key = add_key(prod, status="Inactive")
    add_key(prod, "bob", status="Inactive")
    account = monitor(report_mode=report_mode)
    account.refresh()
    key.status = "Active"
    key.use("ec2", "us-east-1", at=clock.now() + timedelta(minutes=1))
    next_refresh(clock, account)

    assert [seen.status for seen in account.latest.keys] == ["Active", "Inactive"]
    assert account.last_uses == last_uses_of(prod)
    assert account.latest.up


def test_a_use_right_before_a_deactivation(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """A use of an inactive key that AWS reports late is taken over, and is no re-activation."""
    key = add_key(prod, status="Inactive", used=days_ago(3))
    account = monitor()
    account.refresh()
    key.use("ec2", "us-east-1", at=clock.now() - timedelta(minutes=1))
    calls = [next_refresh(clock, account).calls["ListAccessKeys"] for _ in range(2)]

    assert [seen.status for seen in account.latest.keys] == ["Inactive"]
    assert account.last_uses == last_uses_of(prod)
    assert calls == [1, 0]


@pytest.mark.parametrize(
    ("report_mode", "calls"),
    [
        (ReportMode.OFF, {"ListUsers": 3, "ListAccessKeys": 30, "GetAccessKeyLastUsed": 20}),
        (ReportMode.AUTO, {"ListUsers": 3, "ListAccessKeys": 30, "GetAccessKeyLastUsed": 20}),
        (ReportMode.GUIDE, {"ListUsers": 3, "GetAccessKeyLastUsed": 25}),
        (ReportMode.VALUES, {"ListUsers": 3}),
    ],
)
def test_calls(
    aws: FakeAws,
    prod: fake_aws.Account,
    clock: FakeClock,
    monitor: Monitor,
    report_mode: ReportMode,
    calls: dict[str, int],
) -> None:
    """Of 30 users on 3 pages, with 20 active and 5 inactive keys, each mode makes its calls."""
    aws.max_page = 10
    add_users(prod, 30, keys=20)
    for number in range(5):
        add_key(prod, f"user-{number:04}", status="Inactive")
    account = monitor(report_mode=report_mode)
    account.refresh()

    assert next_refresh(clock, account).calls == calls
    assert account.last_uses == last_uses_of(prod)


def grown(prod: fake_aws.Account, size: int) -> None:
    """Make the account one of *size* users with a key each: 2 * size + 1 calls."""
    for user in list(prod.users.values())[size:]:
        user.delete()
    for number in range(len(prod.users), size):
        add_key(prod, f"user-{number:04}")


def test_auto_follows_the_size(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """An account that grows or shrinks is read without or with a report, and loses nothing."""
    # At an interval of 15 minutes `auto` chooses `off` up to 450 calls.
    account = monitor(
        report_mode=ReportMode.AUTO,
        sessions=some_sessions(aws.url, clock, requests_per_second=5.0, burst=10),
    )
    modes = []
    for size in (224, 225, 225, 224, 10, 225):
        grown(prod, size)
        next_refresh(clock, account)
        modes.append("guide" if account.latest.report else "off")
        assert account.latest.up
        assert account.last_uses == last_uses_of(prod)

    assert modes == ["off", "guide", "guide", "off", "off", "guide"]
    assert account.calls["ListAccessKeys"] < 225  # the report was requested at once


@pytest.mark.parametrize("cut", ["short", "root only", "one user", "of before"])
def test_values_with_a_report_that_lacks_users(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor, cut: str
) -> None:
    """A report without some users is not trusted: all users and keys are there, and true."""
    for number in range(7):
        prod.add_user(f"user-{number}", created=days_ago(9))
        add_key(prod, f"user-{number}")
    rows = fake_aws.report.content(prod, quoted=True).splitlines()
    lines = {"short": 5, "root only": 2, "one user": 3}.get(cut, len(rows))
    prod.report.content = b"\n".join(rows[:lines])
    if cut == "of before":
        prod.add_user("old", created=clock.now() - timedelta(hours=1)).add_key()
    account = monitor(report_mode=ReportMode.VALUES)
    account.refresh()

    assert account.last_uses == last_uses_of(prod)
    assert len(account.latest.users) == len(prod.users)
    assert account.latest.up
    assert account.latest.report is not None
    assert not account.latest.report.usable


def test_values_with_a_user_newer_than_the_report(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """A user created after the report is listed; the report is trusted about the others."""
    add_users(prod, 3, keys=3)
    account = monitor(report_mode=ReportMode.VALUES)
    account.refresh()
    clock.advance(minutes=5)
    add_key(prod, "new", created=clock.now())
    next_refresh(clock, account)

    assert account.calls == Counter(ListUsers=1, ListAccessKeys=1, GetAccessKeyLastUsed=1)
    assert account.last_uses == last_uses_of(prod)


@pytest.mark.parametrize("operation", ["ListAccessKeys", "GetAccessKeyLastUsed", "ListUserTags"])
def test_an_operation_that_is_denied(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, monitor: Monitor, operation: str
) -> None:
    """After 20 denials an operation ends for this refresh, and is tried again at the next."""
    add_users(prod, 50, keys=50)
    account = monitor(report_mode=ReportMode.OFF, tag_source=TagSource.PER_USER)
    account.refresh()
    known = account.last_uses
    prod.deny(f"iam:{operation}")
    clock.advance(hours=2)
    account.refresh()
    denied = account.calls[operation]

    assert account.latest.failure is Reason.ACCESS_DENIED
    assert denied == 20
    assert account.last_uses.keys() == known.keys()
    prod.allow(f"iam:{operation}")
    assert next_refresh(clock, account).latest.up


def test_an_operation_that_is_denied_for_some(prod: fake_aws.Account, monitor: Monitor) -> None:
    """Denials for some users do not end an operation that succeeds for others."""
    add_users(prod, 50, keys=50)
    for number in range(1, 41):
        prod.deny("iam:ListAccessKeys", user=f"user-{number:04}")
    account = monitor(report_mode=ReportMode.OFF)
    account.refresh()

    assert account.calls["ListAccessKeys"] == 50
    assert len(account.latest.keys) == 10
