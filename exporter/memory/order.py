"""Which of two observations is the newer one, and the order of events."""

from collections.abc import Iterable
from datetime import datetime

from exporter.model import Event


def is_newer(at: datetime | None, known: datetime | None, now: datetime) -> bool:
    """
    Whether what is right as of *at* replaces what is right as of *known*.

    Two processes may read the same account, and one of them an older report. A *known* time in the
    future was taken by a clock that was wrong, and is no reason to ignore the present.
    """
    if at is None:
        return False
    return known is None or at > known or (known > now and at != known)


def in_order(events: Iterable[Event]) -> tuple[Event, ...]:
    """Sort events by when they were noticed, then by when they happened."""
    return tuple(sorted(events, key=_order))


def _order(event: Event) -> tuple[object, ...]:
    # Everything that differs, so that the order depends on nothing else.
    seconds = -1.0 if event.seconds is None else event.seconds
    where = event.user, event.service, event.region
    return event.noticed_at, event.at, event.identity, seconds, where
