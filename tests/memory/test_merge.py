"""What two processes remember that each went on to read on its own."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.memory import merge
from exporter.memory.uses import MAX_USES
from exporter.model import (
    NEVER,
    UNKNOWN,
    AccountMemory,
    Event,
    EventKind,
    KeyMemory,
    LastUse,
    Root,
    SeenUse,
    Use,
)
from tests.builders import a_key
from tests.memory.watcher import KEY, Watcher, day, kinds, owner, used

Look = Callable[[Watcher], object]


def apart(base: Look, one: Look, other: Look) -> tuple[AccountMemory, AccountMemory]:
    """What two processes remember that went on apart from a common *base*."""
    watcher = Watcher(shown_for=timedelta(days=99))
    base(watcher)
    watchers = [Watcher(watcher.memory, shown_for=timedelta(days=99)) for _ in range(2)]
    one(watchers[0])
    other(watchers[1])
    return watchers[0].memory, watchers[1].memory


def merged(one: AccountMemory, other: AccountMemory) -> Watcher:
    """A process that goes on with what both remember, in whichever order they are merged."""
    memory = merge(one, other)
    assert memory == merge(other, one)
    assert memory == merge(memory, one) == merge(memory, other) == merge(memory, memory)
    return Watcher(memory, shown_for=timedelta(days=99))


def test_with_one_that_remembers_nothing() -> None:
    """A process that has not read the account yet adds nothing."""
    watcher = Watcher()
    watcher.look(0, a_key(), root=Root(day(0), 0))
    assert merged(watcher.memory, AccountMemory()).memory == watcher.memory


def test_an_event_that_both_have_noticed_is_one() -> None:
    """It was noticed when the first one has noticed it."""
    one, other = apart(
        lambda base: base.look(0, a_key(last_use=NEVER)),
        lambda one: one.look(2, a_key(last_use=used(0.5))),
        lambda other: other.look(1, a_key(last_use=used(0.5))),
    )
    both = merged(one, other)
    assert both.memory.events == other.events
    assert both.look(3, a_key(last_use=used(0.5))) == []


def test_events_that_one_has_noticed_are_not_lost() -> None:
    """In the order in which they were noticed."""
    one, other = apart(
        lambda base: base.look(0, a_key()),
        lambda one: (one.look(1, a_key(last_use=used(0.5, "iam"))), one.look(9, a_key())),
        lambda other: (other.look(2), other.look(3)),
    )
    both = merged(one, other)
    assert set(both.memory.events) == {*one.events, *other.events}
    times = [event.noticed_at for event in both.memory.events]
    assert times == sorted(times)


def test_what_one_has_read_later_counts() -> None:
    """The latest list of users, and the latest list of each user's keys."""
    one, other = apart(
        lambda base: base.look(0, a_key()),
        lambda one: one.look(
            1, a_key(status="Inactive"), users=(owner(listed=day(1), path="/1/"),)
        ),
        lambda other: other.look(2, users=(owner(listed=day(0), path="/2/"),)),
    )
    both = merged(one, other)
    (user,) = both.memory.users.values()
    assert both.memory.users_as_of == day(2)
    assert (user.path, user.keys_at, user.keys_as_of) == ("/2/", day(1), day(1))
    assert both.key.key.status == "Inactive"
    assert both.key.inactive_since == day(1)


def test_users_that_the_later_list_lacks_are_gone() -> None:
    """And their keys are deleted as soon as somebody looks."""
    one, other = apart(
        lambda base: base.look(0),
        lambda one: one.look(1, a_key("AKIABOBBOBBOBBOBBOB1", user="bob", created=day(0.5))),
        lambda other: other.look(2),
    )
    both = merged(one, other)
    assert list(both.memory.users) == ["AIDAALICE"]
    assert kinds(both.look(3)) == [EventKind.DELETED]


def test_a_key_that_one_has_seen_deleted_is_deleted() -> None:
    """The other one saw it before."""
    one, other = apart(
        lambda base: base.look(0, a_key()),
        lambda one: one.look(2),
        lambda other: other.look(1, a_key()),
    )
    both = merged(one, other)
    assert both.key.deleted_at == day(2)
    assert both.look(3) == []


