"""Users and keys that are deleted, even during a refresh, are not failures."""

import pytest

from exporter.model import NEVER, UNKNOWN, AccountSnapshot, Reason, ReportMode
from tests import fake_aws
from tests.aws import ALL_MODES, Monitor
from tests.builders import FakeClock, add_key, before_answer, last_use_of, last_uses_of
from tests.fake_aws import FakeAws, Fault

FOREIGN = "User: x is not authorized to perform iam:GetAccessKeyLastUsed on resource: access key "


def user_names(snapshot: AccountSnapshot) -> list[str]:
    return [user.name for user in snapshot.users]


@ALL_MODES
def test_a_key_deleted_after_it_was_listed(
    aws: FakeAws, prod: fake_aws.Account, monitor: Monitor, report_mode: ReportMode
) -> None:
    """A key deleted between listing it and reading its last use is gone, without a failure."""
    # The last uses of keys of the same second have to be read in every mode.
    deleted, kept = add_key(prod), add_key(prod)
    account = monitor(report_mode=report_mode)
    with before_answer(aws, "GetAccessKeyLastUsed", deleted.delete, AccessKeyId=deleted.id):
        account.refresh()

    assert account.latest.up
    assert account.last_uses == {kept.id: last_use_of(kept)}


def test_a_deleted_key_does_not_affect_other_users(
    aws: FakeAws, prod: fake_aws.Account, monitor: Monitor
) -> None:
    """A key that is deleted during a refresh does not keep other users' keys from being read."""
    deleted, kept = add_key(prod, "alice"), add_key(prod, "bob")
    account = monitor(report_mode=ReportMode.OFF)
    with before_answer(aws, "GetAccessKeyLastUsed", deleted.delete, AccessKeyId=deleted.id):
        account.refresh()

    assert account.latest.up
    assert account.last_uses == {kept.id: last_use_of(kept)}


def test_a_key_deleted_between_refreshes(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """A known key for which AWS denies access is listed once more, and dropped."""
    deleted, kept = add_key(prod), add_key(prod)
    account = monitor()
    account.refresh()
    deleted.delete()
    clock.advance(minutes=15)
    account.refresh()

    assert account.latest.up
    assert account.last_uses == {kept.id: last_use_of(kept)}
    assert account.calls["ListAccessKeys"] == 1


def test_keys_deleted_one_after_the_other(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """A key deleted after another one of its user was found deleted is not a failure either."""
    first, second = add_key(prod), add_key(prod)
    account = monitor()
    account.refresh()
    first.delete()
    clock.advance(minutes=15)
    with before_answer(aws, "GetAccessKeyLastUsed", second.delete, AccessKeyId=second.id):
        account.refresh()

    assert account.latest.up
    assert account.last_uses == {}


def test_a_user_deleted_before_keys_are_listed(
    aws: FakeAws, prod: fake_aws.Account, monitor: Monitor
) -> None:
    """A user deleted before the keys are listed is gone, without a failure."""
    add_key(prod, "alice")
    add_key(prod, "bob")
    delete = prod.users["alice"].delete
    account = monitor()
    with before_answer(aws, "ListAccessKeys", delete, UserName="alice"):
        account.refresh()

    assert account.latest.up
    assert user_names(account.latest) == ["bob"]
    assert account.last_uses == last_uses_of(prod)


def test_a_user_deleted_after_keys_are_listed(
    aws: FakeAws, prod: fake_aws.Account, monitor: Monitor
) -> None:
    """A user deleted before a key's last use is read is gone, without a failure."""
    key = add_key(prod, "alice")
    add_key(prod, "bob")
    delete = prod.users["alice"].delete
    account = monitor()
    with before_answer(aws, "GetAccessKeyLastUsed", delete, AccessKeyId=key.id):
        account.refresh()

    assert account.latest.up
    assert user_names(account.latest) == ["bob"]
    assert account.last_uses == last_uses_of(prod)


@ALL_MODES
def test_a_user_deleted_between_refreshes(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor, report_mode: ReportMode
) -> None:
    """A deleted user is gone, with all keys."""
    add_key(prod)
    account = monitor(report_mode=report_mode)
    account.refresh()
    prod.users["alice"].delete()
    clock.advance(hours=5)
    snapshot = account.refresh()

    assert (snapshot.users, snapshot.keys, snapshot.up) == ((), (), True)


@pytest.mark.parametrize("code", ["NoSuchEntity", "ValidationError"])
def test_other_codes_for_a_deleted_key(
    aws: FakeAws, prod: fake_aws.Account, monitor: Monitor, code: str
) -> None:
    """Other services with IAM's API have other error codes for a deleted key."""
    key = add_key(prod)
    aws.fault(Fault(key=key.id, code=code))
    account = monitor(report_mode=ReportMode.OFF)
    with before_answer(aws, "GetAccessKeyLastUsed", key.delete):
        account.refresh()

    assert account.latest.up
    assert account.last_uses == {}


def test_a_denied_key_that_still_exists(
    aws: FakeAws, prod: fake_aws.Account, monitor: Monitor
) -> None:
    """A key that is denied like a deleted one, but still listed, is a failure."""
    key = add_key(prod)
    aws.fault(Fault(key=key.id, code="AccessDenied", message=FOREIGN + key.id))
    account = monitor(report_mode=ReportMode.OFF)
    account.refresh()

    assert account.latest.failure is Reason.ACCESS_DENIED
    assert account.last_uses == {key.id: UNKNOWN}
    assert account.calls["ListAccessKeys"] == 2


def test_a_missing_permission(prod: fake_aws.Account, monitor: Monitor) -> None:
    """A missing permission is a failure, and not taken for a deleted key."""
    key = add_key(prod)
    prod.deny("iam:GetAccessKeyLastUsed")
    account = monitor(report_mode=ReportMode.OFF)
    account.refresh()

    assert account.latest.failure is Reason.ACCESS_DENIED
    assert account.last_uses == {key.id: UNKNOWN}
    assert account.calls["ListAccessKeys"] == 1


def test_listing_the_keys_again_fails(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """A key that may be deleted is kept until that is confirmed."""
    key = add_key(prod)
    account = monitor()
    account.refresh()
    use = last_use_of(key)
    key.delete()
    prod.deny("iam:ListAccessKeys")
    clock.advance(minutes=15)
    account.refresh()

    assert account.latest.failure is Reason.ACCESS_DENIED
    assert account.last_uses == {key.id: use}


def test_a_key_that_replaces_a_deleted_one(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """A key that replaces a deleted one is found at once."""
    old = add_key(prod)
    account = monitor()
    account.refresh()
    clock.advance(minutes=15)
    old.delete()
    new = prod.users["alice"].add_key()
    account.refresh()

    assert account.last_uses == {new.id: NEVER}
