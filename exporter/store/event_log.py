"""Reads the event log."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import or_, select

from exporter.model import Event
from exporter.store import rows
from exporter.store.databases import readable
from exporter.store.locations import reading
from exporter.store.schema import accounts, events


@dataclass(frozen=True, slots=True)
class EventRow:
    """
    A row of the event log.

    Attributes:
        account: The name of the account, else its id.
    """

    account_id: str
    account: str
    event: Event


def read_events(
    location: Path | str,
    *,
    account: str | None = None,
    user: str | None = None,
    key: str | None = None,
    since: datetime | None = None,
) -> list[EventRow]:
    """
    Read the event log, oldest first, also while the exporter runs.

    Args:
        location: As for `Store`.
        account: The id or name of an account.

    Raises:
        StoreError: There is no store, or it cannot be read.
    """
    conditions = []
    if account is not None:
        conditions.append(or_(events.c.account_id == account, accounts.c.account_name == account))
    if user is not None:
        conditions.append(events.c.user_name == user)
    if key is not None:
        conditions.append(events.c.access_key_id == key)
    if since is not None:
        conditions.append(events.c.at >= since)
    statement = (
        select(events, accounts.c.account_name)
        .outerjoin(accounts, accounts.c.account_id == events.c.account_id)
        .where(*conditions)
        .order_by(events.c.id)
    )
    with reading(location) as connection, readable():
        found = [
            EventRow(row.account_id, row.account_name or row.account_id, rows.event_of(row))
            for row in connection.execute(statement)
        ]
    return sorted(found, key=lambda row: row.event.at)
