"""What changed about an account's users and keys."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from exporter.memory.order import in_order, is_newer
from exporter.memory.root import compare_roots
from exporter.memory.uses import with_use
from exporter.model import (
    NEVER,
    UNKNOWN,
    AccessKey,
    AccountMemory,
    AccountSnapshot,
    Event,
    EventKind,
    KeyMemory,
    LastUse,
    User,
    latest,
)

UNNAMED: Final = "N/A"
"""What AWS reports as the region of a service without regions, and as a service it cannot name."""

LISTING_DELAY: Final = timedelta(minutes=15)
"""How long IAM, which is eventually consistent, may take to list a new user."""

STATUS_KINDS: Final = {
    "Active": EventKind.ACTIVATED,
    "Inactive": EventKind.DEACTIVATED,
    "Expired": EventKind.EXPIRED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """
    What becomes an event, and for how long events are recent.

    Attributes:
        min_idle: The proven idle time from which on a use awakens a key.
        learning: How long a key is watched before a new service or region is an event.
        includes: Whether the user of this name is read. Keys of others are forgotten, not deleted.
    """

    shown_for: timedelta
    min_idle: timedelta
    learning: timedelta
    includes: Callable[[str], bool] = lambda name: True


def remember(
    before: AccountMemory, snapshot: AccountSnapshot, options: Options
) -> tuple[AccountMemory, tuple[Event, ...]]:
    """
    Compare what is remembered of an account with its latest snapshot.

    Returns:
        What to remember from now on, and the new events in the order in which they happened.
    """
    now = snapshot.finished_at
    if now is None:
        return before, ()
    comparison = _Comparison(before, snapshot, options, now)
    users = comparison.users()
    keys = comparison.keys()
    root, root_events = compare_roots(before.root, snapshot.root, now)
    known = {event.identity for event in before.events}
    noticed = (*comparison.events, *root_events)
    events = in_order(event for event in noticed if event.identity not in known)
    memory = AccountMemory(
        users=MappingProxyType(users),
        users_as_of=snapshot.listed_at if comparison.users_listed else before.users_as_of,
        keys=MappingProxyType(keys),
        root=root,
        events=in_order((*recent(before.events, now, options.shown_for), *events)),
    )
    return memory, events


def recent(events: Iterable[Event], now: datetime, shown_for: timedelta) -> tuple[Event, ...]:
    """List the events that were noticed less than *shown_for* ago."""
    # In both directions: a clock that was ahead must not show an event for longer.
    return tuple(event for event in events if abs(now - event.noticed_at) < shown_for)


class _Comparison:
    """
    One comparison of an account's memory with its latest snapshot.

    Attributes:
        events: What was noticed so far.
        users_listed: Whether the snapshot's list of users is newer than the remembered one.
    """

    def __init__(
        self, before: AccountMemory, snapshot: AccountSnapshot, options: Options, now: datetime
    ) -> None:
        self.events: list[Event] = []
        self.users_listed = is_newer(snapshot.listed_at, before.users_as_of, now)
        self._before = before
        self._snapshot = snapshot
        self._options = options
        self._now = now
        self._users = {_id(user): user for user in snapshot.users}
        self._owners = {user.name: user for user in snapshot.users}

    # -- users ---------------------------------------------------------------------------------

    def users(self) -> dict[str, User]:
        """Carry on what is known of users."""
        if self.users_listed:
            return {id_: self._carried_on(id_, user) for id_, user in self._users.items()}
        return {
            id_: replace(user, keys_as_of=self._users[id_].keys_as_of)
            if id_ in self._users
            and is_newer(self._users[id_].keys_as_of, user.keys_as_of, self._now)
            else user
            for id_, user in self._before.users.items()
            if id_ in self._users or self._options.includes(user.name)
        }

    def _carried_on(self, id_: str, user: User) -> User:
        known = self._before.users.get(id_)
        if known is not None:
            as_of = known.keys_as_of
        else:
            # A new user had no keys when the users were last listed.
            as_of = self._before.users_as_of if self._is_new(user) else None
        newer = is_newer(user.keys_as_of, as_of, self._now)
        return user if newer or user.keys_as_of == as_of else replace(user, keys_as_of=as_of)

    def _is_new(self, user: User) -> bool:
        """Whether *user*, of whom nothing is known, was created since users were last listed."""
        listed = self._before.users_as_of
        return listed is not None and user.created > listed - LISTING_DELAY

    # -- keys ----------------------------------------------------------------------------------

    def keys(self) -> dict[str, KeyMemory]:
        """Compare the keys, and carry on what is remembered of each."""
        before, keys = self._before.keys, {}
        for key in self._snapshot.keys:
            known, owner = before.get(key.id), self._owners[key.user]
            after = self._appeared(key, owner) if known is None else self._compared(known, key)
            if after is not None:
                keys[key.id] = after
        for id_, known in before.items():
            if id_ not in keys:
                after = self._missing(known)
                if after is not None:
                    keys[id_] = after
        return keys

    def _appeared(self, key: AccessKey, owner: User) -> KeyMemory | None:
        """
        Begin to remember a key.

        Returns:
            None if no list of its user's keys confirms it yet.
        """
        known = self._before.users.get(_id(owner))
        listed = known.keys_as_of if known is not None else None
        if owner.keys_as_of is None or not is_newer(owner.keys_as_of, listed, self._now):
            return None
        is_new = known is None and self._is_new(owner)
        if known is None and not is_new and not self.users_listed:
            return None  # a later list of users, which another process read, no longer has the user
        if listed is not None or is_new:
            self._notice(EventKind.CREATED, key, at=key.created)
        is_known = key.last_use is not UNKNOWN
        return KeyMemory(
            key=key,
            user_id=owner.id,
            status_as_of=owner.keys_as_of,
            watched_since=self._watched_since(key) if is_known else None,
            uses=with_use((), key.last_use) if isinstance(key.last_use, LastUse) else (),
            inactive_since=None if key.active else owner.keys_as_of,
        )

    def _compared(self, known: KeyMemory, key: AccessKey) -> KeyMemory:
        owner = self._owners[key.user]
        key = replace(key, user=self._name_of(owner))
        after = self._with_status(known, key, owner)
        after = replace(after, key=replace(after.key, user=key.user), user_id=owner.id)
        return self._with_use(after, key)

    def _name_of(self, owner: User) -> str:
        """Return the latest known name of *owner*, which another process may have read."""
        known = self._before.users.get(_id(owner))
        return owner.name if known is None or self.users_listed else known.name

    def _with_status(self, known: KeyMemory, key: AccessKey, owner: User) -> KeyMemory:
        as_of = owner.keys_as_of
        if as_of is None or not is_newer(as_of, known.status_as_of, self._now):
            return known
        after = replace(known, status_as_of=as_of, deleted_at=None)
        # A report confirms that a key is not active, and not whether it is inactive or expired.
        by_report = owner.keys_at != as_of and not (key.active or known.key.active)
        if key.status == known.key.status or by_report:
            return after
        changes = known.status_changes + 1
        # A status that AWS may introduce is not Active, so the key is as good as deactivated.
        kind = STATUS_KINDS.get(key.status, EventKind.DEACTIVATED)
        self._notice(kind, key, at=as_of, occurrence=str(changes))
        return replace(
            after,
            key=replace(after.key, status=key.status, final=False),
            inactive_since=None if key.active else (known.inactive_since or as_of),
            status_changes=changes,
        )

    def _with_use(self, known: KeyMemory, key: AccessKey) -> KeyMemory:
        """Compare the last use, and carry on where the key was used."""
        old, new = known.key.last_use, key.last_use
        if new is UNKNOWN:
            return known
        if old is UNKNOWN:
            known = replace(known, watched_since=self._watched_since(key))
        elif isinstance(new, LastUse):
            self._compare_uses(known, key, new)
        use = latest(old, new)
        as_of = known.key.as_of
        if use != old:
            as_of = key.as_of
        elif use == new and key.as_of is not None:
            outdated = as_of is None or as_of < key.as_of or as_of > self._now
            as_of = key.as_of if outdated else as_of
        # What an outdated snapshot says is not about the latest known use and status.
        current = use == new and key.status == known.key.status
        final = key.final if current else known.key.final
        since = known.watched_since
        return replace(
            known,
            key=replace(known.key, last_use=use, as_of=as_of, final=final),
            watched_since=None if since is None else min(since, self._now),
            uses=with_use(known.uses, new) if isinstance(new, LastUse) else known.uses,
        )

    def _watched_since(self, key: AccessKey) -> datetime:
        return self._now if key.as_of is None else min(key.as_of, self._now)

    def _compare_uses(self, known: KeyMemory, key: AccessKey, new: LastUse) -> None:
        old = known.key.last_use
        if old is NEVER:
            age = (new.at - key.created).total_seconds()
            self._notice_use(EventKind.FIRST_USED, key, new, seconds=max(0.0, age))
        elif isinstance(old, LastUse) and new.at > old.at:
            idle = self._proven_idle(known, new)
            if idle >= self._options.min_idle:
                seconds = idle.total_seconds()
                after = old.at.isoformat()
                self._notice_use(EventKind.AWAKENED, key, new, after, seconds=seconds)
        since = known.watched_since
        if not known.uses or since is None or self._now - since < self._options.learning:
            return
        if new.service not in {UNNAMED, *(use.service for use in known.uses)}:
            self._notice_use(EventKind.NEW_SERVICE, key, new, new.service)
        if new.region not in {UNNAMED, *(use.region for use in known.uses)}:
            self._notice_use(EventKind.NEW_REGION, key, new, new.region)

    def _proven_idle(self, known: KeyMemory, new: LastUse) -> timedelta:
        """Return for how long AWS was seen to report no use since the previous one."""
        old, as_of = known.key.last_use, known.key.as_of
        if not isinstance(old, LastUse) or as_of is None or as_of > self._now:
            return timedelta(0)  # a confirmation in the future is a clock that was wrong
        return min(as_of, new.at) - old.at

    def _missing(self, known: KeyMemory) -> KeyMemory | None:
        """
        Decide about a key that the snapshot does not have.

        Returns:
            None if there is no need to remember it any longer.
        """
        if known.deleted_at is not None:
            expired = abs(self._now - known.deleted_at) >= self._options.shown_for
            return None if expired else known
        owner = self._users.get(known.user_id or known.key.user) or self._successor(known.key)
        if owner is None and not self._options.includes(known.key.user):
            return None
        if owner is not None:
            known = replace(known, key=replace(known.key, user=self._name_of(owner)))
            as_of = owner.keys_as_of
        else:
            as_of = self._snapshot.listed_at if self.users_listed else None
        if as_of is None or not is_newer(as_of, known.status_as_of, self._now):
            return known
        self._notice(EventKind.DELETED, known.key, at=as_of)
        return replace(known, deleted_at=as_of, status_as_of=as_of)

    def _successor(self, key: AccessKey) -> User | None:
        """
        Find the user to whom a key of a deleted user may belong.

        Users are listed by id and keys by name: between the two calls a user may be deleted and
        created again, and a key of the new user is taken for one of the old.
        """
        user = self._owners.get(key.user)
        return user if user is not None and user.created <= key.created else None

    # -- events --------------------------------------------------------------------------------

    def _notice(
        self, kind: EventKind, key: AccessKey, *, at: datetime, occurrence: str = ""
    ) -> None:
        self.events.append(
            Event(
                kind=kind,
                at=at,
                noticed_at=self._now,
                user=key.user,
                access_key_id=key.id,
                occurrence=occurrence,
            )
        )

    def _notice_use(
        self,
        kind: EventKind,
        key: AccessKey,
        use: LastUse,
        occurrence: str = "",
        *,
        seconds: float | None = None,
    ) -> None:
        self.events.append(
            Event(
                kind=kind,
                at=use.at,
                noticed_at=self._now,
                user=key.user,
                access_key_id=key.id,
                occurrence=occurrence,
                seconds=seconds,
                service=use.service,
                region=use.region,
            )
        )


def _id(user: User) -> str:
    return user.id or user.name
