"""
What has to become an event, decided from what the snapshots of an account say, look by look.

It is written without regard to the implementation, and in true time: the oracle knows when a time
that our clock has taken really was.

An event is *provable*, and so has to be noticed by the refresh that completes the proof, where

* ``created``: an earlier list of the user's keys, or a list of users from before the user existed,
  was read after the process began to watch, and a later list of the user's keys has the key;
* ``deleted``: a list of the user's keys had the key, and a later one, or a later list of users,
  does not have it, or them;
* ``activated``, ``deactivated``, ``expired``: two lists of the user's keys differ in its status;
* ``first_used``: the answer was NEVER, and later a use;
* ``awakened``: an earlier use was still the answer at least `min_idle` after it, and a later answer
  is a later use;
* ``new_service``, ``new_region``: a use was known for at least `learning`, and none of those seen
  was there;
* ``root_used``: two reports differ in the last use, or the later one has it for the first time;
* ``root_key_created``: two reports differ in the number of active keys, or the account's summary
  showed that there was none.

An answer with an older time than the known one proves nothing: another process was there before.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from exporter.memory import Options
from exporter.model import (
    ACTIVE,
    NEVER,
    UNKNOWN,
    AccessKey,
    AccountSnapshot,
    EventKind,
    LastUse,
    Root,
    Use,
    User,
    latest,
)
from tests.memory.chronicle import Chronicle

KINDS = {
    "Active": EventKind.ACTIVATED,
    "Inactive": EventKind.DEACTIVATED,
    "Expired": EventKind.EXPIRED,
}

Required = tuple[EventKind, str, str]
"""The kind, the key, and what tells it from others of this kind: a use's time, a service..."""


@dataclass
class Seen:
    """What was seen of a key. Times are true."""

    user_id: str
    status: str
    listed: datetime
    use: Use = UNKNOWN
    confirmed: datetime | None = None
    watched: datetime | None = None
    services: set[str] = field(default_factory=set)
    regions: set[str] = field(default_factory=set)
    gone: bool = False


