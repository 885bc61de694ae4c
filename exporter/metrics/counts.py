"""Counting the active access keys of an account, so that nobody else has to look at every key."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from exporter.metrics.facts import KeyFacts
from exporter.model import NEVER, LastUse

NOTHING: Final = timedelta()


@dataclass(frozen=True, slots=True)
class KeyCounts:
    """
    How many of an account's active keys share a property; only those with the same tags.

    Attributes:
        days: The limits that idle times and ages are compared with.
        idle: How long keys that were used have been idle, sorted. None: no last use is known.
        never_used: The ages of keys that were never used, sorted. None: no last use is known.
        age: The ages of all keys, sorted.
        superseded: None: no last use is known.
        unknown: Keys whose last use is unknown. None: the keys of some users are unknown.
    """

    days: Sequence[int]
    idle: Sequence[timedelta] | None
    never_used: Sequence[timedelta] | None
    age: Sequence[timedelta]
    exempt: int
    superseded: int | None
    unknown: int | None

    def by_days(self, durations: Sequence[timedelta]) -> list[tuple[tuple[str, ...], int]]:
        """Count, for each limit, the sorted *durations* that are at least as long."""
        return [
            ((str(days),), len(durations) - bisect_left(durations, timedelta(days=days)))
            for days in self.days
        ]


def count_keys(
    keys: Sequence[KeyFacts], at: datetime | None, days: Sequence[int], *, complete: bool
) -> KeyCounts:
    """
    Count active *keys*. Exempt ones are only counted as exempt.

    Idle times and ages end when AWS last confirmed them: they do not grow while nobody can look.

    Args:
        at: When the snapshot was taken. Exemptions that expire later apply.
        complete: Whether the keys of every user are known.
    """
    idle, never_used, ages = [], [], []
    exempt = superseded = unknown = 0
    for facts in keys:
        key, end = facts.key, facts.exempt_until
        if end is not None and (at is None or end > at):
            exempt += 1
            continue
        as_of = key.as_of or facts.user.keys_at or key.created
        # AWS's clock may be ahead of ours.
        age = max(as_of - key.created, NOTHING)
        ages.append(age)
        if isinstance(key.last_use, LastUse):
            idle.append(max(as_of - key.last_use.at, NOTHING))
        elif key.last_use is NEVER:
            never_used.append(age)
        else:
            unknown += 1
        superseded += facts.superseded is not None
    # The only known uses may be those of exempt keys: they say nothing about the others.
    known = not ages or unknown < len(ages)
    return KeyCounts(
        days,
        idle=sorted(idle) if known else None,
        never_used=sorted(never_used) if known else None,
        age=sorted(ages),
        exempt=exempt,
        superseded=superseded if known else None,
        unknown=unknown if complete else None,
    )
