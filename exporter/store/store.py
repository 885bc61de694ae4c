"""Loads and saves accounts: their latest facts, what is remembered, and the event log."""

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import ColumnElement, Connection, select, update

from exporter.model import AccountMemory, AccountSnapshot, Clock, Event
from exporter.store import rows
from exporter.store.locations import database_at
from exporter.store.reading import (
    Stored,
    earlier,
    stored_accounts,
    without_garbage_collection,
)
from exporter.store.schema import accounts
from exporter.store.writing import (
    chunks,
    delete_older,
    insert_events,
    lock_account,
    write_keys,
    write_users,
)

Remember = Callable[[AccountMemory | None], tuple[AccountMemory, Sequence[Event]]]
"""
Returns what to save: the memory, and the events that may be new.

Its argument is the stored memory if another process has changed it, else None.
"""

PURGE_EVERY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Saved:
    """
    What was saved.

    Attributes:
        events: Those that were not stored before.
        revision: What the next save of the account passes.
    """

    memory: AccountMemory
    events: tuple[Event, ...]
    revision: int


class Store:
    """
    The store. Thread-safe. It is opened when it is first used, and again after an error.

    Args:
        location: The path of an SQLite file, or the URL of a PostgreSQL database.
        keep_events: How long events, deleted keys and ended accounts are kept.
        shown_for: How long events and deleted keys are part of the memory that is loaded.
    """

    def __init__(
        self, location: Path | str, *, keep_events: timedelta, shown_for: timedelta, clock: Clock
    ) -> None:
        self._database = database_at(location, clock)
        self._keep_events = keep_events
        self._shown_for = shown_for
        self._clock = clock
        self._written: dict[str, tuple[int, AccountMemory]] = {}
        self._purge_mutex = threading.Lock()
        self._purged_at: datetime | None = None

    def keep(self, *, keep_events: timedelta, shown_for: timedelta) -> None:
        """Change the arguments of these names. What must not be kept is deleted once a day."""
        self._keep_events = keep_events
        self._shown_for = shown_for

    def load(self, account_ids: Collection[str] | None = None) -> list[Stored]:
        """
        Load what is stored of the accounts *account_ids*. None: of all that have not ended.

        Raises:
            StoreError: The store cannot be used.
        """
        self._purge()
        with (
            without_garbage_collection(),
            self._database.transaction(consistent=True) as connection,
        ):
            if account_ids is None:
                stored = self._read(connection, accounts.c.ended_at.is_(None))
            else:
                stored = [
                    one
                    for chunk in chunks(account_ids)
                    for one in self._read(connection, accounts.c.account_id.in_(chunk))
                ]
        for one in stored:
            self._written[one.snapshot.account.id] = (one.revision, one.memory)
        return stored

    def save(
        self,
        snapshot: AccountSnapshot,
        revision: int,
        remember: Remember,
        *,
        configured_as: str = "",
    ) -> Saved:
        """
        Save an account in one transaction. Nothing is stored if its id is not known yet.

        Args:
            revision: Of the memory that the caller knows: what `load` or the previous `save` gave,
                else 0.
            remember: Called within the transaction, while no other process can save this account.
            configured_as: How the account is configured, if its id is not.

        Raises:
            StoreError: The store cannot be used. Nothing was saved, unless the connection to
                PostgreSQL was lost in the very moment of the commit.
        """
        account_id = snapshot.account.id
        if not account_id:
            memory, new = remember(None)
            return Saved(memory, tuple(new), revision)
        self._purge()
        with self._database.transaction() as connection:
            stored_revision = lock_account(connection, snapshot, configured_as)
            before = self._stored_memory(connection, account_id, stored_revision)
            changed_by_others = stored_revision not in (0, revision)
            memory, candidates = remember(before if changed_by_others else None)
            write_users(connection, account_id, before, memory)
            write_keys(connection, account_id, before, memory)
            inserted = insert_events(connection, account_id, (*candidates, *memory.events))
            row = rows.account_row(snapshot, memory, stored_revision + 1, configured_as)
            connection.execute(
                update(accounts).where(accounts.c.account_id == account_id).values(row)
            )
        self._written[account_id] = (stored_revision + 1, memory)
        new = tuple(event for event in dict.fromkeys(candidates) if event in inserted)
        return Saved(memory, new, stored_revision + 1)

    def end_accounts(self, keep: Collection[str], at: datetime) -> None:
        """
        Mark the accounts that are not among *keep* as ended; the next save of one removes the mark.

        Args:
            keep: The ids of all configured accounts, those of other shards among them.

        Raises:
            StoreError: The store cannot be used.
        """
        with self._database.transaction() as connection:
            current = connection.scalars(
                select(accounts.c.account_id).where(accounts.c.ended_at.is_(None))
            )
            for chunk in chunks(set(current) - set(keep)):
                connection.execute(
                    update(accounts)
                    .where(accounts.c.account_id.in_(chunk), accounts.c.ended_at.is_(None))
                    .values(ended_at=at)
                )

    def forget(self, account_id: str) -> None:
        """Free what is kept to write only what has changed of an account. What is stored stays."""
        self._written.pop(account_id, None)

    def close(self) -> None:
        """Let another process use the store. The next call opens it again."""
        self._database.close()

    def _stored_memory(
        self, connection: Connection, account_id: str, revision: int
    ) -> AccountMemory:
        """Return what is stored, from what was last written or read if that is the latest."""
        if revision == 0:
            return AccountMemory()
        known_revision, known = self._written.get(account_id, (0, AccountMemory()))
        if known_revision == revision:
            return known
        return self._read(connection, accounts.c.account_id == account_id)[0].memory

    def _read(self, connection: Connection, which: ColumnElement[bool]) -> list[Stored]:
        """Read the accounts of which *which* is true."""
        return stored_accounts(connection, which, earlier(self._clock.now(), self._shown_for))

    def _purge(self) -> None:
        """Delete what is older than `keep_events`, once a day."""
        now = self._clock.now()
        with self._purge_mutex:
            if self._purged_at is not None and now - self._purged_at < PURGE_EVERY:
                return
            with self._database.transaction() as connection:
                delete_older(connection, earlier(now, self._keep_events))
            self._purged_at = now
