"""A failure costs only what could not be read, and what was known is kept."""

import pytest

from exporter.aws.api import MAX_ATTEMPTS
from exporter.model import UNKNOWN, AccountSnapshot, LastUse, Reason, ReportMode
from tests import fake_aws
from tests.aws import ALL_MODES, EXACT_MODES, Monitor
from tests.builders import (
    NOON,
    FakeClock,
    MonitoredAccount,
    add_key,
    add_users,
    before_answer,
    last_use_of,
    last_uses_of,
)
from tests.fake_aws import FakeAws, Fault


def user_names(snapshot: AccountSnapshot) -> list[str]:
    return [user.name for user in snapshot.users]


def refresh_with_failures(
    aws: FakeAws, prod: fake_aws.Account, keys: list[fake_aws.AccessKey], account: MonitoredAccount
) -> None:
    """
    Refresh *account* while several things fail.

    The list of user 3's keys is denied, key 5 is throttled in every attempt, and key 7 and user 9
    are deleted meanwhile.
    """
    prod.deny("iam:ListAccessKeys", user="user-3")
    aws.fault(Fault(key=keys[5].id, code="Throttling"))
    with (
        before_answer(aws, "GetAccessKeyLastUsed", keys[7].delete, AccessKeyId=keys[7].id),
        before_answer(aws, "ListAccessKeys", keys[9].user.delete, UserName="user-9"),
    ):
        account.refresh()


@pytest.fixture
def keys(prod: fake_aws.Account) -> list[fake_aws.AccessKey]:
    """Ten keys, each of the user of the same number."""
    return [add_key(prod, f"user-{number}") for number in range(10)]


def test_a_last_use_that_cannot_be_read(
    aws: FakeAws, prod: fake_aws.Account, monitor: Monitor
) -> None:
    """A key whose last use could never be read is known, with an unknown last use."""
    key = add_key(prod)
    aws.fault(Fault(key=key.id, code="ServiceFailure"))
    snapshot = monitor(report_mode=ReportMode.OFF).refresh()

    assert [key.last_use for key in snapshot.keys] == [UNKNOWN]
    assert (snapshot.up, snapshot.unknown) == (False, 1)
    assert snapshot.failure is Reason.SERVICE_FAILURE


