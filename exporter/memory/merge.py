"""What two processes remember of an account that each went on to read on its own."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import TypeVar

from exporter.memory.order import in_order
from exporter.memory.root import merge_roots
from exporter.memory.uses import united
from exporter.model import AccountMemory, Event, KeyMemory, LastUse, Use, User, latest

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
    events: dict[tuple[str, str, str], Event] = {}
    for event in in_order((*one.events, *other.events)):
        events.setdefault(event.identity, event)
    root = one.root or other.root
    if one.root is not None and other.root is not None:
        root = merge_roots(one.root, other.root)
    return AccountMemory(
        users=MappingProxyType(users),
        users_as_of=newer.users_as_of,
        keys=MappingProxyType({id_: _renamed(key, users) for id_, key in keys.items()}),
        root=root,
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


def _merge_users(newer: User, older: User) -> User:
    return replace(
        newer,
        keys_at=_latest(newer.keys_at, older.keys_at),
        keys_as_of=_latest(newer.keys_as_of, older.keys_as_of),
    )


def _renamed(known: KeyMemory, users: Mapping[str, User]) -> KeyMemory:
    user = users.get(known.user_id)
    return known if user is None else replace(known, key=replace(known.key, user=user.name))


def _merge_keys(one: KeyMemory, other: KeyMemory) -> KeyMemory:
    newer, older = (one, other) if one.status_as_of >= other.status_as_of else (other, one)
    use = _latest_use(one.key.last_use, other.key.last_use)
    confirmed = [side.key.as_of for side in (one, other) if side.key.last_use == use]
    watched = filter(None, (one.watched_since, other.watched_since))
    return replace(
        newer,
        key=replace(
            newer.key,
            last_use=use,
            as_of=_latest(*confirmed),
            final=one.key.final and other.key.final,
        ),
        watched_since=min(watched, default=None),
        uses=united(one.uses, other.uses),
        inactive_since=_inactive_since(newer, older),
        status_changes=max(one.status_changes, other.status_changes),
    )


def _inactive_since(newer: KeyMemory, older: KeyMemory) -> datetime | None:
    """
    Find when a key was first seen inactive that has been inactive since.

    Who has seen it change more often has seen it active in between.
    """
    if newer.inactive_since is None or older.inactive_since is None:
        return newer.inactive_since
    if newer.status_changes == older.status_changes:
        return min(newer.inactive_since, older.inactive_since)
    return max(newer, older, key=lambda side: side.status_changes).inactive_since


def _latest_use(one: Use, other: Use) -> Use:
    """Choose the latest use, whichever comes first."""
    if isinstance(one, LastUse) and isinstance(other, LastUse):
        return max(one, other, key=lambda use: (use.at, use.service, use.region))
    return latest(one, other)


def _latest(*times: datetime | None) -> datetime | None:
    return max(filter(None, times), default=None)