@dataclass
class Oracle:
    """
    What was seen of an account since a process began to watch it.

    Attributes:
        options: With the filter of users.
        first_listed: When the users were first listed.
        listed: When they were last listed.
        lists: When the keys of each user were last listed, by user id.
        clock_was_wrong: Whether times that our clock has taken prove nothing.
    """

    options: Options
    first_listed: datetime | None = None
    listed: datetime | None = None
    lists: dict[str, datetime] = field(default_factory=dict)
    keys: dict[str, Seen] = field(default_factory=dict)
    root: Root | None = None
    root_as_of: datetime | None = None
    clock_was_wrong: bool = False

    def look(
        self,
        past: Chronicle,
        snapshot: AccountSnapshot,
        now: datetime,
        true: Callable[[datetime], datetime],
    ) -> set[Required]:
        """
        Take a snapshot into account.

        Args:
            now: When the refresh finished, in true time.
            true: Converts a time of the snapshot to true time.

        Returns:
            The events that are provable now.
        """
        listed = None if snapshot.listed_at is None else true(snapshot.listed_at)
        required = set()
        for user in snapshot.users:
            keys = [key for key in snapshot.keys if key.user == user.name]
            if user.keys_as_of is not None:
                required |= set(self._list(past, user, keys, true(user.keys_as_of), listed))
        if listed is not None and (self.listed is None or listed > self.listed):
            required |= set(self._miss(past, snapshot))
            self.listed = listed
            self.first_listed = self.first_listed or listed
        for key in snapshot.keys:
            if key.id in self.keys:
                required |= set(self._use(self.keys[key.id], key, now, true))
        required |= set(self._look_at_root(snapshot.root, true))
        return required

    def _list(
        self,
        past: Chronicle,
        user: User,
        keys: list[AccessKey],
        at: datetime,
        listed: datetime | None,
    ) -> Iterator[Required]:
        earlier = self.lists.get(user.id) or self._before_creation(past, user)
        outdated = listed is not None and self.listed is not None and listed < self.listed
        if (earlier is not None and at <= earlier) or (earlier is None and outdated):
            return  # another process was there before, or no longer saw the user
        for key in keys:
            seen = self.keys.get(key.id)
            if seen is None:
                self.keys[key.id] = Seen(user.id, key.status, at)
                if earlier is not None:
                    yield EventKind.CREATED, key.id, ""
            elif at > seen.listed:
                by_report = user.keys_at != user.keys_as_of  # where Inactive and Expired are one
                if key.active != (seen.status == ACTIVE) or not by_report:
                    if key.status != seen.status:
                        yield KINDS[key.status], key.id, ""
                    seen.status = key.status
                seen.listed, seen.gone, seen.user_id = at, False, user.id
        ids = {key.id for key in keys}
        for id_, seen in self.keys.items():
            if seen.user_id == user.id and id_ not in ids and not seen.gone and at > seen.listed:
                seen.gone = True
                yield EventKind.DELETED, id_, ""
        self.lists[user.id] = at

    def _before_creation(self, past: Chronicle, user: User) -> datetime | None:
        """Return when the users were listed, if *user* did not exist yet."""
        if self.listed is None or self.clock_was_wrong:
            return None
        return self.listed if past.user(user.id).created > self.listed else None

    def _miss(self, past: Chronicle, snapshot: AccountSnapshot) -> Iterator[Required]:
        """Find whose users are no longer listed."""
        ids = {user.id for user in snapshot.users}
        self.lists = {id_: at for id_, at in self.lists.items() if id_ in ids}
        for id_, seen in list(self.keys.items()):
            if seen.user_id in ids or seen.gone:
                continue
            true = past.keys[id_]
            if not self.options.includes(true.user.names.now):
                del self.keys[id_]
            elif true.user.id == seen.user_id and true.deleted is not None:
                seen.gone = True
                yield EventKind.DELETED, id_, ""

    def _use(
        self, seen: Seen, key: AccessKey, now: datetime, true: Callable[[datetime], datetime]
    ) -> Iterator[Required]:
        new, old = key.last_use, seen.use
        if new is UNKNOWN or key.as_of is None or seen.gone:
            return
        at = true(key.as_of)
        if old is UNKNOWN:
            seen.watched = at
        elif isinstance(new, LastUse) and old is NEVER:
            yield EventKind.FIRST_USED, key.id, ""
        elif isinstance(new, LastUse) and isinstance(old, LastUse) and new.at > old.at:
            assert seen.confirmed is not None
            idle = min(seen.confirmed, new.at) - old.at
            if idle >= self.options.min_idle and not self.clock_was_wrong:
                yield EventKind.AWAKENED, key.id, old.at.isoformat()
        if isinstance(new, LastUse):
            yield from self._place(seen, key.id, new, now)
        if latest(old, new) != old:
            seen.use, seen.confirmed = new, at
        elif new == old:
            assert seen.confirmed is not None
            seen.confirmed = max(seen.confirmed, at)

    def _place(self, seen: Seen, key_id: str, use: LastUse, now: datetime) -> Iterator[Required]:
        learned = seen.watched is not None and now - seen.watched >= self.options.learning
        if learned and seen.services and not self.clock_was_wrong:
            if use.service not in {*seen.services, "N/A"}:
                yield EventKind.NEW_SERVICE, key_id, use.service
            if use.region not in {*seen.regions, "N/A"}:
                yield EventKind.NEW_REGION, key_id, use.region
        seen.services.add(use.service)
        seen.regions.add(use.region)

    def _look_at_root(
        self, root: Root | None, true: Callable[[datetime], datetime]
    ) -> Iterator[Required]:
        known = self.root
        if root is None:
            return
        if known is None or self.root_as_of is None:
            self.root, self.root_as_of = root, true(root.as_of)
            return
        later = true(root.as_of) > self.root_as_of
        reports = root.uses_as_of is not None and known.uses_as_of is not None
        if reports and root.uses_as_of > known.uses_as_of:  # type: ignore[operator]
            for name in ("password", "access_key"):
                old, new = (getattr(each, f"{name}_last_used") for each in (known, root))
                if new is not None and (old is None or new > old):
                    yield EventKind.ROOT_USED, "", name
        if later and root.access_keys is not None and known.access_keys is not None:
            counted, was_counted = root.as_of == root.uses_as_of, known.as_of == known.uses_as_of
            none_before = known.access_keys == 0 and not was_counted
            if root.access_keys > known.access_keys and (none_before or (counted and was_counted)):
                yield EventKind.ROOT_KEY_CREATED, "", ""
        self.root = _later_root(known, root, later=later)
        self.root_as_of = max(self.root_as_of, true(root.as_of))

    def merged(self, other: "Oracle") -> "Oracle":
        """What two have seen that watched apart: the later look counts."""
        one, two = (self, other) if _is_later(self.listed, other.listed) else (other, self)
        after = one.copy()
        after.clock_was_wrong |= two.clock_was_wrong
        after.first_listed = min(filter(None, (one.first_listed, two.first_listed)), default=None)
        for id_, at in two.lists.items():
            if id_ in after.lists or two.listed == one.listed:
                after.lists[id_] = max(at, after.lists.get(id_, at))
        for id_, seen in two.keys.items():
            known = after.keys.get(id_)
            after.keys[id_] = deepcopy(seen) if known is None else _merged(known, seen)
        if two.root is not None and two.root_as_of is not None:
            if one.root is None or one.root_as_of is None:
                after.root, after.root_as_of = two.root, two.root_as_of
            else:
                later = two.root_as_of > one.root_as_of
                after.root = _later_root(one.root, two.root, later=later)
                after.root_as_of = max(one.root_as_of, two.root_as_of)
        return after

    def copy(self) -> "Oracle":
        return deepcopy(self)


def _is_later(at: datetime | None, other: datetime | None) -> bool:
    return other is None or (at is not None and at >= other)


def _merged(one: Seen, two: Seen) -> Seen:
    later, earlier = (one, two) if one.listed >= two.listed else (two, one)
    after = deepcopy(later)
    uses = [seen for seen in (one, two) if isinstance(seen.use, LastUse)]
    known = uses or [seen for seen in (one, two) if seen.use is NEVER]
    if known:
        after.use = known[0].use
        for seen in known:
            after.use = latest(after.use, seen.use)
        times = [seen.confirmed for seen in known if seen.use == after.use]
        after.confirmed = max(filter(None, times))
    after.watched = min(filter(None, (one.watched, two.watched)), default=None)
    after.services = earlier.services | later.services
    after.regions = earlier.regions | later.regions
    return after


def _later_root(known: Root, root: Root, *, later: bool) -> Root:
    base = root if later else known
    used = {
        name: max(filter(None, (getattr(known, name), getattr(root, name))), default=None)
        for name in ("password_last_used", "access_key_last_used", "uses_as_of")
    }
    return Root(base.as_of, base.access_keys, **used)


LISTING_DELAY = timedelta(minutes=15)
"""How much earlier than a list of users IAM may have created a user that it does not have."""