def test_a_renamed_users_keys_have_the_later_name() -> None:
    """Although the one who knows the later name could not list the keys."""
    one, other = apart(
        lambda base: base.look(0, a_key()),
        lambda one: one.look(1, a_key()),
        lambda other: other.look(2, users=(owner("zed", id="AIDAALICE"),)),
    )
    assert merged(one, other).key.key.user == "zed"


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (used(1), used(2), used(2)),
        (NEVER, used(1), used(1)),
        (UNKNOWN, used(1), used(1)),
        (UNKNOWN, NEVER, NEVER),
        (UNKNOWN, UNKNOWN, UNKNOWN),
        (LastUse(day(1), "ec2", "N/A"), LastUse(day(1), "s3", "N/A"), LastUse(day(1), "s3", "N/A")),
    ],
)
def test_the_latest_use_counts(one: Use, other: Use, expected: Use) -> None:
    """A known last use never goes backwards."""
    memories = apart(
        lambda base: base.look(0, a_key(last_use=UNKNOWN)),
        lambda first: first.look(3, a_key(last_use=one)),
        lambda second: second.look(3, a_key(last_use=other)),
    )
    assert merged(*memories).key.key.last_use == expected


def test_a_use_is_confirmed_by_who_knows_it() -> None:
    """What the other one confirmed later was an earlier use."""
    one, other = apart(
        lambda base: base.look(0, a_key(last_use=used(-1))),
        lambda one: one.look(2, a_key(last_use=used(1))),
        lambda other: other.look(3, a_key(last_use=used(-1), as_of=day(3))),
    )
    assert merged(one, other).key.key.as_of == day(2)


def test_a_use_is_confirmed_when_one_has_read_it_last() -> None:
    """Both know it."""
    one, other = apart(
        lambda base: base.look(0, a_key()),
        lambda one: one.look(2, a_key()),
        lambda other: other.look(40, a_key()),
    )
    both = merged(one, other)
    assert both.key.key.as_of == day(40)
    assert EventKind.AWAKENED in kinds(both.look(50, a_key(last_use=used(49))))


def test_a_last_use_is_final_if_both_say_so() -> None:
    """Otherwise it is read once more, which does no harm."""
    inactive = a_key(status="Inactive")
    one, other = apart(
        lambda base: base.look(0, inactive),
        lambda one: one.look(1, replace(inactive, final=True)),
        lambda other: other.look(2, inactive),
    )
    assert merged(one, one).key.key.final
    assert not merged(one, other).key.key.final


def test_places_are_united() -> None:
    """A place that one of them knows is not new."""
    one, other = apart(
        lambda base: base.look(0, a_key(last_use=used(-1))),
        lambda one: one.look(8, a_key(last_use=used(7, "iam", "us-east-1"))),
        lambda other: other.look(9, a_key(last_use=used(8))),
    )
    both = merged(one, other)
    assert both.key.uses == (
        SeenUse("iam", "us-east-1", day(7), day(7)),
        SeenUse("s3", "eu-west-1", day(-1), day(8)),
    )
    assert both.look(20, a_key(last_use=used(19, "iam"))) == []


def test_a_key_is_watched_since_one_of_them_watches_it() -> None:
    """The other one could not read its last use so early."""
    one, other = apart(
        lambda base: base.look(0, a_key(last_use=UNKNOWN)),
        lambda one: one.look(1, a_key()),
        lambda other: other.look(2, a_key()),
    )
    assert merged(one, other).key.watched_since == day(1)


def test_a_key_is_inactive_since_one_of_them_saw_it_so() -> None:
    """Both have seen it deactivated."""
    inactive = a_key(status="Inactive")
    one, other = apart(
        lambda base: base.look(0, a_key()),
        lambda one: one.look(1, inactive),
        lambda other: other.look(2, inactive),
    )
    both = merged(one, other)
    assert both.key.inactive_since == day(1)
    assert both.key.status_changes == 1
    assert both.look(3, inactive) == []


@pytest.mark.parametrize("later", [3, 9])
def test_a_key_is_inactive_since_it_was_last_active(later: int) -> None:
    """One of them has seen it active in between."""
    inactive = a_key(status="Inactive")
    one, other = apart(
        lambda base: base.look(0, a_key()),
        lambda one: (
            one.look(later, inactive, users=(owner(listed=day(1)),)) and one.look(later, inactive)
        ),
        lambda other: [other.look(at, a_key() if at == 2 else inactive) for at in (1, 2, 4)],
    )
    assert merged(one, other).key.inactive_since == day(4)


def test_a_key_that_is_active_again_is_not_inactive() -> None:
    """Whoever read its status last knows."""
    one, other = apart(
        lambda base: base.look(0, a_key(status="Inactive")),
        lambda one: one.look(1, a_key()),
        lambda other: other.look(0.5, a_key(status="Inactive")),
    )
    both = merged(one, other)
    assert both.key.inactive_since is None
    assert both.key.status_changes == 1


