"""What SQLite and PostgreSQL have in common: transactions, errors, and the check of the tables."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from sqlalchemy import Connection, Select, insert, inspect, select
from sqlalchemy.exc import DBAPIError

from exporter.store.schema import VERSION, metadata, schema_version


class StoreError(Exception):
    """
    The store cannot be used now: a sentence for people. It may work again later.

    The message never has a password in it.
    """


class UnreadableRow(Exception):
    """A row has a value that the exporter cannot have written."""


class Database(Protocol):
    """A database that is opened when it is first used, and again after an error."""

    def transaction(self, *, consistent: bool = False) -> AbstractContextManager[Connection]:
        """
        Begin a transaction for writing, which ends with the context.

        Args:
            consistent: All its statements see the same state, whatever others write meanwhile.

        Raises:
            StoreError: The database cannot be used.
        """
        ...

    def close(self) -> None: ...


def prepare(connection: Connection, name: str) -> None:
    """
    Create the tables, unless they exist.

    Raises:
        StoreError: The tables are those of a newer version, or of another program.
    """
    if _exists(connection, name):
        return
    metadata.create_all(connection)
    connection.execute(insert(schema_version), {"version": VERSION})


def check(connection: Connection, name: str) -> None:
    """
    Check that the tables can be read.

    Raises:
        StoreError: There are none, or they are those of a newer version, or of another program.
    """
    if not _exists(connection, name):
        raise StoreError(f"{name} has no tables of the exporter yet")


def _exists(connection: Connection, name: str) -> bool:
    tables = set(inspect(connection).get_table_names())
    if schema_version.name not in tables:
        if tables & set(metadata.tables):
            raise StoreError(f"{name} has tables of another program: use a database of its own")
        return False
    version = connection.scalar(select(schema_version.c.version))
    if version is None:
        raise UnreadableRow("there is no schema version")
    if version > VERSION:
        raise StoreError(
            f"{name} was written by a newer version of the exporter"
            f" (schema {version}; this one knows {VERSION}): update the exporter"
        )
    return True


def fetch(connection: Connection, statement: Select[Any]) -> list[Any]:
    """Return rows as the driver's tuples: SQLAlchemy's rows take as long again to create."""
    result = connection.execute(statement)
    try:
        return list(result.cursor.fetchall())
    except connection.dialect.loaded_dbapi.Error as error:
        raise DBAPIError(None, None, error) from error


def driver_text(error: Exception) -> str:
    """Return what the database's driver said, in one line."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    lines = str(cause).splitlines() or [type(cause).__name__]
    return lines[0].strip()


@contextmanager
def readable() -> Iterator[None]:
    """
    Read values of rows.

    Raises:
        UnreadableRow: A value is none that the exporter can have written.
    """
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise UnreadableRow(f"a row cannot be read: {error}") from error
