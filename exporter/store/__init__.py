"""
What survives a restart: the latest facts of every account, what is remembered, and the event log.

One SQLite file by default, or a PostgreSQL database that several processes share. One schema and
one code path serve both, through SQLAlchemy Core.
"""

from exporter.store.databases import StoreError
from exporter.store.event_log import EventRow, read_events
from exporter.store.reading import Listed, Stored, read_accounts
from exporter.store.store import Remember, Saved, Store

__all__ = [
    "EventRow",
    "Listed",
    "Remember",
    "Saved",
    "Store",
    "StoreError",
    "Stored",
    "read_accounts",
    "read_events",
]
