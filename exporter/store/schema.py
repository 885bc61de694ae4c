"""
The tables. docs/state.md explains them to people who query them.

Times are text in SQLite, in UTC and in the ISO 8601 form that its date functions understand, and
``timestamptz`` in PostgreSQL.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Double,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.types import TypeEngine

VERSION: Final = 1
"""The version of this schema. A store of a newer version is not touched."""


def to_text(at: datetime | None) -> str | None:
    """Format a time as SQLite stores it: ``2026-11-24T12:00:00Z``, with microseconds if any."""
    if at is None:
        return None
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    return at.isoformat()[:-6] + "Z"


def from_text(text: str | None) -> datetime | None:
    """
    Parse what `to_text` returned, or what a person wrote instead.

    Raises:
        ValueError: *text* is not a time.
        TypeError: The value is not text.
    """
    return None if text is None else datetime.fromisoformat(text)


def _to_utc(at: datetime | None) -> datetime | None:
    return at if at is None or at.tzinfo is UTC else at.astimezone(UTC)


def time_reader(dialect: Dialect) -> Callable[[Any], Any]:
    """Return what turns the driver's value of a time into the time. None stays None."""
    return from_text if dialect.name == "sqlite" else _to_utc


class UtcTime(TypeDecorator[datetime]):
    """An aware time in UTC."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(
            Text() if dialect.name == "sqlite" else DateTime(timezone=True)
        )

    # Instead of process_bind_param, which costs another call for each value.
    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        return to_text if dialect.name == "sqlite" else None

    def result_processor(self, dialect: Dialect, _: object) -> Callable[[Any], Any]:
        return time_reader(dialect)


metadata = MetaData()

schema_version = Table("schema_version", metadata, Column("version", Integer, nullable=False))

accounts = Table(
    "accounts",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("account_name", Text, nullable=False),
    Column("aws_partition", Text, nullable=False),
    # static (configured) or organization (discovered).
    Column("source", Text, nullable=False),
    # The role by which a discovered account is read. Empty: none.
    Column("role_arn", Text, nullable=False),
    Column("account_tags", JSON(none_as_null=True)),
    # How an account is configured whose id the configuration does not have. Empty: it has it.
    Column("configured_as", Text, nullable=False),
    # Counts the refreshes that were saved: who knows the latest has nothing to read.
    Column("revision", BigInteger, nullable=False),
    Column("read_at", UtcTime),
    Column("finished_at", UtcTime),
    Column("failure", Text),
    Column("error", Text, nullable=False),
    Column("refresh_seconds", Double, nullable=False),
    Column("users_listed_at", UtcTime),
    # When the users were listed according to the latest snapshot, which drops stale facts.
    Column("snapshot_listed_at", UtcTime),
    Column("root_as_of", UtcTime),
    Column("root_access_keys", Integer),
    Column("root_password_last_used_at", UtcTime),
    Column("root_access_key_last_used_at", UtcTime),
    Column("root_uses_as_of", UtcTime),
    Column("report_generated_at", UtcTime),
    Column("report_usable", Boolean),
    Column("bookmarks", JSON, nullable=False),
    Column("ended_at", UtcTime),
)

users = Table(
    "users",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("user_name", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("password_last_used_at", UtcTime),
    # A JSON object. NULL: none.
    Column("tags", Text),
    Column("keys_listed_at", UtcTime),
    Column("keys_as_of", UtcTime),
    Column("sort_order", Integer, nullable=False),
    sqlite_with_rowid=False,
)

keys = Table(
    "keys",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("access_key_id", Text, primary_key=True),
    Column("user_name", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    # used, never or unknown; the other columns of the last use have a value only if it is `used`.
    Column("last_use", Text, nullable=False),
    Column("last_used_at", UtcTime),
    Column("last_used_service", Text),
    Column("last_used_region", Text),
    Column("last_use_as_of", UtcTime),
    Column("last_use_final", Boolean, nullable=False),
    Column("status_as_of", UtcTime, nullable=False),
    Column("watched_since", UtcTime),
    Column("inactive_since", UtcTime),
    Column("status_changes", Integer, nullable=False),
    Column("deleted_at", UtcTime),
    Column("sort_order", Integer, nullable=False),
    sqlite_with_rowid=False,
)

uses = Table(
    "uses",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("access_key_id", Text, primary_key=True),
    Column("service", Text, primary_key=True),
    Column("region", Text, primary_key=True),
    Column("first_used_at", UtcTime, nullable=False),
    Column("last_used_at", UtcTime, nullable=False),
    Column("sort_order", Integer, nullable=False),
    sqlite_with_rowid=False,
)

events = Table(
    "events",
    metadata,
    # SQLite counts only a column of the type INTEGER.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("noticed_at", UtcTime, nullable=False),
    Column("user_name", Text, nullable=False),
    Column("access_key_id", Text, nullable=False),
    Column("seconds", Double),
    Column("service", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("credential", Text, nullable=False),
    Column("occurrence", Text, nullable=False),
    UniqueConstraint("account_id", "access_key_id", "kind", "occurrence"),
    Index("events_noticed_at", "noticed_at"),
)
