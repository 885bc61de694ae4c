"""A malformed entry costs one key or user its freshness, and nothing else."""

from datetime import timedelta

import pytest

from exporter.model import UNKNOWN, Reason, ReportMode
from tests import fake_aws
from tests.aws import Monitor
from tests.aws.malformed import (
    BAD_TIMES,
    KEY,
    LAST_USE,
    PLACEHOLDER,
    USER,
    Watched,
    elements,
    variants,
)
from tests.aws.responses import last_use_response, response
from tests.builders import NOON, FakeClock, add_key, before_answer, last_use_of, last_uses_of
from tests.fake_aws import FakeAws, Fault
from tests.fake_aws.wire import to_marker


def with_bob(prod: fake_aws.Account, alice: str) -> str:
    """A page of ListUsers with a broken entry for alice, and the true one for bob."""
    bob = prod.users["bob"]
    fields = {**USER, "UserName": "bob", "UserId": bob.id, "Arn": bob.arn}
    users = f"<member>{alice}</member>" + f"<member>{elements(fields)}</member>"
    return response("ListUsers", f"<Users>{users}</Users><IsTruncated>false</IsTruncated>")


USERS = [text for member in USER for text in variants(USER, member)] + [
    elements({**USER, "CreateDate": text}) for text in BAD_TIMES if not text.startswith("2099")
]
USERS += [elements({**USER, "Arn": arn}) for arn in ("x", "arn:aws:iam", "arn:aws:iam::1:user/a")]


@pytest.mark.parametrize("user", USERS)
def test_a_user(aws: FakeAws, prod: fake_aws.Account, watched: Watched, user: str) -> None:
    """A malformed user is kept as it was, and its keys and all others are refreshed."""
    aws.fault(Fault(operation="ListUsers", body=with_bob(prod, user)))
    snapshot = watched.refresh()

    assert snapshot.failure is Reason.MALFORMED
    assert watched.lost_nothing()
    assert watched.account.last_uses == last_uses_of(prod)
    assert watched.errors == {("ListUsers", "Malformed"): 1}


@pytest.mark.parametrize("text", BAD_TIMES)
def test_a_last_use_of_a_password(
    aws: FakeAws, prod: fake_aws.Account, monitor: Monitor, text: str
) -> None:
    """A malformed last use of a password costs just that, from the first refresh on."""
    key = add_key(prod, "alice")
    add_key(prod, "bob")
    user = elements({**USER, "PasswordLastUsed": text})
    aws.fault(Fault(operation="ListUsers", body=with_bob(prod, user)))
    account = monitor(report_mode=ReportMode.OFF)
    snapshot = account.refresh()

    assert snapshot.failure is Reason.MALFORMED
    assert account.last_uses[key.id] == last_use_of(key)
    assert [user.password_last_used for user in snapshot.users] == [None, None]


KEYS = [text for member in KEY for text in variants(KEY, member)] + [
    elements({**KEY, "CreateDate": text}) for text in BAD_TIMES if not text.startswith("2099")
]
KEYS += [
    elements({**KEY, "Status": "active"}),
    elements({**KEY, "AccessKeyId": "short"}),
    elements({**KEY, "AccessKeyId": "AKIA!" * 5}),
    elements({**KEY, "UserName": "bob"}),
]


@pytest.mark.parametrize("key", KEYS)
def test_a_key(aws: FakeAws, prod: fake_aws.Account, watched: Watched, key: str) -> None:
    """A malformed key is kept as it was, its last use and all others are refreshed."""
    body = response(
        "ListAccessKeys",
        f"<AccessKeyMetadata><member>{key}</member></AccessKeyMetadata>"
        "<IsTruncated>false</IsTruncated>",
    )
    body = body.replace(PLACEHOLDER, watched.alice.id)
    aws.fault(Fault(operation="ListAccessKeys", user="alice", body=body))
    snapshot = watched.refresh()

    assert snapshot.failure is Reason.MALFORMED
    assert watched.lost_nothing()
    assert watched.account.last_uses == last_uses_of(prod)
    assert watched.errors == {("ListAccessKeys", "Malformed"): 1}


LAST_USES = [text for member in LAST_USE for text in variants(LAST_USE, member)]
LAST_USES += [elements({**LAST_USE, "LastUsedDate": text}) for text in BAD_TIMES]
LAST_USES += [""]


