"""Which events are remembered, and for how long."""

from datetime import timedelta

from exporter.memory import recent
from exporter.model import NEVER, Event, EventKind
from tests.builders import a_key
from tests.memory.watcher import Watcher, day, kinds, used


def event(noticed: float, at: float = 0, key: str = "AKIA") -> Event:
    return Event(kind=EventKind.CREATED, at=day(at), noticed_at=day(noticed), access_key_id=key)


def test_events_are_remembered_for_some_time() -> None:
    """From when they were noticed until just before they have been shown for long enough."""
    watcher = Watcher()
    watcher.look(0)
    events = watcher.look(1, a_key())
    watcher.look(1.99, a_key())
    assert list(watcher.memory.events) == events
    watcher.look(2, a_key())
    assert watcher.memory.events == ()


def test_events_of_a_clock_that_was_ahead_are_not_shown_for_longer() -> None:
    """An event in the future is as old as the difference."""
    events = [event(0.5), event(1.5)]
    assert recent(events, day(0), timedelta(days=1)) == (event(0.5),)


def test_events_are_in_the_order_in_which_they_were_noticed() -> None:
    """Those that were noticed together are in the order in which they happened."""
    watcher = Watcher(shown_for=timedelta(days=9))
    watcher.look(0)
    two = (a_key("AKIATWOTWOTWOTWOTWO2", created=day(0.5)), a_key("AKIAONE", created=day(0.4)))
    first = watcher.look(1, *two)
    second = watcher.look(2, *two, a_key("AKIAZERO", created=day(0.1)))
    assert [each.at for each in first] == [day(0.4), day(0.5)]
    assert list(watcher.memory.events) == [*first, *second]


def test_a_recent_event_is_not_noticed_again() -> None:
    """The use is known again after the key was forgotten and is found again."""
    watcher = Watcher()
    watcher.look(0, a_key(last_use=NEVER))
    watcher.look(0.1, a_key(last_use=used(0.05)))
    memory = watcher.memory
    assert kinds(list(memory.events)) == [EventKind.FIRST_USED]
    watcher.look(0.2)  # deleted, it seems
    watcher.look(0.3, a_key(last_use=used(0.05)))
    assert watcher.look(0.4) == []
