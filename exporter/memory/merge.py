"""What two processes remember of an account that each went on to read on its own."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import TypeVar

from exporter.memory.root import merge_roots
from exporter.memory.uses import united
from exporter.model import AccountMemory, Event, KeyMemory, User, latest

T = TypeVar("T")


def merge(one: AccountMemory, other: AccountMemory) -> AccountMemory:
    """
    Unite what two processes remember, such as after the database that they share was away.

    The result does not depend on the order, and has each event once.
    """
    newer, older = (one, other) if _is_later(one.users_as_of, other.users_as_of) else (other, one)
    known = {id_: user for id_, user in older.users.items() if id_ in newer.users}
    users = _united(newer.users, known, _merge_users)
    keys = _united(newer.keys, older.keys, _merge_keys)
    root = one.root or other.root
    events: dict[tuple[str, str, str], Event] = {}
    for event in sorted((*one.events, *other.events), key=_order):
        events.setdefault(event.identity, event)
    return AccountMemory(
        users=MappingProxyType(users),
        users_as_of=newer.users_as_of,
        keys=MappingProxyType(keys),
        root=merge_roots(one.root, other.root) if one.root and other.root else root,
        events=tuple(events.values()),
    )


def _united(
    newer: Mapping[str, T], older: Mapping[str, T], merge_two: Callable[[T, T], T]
) -> dict[str, T]:
    """Unite two mappings, in the order of *newer*."""
    united = {id_: merge_two(v, older[id_]) if id_ in older else v for id_, v in newer.items()}
    return united | {id_: value for id_, value in older.items() if id_ not in united}


def _is_later(at: datetime | None, other: datetime | None) -> bool:
    return at is not None and (other is None or at >= other)


def _order(event: Event) -> tuple[datetime, datetime, tuple[str, str, str]]:
    return event.noticed_at, event.at, event.identity


def _merge_users(newer: User, older: User) -> User:
    as_of = max(filter(None, (newer.keys_as_of, older.keys_as_of)), default=None)
    return newer if as_of == newer.keys_as_of else replace(newer, keys_as_of=as_of)


def _merge_keys(one: KeyMemory, other: KeyMemory) -> KeyMemory:
    newer, older = (one, other) if one.status_as_of >= other.status_as_of else (other, one)
    use = latest(older.key.last_use, newer.key.last_use)
    confirmed = [side.key.as_of for side in (one, other) if side.key.last_use == use]
    watched = filter(None, (one.watched_since, other.watched_since))
    inactive = filter(None, (one.inactive_since, other.inactive_since))
    return replace(
        newer,
        key=replace(newer.key, last_use=use, as_of=max(filter(None, confirmed), default=None)),
        watched_since=min(watched, default=None),
        uses=united(newer.uses, older.uses),
        inactive_since=min(inactive) if newer.inactive_since else None,
        status_changes=max(one.status_changes, other.status_changes),
    )
