"""Translates between values of the model and rows of the tables."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from sys import intern
from types import MappingProxyType
from typing import Any

from exporter.model import (
    NEVER,
    AccessKey,
    Account,
    AccountMemory,
    AccountSnapshot,
    Bookmarks,
    Event,
    EventKind,
    KeyMemory,
    LastUse,
    NoUse,
    Partition,
    Reason,
    ReportState,
    RoleArn,
    Root,
    SeenUse,
    Use,
    User,
)
from exporter.store.schema import from_text, to_text

Row = dict[str, Any]

TimeReader = Callable[[Any], Any]
"""Turns the driver's value of a time into the time."""


def _storable(text: str) -> str:
    """Replace what a database cannot store, in text that does not come from AWS."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")


def account_row(
    snapshot: AccountSnapshot, memory: AccountMemory, revision: int, configured_as: str
) -> Row:
    root, report = memory.root, snapshot.report
    return {
        "account_id": snapshot.account.id,
        "account_name": _storable(snapshot.account.label),
        "aws_partition": snapshot.account.partition.value,
        "source": snapshot.account.source,
        "role_arn": str(snapshot.account.role_arn or ""),
        "account_tags": dict(snapshot.account.tags) or None,
        "configured_as": _storable(configured_as),
        "revision": revision,
        "read_at": snapshot.read_at,
        "finished_at": snapshot.finished_at,
        "failure": None if snapshot.failure is None else snapshot.failure.value,
        "error": _storable(snapshot.error),
        "refresh_seconds": snapshot.seconds,
        "users_listed_at": memory.users_as_of,
        "snapshot_listed_at": snapshot.listed_at,
        "root_as_of": None if root is None else root.as_of,
        "root_access_keys": None if root is None else root.access_keys,
        "root_password_last_used_at": None if root is None else root.password_last_used,
        "root_access_key_last_used_at": None if root is None else root.access_key_last_used,
        "root_uses_as_of": None if root is None else root.uses_as_of,
        "report_generated_at": None if report is None else report.generated,
        "report_usable": None if report is None else report.usable,
        "bookmarks": _bookmarks_row(snapshot.bookmarks),
        "ended_at": None,
    }


def _bookmarks_row(bookmarks: Bookmarks) -> Row:
    return {
        "next_report_at": to_text(bookmarks.next_report_at),
        "next_root_at": to_text(bookmarks.next_root_at),
        "tags_at": to_text(bookmarks.tags_at),
        "relist": sorted(bookmarks.relist),
        "in_report": sorted(bookmarks.in_report),
        "missing": sorted(bookmarks.missing),
    }


def _bookmarks(row: Row) -> Bookmarks:
    return Bookmarks(
        from_text(row["next_report_at"]),
        from_text(row["next_root_at"]),
        from_text(row["tags_at"]),
        frozenset(row["relist"]),
        frozenset(row["in_report"]),
        frozenset(row["missing"]),
    )


def snapshot_of(row: Any, memory: AccountMemory) -> AccountSnapshot:
    """Return what the latest refresh knew, as far as *memory* and *row*, of its account, say it."""
    account = Account(
        row.account_id,
        row.account_name,
        Partition(row.aws_partition),
        role_arn=RoleArn.parse(row.role_arn) if row.role_arn else None,
        source=row.source,
        tags=tuple((row.account_tags or {}).items()),
    )
    # A key is remembered for longer than its user if two processes went on to read apart.
    users = {user.name for user in memory.users.values()}
    return AccountSnapshot(
        account,
        users=tuple(memory.users.values()),
        keys=tuple(
            known.key
            for known in memory.keys.values()
            if known.deleted_at is None and known.key.user in users
        ),
        root=memory.root,
        report=None
        if row.report_usable is None
        else ReportState(row.report_generated_at, row.report_usable),
        bookmarks=_bookmarks(row.bookmarks),
        listed_at=row.snapshot_listed_at or row.users_listed_at,
        read_at=row.read_at,
        finished_at=row.finished_at,
        failure=None if row.failure is None else Reason(row.failure),
        error=row.error,
        seconds=row.refresh_seconds,
    )


def root_of(row: Any) -> Root | None:
    if row.root_as_of is None:
        return None
    return Root(
        row.root_as_of,
        row.root_access_keys,
        row.root_password_last_used_at,
        row.root_access_key_last_used_at,
        row.root_uses_as_of,
    )


def user_row(account_id: str, user_id: str, user: User, order: int) -> Row:
    return {
        "account_id": account_id,
        "user_id": user_id,
        "user_name": user.name,
        "path": user.path,
        "created_at": user.created,
        "password_last_used_at": user.password_last_used,
        "tags": json.dumps(dict(user.tags), ensure_ascii=False) if user.tags else None,
        "keys_listed_at": user.keys_at,
        "keys_as_of": user.keys_as_of,
        "sort_order": order,
    }


def users_by_account(rows: Iterable[Any], time: TimeReader) -> Mapping[str, Mapping[str, User]]:
    """Read the driver's rows of `users`, sorted by their order."""
    found: defaultdict[str, dict[str, User]] = defaultdict(dict)
    for account, id_, name, path, created, password, tags, keys_at, keys_as_of, _ in rows:
        found[account][intern(id_)] = User(
            name=intern(name),
            path=path,
            created=time(created),
            id=intern(id_),
            password_last_used=time(password),
            tags=tuple(json.loads(tags).items()) if tags else (),
            keys_at=time(keys_at),
            keys_as_of=time(keys_as_of),
        )
    return found


