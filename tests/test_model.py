"""What is known of an account, and how it combines with what a refresh finds."""

from dataclasses import replace
from datetime import timedelta

import pytest

from exporter.model import NEVER, UNKNOWN, AccountSnapshot, ReadError, Reason, Use, latest
from tests.builders import (
    NOON,
    a_key,
    a_role_account,
    a_snapshot,
    a_use,
    a_user,
    an_account,
    days_ago,
)

OLD, NEW = a_use(10), a_use(1)
LIMIT = days_ago(7)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (UNKNOWN, UNKNOWN, UNKNOWN),
        (UNKNOWN, NEVER, NEVER),
        (UNKNOWN, OLD, OLD),
        (UNKNOWN, NEW, NEW),
        (NEVER, UNKNOWN, NEVER),
        (NEVER, NEVER, NEVER),
        (NEVER, OLD, OLD),
        (NEVER, NEW, NEW),
        (OLD, UNKNOWN, OLD),
        (OLD, NEVER, OLD),
        (OLD, OLD, OLD),
        (OLD, NEW, NEW),
        (NEW, UNKNOWN, NEW),
        (NEW, NEVER, NEW),
        (NEW, OLD, NEW),
        (NEW, NEW, NEW),
    ],
)
def test_a_last_use_never_goes_backwards(before: Use, after: Use, expected: Use) -> None:
    """The later of two uses wins, and any use wins over never and unknown."""
    assert latest(before, after) == expected


def test_a_failed_refresh_keeps_the_data() -> None:
    """A failed refresh keeps keys and read_at, and the account is not up."""
    before = a_snapshot(a_key())

    after = before.failed(ReadError(Reason.THROTTLED, "slow down"))

    assert (after.keys, after.read_at, after.up) == (before.keys, NOON, False)


def test_failures_are_counted_by_reason() -> None:
    """Each failed refresh increments the count of its reason."""
    error = ReadError(Reason.THROTTLED, "slow down")

    snapshot = AccountSnapshot(an_account()).failed(error).failed(error)

    assert dict(snapshot.failures) == {Reason.THROTTLED: 2}


def test_an_account_that_was_never_read_is_not_up() -> None:
    """Before the first refresh an account is not up."""
    assert not AccountSnapshot(an_account()).up


def test_old_last_uses_are_dropped_and_their_keys_kept() -> None:
    """A last use that was not confirmed since the limit is unknown; the key is still known."""
    stale, fresh = a_key("AKIA1", as_of=days_ago(8)), a_key("AKIA2", as_of=days_ago(1))

    keys = a_snapshot(stale, fresh).without_stale_facts(lambda at: at < LIMIT).keys

    assert [(key.id, key.last_use, key.as_of) for key in keys] == [
        ("AKIA1", UNKNOWN, None),
        ("AKIA2", fresh.last_use, fresh.as_of),
    ]


def test_data_confirmed_at_the_limit_is_kept() -> None:
    """Data that is exactly as old as allowed is kept."""
    users = (a_user(keys_at=LIMIT),)
    snapshot = a_snapshot(a_key(as_of=LIMIT), users=users, listed_at=LIMIT)

    assert snapshot.without_stale_facts(lambda at: at < LIMIT) is snapshot


def test_a_final_last_use_does_not_age() -> None:
    """An inactive key keeps its final last use."""
    snapshot = a_snapshot(a_key(status="Inactive", final=True, as_of=days_ago(300)))

    assert snapshot.without_stale_facts(lambda at: at < LIMIT) is snapshot


def test_keys_that_could_not_be_listed_for_long_are_dropped() -> None:
    """The keys of a user are dropped, and unknown, if they were not listed since the limit."""
    before = a_snapshot(a_key("AKIA1"), a_key("AKIA2", user="bob"))
    stale = replace(before, users=(replace(before.users[0], keys_at=days_ago(8)), before.users[1]))

    snapshot = stale.without_stale_facts(lambda at: at < LIMIT)

    assert ([key.id for key in snapshot.keys], snapshot.keys_known) == (["AKIA2"], False)


def test_an_old_list_of_users_is_dropped_completely() -> None:
    """Nothing is known of an account whose users could not be listed since the limit."""
    before = a_snapshot(a_key(), listed_at=days_ago(8), read_at=days_ago(8))

    snapshot = before.without_stale_facts(lambda at: at < LIMIT)

    assert (snapshot.users, snapshot.keys, snapshot.listed_at) == ((), (), None)


def test_the_last_success_outlives_the_data() -> None:
    """The time of the last success is never dropped."""
    before = a_snapshot(a_key(), listed_at=days_ago(8), read_at=days_ago(8))

    assert before.without_stale_facts(lambda at: at < LIMIT).read_at == days_ago(8)


def test_a_recreated_user_is_another_user() -> None:
    """A user of the same name with another id, or another creation time, is not the same."""
    user = a_user(id="AIDA1")

    others = [a_user(id="AIDA2"), a_user(id="AIDA1", created=NOON + timedelta(seconds=1))]

    assert [user.is_same_user(other) for other in others] == [False, False]


def test_a_user_without_an_id_is_identified_by_creation_time() -> None:
    """The creation time decides where one of the two has no id, as in credential reports."""
    assert a_user(id="AIDA1").is_same_user(a_user())


def test_an_external_id_is_not_shown() -> None:
    """The representation of an account leaves out its external id."""
    assert "hush" not in repr(a_role_account(external_id="hush"))


@pytest.mark.parametrize(
    ("fields", "label"),
    [
        ({"id_": "1", "name": "prod", "profile": "p"}, "prod"),
        ({"id_": "1", "name": "", "profile": "p"}, "1"),
        ({"id_": "", "name": "", "profile": "p"}, "p"),
        ({"id_": "", "name": ""}, "default"),
    ],
)
def test_an_account_always_has_a_label(fields: dict[str, str], label: str) -> None:
    """The label is the name, else the id, else the profile, else default."""
    assert an_account(**fields).label == label
