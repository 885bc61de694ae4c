"""A PostgreSQL database as the store of all processes that refresh the same accounts."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final
from weakref import WeakSet

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from exporter.store.databases import StoreError, UnreadableRow, check, driver_text, prepare

OPTIONS: Final = {"connect_timeout": "5", "tcp_user_timeout": "15000"}
"""Connection parameters that the URL can override: seconds, and milliseconds."""

SETTINGS: Final = (
    "SET LOCAL timezone = 'UTC';"
    " SET LOCAL statement_timeout = '30s';"
    " SET LOCAL lock_timeout = '10s';"
    " SET LOCAL idle_in_transaction_session_timeout = '60s'"
)
"""Of each transaction and not of each connection, so that it works through a connection pooler."""

HANG_SECONDS: Final = 60.0
"""How long a transaction lasts before its connection is broken: the server does not answer."""

CONSISTENT: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"

TCP: Final = (socket.AF_INET, socket.SOCK_STREAM)

SCHEMA_LOCK: Final = 0x61776B65
"""Key of the advisory lock under which one process at a time creates the tables."""


class PostgresDatabase:
    """
    A PostgreSQL database. Thread-safe.

    Args:
        url: ``postgresql://user:password@host:port/database?option=value``.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._mutex = threading.Lock()
        self._engine: Engine | None = None
        self._prepared = False
        self._connections: WeakSet[Any] = WeakSet()

    @contextmanager
    def transaction(self, *, consistent: bool = False) -> Iterator[Connection]:
        url = _parse(self._url)
        with _translated(url), _watched(self._connections):
            try:
                engine = self._connect(url)
                if not self._prepared:
                    with engine.begin() as connection:
                        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({SCHEMA_LOCK})")
                        prepare(connection, _name(url))
                    self._prepared = True
                with engine.begin() as connection:
                    if consistent:
                        connection.exec_driver_sql(CONSISTENT)
                    yield connection
            except SQLAlchemyError:
                self._prepared = False  # it may be another server that answers next
                raise

    def close(self) -> None:
        with self._mutex:
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()

    def _connect(self, url: URL) -> Engine:
        with self._mutex:
            if self._engine is None:
                self._engine = _engine(url, self._connections)
            return self._engine


@contextmanager
def reading(text: str) -> Iterator[Connection]:
    """Read the database at the URL *text*."""
    url = _parse(text)
    connections: WeakSet[Any] = WeakSet()
    engine = _engine(url, connections)
    try:
        with _translated(url), _watched(connections), engine.begin() as connection:
            connection.exec_driver_sql(CONSISTENT)
            check(connection, _name(url))
            yield connection
    finally:
        engine.dispose()


def _parse(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        url = None
    # Without the cause, which quotes the URL and its password.
    if url is None or url.get_backend_name() not in ("postgresql", "postgres"):
        raise StoreError("the URL of the store is not that of a PostgreSQL database")
    missing = {key: value for key, value in OPTIONS.items() if key not in url.query}
    return url.set(drivername="postgresql+psycopg").update_query_dict(missing)


def _engine(url: URL, connections: "WeakSet[Any]") -> Engine:
    """Return an engine that adds every connection to *connections*."""
    try:
        engine = create_engine(
            url,
            pool_size=4,
            max_overflow=0,
            pool_timeout=30,
            pool_pre_ping=True,
            hide_parameters=True,
        )
    except ImportError as error:
        raise StoreError(
            "PostgreSQL needs psycopg: install aws-iam-key-exporter[postgres]"
        ) from error

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(SETTINGS)

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _: object) -> None:
        connections.add(connection)

    return engine


@contextmanager
def _watched(connections: "WeakSet[Any]") -> Iterator[None]:
    """
    Break all connections if the server no longer answers, which libpq would wait for without end.

    All of them: the pool may be waiting for an answer on any, before it hands it out.
    """
    watchdog = threading.Timer(HANG_SECONDS, _break, [connections])
    watchdog.daemon = True
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()


def _break(connections: "WeakSet[Any]") -> None:
    for connection in list(connections):
        # Closed meanwhile: psycopg's error is none of OSError.
        with suppress(Exception), socket.fromfd(connection.fileno(), *TCP) as duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)


def _name(url: URL) -> str:
    host: Any = url.host or url.query.get("host") or "localhost"
    return f"the database {url.database or ''!r} on {host}:{url.port or 5432}"


@contextmanager
def _translated(url: URL) -> Iterator[None]:
    """Translate errors of PostgreSQL, SQLAlchemy's pool and the driver."""
    try:
        yield
    except (SQLAlchemyError, UnreadableRow) as error:
        text = driver_text(error)
        for password in (url.password, url.query.get("password")):
            if password:
                text = text.replace(str(password), "***")
        raise StoreError(f"{_name(url)} cannot be used: {text}") from error