def key_row(account_id: str, memory: KeyMemory, order: int) -> Row:
    key = memory.key
    use = key.last_use if isinstance(key.last_use, LastUse) else None
    return {
        "account_id": account_id,
        "access_key_id": key.id,
        "user_name": key.user,
        "user_id": memory.user_id,
        "status": key.status,
        "created_at": key.created,
        "last_use": key.last_use.value if isinstance(key.last_use, NoUse) else "used",
        "last_used_at": use and use.at,
        "last_used_service": use and use.service,
        "last_used_region": use and use.region,
        "last_use_as_of": key.as_of,
        "last_use_final": key.final,
        "status_as_of": memory.status_as_of,
        "watched_since": memory.watched_since,
        "inactive_since": memory.inactive_since,
        "status_changes": memory.status_changes,
        "deleted_at": memory.deleted_at,
        "sort_order": order,
    }


_NO_USES: Mapping[str, tuple[SeenUse, ...]] = MappingProxyType({})


def keys_by_account(
    rows: Iterable[Any], uses: Mapping[str, Mapping[str, tuple[SeenUse, ...]]], time: TimeReader
) -> Mapping[str, Mapping[str, KeyMemory]]:
    """Read the driver's rows of `keys`, sorted by their order. *uses* are by account and key."""
    found: defaultdict[str, dict[str, KeyMemory]] = defaultdict(dict)
    for (
        account, id_, user, user_id, status, created, last_use, used_at, service, region, as_of,
        final, status_as_of, watched_since, inactive_since, status_changes, deleted_at, _,
    ) in rows:  # fmt: skip
        use: Use
        if last_use == "used":
            use = LastUse(time(used_at), intern(service), intern(region))
        else:
            use = NEVER if last_use == "never" else NoUse(last_use)
        found[account][id_] = KeyMemory(
            key=AccessKey(
                id_, intern(user), intern(status), time(created), use, time(as_of), bool(final)
            ),
            user_id=intern(user_id),
            status_as_of=time(status_as_of),
            watched_since=time(watched_since),
            uses=uses.get(account, _NO_USES).get(id_, ()),
            inactive_since=time(inactive_since),
            status_changes=status_changes,
            deleted_at=time(deleted_at),
        )
    return found


def use_row(account_id: str, key_id: str, use: SeenUse, order: int) -> Row:
    return {
        "account_id": account_id,
        "access_key_id": key_id,
        "service": use.service,
        "region": use.region,
        "first_used_at": use.first,
        "last_used_at": use.latest,
        "sort_order": order,
    }


def uses_by_account(
    rows: Iterable[Any], time: TimeReader
) -> Mapping[str, Mapping[str, tuple[SeenUse, ...]]]:
    """Read the driver's rows of `uses`, sorted by their order."""
    found: defaultdict[str, dict[str, tuple[SeenUse, ...]]] = defaultdict(dict)
    for account, key, service, region, first, latest, _ in rows:
        use = SeenUse(intern(service), intern(region), time(first), time(latest))
        by_key = found[account]
        by_key[key] = (*by_key[key], use) if key in by_key else (use,)
    return found


def event_row(account_id: str, event: Event) -> Row:
    return {
        "account_id": account_id,
        "kind": event.kind.value,
        "at": event.at,
        "noticed_at": event.noticed_at,
        "user_name": event.user,
        "access_key_id": event.access_key_id,
        "seconds": event.seconds,
        "service": event.service,
        "region": event.region,
        "credential": event.credential,
        "occurrence": event.occurrence,
    }


def event_of(row: Any) -> Event:
    return Event(
        kind=EventKind(row.kind),
        at=row.at,
        noticed_at=row.noticed_at,
        user=row.user_name,
        access_key_id=row.access_key_id,
        occurrence=row.occurrence,
        seconds=row.seconds,
        service=row.service,
        region=row.region,
        credential=row.credential,
    )


def events_by_account(rows: Iterable[Any]) -> Mapping[str, tuple[Event, ...]]:
    found: defaultdict[str, list[Event]] = defaultdict(list)
    for row in rows:
        found[row.account_id].append(event_of(row))
    return {account: tuple(some) for account, some in found.items()}
