"""An SQLite file as the store of one process."""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, NullPool, StaticPool, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from exporter.model import Clock
from exporter.store.databases import StoreError, UnreadableRow, check, driver_text, prepare

BUSY_SECONDS: Final = 2.0
"""How long a transaction waits for another program that is writing to the file."""

ADVICE: Final = {
    sqlite3.SQLITE_BUSY: "another program is writing to it",
    sqlite3.SQLITE_CANTOPEN: "check its owner and mode, and those of its directory",
    sqlite3.SQLITE_FULL: "free some disk space",
    sqlite3.SQLITE_IOERR: "check the disk, and whether it is full",
    sqlite3.SQLITE_PERM: "check its owner and mode, and those of its directory",
    sqlite3.SQLITE_READONLY: "check its owner and mode, and those of its directory",
}
"""What to do about an error, by its primary code."""

CORRUPT: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

ERRORS: Final = (SQLAlchemyError, sqlite3.Error, UnreadableRow)

PARTS: Final = ("", "-wal", "-shm")
"""What the names of the files of a database end with."""


class SqliteDatabase:
    """
    An SQLite file that one process at a time writes to. Thread-safe.

    A lock file beside it, ``NAME.lock``, keeps a second process away. The lock ends with the
    process, however it ends.

    Args:
        path: Where the file is, or will be created, with its directory.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path.absolute()
        self._clock = clock
        self._mutex = threading.Lock()
        self._engine: Engine | None = None
        self._identity: tuple[int, int] | None = None
        self._lock_file: int | None = None

    @contextmanager
    def transaction(self, *, consistent: bool = False) -> Iterator[Connection]:  # noqa: ARG002  it is
        with self._mutex, self._translated():
            if self._engine is not None and _identity(self._path) != self._identity:
                # Deleted or replaced: what is written to the open file would be lost.
                self._release()
            if self._engine is None:
                self._engine = self._open()
            with self._engine.begin() as connection:
                yield connection

    def close(self) -> None:
        """Close the file and let another process write to it. The next transaction opens it."""
        with self._mutex:
            self._release()

    def _release(self) -> None:
        self._disconnect()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Translate errors of SQLite. The next transaction opens the file again."""
        try:
            yield
        except ERRORS as error:
            self._disconnect()
            if not _is_corrupt(error):
                raise StoreError(_sentence(self._path, error)) from error
            raise StoreError(
                f"{self._path} is corrupt ({driver_text(error)}): it was set aside as"
                f" {self._set_aside().name}, and a new file begins"
            ) from error

    def _disconnect(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            with suppress(SQLAlchemyError):
                engine.dispose()

    def _open(self) -> Engine:
        try:
            self._create()
        except OSError as error:
            raise _refused(self._path, error) from error
        engine = _engine(self._path.as_uri(), StaticPool, begin="BEGIN IMMEDIATE")
        try:
            # Not before the version is known: WAL changes the file.
            with engine.begin() as connection:
                prepare(connection, str(self._path))
            _execute(engine, "PRAGMA journal_mode = WAL")
        except BaseException:
            engine.dispose()
            raise
        return engine

    def _create(self) -> None:
        """
        Take the lock, and create the file, its directory and the lock file if they are missing.

        Raises:
            OSError: The operating system refuses it.
            StoreError: It is a directory, or another process has the lock.
        """
        _check_no_directory(self._path)
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._lock_file is None:
            self._lock_file = self._take_lock()
        try:
            # SQLite would open a file that it cannot write to, and create its parts unwritable too.
            file = os.open(self._path, os.O_RDWR)
        except FileNotFoundError:
            # The parts get the mode of the file.
            file = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        os.close(file)
        self._identity = _identity(self._path)

    def _take_lock(self) -> int:
        lock = os.open(f"{self._path}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise StoreError(
                f"{self._path} is in use by another process, and this one runs without it:"
                " give each process a file, or use PostgreSQL"
            ) from error
        except BaseException:
            os.close(lock)
            raise
        return lock

    def _set_aside(self) -> Path:
        """
        Give the file another name, and its parts too. It is not deleted.

        Raises:
            StoreError: It cannot be renamed.
        """
        name = f"{self._path}.corrupt-{self._clock.now():%Y%m%dT%H%M%SZ}"
        target = Path(name)
        number = 1
        while target.exists():
            number += 1
            target = Path(f"{name}-{number}")
        try:
            for part in PARTS:
                with suppress(FileNotFoundError):
                    Path(f"{self._path}{part}").rename(f"{target}{part}")
        except OSError as error:
            raise StoreError(
                f"{self._path} is corrupt and cannot be renamed ({error.strerror}):"
                " check the owner and mode of its directory"
            ) from error
        return target


@contextmanager
def reading(path: Path) -> Iterator[Connection]:
    """Read a file that another process may be writing to."""
    path = path.absolute()
    try:
        _check_no_directory(path)
        if not path.exists():
            raise StoreError(f"{path} does not exist")
    except OSError as error:
        raise _refused(path, error) from error
    engine = _engine(f"{path.as_uri()}?mode=ro", NullPool, begin="BEGIN")
    try:
        with engine.connect() as connection:
            check(connection, str(path))
            yield connection
    except ERRORS as error:
        raise StoreError(_sentence(path, error)) from error


def _check_no_directory(path: Path) -> None:
    """
    Check that *path* is not that of a directory.

    Raises:
        OSError: The operating system refuses to say.
        StoreError: It is a directory.
    """
    if path.is_dir():
        raise StoreError(f"{path} is a directory: the path must be that of a file")


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what no two files that exist have in common. None: there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _refused(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{path} cannot be used ({error.strerror}):"
        " check its owner and mode, and those of its directory"
    )


def _sentence(path: Path, error: Exception) -> str:
    text = f"{path} cannot be used ({driver_text(error)})"
    advice = ADVICE.get(_code(error) or 0)
    return f"{text}: {advice}" if advice else text


def _engine(uri: str, pool: type[NullPool | StaticPool], *, begin: str) -> Engine:
    """Return an engine whose transactions start with the statement *begin*."""

    def connect() -> sqlite3.Connection:
        # Without an isolation level, the driver begins no transactions of its own.
        connection = sqlite3.connect(
            uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        # In WAL mode, NORMAL loses no transaction unless the machine itself crashes.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA journal_size_limit = 16777216")
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=pool)

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _execute(engine: Engine, statement: str) -> None:
    """Execute a statement that must not be in a transaction."""
    connection: Any = engine.raw_connection()
    try:
        connection.driver_connection.execute(statement)
    finally:
        connection.close()


def _code(error: BaseException | None) -> int | None:
    """Return SQLite's primary error code."""
    cause = getattr(error, "orig", error)
    code = getattr(cause, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _is_corrupt(error: Exception) -> bool:
    return (
        isinstance(error, UnreadableRow)
        or _code(error) in CORRUPT
        # Python has no code for text that is not UTF-8.
        or "Could not decode" in driver_text(error)
    )
