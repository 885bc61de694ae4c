"""An account is refreshed: its users, their access keys and the last use of every key."""

from datetime import timedelta
from typing import Any

import pytest

from exporter.model import NEVER, AccountSnapshot, LastUse, ReportMode
from tests import fake_aws
from tests.aws import ALL_MODES, EXACT_MODES, Monitor
from tests.aws.responses import last_use_response, user_element, users_page
from tests.builders import (
    NOON,
    PROD,
    ROLE,
    TEST,
    FakeClock,
    a_role_account,
    add_key,
    add_users,
    days_ago,
    last_use_of,
    last_uses_of,
    some_sessions,
)
from tests.fake_aws import FakeAws, Fault


def user_names(snapshot: AccountSnapshot) -> list[str]:
    return [user.name for user in snapshot.users]


@ALL_MODES
def test_every_key_and_its_last_use(
    prod: fake_aws.Account, monitor: Monitor, report_mode: ReportMode
) -> None:
    """Every key of every user is read with its last use, and the account is up."""
    for user in ("alice", "bob", "carol"):
        add_key(prod, user)
    snapshot = monitor(report_mode=report_mode).refresh()

    assert {key.id: key.last_use for key in snapshot.keys} == last_uses_of(prod)
    assert snapshot.up
    assert snapshot.read_at == NOON


@ALL_MODES
def test_pages_of_users(
    aws: FakeAws, prod: fake_aws.Account, monitor: Monitor, report_mode: ReportMode
) -> None:
    """Users on many short pages are all read."""
    aws.max_page = 2
    add_users(prod, 7, keys=7)
    account = monitor(report_mode=report_mode)
    account.refresh()

    assert account.last_uses == last_uses_of(prod)
    assert len(account.latest.users) == 7


@EXACT_MODES
def test_pages_of_keys(
    aws: FakeAws, prod: fake_aws.Account, monitor: Monitor, report_mode: ReportMode
) -> None:
    """The keys of one user on several pages are all read."""
    aws.max_page = 1
    for _ in range(3):
        add_key(prod)
    account = monitor(report_mode=report_mode)
    account.refresh()

    assert account.last_uses == last_uses_of(prod)


def test_an_empty_page_of_users(aws: FakeAws, prod: fake_aws.Account, monitor: Monitor) -> None:
    """An empty page that is not the last one does not end the list."""
    add_key(prod)
    more = "<IsTruncated>true</IsTruncated><Marker>bGlzdA</Marker>"
    aws.fault(Fault(operation="ListUsers", times=1, body=users_page("", more)))
    # A second fault, since the simulated AWS does not know the marker of the first page.
    aws.fault(Fault(operation="ListUsers", times=1, body=users_page(user_element("alice"), "")))
    account = monitor(report_mode=ReportMode.OFF)
    account.refresh()

    assert account.last_uses == last_uses_of(prod)


@pytest.mark.parametrize("status", ["Inactive", "Expired"])
@ALL_MODES
def test_status_of_a_key(
    prod: fake_aws.Account, monitor: Monitor, report_mode: ReportMode, status: Any
) -> None:
    """The status is reported as IAM spells it, and only Active is active."""
    add_key(prod, status=status)
    (key,) = monitor(report_mode=report_mode).refresh().keys

    assert (key.status, key.active) == (status, False)


@pytest.mark.parametrize("path", ["/", "/staff/", "/a,b/:user/c_d/"])
@ALL_MODES
def test_path_of_a_user(
    prod: fake_aws.Account, monitor: Monitor, report_mode: ReportMode, path: str
) -> None:
    """A user's path is known in every report mode."""
    prod.add_user("alice", path)
    (user,) = monitor(report_mode=report_mode).refresh().users

    assert user.path == path


@ALL_MODES
def test_excluded_users(prod: fake_aws.Account, monitor: Monitor, report_mode: ReportMode) -> None:
    """Excluded users are not exported, and no calls are made for them."""
    add_key(prod, "alice")
    add_key(prod, "bob")
    account = monitor(report_mode=report_mode, include_user=lambda name: name == "alice")
    account.refresh()

    assert user_names(account.latest) == ["alice"]
    assert account.calls["ListAccessKeys"] == 1


def test_an_account_without_users(monitor: Monitor) -> None:
    """An account without users is refreshed successfully."""
    snapshot = monitor().refresh()

    assert (snapshot.users, snapshot.keys, snapshot.up) == ((), (), True)


@ALL_MODES
def test_a_key_that_was_never_used(
    prod: fake_aws.Account, monitor: Monitor, report_mode: ReportMode
) -> None:
    """A key without a last-used date was never used."""
    add_key(prod, used=None)

    assert [key.last_use for key in monitor(report_mode=report_mode).refresh().keys] == [NEVER]


@ALL_MODES
def test_an_old_key_that_was_never_used(
    prod: fake_aws.Account, monitor: Monitor, report_mode: ReportMode
) -> None:
    """An active, never-used, 400-day-old key is reported as exactly that."""
    add_key(prod, created=days_ago(400), used=None)
    (key,) = monitor(report_mode=report_mode).refresh().keys

    assert (key.active, key.last_use, key.created) == (True, NEVER, days_ago(400))