def test_status_changes_are_counted_by_who_has_seen_most() -> None:
    """So that the next one is another event."""
    one, other = apart(
        lambda base: base.look(0, a_key()),
        lambda one: [one.look(1, a_key(status="Inactive")), one.look(2, a_key())],
        lambda other: other.look(3, a_key()),
    )
    both = merged(one, other)
    assert both.key.status_changes == 2
    (event,) = both.look(4, a_key(status="Inactive"))
    assert event.identity not in {known.identity for known in (*one.events, *other.events)}


def test_root_is_united() -> None:
    """The latest number of keys, and the latest use of each credential."""
    one, other = apart(
        lambda base: base.look(0, root=Root(day(0), 0, uses_as_of=day(0))),
        lambda one: one.look(1, root=Root(day(1), 1, day(0.6), day(0.4), day(1))),
        lambda other: other.look(2, root=Root(day(2), None, None, day(0.5), day(1.5))),
    )
    both = merged(one, other).memory
    assert both.root == Root(day(1), 1, day(0.6), day(0.5), day(1.5))
    assert merged(one, AccountMemory()).memory.root == one.root


# -- any two memories --------------------------------------------------------------------------

DAYS = st.integers(0, 4)
LAST_USES = st.one_of(
    st.just(NEVER), st.just(UNKNOWN), st.builds(used, DAYS, st.sampled_from(["s3", "iam"]))
)


@st.composite
def memories(draw: st.DrawFn) -> AccountMemory:
    """What somebody may remember of the same few users and keys; lists of one time are the same."""
    listed = draw(DAYS)
    names = ["alice", "bob"][: 1 + listed % 2]
    users = {f"AIDA{name}": owner(name, id=f"AIDA{name}", listed=day(draw(DAYS))) for name in names}
    keys = {}
    for id_ in draw(st.sets(st.sampled_from(["AKIA1", "AKIA2"]))):
        last_use, at = draw(LAST_USES), draw(DAYS)
        status = ["Active", "Inactive", "Expired"][at % 3]
        keys[id_] = KeyMemory(
            key=a_key(
                id_,
                status=status,
                last_use=last_use,
                as_of=None if last_use is UNKNOWN else day(draw(DAYS)),
                final=draw(st.booleans()),
            ),
            user_id="AIDAalice",
            status_as_of=day(at),
            watched_since=None if last_use is UNKNOWN else day(draw(DAYS)),
            uses=(SeenUse("s3", "eu-west-1", day(0), day(draw(DAYS))),),
            inactive_since=day(at - 1) if at % 3 else None,
            status_changes=at,
        )
    events = {
        event.identity: event
        for event in draw(
            st.lists(
                st.builds(
                    Event,
                    kind=st.sampled_from([EventKind.CREATED, EventKind.AWAKENED]),
                    at=DAYS.map(day),
                    noticed_at=DAYS.map(day),
                    access_key_id=st.sampled_from(["AKIA1", "AKIA2"]),
                    seconds=st.sampled_from([None, 1.0, 2.0]),
                    service=st.sampled_from(["", "s3"]),
                )
            )
        )
    }
    ordered = merge(AccountMemory(events=tuple(events.values())), AccountMemory()).events
    return AccountMemory(
        users=MappingProxyType(users),
        users_as_of=day(listed),
        keys=MappingProxyType(keys),
        root=draw(st.sampled_from([None, Root(day(0), 0), Root(day(1), 1, uses_as_of=day(1))])),
        events=ordered,
    )


@given(memories(), memories())
def test_the_order_does_not_matter(one: AccountMemory, other: AccountMemory) -> None:
    """Both processes come to the same result."""
    assert merge(one, other) == merge(other, one)


@given(memories(), memories())
def test_merging_again_changes_nothing(one: AccountMemory, other: AccountMemory) -> None:
    """What is known already adds nothing."""
    both = merge(one, other)
    assert merge(both, both) == both
    assert {event.identity for event in both.events} == {
        event.identity for event in (*one.events, *other.events)
    }
    assert len(both.events) == len({event.identity for event in both.events})


@given(memories())
def test_merging_with_oneself_changes_nothing(one: AccountMemory) -> None:
    """Both remember the same."""
    assert merge(one, one) == one


def test_too_many_places_are_forgotten() -> None:
    """Together they know more than are remembered: the oldest are forgotten."""

    def sees(first: int) -> Look:
        return lambda watcher: [
            watcher.look(number, a_key(last_use=used(number, f"service-{number}")))
            for number in range(first, first + MAX_USES)
        ]

    one, other = apart(lambda base: base.look(0, a_key(KEY, last_use=NEVER)), sees(1), sees(33))
    services = [use.service for use in merged(one, other).key.uses]
    assert services == [f"service-{number}" for number in range(33, 97)]
