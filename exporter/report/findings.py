"""What is wrong with access keys: the findings that the shipped alert rules alert on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from exporter.model import NEVER, UNKNOWN, AccessKey, Event, EventKind, LastUse


class FindingKind(StrEnum):
    """
    What can be wrong with a key. Public: values of CSV and JSON. The most urgent first.

    `unused` and `never_used` are equally urgent: the longer, the more.
    """

    ROOT_ACCESS_KEY = "root_access_key"
    AWAKENED = "awakened"
    FIRST_USE = "first_use"
    UNUSED = "unused"
    NEVER_USED = "never_used"
    UNKNOWN = "last_use_unknown"
    SUPERSEDED = "superseded"
    NOT_ROTATED = "not_rotated"
    INACTIVE_NOT_DELETED = "inactive_not_deleted"
    TWO_ACTIVE_KEYS = "two_active_keys"


_URGENCY: Final = {kind: number for number, kind in enumerate(FindingKind)} | {
    FindingKind.NEVER_USED: list(FindingKind).index(FindingKind.UNUSED)
}

LIMITS: Final = {
    FindingKind.AWAKENED: timedelta(days=90),
    FindingKind.FIRST_USE: timedelta(days=30),
    FindingKind.UNUSED: timedelta(days=90),
    FindingKind.NEVER_USED: timedelta(days=30),
    FindingKind.SUPERSEDED: timedelta(days=30),
    FindingKind.NOT_ROTATED: timedelta(days=90),
    FindingKind.INACTIVE_NOT_DELETED: timedelta(days=90),
}
"""What has to be exceeded: the limits of the shipped alert rules."""

SEEN_INACTIVE: Final = timedelta(days=14)
"""How long a key has to have been seen inactive before it should have been deleted."""

_TEXTS: Final = {
    FindingKind.AWAKENED: "used after {days} idle days",
    FindingKind.FIRST_USE: "first used after {days} days",
    FindingKind.UNUSED: "unused for {days} days",
    FindingKind.NEVER_USED: "never used in {days} days",
    FindingKind.UNKNOWN: "last use unknown",
    FindingKind.SUPERSEDED: "superseded: other key used {days} days later",
    FindingKind.NOT_ROTATED: "not rotated for {days} days",
    FindingKind.INACTIVE_NOT_DELETED: "inactive, not deleted, idle for {days} days",
    FindingKind.TWO_ACTIVE_KEYS: "user has {count} active keys",
    FindingKind.ROOT_ACCESS_KEY: "root user has active access keys ({count})",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """
    Something that is wrong with a key.

    Attributes:
        duration: What exceeds the limit. Zero: there is none.
        count: The number of active keys. 0: it does not matter.
    """

    kind: FindingKind
    duration: timedelta = timedelta()
    count: int = 0

    def __str__(self) -> str:
        return _TEXTS[self.kind].format(days=self.duration.days, count=self.count)

    @property
    def urgency(self) -> tuple[int, timedelta]:
        """The lower, the more urgent."""
        return _URGENCY[self.kind], -self.duration


@dataclass(frozen=True, slots=True)
class KeyState:
    """
    What findings about a key depend on.

    Attributes:
        exempt: It is exempt from findings that do not concern a use.
        inactive_since: When it was first seen inactive. None: it is active, or that is unknown.
        superseded: Seconds by which the user's other active key was used later. None: it was not.
        active_keys: How many active keys its user has. 0: one of them is exempt.
        events: The recent events of the key.
    """

    key: AccessKey
    exempt: bool = False
    inactive_since: datetime | None = None
    superseded: int | None = None
    active_keys: int = 0
    events: Sequence[Event] = ()


def age_of(key: AccessKey, confirmed: datetime | None) -> timedelta | None:
    """
    Return how old *key* was when AWS last reported it. None: that is unknown.

    Args:
        confirmed: When AWS reported the keys of its user. It counts if the last use is unknown.
    """
    at = key.as_of or confirmed
    return None if at is None else max(at - key.created, timedelta())


def idle_of(key: AccessKey) -> timedelta | None:
    """
    Return how long *key* is known to be idle. None: its last use is unknown.

    From its last use, or its creation if it was never used, until AWS last reported that.
    """
    use = key.last_use
    if use is UNKNOWN or key.as_of is None:
        return None
    since = use.at if isinstance(use, LastUse) else key.created
    return max(key.as_of - since, timedelta())


def findings_of(state: KeyState) -> tuple[Finding, ...]:
    """List the findings about a key, the most urgent first."""
    found = [*_uses(state.events)] if state.events else []
    if not state.exempt:
        found += _of_active(state) if state.key.active else _of_inactive(state)
        if state.key.last_use is UNKNOWN:
            found.append(Finding(FindingKind.UNKNOWN))
    if state.key.active and state.active_keys > 1:
        found.append(Finding(FindingKind.TWO_ACTIVE_KEYS, count=state.active_keys))
    return tuple(sorted(found, key=lambda finding: finding.urgency))


def _uses(events: Iterable[Event]) -> Iterable[Finding]:
    kinds = (
        (EventKind.AWAKENED, FindingKind.AWAKENED),
        (EventKind.FIRST_USED, FindingKind.FIRST_USE),
    )
    events = tuple(events)
    for event_kind, kind in kinds:
        seconds = [event.seconds or 0.0 for event in events if event.kind is event_kind]
        yield from _exceeding(kind, timedelta(seconds=max(seconds, default=0.0)))


def _of_active(state: KeyState) -> Iterable[Finding]:
    key = state.key
    idle = idle_of(key)
    if idle is not None:
        never = key.last_use is NEVER
        yield from _exceeding(FindingKind.NEVER_USED if never else FindingKind.UNUSED, idle)
        yield from _exceeding(FindingKind.NOT_ROTATED, age_of(key, None))
    if state.superseded is not None:
        yield from _exceeding(FindingKind.SUPERSEDED, timedelta(seconds=state.superseded))


def _of_inactive(state: KeyState) -> Iterable[Finding]:
    """
    Yield the finding of a key that should have been deleted.

    Who reads an account for the first time does not know since when the key is inactive: then it
    counts that it is idle.
    """
    key, since = state.key, state.inactive_since
    idle = idle_of(key)
    watched = since is None or (key.as_of is not None and key.as_of - since > SEEN_INACTIVE)
    if idle is not None and watched:
        yield from _exceeding(FindingKind.INACTIVE_NOT_DELETED, idle)


def _exceeding(kind: FindingKind, duration: timedelta | None) -> Iterable[Finding]:
    if duration is not None and duration > LIMITS[kind]:
        yield Finding(kind, duration)
