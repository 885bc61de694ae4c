"""Users' tags are read in bulk or user by user."""

import pytest

from exporter.aws.api import MAX_ATTEMPTS, MAX_CONSECUTIVE_FAILURES
from exporter.model import Reason, ReportMode, TagSource
from tests import fake_aws
from tests.aws import Monitor
from tests.builders import (
    FakeClock,
    add_key,
    add_users,
    before_answer,
    last_use_of,
    last_uses_of,
)
from tests.fake_aws import FakeAws, Fault

BOTH_SOURCES = pytest.mark.parametrize("tags", [TagSource.BULK, TagSource.PER_USER])


@BOTH_SOURCES
def test_selected_tags(prod: fake_aws.Account, monitor: Monitor, tags: TagSource) -> None:
    """Only the selected tags of a user are kept."""
    prod.add_user("alice", tags={"team": "red", "cost": "7", "owner": "bob"})
    (user,) = monitor(tag_source=tags, keep_tag=lambda name: name != "cost").refresh().users

    assert user.tags == (("owner", "bob"), ("team", "red"))


@BOTH_SOURCES
def test_pages(aws: FakeAws, prod: fake_aws.Account, monitor: Monitor, tags: TagSource) -> None:
    """Tags on many short pages are all read."""
    aws.max_page = 1
    for name in ("alice", "bob", "carol"):
        prod.add_user(name, tags={"name": name, "team": "red"})
    snapshot = monitor(tag_source=tags).refresh()

    assert [dict(user.tags)["name"] for user in snapshot.users] == ["alice", "bob", "carol"]


@pytest.mark.parametrize(
    ("tags", "calls"),
    [
        (TagSource.OFF, {}),
        (TagSource.BULK, {"GetAccountAuthorizationDetails": 1}),
        (TagSource.PER_USER, {"ListUserTags": 5}),
    ],
)
def test_calls(
    prod: fake_aws.Account, monitor: Monitor, tags: TagSource, calls: dict[str, int]
) -> None:
    """Tags take one call per page of users in bulk, one per user otherwise, or none."""
    add_users(prod, 5)
    account = monitor(tag_source=tags)
    account.refresh()
    of_tags = ("GetAccountAuthorizationDetails", "ListUserTags")

    assert {name: account.calls[name] for name in of_tags if account.calls[name]} == calls


@BOTH_SOURCES
def test_interval(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor, tags: TagSource
) -> None:
    """Tags are read once an hour, and kept in between."""
    prod.add_user("alice", tags={"team": "red"})
    account = monitor(tag_source=tags)
    account.refresh()
    clock.advance(minutes=15)
    kept = account.refresh().users[0].tags
    calls = account.calls
    prod.users["alice"].tags = {"team": "blue"}
    clock.advance(minutes=45)
    account.refresh()

    assert kept == (("team", "red"),)
    assert calls == {"ListUsers": 1}
    assert account.latest.users[0].tags == (("team", "blue"),)


@BOTH_SOURCES
def test_denied(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor, tags: TagSource
) -> None:
    """Tags that are denied fail the refresh, and what was known is kept."""
    key = add_key(prod)
    prod.users["alice"].tags = {"team": "red"}
    account = monitor(tag_source=tags)
    account.refresh()
    prod.deny("iam:*Tags")
    prod.deny("iam:GetAccountAuthorizationDetails")
    clock.advance(hours=1)
    key.use()
    account.refresh()

    assert account.latest.failure is Reason.ACCESS_DENIED
    assert account.latest.users[0].tags == (("team", "red"),)
    assert account.last_uses == {key.id: last_use_of(key)}


@BOTH_SOURCES
def test_a_user_deleted_meanwhile(
    aws: FakeAws, prod: fake_aws.Account, monitor: Monitor, tags: TagSource
) -> None:
    """A user deleted before the tags are read is not a failure."""
    alice = prod.add_user("alice", tags={"team": "red"})
    bulk = tags is TagSource.BULK
    operation = "GetAccountAuthorizationDetails" if bulk else "ListUserTags"
    with before_answer(aws, operation, alice.delete):
        snapshot = monitor(tag_source=tags, report_mode=ReportMode.OFF).refresh()

    assert snapshot.up
    assert snapshot.users == ()


@BOTH_SOURCES
def test_a_recreated_user(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor, tags: TagSource
) -> None:
    """A user does not inherit the tags of a deleted user of the same name."""
    prod.add_user("alice", tags={"team": "red"})
    account = monitor(tag_source=tags)
    account.refresh()
    clock.advance(minutes=15)
    prod.users["alice"].delete()
    prod.add_user("alice")
    account.refresh()

    assert account.latest.users[0].tags == ()


def test_tags_that_fail_cost_no_keys(
    aws: FakeAws, prod: fake_aws.Account, monitor: Monitor
) -> None:
    """When the tags of several users fail, no more are requested, and the keys are read."""
    add_users(prod, 10, keys=10)
    aws.fault(Fault(operation="ListUserTags", code="ServiceFailure"))
    account = monitor(tag_source=TagSource.PER_USER, report_mode=ReportMode.OFF)
    account.refresh()

    assert account.latest.failure is Reason.SERVICE_FAILURE
    assert account.calls["ListUserTags"] == MAX_CONSECUTIVE_FAILURES * MAX_ATTEMPTS
    assert account.last_uses == last_uses_of(prod)
