"""Keys that are activated, deactivated, or expire."""

from dataclasses import replace

import pytest

from exporter.model import Event, EventKind
from tests.builders import a_key, a_use
from tests.memory.watcher import KEY, Watcher, day, kinds, owner

ACTIVATED, DEACTIVATED, EXPIRED = (
    EventKind.ACTIVATED,
    EventKind.DEACTIVATED,
    EventKind.EXPIRED,
)


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ("Active", "Inactive", DEACTIVATED),
        ("Inactive", "Active", ACTIVATED),
        ("Active", "Expired", EXPIRED),
        ("Active", "Suspended", DEACTIVATED),  # which AWS may introduce
    ],
)
def test_a_status_changes(before: str, after: str, kind: EventKind) -> None:
    """A list of the user's keys has the key with another status: it changed until then."""
    watcher = Watcher()
    watcher.look(0, a_key(status=before))
    users = (owner(listed=day(1)),)
    assert watcher.look(1, a_key(status=after), users=users, finished_at=day(2)) == [
        Event(
            kind=kind,
            at=day(1),
            noticed_at=day(2),
            user="alice",
            access_key_id=KEY,
            occurrence="1",
        )
    ]


def test_each_change_is_another_event() -> None:
    """A key may be deactivated again and again, within an hour."""
    watcher = Watcher()
    watcher.look(0, a_key())
    events = [
        event
        for number in range(1, 5)
        for event in watcher.look(
            number / 100, a_key(status="Inactive" if number % 2 else "Active")
        )
    ]
    assert kinds(events) == [DEACTIVATED, ACTIVATED, DEACTIVATED, ACTIVATED]
    assert len({event.identity for event in events}) == 4


def test_the_same_status_is_no_event() -> None:
    """A key that is inactive from the beginning, and stays so, is no event."""
    watcher = Watcher()
    watcher.look(0, a_key(status="Inactive"))
    assert watcher.look(1, a_key(status="Inactive")) == []


def test_a_status_that_no_list_confirms_is_not_known() -> None:
    """The keys of the user could not be listed."""
    watcher = Watcher()
    watcher.look(0, a_key())
    assert watcher.look(1, a_key(status="Inactive"), users=(owner(),)) == []
    assert watcher.key.key.status == "Active"


def test_an_outdated_report_does_not_change_a_status_back() -> None:
    """Another process relies on a report from before the key was deactivated."""
    watcher = Watcher()
    watcher.look(0, a_key())
    watcher.look(1, a_key(status="Inactive"))
    assert watcher.look(1.1, a_key(), users=(owner(listed=day(0.5)),)) == []
    assert watcher.key.key.status == "Inactive"
    assert watcher.look(1.2, a_key(status="Inactive")) == []


def test_a_report_does_not_distinguish_inactive_from_expired() -> None:
    """Another process listed the key before it expired, and a later report still fits."""
    watcher = Watcher()
    watcher.look(0, a_key(status="Expired"))
    by_report = owner(listed=day(1), keys_at=day(2))
    assert watcher.look(2, a_key(status="Inactive"), users=(by_report,)) == []
    assert (watcher.key.key.status, watcher.key.status_as_of) == ("Expired", day(1))
    assert kinds(watcher.look(3, a_key(status="Inactive"))) == [DEACTIVATED]


def test_a_report_shows_a_key_activated_or_deactivated() -> None:
    """That is what it distinguishes."""
    watcher = Watcher()
    watcher.look(0, a_key())
    by_report = owner(listed=day(1), keys_at=day(2))
    assert kinds(watcher.look(2, a_key(status="Inactive"), users=(by_report,))) == [DEACTIVATED]
    by_report = owner(listed=day(3), keys_at=day(4))
    assert kinds(watcher.look(4, a_key(), users=(by_report,))) == [ACTIVATED]


def test_since_when_a_key_is_inactive() -> None:
    """A key is inactive since a list first showed it so, whatever it is called later."""
    watcher = Watcher()
    watcher.look(0, a_key())
    assert watcher.key.inactive_since is None
    for at, status in enumerate(["Inactive", "Inactive", "Expired"], 1):
        watcher.look(at, a_key(status=status))
        assert watcher.key.inactive_since == day(1)
    watcher.look(4, a_key())
    assert watcher.key.inactive_since is None
    watcher.look(5, a_key(status="Inactive"))
    assert watcher.key.inactive_since == day(5)


def test_a_key_that_was_always_inactive_is_so_since_it_was_first_seen() -> None:
    """Nobody knows for how long it was inactive before."""
    watcher = Watcher()
    watcher.look(3, a_key(status="Inactive"))
    assert watcher.key.inactive_since == day(3)


def test_a_final_last_use_is_remembered() -> None:
    """A process that starts with what is remembered need not read it again."""
    watcher = Watcher()
    watcher.look(0, a_key(status="Inactive", final=True))
    watcher.look(1, a_key(status="Inactive", final=True))
    assert watcher.key.key.final


def test_a_last_use_is_not_final_if_the_key_is_active_again() -> None:
    """Neither by its list, nor by an outdated snapshot that has it as inactive."""
    watcher = Watcher()
    inactive = a_key(status="Inactive", final=True)
    watcher.look(0, inactive)
    watcher.look(1, a_key())
    assert not watcher.key.key.final
    watcher.look(1.1, inactive, users=(owner(listed=day(0)),))
    assert not watcher.key.key.final


def test_an_outdated_last_use_is_not_final() -> None:
    """Another process read the last use of the inactive key before it was used once more."""
    watcher = Watcher()
    watcher.look(0, a_key(status="Inactive"))
    new = a_key(status="Inactive", last_use=a_use(0.5))
    watcher.look(1, new)
    watcher.look(1.1, replace(a_key(status="Inactive"), final=True))
    assert not watcher.key.key.final


def test_a_status_is_not_final_before_it_is_read_again() -> None:
    """The last use was read while the key was active, and could not be read since."""
    watcher = Watcher()
    watcher.look(0, a_key(status="Inactive", final=True))
    watcher.look(1, a_key(status="Active"))
    watcher.look(2, a_key(status="Inactive"))
    assert not watcher.key.key.final
