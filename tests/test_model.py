"""What we know, and how it gets along with what we learn."""

from dataclasses import replace
from datetime import timedelta

import pytest

from exporter.model import NEVER, UNKNOWN, AccountSnapshot, ReadError, Reason, Use, latest
from tests.facts import NOON, a_key, a_snapshot, a_use, a_user, an_account, days_ago

OLD, NEW = a_use(10), a_use(1)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (OLD, NEW, NEW),
        (NEW, OLD, NEW),
        (NEW, NEVER, NEW),
        (NEW, UNKNOWN, NEW),
        (NEVER, NEW, NEW),
        (NEVER, UNKNOWN, NEVER),
        (UNKNOWN, NEVER, NEVER),
        (UNKNOWN, NEW, NEW),
        (UNKNOWN, UNKNOWN, UNKNOWN),
    ],
)
def test_a_known_last_use_never_goes_backwards(before: Use, after: Use, expected: Use) -> None:
    """Of two answers the later use stands, and any use stands above never and unknown."""
    assert latest(before, after) == expected


def test_a_failed_attempt_keeps_the_facts() -> None:
    """A failed attempt keeps keys and read_at, and is not up."""
    before = a_snapshot(a_key())

    after = before.failed(ReadError(Reason.THROTTLED, "slow down"))

    assert (after.keys, after.read_at, after.up) == (before.keys, NOON, False)


def test_failures_are_counted_by_reason() -> None:
    """Each failed attempt adds one to its reason."""
    error = ReadError(Reason.THROTTLED, "slow down")

    snapshot = AccountSnapshot(an_account()).failed(error).failed(error)

    assert dict(snapshot.failures) == {Reason.THROTTLED: 2}


def test_an_account_that_was_never_read_is_not_up() -> None:
    """Before the first reading an account is not up."""
    assert not AccountSnapshot(an_account()).up


def test_old_last_uses_are_forgotten_and_their_keys_stay() -> None:
    """A last use that was not confirmed since the limit is unknown; the key is still known."""
    stale, fresh = a_key("AKIA1", as_of=days_ago(8)), a_key("AKIA2", as_of=days_ago(1))

    snapshot = a_snapshot(stale, fresh).without_facts_before(days_ago(7))

    assert [key.last_use for key in snapshot.keys] == [UNKNOWN, fresh.last_use]


def test_a_settled_last_use_does_not_age() -> None:
    """A key that cannot be used any more keeps its last use."""
    key = a_key(status="Inactive", final=True, as_of=days_ago(300))

    snapshot = a_snapshot(key).without_facts_before(days_ago(7))

    assert snapshot.keys == (key,)


def test_keys_that_could_not_be_listed_for_long_are_forgotten() -> None:
    """Keys of a user whose listing was not confirmed since the limit are gone, and not known."""
    before = a_snapshot(a_key("AKIA1"), a_key("AKIA2", user="bob"))
    stale = replace(before, users=(replace(before.users[0], keys_at=days_ago(8)), before.users[1]))

    snapshot = stale.without_facts_before(days_ago(7))

    assert ([key.id for key in snapshot.keys], snapshot.keys_known) == (["AKIA2"], False)


def test_an_old_listing_is_forgotten_whole() -> None:
    """An account whose users could not be listed since the limit has no facts any more."""
    before = a_snapshot(a_key(), listed_at=days_ago(8), read_at=days_ago(8))

    snapshot = before.without_facts_before(days_ago(7))

    assert (snapshot.users, snapshot.keys, snapshot.listed_at) == ((), (), None)


def test_the_last_success_outlives_the_facts() -> None:
    """When the last success was is known for ever."""
    before = a_snapshot(a_key(), listed_at=days_ago(8), read_at=days_ago(8))

    assert before.without_facts_before(days_ago(7)).read_at == days_ago(8)


def test_a_user_made_again_is_another() -> None:
    """A user of the same name with another id, or another creation, is not the same."""
    user = a_user(id="AIDA1")

    others = [a_user(id="AIDA2"), a_user(id="AIDA1", created=NOON + timedelta(seconds=1))]

    assert [user.is_same_user(other) for other in others] == [False, False]


def test_a_user_known_from_the_report_alone_is_told_by_creation() -> None:
    """Where one of the two has no id, the time of creation decides."""
    assert a_user(id="AIDA1").is_same_user(a_user())


def test_an_external_id_is_not_shown() -> None:
    """The representation of an account leaves out its external id."""
    assert "hush" not in repr(an_account(external_id="hush"))


@pytest.mark.parametrize(
    ("facts", "label"),
    [
        ({"id_": "1", "name": "prod", "profile": "p"}, "prod"),
        ({"id_": "1", "name": "", "profile": "p"}, "1"),
        ({"id_": "", "name": "", "profile": "p"}, "p"),
        ({"id_": "", "name": ""}, "default"),
    ],
)
def test_an_account_always_has_a_label(facts: dict[str, str], label: str) -> None:
    """The label is the name, else the id, else the profile, else default."""
    assert an_account(**facts).label == label