def test_used_and_never_used_keys(prod: fake_aws.Account, monitor: Monitor) -> None:
    """A never-used key does not keep other keys from being read."""
    add_key(prod, "alice", used=None)
    add_key(prod, "bob")
    account = monitor(report_mode=ReportMode.OFF)
    account.refresh()

    assert account.last_uses == last_uses_of(prod)


@pytest.mark.parametrize("region", ["ap-southeast-2", "N/A"])
@ALL_MODES
def test_region_of_the_last_use(
    prod: fake_aws.Account, monitor: Monitor, report_mode: ReportMode, region: str
) -> None:
    """The region of the last use is reported as AWS spells it, also where there is none."""
    add_key(prod).use("ec2", region, at=NOON)

    assert [key.last_use for key in monitor(report_mode=report_mode).refresh().keys] == [
        LastUse(NOON, "ec2", region)
    ]


def test_an_older_last_use_is_ignored(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """An answer that is older than the known last use changes nothing."""
    key = add_key(prod)
    account = monitor(report_mode=ReportMode.OFF)
    account.refresh()
    older = "<LastUsedDate>2026-01-01T00:00:00Z</LastUsedDate>"
    aws.fault(Fault(key=key.id, body=last_use_response(older + "<ServiceName>ec2</ServiceName>")))
    clock.advance(minutes=15)
    account.refresh()

    assert account.last_uses == {key.id: last_use_of(key)}


def test_a_used_key_never_becomes_unused(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """A key that was used cannot become one that was never used."""
    key = add_key(prod)
    account = monitor(report_mode=ReportMode.OFF)
    account.refresh()
    aws.fault(Fault(key=key.id, body=last_use_response("<ServiceName>N/A</ServiceName>")))
    clock.advance(minutes=15)
    account.refresh()

    assert account.last_uses == {key.id: last_use_of(key)}


def test_a_renamed_user_keeps_the_last_uses(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """The last use of a key survives the renaming of its user, even if it cannot be read again."""
    key = add_key(prod)
    key.use()
    account = monitor(report_mode=ReportMode.OFF)
    account.refresh()
    before = account.last_uses[key.id]
    key.user.rename("somebody-else")
    aws.fault(Fault(operation="GetAccessKeyLastUsed", code="AccessDenied", message="no"))
    clock.advance(minutes=15)
    account.refresh()

    assert [(known.user, known.last_use) for known in account.latest.keys] == [
        ("somebody-else", before)
    ]


def test_more_than_a_hundred_users(prod: fake_aws.Account, monitor: Monitor) -> None:
    """The 101st user is read like all others."""
    add_users(prod, 101)

    assert len(monitor(report_mode=ReportMode.VALUES).refresh().users) == 101


@EXACT_MODES
def test_more_than_a_thousand_users(
    aws: FakeAws, prod: fake_aws.Account, monitor: Monitor, report_mode: ReportMode
) -> None:
    """1001 users on three pages are all read, with one call per page."""
    aws.max_page = 400
    add_users(prod, 1001)
    last = add_key(prod, "user-1000")
    account = monitor(report_mode=report_mode)
    account.refresh()

    assert len(account.latest.users) == 1001
    assert account.last_uses == {last.id: last_use_of(last)}
    assert account.calls["ListUsers"] == 3


def test_users_of_the_same_name_in_two_accounts(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """Users of the same name in two accounts share no key and no last use."""
    test = aws.account(TEST)
    test.role(ROLE)
    prod.role(ROLE)
    ours, theirs = add_key(prod), add_key(test, used=None)
    sessions = some_sessions(aws.url, clock)
    found = []
    for configured in (a_role_account(PROD), a_role_account(TEST, name="test")):
        account = monitor(configured, sessions=sessions, report_mode=ReportMode.OFF)
        account.refresh()
        found.append(account.last_uses)

    assert found == [{ours.id: last_use_of(ours)}, {theirs.id: NEVER}]


@ALL_MODES
def test_last_use_of_a_password(
    prod: fake_aws.Account, monitor: Monitor, report_mode: ReportMode
) -> None:
    """The last use of a console password is read in every report mode."""
    prod.add_user("alice", password_last_used=NOON - timedelta(minutes=15))
    (user,) = monitor(report_mode=report_mode).refresh().users

    assert user.password_last_used == NOON - timedelta(minutes=15)


@ALL_MODES
def test_unused_and_missing_passwords(
    prod: fake_aws.Account, monitor: Monitor, report_mode: ReportMode
) -> None:
    """A password that was never used has no last use, and neither has a missing one."""
    prod.add_user("alice", password_enabled=True)
    prod.add_user("bob")

    users = monitor(report_mode=report_mode).refresh().users
    assert [user.password_last_used for user in users] == [None, None]


def test_an_older_use_of_a_password_is_ignored(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """The last use of a password never goes backwards."""
    alice = prod.add_user("alice", password_last_used=NOON)
    account = monitor()
    account.refresh()
    alice.password_last_used = NOON - timedelta(minutes=15)
    clock.advance(minutes=15)
    account.refresh()

    assert account.latest.users[0].password_last_used == NOON
