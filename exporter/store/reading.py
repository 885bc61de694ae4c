"""Reads what is stored of accounts."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, or_, select

from exporter.model import AccountMemory, AccountSnapshot
from exporter.store import rows
from exporter.store.databases import readable
from exporter.store.locations import reading
from exporter.store.schema import accounts, events, keys, users, uses


@dataclass(frozen=True, slots=True)
class Stored:
    """
    What is stored of an account.

    Attributes:
        snapshot: Without the counters of failures and throttles. Its account has nothing but id,
            name and partition.
        configured_as: How the account was configured, if its id was not.
    """

    snapshot: AccountSnapshot
    memory: AccountMemory
    revision: int
    configured_as: str = ""


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
    with reading(location) as connection:
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

    def rows_of(table: Table, *conditions: ColumnElement[bool]) -> Iterable[Any]:
        statement = select(table).where(table.c.account_id.in_(ids), *conditions)
        found = connection.execute(statement).all()
        return sorted(found, key=lambda row: row.sort_order)

    with readable():
        seen_uses = rows.uses_by_account(rows_of(uses))
        kept = or_(keys.c.deleted_at.is_(None), keys.c.deleted_at >= events_since)
        known_keys = rows.keys_by_account(rows_of(keys, kept), seen_uses)
        known_users = rows.users_by_account(rows_of(users))
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


def earlier(at: datetime, by: timedelta) -> datetime:
    """Return *at* minus *by*, or the earliest time there is."""
    earliest = datetime.min.replace(tzinfo=UTC)
    return at - by if by < at - earliest else earliest
