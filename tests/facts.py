"""Builders of facts: everything has a default, so that a test mentions only what it is about."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from exporter.model import AccessKey, Account, AccountSnapshot, LastUse, User

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def days_ago(days: float) -> datetime:
    return NOON - timedelta(days=days)


def an_account(id_: str = "111111111111", name: str = "prod", **facts: Any) -> Account:
    return Account(id_, name, **facts)


def a_user(name: str = "alice", **facts: Any) -> User:
    return User(**{"name": name, "path": "/", "created": days_ago(500), "keys_at": NOON, **facts})


def a_use(days: float = 1, service: str = "s3", region: str = "eu-west-1") -> LastUse:
    return LastUse(days_ago(days), service, region)


def a_key(id_: str = "AKIAALICEALICEALICE1", user: str = "alice", **facts: Any) -> AccessKey:
    standard = {
        "status": "Active",
        "created": days_ago(100),
        "last_use": a_use(),
        "as_of": NOON,
    }
    return AccessKey(id_, user, **{**standard, **facts})


def a_snapshot(*keys: AccessKey, account: Account | None = None, **facts: Any) -> AccountSnapshot:
    """Make a whole reading of *keys* and their users."""
    users = tuple(a_user(name) for name in dict.fromkeys(key.user for key in keys))
    standard = {
        "users": users,
        "keys": keys,
        "listed_at": NOON,
        "read_at": NOON,
        "finished_at": NOON,
        "seconds": 1.5,
    }
    return replace(AccountSnapshot(account or an_account()), **{**standard, **facts})
