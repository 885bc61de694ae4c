"""Which database a location means: the path of an SQLite file, or a URL of PostgreSQL."""

from contextlib import AbstractContextManager
from pathlib import Path

from sqlalchemy import Connection

from exporter.model import Clock
from exporter.store import postgres, sqlite
from exporter.store.databases import Database


def database_at(location: Path | str, clock: Clock) -> Database:
    if isinstance(location, Path):
        return sqlite.SqliteDatabase(location, clock)
    return postgres.PostgresDatabase(location)


def reading(location: Path | str) -> AbstractContextManager[Connection]:
    """
    Read a store that another process may be writing to. Nothing is created or locked.

    Raises:
        StoreError: There is no store, or it cannot be read.
    """
    return sqlite.reading(location) if isinstance(location, Path) else postgres.reading(location)
