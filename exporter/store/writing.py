"""Writes what changed, and deletes what is old."""

from collections.abc import Collection, Iterable
from datetime import datetime
from itertools import islice
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, delete, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from exporter.model import AccountMemory, AccountSnapshot, Event
from exporter.store import rows
from exporter.store.schema import accounts, events, keys, users, uses

CHUNK: Final = 500
"""How many values a statement names at most."""


def lock_account(connection: Connection, snapshot: AccountSnapshot, configured_as: str) -> int:
    """Lock an account's row, which is created if it is missing, and return its revision."""
    account_id = snapshot.account.id
    statement = (
        select(accounts.c.revision).where(accounts.c.account_id == account_id).with_for_update()
    )
    revision = connection.scalar(statement)
    if revision is None:
        row = rows.account_row(snapshot, AccountMemory(), 0, configured_as)
        insert = _insert(connection, accounts).on_conflict_do_nothing()
        connection.execute(insert, row)
        revision = connection.scalars(statement).one()
    return int(revision)


def write_users(
    connection: Connection, account_id: str, before: AccountMemory, after: AccountMemory
) -> None:
    orders = {id_: order for order, id_ in enumerate(before.users)}
    _upsert(
        connection,
        users,
        [
            rows.user_row(account_id, id_, user, order)
            for order, (id_, user) in enumerate(after.users.items())
            if before.users.get(id_) != user or orders[id_] != order
        ],
    )
    gone = before.users.keys() - after.users.keys()
    _delete(connection, users, account_id, users.c.user_id, gone)


def write_keys(
    connection: Connection, account_id: str, before: AccountMemory, after: AccountMemory
) -> None:
    """Write the keys, and where they were used. Keys that are only forgotten stay as deleted."""
    orders = {id_: order for order, id_ in enumerate(before.keys)}
    changed, seen, unseen = [], [], []
    for order, (id_, memory) in enumerate(after.keys.items()):
        known = before.keys.get(id_)
        if known != memory or orders[id_] != order:
            changed.append(rows.key_row(account_id, memory, order))
        known_uses = known.uses if known else ()
        if known_uses != memory.uses:
            old, new = set(enumerate(known_uses)), set(enumerate(memory.uses))
            seen += [rows.use_row(account_id, id_, use, place) for place, use in new - old]
            places = {(use.service, use.region) for use in memory.uses}
            unseen += [
                (id_, use.service, use.region)
                for use in known_uses
                if (use.service, use.region) not in places
            ]
    # The rows of a key that was deleted, forgotten, and is there again.
    returned = after.keys.keys() - before.keys.keys()
    gone = {
        id_ for id_ in before.keys.keys() - after.keys.keys() if before.keys[id_].deleted_at is None
    }
    _delete(connection, uses, account_id, uses.c.access_key_id, returned | gone)
    _delete(connection, keys, account_id, keys.c.access_key_id, gone)
    which = tuple_(uses.c.access_key_id, uses.c.service, uses.c.region)
    _delete(connection, uses, account_id, which, unseen)
    _upsert(connection, keys, changed)
    _upsert(connection, uses, seen)


def insert_events(
    connection: Connection, account_id: str, candidates: Iterable[Event]
) -> set[Event]:
    """
    Insert the events that are not stored yet, and return them.

    The account's row is locked, so that no other process inserts the same ones.
    """
    new: dict[tuple[str, str, str], Event] = {}
    for event in candidates:
        new.setdefault(event.identity, event)
    for chunk in chunks({key_id for key_id, _, _ in new}):
        known = connection.execute(
            select(events.c.access_key_id, events.c.kind, events.c.occurrence).where(
                events.c.account_id == account_id, events.c.access_key_id.in_(chunk)
            )
        )
        for key_id, kind, occurrence in known:
            new.pop((key_id, kind, occurrence), None)
    if new:
        connection.execute(
            _insert(connection, events), [rows.event_row(account_id, one) for one in new.values()]
        )
    return set(new.values())


def delete_older(connection: Connection, than: datetime) -> None:
    """Delete events, deleted keys and ended accounts that are older *than* that."""
    connection.execute(delete(events).where(events.c.noticed_at < than))
    # One by one, since there are few: a correlated query looks at every use.
    old = select(keys.c.account_id, keys.c.access_key_id).where(keys.c.deleted_at < than)
    for account_id, key_id in connection.execute(old).all():
        for table in (uses, keys):
            connection.execute(
                delete(table).where(
                    table.c.account_id == account_id, table.c.access_key_id == key_id
                )
            )
    ended = select(accounts.c.account_id).where(accounts.c.ended_at < than)
    for table in (uses, keys, users, accounts):
        connection.execute(delete(table).where(table.c.account_id.in_(ended)))


def _insert(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


def _upsert(connection: Connection, table: Table, new: list[rows.Row]) -> None:
    if not new:
        return
    insert = _insert(connection, table)
    primary = list(table.primary_key)
    others = {one.name: insert.excluded[one.name] for one in table.c if not one.primary_key}
    connection.execute(insert.on_conflict_do_update(index_elements=primary, set_=others), new)


def _delete(
    connection: Connection,
    table: Table,
    account_id: str,
    column: ColumnElement[Any],
    values: Collection[Any],
) -> None:
    """Delete the rows of an account in which *column* is one of *values*."""
    for chunk in chunks(values):
        connection.execute(delete(table).where(table.c.account_id == account_id, column.in_(chunk)))


def chunks(values: Iterable[Any], size: int = CHUNK) -> Iterable[list[Any]]:
    remaining = iter(values)
    while chunk := list(islice(remaining, size)):
        yield chunk
