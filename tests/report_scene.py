"""Accounts for the tests of reports: one of everything that a report has to show."""

from datetime import timedelta
from typing import Any, Final

from exporter.model import (
    NEVER,
    UNKNOWN,
    AccountMemory,
    AccountSnapshot,
    Event,
    EventKind,
    KeyMemory,
    LastUse,
    ReadError,
    Reason,
    ReportState,
    Root,
)
from tests.builders import NOON, TEST, a_key, a_snapshot, a_user, an_account, days_ago

AUDIT: Final = "333333333333"
NEW: Final = "444444444444"


def key_id(number: int) -> str:
    return f"AKIA{number:016}"


def idle_key(number: int, user: str, days: float | None, *, age: float = 80, **fields: Any) -> Any:
    """A key that was last used *days* before it was reported. None: it was never used."""
    use = NEVER if days is None else LastUse(days_ago(days), "s3", "eu-west-1")
    return a_key(key_id(number), user, created=days_ago(age), last_use=use, **fields)


def prod() -> tuple[AccountSnapshot, AccountMemory]:
    """An account in which everything was read."""
    keys = (
        idle_key(1, "alice", 1),
        idle_key(2, "backup", 200.5, age=900),
        idle_key(3, "ci", 0.5, age=400),
        idle_key(4, "ci", 50, age=85),
        idle_key(5, "new", None, age=10),
        idle_key(6, "forgotten", None, age=50),
        idle_key(7, "partner", 300, age=500),
        idle_key(8, "old", 150, age=500, status="Inactive"),
        idle_key(9, "dormant", 0.25, age=700),
        a_key(
            key_id(10),
            "=cmd|' /C calc'!A0",
            created=days_ago(20),
            last_use=LastUse(NOON, "iam", "N/A"),
        ),
    )
    tags = {
        "backup": (("owner", "storage team"), ("team", "infra")),
        "partner": (("exempt", "2027-01-31"), ("owner", "pat|ricia \x1b[31m")),
    }
    users = tuple(
        a_user(name, tags=tags.get(name, ())) for name in dict.fromkeys(k.user for k in keys)
    )
    snapshot = a_snapshot(
        *keys,
        users=users,
        root=Root(NOON, 1, None, days_ago(30), NOON),
        report=ReportState(NOON - timedelta(hours=3), usable=True),
    )
    awakened = Event(
        kind=EventKind.AWAKENED,
        at=NOON - timedelta(hours=6),
        noticed_at=NOON - timedelta(hours=5),
        user="dormant",
        access_key_id=key_id(9),
        seconds=300 * 86400.0,
    )
    old = KeyMemory(key=keys[7], user_id="", status_as_of=NOON, inactive_since=days_ago(20))
    return snapshot, AccountMemory(keys={old.key.id: old}, events=(awakened,))


def partial() -> tuple[AccountSnapshot, AccountMemory]:
    """An account of which some keys, and some last uses, are unknown."""
    account = an_account(TEST, "test")
    keys = (
        a_key(key_id(21), "dan", created=days_ago(300), last_use=UNKNOWN, as_of=None),
        idle_key(22, "erin", 95, age=100),
    )
    users = (
        a_user("dan"),
        a_user("erin"),
        a_user("frank", keys_at=None),
        a_user("gail", keys_at=None),
    )
    snapshot = a_snapshot(
        *keys, account=account, users=users, root=Root(NOON, None), read_at=NOON - timedelta(days=2)
    )
    text = "GetAccessKeyLastUsed: not authorized (and 2 more)"
    return snapshot.failed(ReadError(Reason.ACCESS_DENIED, text)), AccountMemory()


def failed() -> tuple[AccountSnapshot, AccountMemory]:
    """An account that could not be read at all."""
    account = an_account(AUDIT, "audit")
    snapshot = a_snapshot(account=account, listed_at=None, read_at=None)
    return snapshot.failed(
        ReadError(Reason.ASSUME_ROLE, "the role cannot be assumed")
    ), AccountMemory()


SCENE: Final = (prod(), partial(), failed())