def test_a_failed_call_keeps_the_last_use(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """A call that fails for one key leaves only that key stale."""
    stale, fresh = add_key(prod, "alice"), add_key(prod, "bob")
    account = monitor()
    account.refresh()
    before = last_use_of(stale)
    aws.fault(Fault(key=stale.id, code="ServiceFailure"))
    clock.advance(minutes=15)
    stale.use()
    fresh.use()
    account.refresh()

    assert account.last_uses == {stale.id: before, fresh.id: last_use_of(fresh)}
    assert account.latest.read_at == NOON
    assert not account.latest.up


@ALL_MODES
def test_a_throttled_call_is_not_never_used(
    aws: FakeAws, prod: fake_aws.Account, monitor: Monitor, report_mode: ReportMode
) -> None:
    """A throttled call never turns into never used."""
    add_key(prod)
    add_key(prod)  # of the same second, so that it has to be read in every mode
    aws.fault(Fault(operation="GetAccessKeyLastUsed", code="Throttling"))
    snapshot = monitor(report_mode=report_mode).refresh()

    assert {key.last_use for key in snapshot.keys} == {UNKNOWN}
    assert snapshot.failure is Reason.THROTTLED


def test_keys_that_cannot_be_listed(prod: fake_aws.Account, monitor: Monitor) -> None:
    """A user whose keys cannot be listed does not affect other users."""
    add_key(prod, "alice")
    key = add_key(prod, "bob")
    prod.deny("iam:ListAccessKeys", user="alice")
    account = monitor()
    account.refresh()

    assert account.last_uses == {key.id: last_use_of(key)}
    assert account.latest.failure is Reason.ACCESS_DENIED


def test_an_account_that_becomes_denied(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """An account to which access was revoked keeps its last uses, and is down."""
    key = add_key(prod)
    account = monitor()
    account.refresh()
    prod.deny("iam:*")
    clock.advance(minutes=15)
    account.refresh()

    assert account.last_uses == {key.id: last_use_of(key)}
    assert not account.latest.up
    assert account.latest.failures == {Reason.ACCESS_DENIED: 1}


def test_many_failures_in_the_first_refresh(
    aws: FakeAws, prod: fake_aws.Account, monitor: Monitor, keys: list[fake_aws.AccessKey]
) -> None:
    """On the first refresh user 3 has no keys, key 5 is unknown, and key 7 and user 9 are gone."""
    account = monitor(report_mode=ReportMode.OFF)
    refresh_with_failures(aws, prod, keys, account)
    snapshot = account.latest

    expected = {key.id: last_use_of(key) for n, key in enumerate(keys) if n not in (3, 7, 9)}
    assert account.last_uses == {**expected, keys[5].id: UNKNOWN}
    assert user_names(snapshot) == [f"user-{n}" for n in range(9)]
    assert (snapshot.up, snapshot.unknown, snapshot.read_at) == (False, 1, None)
    assert snapshot.failures == {Reason.ACCESS_DENIED: 1}
    assert snapshot.error.endswith("(and 1 more)")
    assert snapshot.throttles == MAX_ATTEMPTS


@EXACT_MODES
def test_many_failures_after_a_success(
    aws: FakeAws,
    prod: fake_aws.Account,
    clock: FakeClock,
    monitor: Monitor,
    keys: list[fake_aws.AccessKey],
    report_mode: ReportMode,
) -> None:
    """
    After a successful refresh keys 3 and 5 keep their last use, the others are fresh.

    So do those of user 9, who is deleted meanwhile, until the users are listed again.
    """
    account = monitor(report_mode=report_mode)
    account.refresh()
    clock.advance(hours=5)
    for n, key in enumerate(keys):
        if n != 5:
            key.use()
    before = LastUse(NOON, "s3", "eu-west-1")
    if report_mode is ReportMode.GUIDE:  # so that their keys have to be listed
        for n in (3, 9):
            keys[n].user.add_key(created=NOON).status = "Inactive"
    kept = account.last_uses[keys[9].id]
    refresh_with_failures(aws, prod, keys, account)
    snapshot = account.latest

    expected = {key.id: last_use_of(key) for n, key in enumerate(keys) if n not in (7, 9)}
    assert account.last_uses == {**expected, keys[5].id: before, keys[9].id: kept}
    assert user_names(snapshot) == [f"user-{n}" for n in range(10)]
    assert (snapshot.up, snapshot.unknown, snapshot.read_at) == (False, 0, NOON)
    assert snapshot.failures == {Reason.ACCESS_DENIED: 1}


def test_recovers_from_many_failures(
    aws: FakeAws,
    prod: fake_aws.Account,
    clock: FakeClock,
    monitor: Monitor,
    keys: list[fake_aws.AccessKey],
) -> None:
    """When nothing fails any more, everything is known again."""
    account = monitor()
    refresh_with_failures(aws, prod, keys, account)
    aws.clear_faults()
    prod.allow("iam:ListAccessKeys", user="user-3")
    clock.advance(minutes=15)
    account.refresh()

    assert account.latest.up
    assert account.last_uses == last_uses_of(prod)


def test_an_aborted_refresh_stops(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """An aborted refresh neither visits the other users nor repeats the failure for each."""
    add_users(prod, 200, keys=200)
    account = monitor(report_mode=ReportMode.OFF)
    account.refresh()
    clock.advance(minutes=15)
    aws.fault(Fault(operation="ListAccessKeys", code="ServiceFailure"))
    account.refresh()

    assert account.calls["ListAccessKeys"] == 3 * MAX_ATTEMPTS
    assert account.latest.failure is Reason.SERVICE_FAILURE
    assert account.latest.error.endswith("(and 2 more)")
    assert len(account.last_uses) == 200