@pytest.mark.parametrize("use", LAST_USES)
def test_a_last_use(aws: FakeAws, watched: Watched, use: str) -> None:
    """A malformed last use leaves the one before, and is not never; all others are refreshed."""
    body = response("GetAccessKeyLastUsed", f"<AccessKeyLastUsed>{use}</AccessKeyLastUsed>")
    aws.fault(Fault(operation="GetAccessKeyLastUsed", key=watched.alice.id, body=body))
    before = watched.account.last_uses[watched.alice.id]
    snapshot = watched.refresh()

    assert snapshot.failure is Reason.MALFORMED
    assert watched.lost_nothing()
    assert watched.account.last_uses == {
        watched.alice.id: before,
        watched.bob.id: last_use_of(watched.bob),
    }
    assert watched.errors == {("GetAccessKeyLastUsed", "Malformed"): 1}


@pytest.mark.parametrize("use", LAST_USES)
def test_a_first_last_use(aws: FakeAws, prod: fake_aws.Account, monitor: Monitor, use: str) -> None:
    """A key whose last use was malformed from the start has an unknown one."""
    key = add_key(prod)
    body = response("GetAccessKeyLastUsed", f"<AccessKeyLastUsed>{use}</AccessKeyLastUsed>")
    aws.fault(Fault(operation="GetAccessKeyLastUsed", body=body))
    account = monitor(report_mode=ReportMode.OFF)

    assert account.refresh().failure is Reason.MALFORMED
    assert account.last_uses == {key.id: UNKNOWN}


def test_a_user_twice(aws: FakeAws, prod: fake_aws.Account, watched: Watched) -> None:
    """A user who is returned twice is one user."""
    body = with_bob(prod, elements({**USER, "UserName": "bob", "Arn": prod.users["bob"].arn}))
    aws.fault(Fault(operation="ListUsers", body=body))

    assert [user.name for user in watched.refresh().users] == ["bob"]


def test_a_key_at_two_users(aws: FakeAws, watched: Watched) -> None:
    """A key that is returned for two users stays with the one who had it."""
    key = elements({**KEY, "AccessKeyId": watched.alice.id})
    body = response(
        "ListAccessKeys",
        f"<AccessKeyMetadata><member>{key}</member></AccessKeyMetadata>"
        "<IsTruncated>false</IsTruncated>",
    )
    aws.fault(Fault(operation="ListAccessKeys", user="bob", body=body))
    snapshot = watched.refresh()

    assert snapshot.failure is Reason.MALFORMED
    assert sorted((key.user, key.id) for key in snapshot.keys) == [("alice", watched.alice.id)]


def test_a_user_renamed_between_pages(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """The keys of a user who appears under two names appear once, under the later one."""
    watched = Watched(aws, clock, monitor)
    aws.max_page = 1

    def rename() -> None:
        prod.rename(prod.users["alice"], "zoe")

    with before_answer(aws, "ListUsers", rename, Marker=to_marker("alice", "ListUsers//")):
        watched.refresh()

    keys = watched.account.latest.keys
    assert sorted((key.user, key.id) for key in keys) == sorted(
        [("zoe", watched.alice.id), ("bob", watched.bob.id)]
    )


def test_a_use_during_a_long_refresh(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """A key that is used while a refresh lasts, for longer than clocks may differ, is not wrong."""
    key = add_key(prod)
    account = monitor(report_mode=ReportMode.OFF)

    def use() -> None:
        clock.advance(minutes=20)
        key.use(at=clock.now())

    with before_answer(aws, "GetAccessKeyLastUsed", use):
        account.refresh()

    assert account.latest.up
    assert account.last_uses == {key.id: last_use_of(key)}


@pytest.mark.parametrize(("minutes", "up"), [(4, True), (6, False)])
def test_a_last_use_in_the_future(
    prod: fake_aws.Account, monitor: Monitor, minutes: int, up: bool
) -> None:
    """A last use may be a few minutes ahead of our clock, and no more."""
    add_key(prod, used=NOON + timedelta(minutes=minutes))

    assert monitor(report_mode=ReportMode.OFF).refresh().up is up


@pytest.mark.parametrize("service", ["s" * 2000, "s3&#10;"])
def test_a_service_that_is_no_name(
    aws: FakeAws, prod: fake_aws.Account, watched: Watched, service: str
) -> None:
    """A service name that is endless or has control characters is malformed, not a label."""
    fields = f"<LastUsedDate>{NOON:%Y-%m-%dT%H:%M:%SZ}</LastUsedDate>"
    fields += f"<ServiceName>{service}</ServiceName>"
    aws.fault(Fault(operation="GetAccessKeyLastUsed", body=last_use_response(fields)))
    snapshot = watched.refresh()

    assert snapshot.failure is Reason.MALFORMED
    assert watched.lost_nothing()
