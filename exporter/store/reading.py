"""Reads what is stored of accounts."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, or_, select

from exporter.model import Account, AccountMemory, AccountSnapshot
from exporter.store import rows
from exporter.store.databases import fetch, readable
from exporter.store.locations import reading
from exporter.store.schema import accounts, events, keys, time_reader, users, uses

BY_ORDER: Final = itemgetter(-1)
"""Sorts rows by their `sort_order`, which is the last column of every table that has it."""


@dataclass(frozen=True, slots=True)
class Stored:
    """
    What is stored of an account.

    Attributes:
        snapshot: Without the counters of failures and throttles. Its account has nothing that is
            secret, or that the configuration says of all accounts.
        configured_as: How the account was configured, if its id was not.
    """

    snapshot: AccountSnapshot
    memory: AccountMemory
    revision: int
    configured_as: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """
    An account that is stored.

    Attributes:
        account: Its id, name and source.
        configured_as: How it was configured, if its id was not.
    """

    account: Account
    configured_as: str


def listed_accounts(connection: Connection) -> list[Listed]:
    """List the accounts that have not ended."""
    of = accounts.c
    statement = select(of.account_id, of.account_name, of.source, of.configured_as)
    return [
        Listed(Account(id_, name, source=source), configured_as)
        for id_, name, source, configured_as in connection.execute(
            statement.where(of.ended_at.is_(None))
        )
    ]


def read_accounts(location: Path | str, *, now: datetime, shown_for: timedelta) -> list[Stored]:
    """
    Read the accounts that have not ended, sorted by name, also while the exporter runs.

    Args:
        location: As for `Store`.
        shown_for: As for `Store`, from *now* back.

    Raises:
        StoreError: There is no store, or it cannot be read.
    """
    since = earlier(now, shown_for)
    with without_garbage_collection(), reading(location) as connection:
        stored = stored_accounts(connection, accounts.c.ended_at.is_(None), since)
    return sorted(stored, key=lambda each: (each.snapshot.account.name, each.snapshot.account.id))


def stored_accounts(
    connection: Connection, which: ColumnElement[bool], events_since: datetime
) -> list[Stored]:
    """
    Read the accounts of which *which* is true.

    Args:
        events_since: The memory has the events that were noticed, and the keys that were deleted,
            since then.

    Raises:
        UnreadableRow: A value is none that the exporter can have written.
    """
    ids = select(accounts.c.account_id).where(which)

    def rows_of(table: Table, *conditions: ColumnElement[bool]) -> list[Any]:
        statement = select(table).where(table.c.account_id.in_(ids), *conditions)
        found = fetch(connection, statement)
        found.sort(key=BY_ORDER)
        return found

    to_time = _Shared(time_reader(connection.dialect)).__getitem__
    with readable():
        seen_uses = rows.uses_by_account(rows_of(uses), to_time)
        kept = or_(keys.c.deleted_at.is_(None), keys.c.deleted_at >= events_since)
        known_keys = rows.keys_by_account(rows_of(keys, kept), seen_uses, to_time)
        known_users = rows.users_by_account(rows_of(users), to_time)
        recent = rows.events_by_account(
            connection.execute(
                select(events)
                .where(events.c.noticed_at >= events_since, events.c.account_id.in_(ids))
                .order_by(events.c.id)
            )
        )
        stored = []
        for row in connection.execute(select(accounts).where(which)):
            memory = AccountMemory(
                users=MappingProxyType(known_users.get(row.account_id, {})),
                users_as_of=row.users_listed_at,
                keys=MappingProxyType(known_keys.get(row.account_id, {})),
                root=rows.root_of(row),
                events=recent.get(row.account_id, ()),
            )
            snapshot = rows.snapshot_of(row, memory)
            stored.append(Stored(snapshot, memory, row.revision, row.configured_as))
    return stored


class _Shared(dict[Any, Any]):
    """Converts values, and equal ones only once: most times are those of a few refreshes."""

    def __init__(self, convert: Callable[[Any], Any]) -> None:
        super().__init__()
        self._convert = convert

    def __missing__(self, value: Any) -> Any:
        converted = self[value] = self._convert(value)
        return converted


def earlier(at: datetime, by: timedelta) -> datetime:
    """Return *at* minus *by*, or the earliest time there is."""
    earliest = datetime.min.replace(tzinfo=UTC)
    return at - by if by < at - earliest else earliest


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """
    Create millions of objects, none of which is garbage.

    Looking for garbage among them again and again takes as long as everything else together.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
