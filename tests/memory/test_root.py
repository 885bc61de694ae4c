"""Root, who should do nothing at all."""

from datetime import datetime
from typing import Any

import pytest

from exporter.model import Event, EventKind, Root
from tests.memory.watcher import Watcher, day, kinds

USED, KEY_CREATED = EventKind.ROOT_USED, EventKind.ROOT_KEY_CREATED


def by_report(generated: float, keys: int = 0, **uses: datetime | None) -> Root:
    at = day(generated)
    fields: dict[str, Any] = {f"{name}_last_used": used for name, used in uses.items()}
    return Root(at, keys, **fields, uses_as_of=at)


def use(credential: str, at: float) -> dict[str, Any]:
    return {credential: day(at)}


def by_summary(at: float, keys: int | None) -> Root:
    return Root(day(at), keys)


@pytest.mark.parametrize("credential", ["password", "access_key"])
def test_root_is_used(credential: str) -> None:
    """A report has a later use than the one before."""
    watcher = Watcher()
    watcher.look(0, root=by_report(0, **use(credential, -9)))
    assert watcher.look(2, root=by_report(1, **use(credential, 0.5))) == [
        Event(
            kind=USED,
            at=day(0.5),
            noticed_at=day(2),
            occurrence=f"{credential} after {day(-9).isoformat()}",
            credential=credential,
        )
    ]


@pytest.mark.parametrize("credential", ["password", "access_key"])
def test_root_is_used_for_the_first_time(credential: str) -> None:
    """The report before had no use."""
    watcher = Watcher()
    watcher.look(0, root=by_report(0))
    (event,) = watcher.look(1, root=by_report(1, **use(credential, 0.5)))
    assert (event.kind, event.credential) == (USED, credential)
    assert event.occurrence == f"{credential} after never"


def test_each_use_of_root_is_another_event() -> None:
    """Password and access key, again and again."""
    watcher = Watcher()
    watcher.look(0, root=by_report(0))
    looks = [
        by_report(number, password=day(number - 0.5), access_key=day(number - 0.6))
        for number in (1, 2)
    ]
    events = [event for at, root in enumerate(looks, 1) for event in watcher.look(at, root=root)]
    assert len({event.identity for event in events}) == 4


def test_the_same_use_is_no_event() -> None:
    """A later report may have the same uses, or none any more."""
    watcher = Watcher()
    watcher.look(0, root=by_report(0, password=day(-1), access_key=day(-2)))
    assert watcher.look(1, root=by_report(1, password=day(-1), access_key=day(-2))) == []
    assert watcher.look(2, root=by_report(2)) == []
    assert watcher.look(3, root=by_report(3, password=day(-1), access_key=day(-2))) == []


def test_the_first_report_is_a_baseline() -> None:
    """Before it nothing is known of root's uses, even if the number of keys was."""
    watcher = Watcher()
    assert watcher.look(0, root=by_summary(0, 0)) == []
    assert watcher.look(2, root=by_report(1, password=day(-9))) == []
    assert kinds(watcher.look(3, root=by_report(3, password=day(2)))) == [USED]


def test_what_is_not_known_of_root_is_no_event() -> None:
    """A refresh that knows nothing of root does not change what is remembered."""
    watcher = Watcher()
    watcher.look(0, root=by_report(0))
    assert watcher.look(1, root=None) == []
    assert watcher.memory.root == by_report(0)
    assert kinds(watcher.look(2, root=by_report(2, password=day(1)))) == [USED]


def test_an_older_report_proves_nothing() -> None:
    """Another process has an older report, from before root's key was deleted."""
    watcher = Watcher()
    watcher.look(1, root=by_report(1, 0, password=day(0)))
    older = by_report(0.5, 1, password=day(0), access_key=day(0.4))
    assert watcher.look(1.1, root=older) == []
    assert watcher.memory.root == by_report(1, 0, password=day(0))


def test_a_report_that_is_older_than_the_summary_has_root_s_uses() -> None:
    """Another process only reads the account's summary, more often than there are reports."""
    watcher = Watcher()
    watcher.look(0, root=by_report(0, 1))
    watcher.look(1, root=by_summary(1, 1))
    assert kinds(watcher.look(1.1, root=by_report(0.9, 1, password=day(0.5)))) == [USED]
    root = watcher.memory.root
    assert root == Root(day(1), 1, password_last_used=day(0.5), uses_as_of=day(0.9))


def test_root_s_uses_are_remembered_beside_the_summary() -> None:
    """The summary has none."""
    watcher = Watcher()
    watcher.look(0, root=by_report(0, 1, access_key=day(-1)))
    watcher.look(1, root=by_summary(1, 1))
    assert watcher.memory.root == Root(day(1), 1, access_key_last_used=day(-1), uses_as_of=day(0))


@pytest.mark.parametrize("before", [0, 1])
def test_root_gets_a_key(before: int) -> None:
    """A report has more active keys than the one before."""
    watcher = Watcher()
    watcher.look(0, root=by_report(0, before))
    assert watcher.look(2, root=by_report(1, before + 1)) == [
        Event(kind=KEY_CREATED, at=day(1), noticed_at=day(2), occurrence=day(1).isoformat())
    ]


@pytest.mark.parametrize("after", [by_summary(1, 1), by_report(1, 1), by_report(1, 2)])
def test_root_gets_its_first_key(after: Root) -> None:
    """The account's summary showed that there was none, not even an inactive one."""
    watcher = Watcher()
    watcher.look(0, root=by_summary(0, 0))
    assert kinds(watcher.look(1, root=after)) == [KEY_CREATED]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (by_report(0, 1), by_report(1, 1)),
        (by_report(0, 2), by_report(1, 1)),
        (by_report(0, 1), by_summary(1, 1)),
        (by_summary(0, 1), by_summary(1, 1)),
        (by_summary(0, 1), by_report(1, 2)),  # the summary shows 1 for any number
        (by_report(0, 0), by_summary(1, 1)),  # the summary has inactive keys too
        (by_summary(0, None), by_report(1, 1)),
        (by_report(0, 0), by_summary(1, None)),
    ],
)
def test_root_may_have_had_the_key_before(before: Root, after: Root) -> None:
    """Reports count the active keys, and the summary only says whether there are any."""
    watcher = Watcher()
    watcher.look(0, root=before)
    assert watcher.look(1, root=after) == []


def test_a_number_of_keys_that_is_unknown_is_not_forgotten() -> None:
    """What was known before is the best that is known."""
    watcher = Watcher()
    watcher.look(0, root=by_report(0, 1))
    watcher.look(1, root=by_summary(1, None))
    assert watcher.memory.root is not None
    assert watcher.memory.root.access_keys == 1


def test_root_gets_a_key_once_although_the_clock_was_ahead() -> None:
    """The summary was read at a time in the future."""
    watcher = Watcher()
    watcher.look(500, root=by_summary(500, 0))
    assert kinds(watcher.look(1, root=by_summary(1, 1))) == [KEY_CREATED]
    assert watcher.look(2, root=by_summary(2, 1)) == []
