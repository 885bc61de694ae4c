"""The access keys of accounts, as rows: with what is wrong, selected and sorted."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Final

from exporter.model import (
    NEVER,
    UNKNOWN,
    AccessKey,
    Account,
    AccountMemory,
    AccountSnapshot,
    Event,
    LastUse,
    NoUse,
    Root,
    Use,
    User,
    superseded_seconds,
)
from exporter.report.findings import (
    Finding,
    FindingKind,
    KeyState,
    age_of,
    findings_of,
    idle_of,
)

ROOT: Final = "<root>"
"""The user of a row about the root user. No IAM user can have this name."""


@dataclass(frozen=True, slots=True)
class ShowOptions:
    """
    How accounts are shown.

    Attributes:
        tags: The user tags that are shown: the name in CSV and JSON by the name of the tag.
        exempt_until: Returns when the exemption of a key expires. None: the key is not exempt.
        key_labels: Returns how each key of one user is shown, by key id.
        user_names: Returns how the users of one account are shown that have a key id in their name,
            by name.
        redact: Formats the key ids in a text, and removes what must not be shown.
    """

    tags: Mapping[str, str] = field(default_factory=dict)
    exempt_until: Callable[[Account, User, AccessKey], datetime | None] = lambda *_: None
    key_labels: Callable[[Iterable[AccessKey]], Mapping[str, str]] = lambda keys: {
        key.id: key.id for key in keys
    }
    user_names: Callable[[Iterable[str]], Mapping[str, str]] = lambda names: {}
    redact: Callable[[str], str] = str


@dataclass(frozen=True, slots=True)
class KeyRow:
    """
    An access key. Its texts may be shown, but may have control characters.

    Attributes:
        user: `ROOT` for the root user, of whose keys only the number is known.
        tags: Values in the order of the options; empty for a tag that the user does not have.
        access_key_id: As it is shown. Empty: one of the root user.
        created: None: unknown, as is the age.
        age: When AWS last reported the key.
        last_use: None of its texts is empty, unless unknown.
        as_of: When AWS last reported the last use. None: it is unknown.
        idle: From the last use, or the creation if it was never used, to *as_of*: it does not grow
            while nobody can look. None: unknown.
        findings: The most urgent first.
        exempt_until: None: not exempt, or no longer.
    """

    account_id: str
    account: str
    user: str
    tags: tuple[str, ...]
    access_key_id: str
    status: str
    created: datetime | None
    age: timedelta | None
    last_use: Use
    as_of: datetime | None
    idle: timedelta | None
    findings: tuple[Finding, ...]
    exempt_until: datetime | None


def key_rows(
    snapshot: AccountSnapshot, memory: AccountMemory, options: ShowOptions, at: datetime
) -> Iterator[KeyRow]:
    """
    Yield a row for each key of an account, and one for those of its root user if it has any.

    Args:
        memory: What is remembered of the account, with the recent events. Empty: nothing is.
        at: Now: which exemptions apply.
    """
    root = snapshot.root
    if root is not None and root.access_keys:
        yield _root_row(snapshot, root, options)
    users = {user.name: user for user in snapshot.users}
    names = options.user_names(users)
    events = _by_key(memory.events)
    redact = cache(options.redact)
    account, shown_account = snapshot.account, redact(snapshot.account.label)
    for name, keys in _by_user(snapshot.keys).items():
        # The store knows keys of users that could not be listed lately.
        user = users.get(name) or User(name, "/", keys[0].created)
        labels = options.key_labels(keys)
        superseded = superseded_seconds(keys) if len(keys) > 1 else {}
        ends = {key.id: _applying(options.exempt_until(account, user, key), at) for key in keys}
        values = dict(user.tags)
        active = 0 if any(ends.values()) else sum(key.active for key in keys)
        for key in keys:
            remembered = None if key.active else memory.keys.get(key.id)
            state = KeyState(
                key,
                exempt=ends[key.id] is not None,
                inactive_since=remembered.inactive_since if remembered else None,
                superseded=superseded.get(key.id),
                active_keys=active,
                events=events.get(key.id, ()),
            )
            yield KeyRow(
                account_id=account.id,
                account=shown_account,
                user=redact(names.get(name, name)),
                tags=tuple(redact(values.get(tag, "")) for tag in options.tags),
                access_key_id=labels[key.id],
                status=key.status,
                created=key.created,
                age=age_of(key, user.keys_at),
                last_use=_shown(key.last_use, redact),
                as_of=None if key.last_use is UNKNOWN else key.as_of,
                idle=idle_of(key),
                findings=findings_of(state),
                exempt_until=ends[key.id],
            )


def _root_row(snapshot: AccountSnapshot, root: Root, options: ShowOptions) -> KeyRow:
    at = root.access_key_last_used
    known = at is not None and root.uses_as_of is not None
    return KeyRow(
        account_id=snapshot.account.id,
        account=options.redact(snapshot.account.label),
        user=ROOT,
        tags=("",) * len(options.tags),
        access_key_id="",
        status="Active",
        created=None,
        age=None,
        last_use=LastUse(at, "", "") if at is not None else UNKNOWN,
        as_of=root.uses_as_of if known else None,
        idle=max(root.uses_as_of - at, timedelta()) if at and root.uses_as_of else None,
        findings=(Finding(FindingKind.ROOT_ACCESS_KEY, count=root.access_keys or 0),),
        exempt_until=None,
    )


def _applying(until: datetime | None, at: datetime) -> datetime | None:
    return until if until is not None and until > at else None


def _shown(use: Use, redact: Callable[[str], str]) -> Use:
    if isinstance(use, NoUse):
        return use
    service, region = redact(use.service), redact(use.region)
    same = service == use.service and region == use.region
    return use if same else LastUse(use.at, service, region)


def _by_user(keys: Iterable[AccessKey]) -> dict[str, list[AccessKey]]:
    by_user: dict[str, list[AccessKey]] = {}
    for key in keys:
        by_user.setdefault(key.user, []).append(key)
    return by_user


def _by_key(events: Iterable[Event]) -> dict[str, list[Event]]:
    by_key: dict[str, list[Event]] = {}
    for event in events:
        by_key.setdefault(event.access_key_id, []).append(event)
    return by_key


@dataclass(frozen=True, slots=True)
class Selection:
    """
    Which keys are shown: those that meet every condition.

    Attributes:
        users: Names as they are shown. Empty: all.
        idle_for: Keys that are known to have been idle for at least that long.
        never_used: Only keys that were never used.
        unrotated_for: Active keys that are at least that old.
    """

    users: frozenset[str] = frozenset()
    idle_for: timedelta | None = None
    never_used: bool = False
    unrotated_for: timedelta | None = None

    def has(self, row: KeyRow) -> bool:
        unrotated = row.age if row.status == "Active" else None
        return (
            (not self.users or row.user in self.users)
            and (not self.never_used or row.last_use is NEVER)
            and _reaches(row.idle, self.idle_for)
            and _reaches(unrotated, self.unrotated_for)
        )


def _reaches(duration: timedelta | None, limit: timedelta | None) -> bool:
    return limit is None or (duration is not None and duration >= limit)


class Order(StrEnum):
    """How keys are sorted. Public: values of ``--sort``."""

    URGENCY = "urgency"
    IDLE = "idle"
    AGE = "age"
    ACCOUNT = "account"
    USER = "user"


def sort_keys(rows: Iterable[KeyRow], order: Order) -> list[KeyRow]:
    """
    Sort *rows*: the most urgent, the longest idle, or the oldest first. Unknown ones come last.

    Keys without findings are sorted by their idle time, exempt ones after all others.
    """
    names = sorted(rows, key=lambda row: (row.account, row.account_id, row.user, row.access_key_id))
    return sorted(names, key=_RANKS[order])


def sort_key(order: Order) -> Callable[[KeyRow], tuple[object, ...]]:
    """Return the key by which `sort_keys` sorts, for those who need only the first rows."""
    rank = _RANKS[order]
    return lambda row: (rank(row), row.account, row.account_id, row.user, row.access_key_id)


def _urgency(row: KeyRow) -> tuple[object, ...]:
    if row.findings:
        return 0, row.findings[0].urgency, _longest_first(row.idle)
    return 1, row.exempt_until is not None, _longest_first(row.idle)


def _longest_first(duration: timedelta | None) -> timedelta:
    return timedelta.max if duration is None else -duration


_RANKS: Final[Mapping[Order, Callable[[KeyRow], tuple[object, ...]]]] = {
    Order.URGENCY: _urgency,
    Order.IDLE: lambda row: (_longest_first(row.idle),),
    Order.AGE: lambda row: (_longest_first(row.age),),
    Order.ACCOUNT: lambda row: (),
    Order.USER: lambda row: (row.user,),
}
