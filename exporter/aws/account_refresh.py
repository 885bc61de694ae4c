"""
One account's users and access keys, read with the fewest calls that give the truth.

Naively that is a call per page of users, one per user for their keys, and one per key for its
last use. The credential report tells which users' keys are as they were, so that in the steady
state only the pages and the active keys are asked.

Source: IAM ListUsers, ListAccessKeys, GetAccessKeyLastUsed.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from exporter.aws import tags
from exporter.aws.api import AccountApi
from exporter.aws.credential_report import Row
from exporter.aws.report_source import ReportSource
from exporter.aws.root import read_root
from exporter.aws.session import Sessions
from exporter.model import (
    ACTIVE,
    NEVER,
    AccessKey,
    Account,
    AccountSnapshot,
    LastUse,
    ReadError,
    Reason,
    ReportMode,
    TagSource,
    Use,
    User,
    latest,
)

FINAL_RECHECK = timedelta(days=1)
"""So often a key that cannot be used any more is asked, where no report tells."""


@dataclass(frozen=True, slots=True)
class AccountRefresher:
    """
    Reads accounts.

    Attributes:
        deadline: Seconds that one reading may take.
        report_mode: What the credential report is used for.
        include_user: Whether a user of this name is to be read.
        keep_tag: Whether a tag of this name is to be kept.
        tags_interval: How often tags are read.
        now: Aware, UTC.
        chance: A random number from 0 to 1.
    """

    sessions: Sessions
    deadline: float = 3600.0
    report_mode: ReportMode = ReportMode.GUIDE
    include_user: Callable[[str], bool] = lambda name: True
    tags: TagSource = TagSource.OFF
    keep_tag: Callable[[str], bool] = lambda name: True
    tags_interval: timedelta = timedelta(hours=1)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    chance: Callable[[], float] = random.random

    def read(self, account: Account, before: AccountSnapshot) -> AccountSnapshot:
        """
        Read *account*, going by what was known *before*.

        A call that fails for one key or user costs only that one its freshness: the rest is read,
        and the reading carries the failure. What vanished meanwhile is no failure.

        Returns:
            What is known now. Whether the attempt succeeded whole is told by its *failure*.
        """
        calls = AccountApi(self.sessions, account, seconds=self.deadline)
        try:
            calls.sign_in()
            snapshot = _Attempt(self, replace(before, account=calls.account), calls).read()
        except ReadError as error:
            snapshot = before.failed(error)
        return replace(snapshot, throttles=before.throttles + calls.throttles)


class _Attempt:
    def __init__(
        self, reader: AccountRefresher, before: AccountSnapshot, calls: AccountApi
    ) -> None:
        self._reader = reader
        self._before = before
        self._calls = calls
        self._began = reader.now()
        self._failures: list[ReadError] = []
        self._report_source = ReportSource(
            reader.report_mode, calls, before.report, began=self._began, chance=reader.chance
        )
        self._users = {user.name: user for user in before.users}
        self._keys: dict[str, list[AccessKey]] = {}
        for key in before.keys:
            self._keys.setdefault(key.user, []).append(key)

    def read(self) -> AccountSnapshot:
        try:
            users = self._read_users()
        except ReadError as error:
            return self._end(replace(self._before, report=self._report_source.state), error)
        users, tags_at = self._read_tags(users)
        root = read_root(self._calls, self._before.root, self._report_source, self._began)
        found = {user.name: self._read_keys(user) for user in self._turned(users)}
        told = [pair for user in users if (pair := found[user.name]) is not None]
        snapshot = replace(
            self._before,
            users=tuple(user for user, _ in told),
            keys=tuple(key for _, keys in told for key in keys),
            root=root,
            report=self._report_source.state,
            listed_at=self._report_source.values_of or self._began,
            tags_at=tags_at,
        )
        return self._end(snapshot, self._failures[0] if self._failures else None)

    def _end(self, snapshot: AccountSnapshot, error: ReadError | None) -> AccountSnapshot:
        if error is None:
            return replace(snapshot, read_at=self._began, failure=None, error="")
        more = len(self._failures) - 1
        text = f"{error} (and {more} more)" if more > 0 else str(error)
        return snapshot.failed(ReadError(error.reason, text, code=error.code))

    # Users.

    def _read_users(self) -> list[User]:
        self._report_source.start()
        if not self._report_source.by_value:
            listed = self._list_users()  # meanwhile AWS makes the report
            self._report_source.fetch()
            return listed
        self._report_source.fetch()
        if not self._report_source.holds:
            return self._list_users()
        if self._report_source.fresh is None:
            return list(self._before.users)
        rows = self._report_source.fresh.rows.values()
        return [self._user_of_row(row) for row in rows if self._reader.include_user(row.user)]

    def _list_users(self) -> list[User]:
        users = {}  # by name: pages are no snapshot, and may tell of a user twice
        for told in self._calls.pages("ListUsers", "Users"):
            if not self._reader.include_user(told["UserName"]):
                continue
            user = User(
                told["UserName"],
                told["Path"],
                _utc(told["CreateDate"]),
                id=told["UserId"],
                password_last_used=_utc(used) if (used := told.get("PasswordLastUsed")) else None,
            )
            users[user.name] = self._remembered(user)
        return list(users.values())

    def _user_of_row(self, row: Row) -> User:
        used = row.password_last_used
        return self._remembered(User(row.user, row.path, row.created, password_last_used=used))

    def _remembered(self, user: User) -> User:
        """Carry over what only other calls tell, if it is still the same user."""
        known = self._users.get(user.name)
        if known is None or not known.is_same_user(user):
            self._keys.pop(user.name, None)
            return user
        used = max(filter(None, (known.password_last_used, user.password_last_used)), default=None)
        return replace(
            user,
            id=user.id or known.id,
            password_last_used=used,
            tags=known.tags,
            keys_at=known.keys_at,
            relist=known.relist,
            in_report=known.in_report,
        )

    def _read_tags(self, users: list[User]) -> tuple[list[User], datetime | None]:
        reader, tags_at, failed = self._reader, self._before.tags_at, len(self._failures)
        due = tags_at is None or self._began - tags_at >= reader.tags_interval
        if reader.tags is TagSource.OFF or not due:
            return users, tags_at
        if reader.tags is TagSource.PER_USER:
            users = [self._with_tags(user) for user in users]
        else:
            try:
                users = tags.all_at_once(self._calls, users, reader.keep_tag)
            except ReadError as error:
                self._note(error)
        return users, tags_at if len(self._failures) > failed else self._began

    def _with_tags(self, user: User) -> User:
        try:
            return tags.of_user(self._calls, user, self._reader.keep_tag)
        except ReadError as error:
            self._note(error)
            return user

    # Keys.

    def _turned(self, users: list[User]) -> list[User]:
        """
        Choose with whom to begin.

        A reading that ended early did not come to the last ones. After it the next begins
        anywhere, so that none is last for ever.
        """
        if self._before.failure is None:
            return users
        first = int(self._reader.chance() * len(users))
        return users[first:] + users[:first]

    def _read_keys(self, user: User) -> tuple[User, list[AccessKey]] | None:
        """Read the keys of *user*. None: the user is gone."""
        row = self._report_source.row_of(user)
        user, keys = self._known_keys(user, row)
        if keys is None:
            return None
        keys = [self._told_by_report(key, keys, row) for key in keys]
        answered: dict[str, AccessKey] = {}
        relisted = False
        while (key := next((key for key in keys if key.id not in answered), None)) is not None:
            try:
                answered[key.id] = self._read_last_use(key)
            except ReadError as error:
                answered[key.id] = key
                if relisted or not _may_have_vanished(error, key):
                    self._note(error)
                    continue
                relisted = True
                del answered[key.id]
                known = {**{key.id: key for key in keys}, **answered}
                user, listed = self._list_keys(user, known)
                if listed is None:
                    return None
                keys = listed
        return user, [answered[key.id] for key in keys]

    def _known_keys(self, user: User, row: Row | None) -> tuple[User, list[AccessKey] | None]:
        """Take the remembered keys where the report vouches for them, else list them."""
        keys = self._keys.get(user.name, [])
        if not self._report_source.holds:
            vouched, user = False, replace(user, in_report=False)
        elif self._report_source.fresh is None:
            vouched = user.in_report and user.keys_at is not None and not user.relist
        else:
            covered = row is not None and not row.more and len(keys) <= 2
            user = replace(user, in_report=covered)
            vouched = covered and row is not None and row.agrees_with(keys)
        if vouched:
            return replace(user, keys_at=self._began, relist=False), keys
        return self._list_keys(user, {key.id: key for key in keys})

    def _list_keys(
        self, user: User, known: dict[str, AccessKey]
    ) -> tuple[User, list[AccessKey] | None]:
        """List the keys of *user*, with what is *known* of them. None: the user is gone."""
        keys = {}
        try:
            for told in self._calls.pages(
                "ListAccessKeys", "AccessKeyMetadata", UserName=user.name
            ):
                id_, created = told["AccessKeyId"], _utc(told["CreateDate"])
                key = known.get(id_) or self._renamed(id_, user)
                key = key or AccessKey(id_, user.name, told["Status"], created)
                final = key.final and told["Status"] != ACTIVE
                keys[id_] = replace(key, status=told["Status"], final=final)
        except ReadError as error:
            if error.code == "NoSuchEntity":
                return user, None
            self._note(error)
            return replace(user, relist=True), list(known.values())
        return replace(user, keys_at=self._began, relist=False), list(keys.values())

    def _renamed(self, id_: str, user: User) -> AccessKey | None:
        """Find what was known of a key before its user had this name."""
        known = next((key for key in self._before.keys if key.id == id_), None)
        return replace(known, user=user.name) if known else None

    def _read_last_use(self, key: AccessKey) -> AccessKey:
        if self._is_known(key):
            return key
        answer = self._calls.call(
            "GetAccessKeyLastUsed", expect="AccessKeyLastUsed", AccessKeyId=key.id
        )["AccessKeyLastUsed"]
        at = answer.get("LastUsedDate")
        use: Use = LastUse(_utc(at), answer["ServiceName"], answer["Region"]) if at else NEVER
        return replace(
            key, last_use=latest(key.last_use, use), as_of=self._began, final=not key.active
        )

    def _told_by_report(self, key: AccessKey, keys: list[AccessKey], row: Row | None) -> AccessKey:
        """Add what *row* tells of *key*."""
        slot = row.slot_of(key, keys) if row is not None else None
        if slot is None or self._report_source.fresh is None or slot.active != key.active:
            return key
        enough = self._report_source.by_value if key.active else key.final
        if slot.last_use is NEVER and not enough:
            return key  # an inactive key may have lost its last use there
        use = latest(key.last_use, slot.last_use)
        return replace(key, last_use=use, as_of=self._report_source.fresh.generated)

    def _is_known(self, key: AccessKey) -> bool:
        """Tell whether the last use needs not be asked."""
        if key.as_of is None:
            return False
        if key.active:
            return key.as_of == self._report_source.values_of
        return key.final and self._began - key.as_of < FINAL_RECHECK

    def _note(self, error: ReadError) -> None:
        if error not in self._failures:  # a reading that has ended raises the same one again
            self._failures.append(error)


def _may_have_vanished(error: ReadError, key: AccessKey) -> bool:
    """
    Tell whether *error* can mean that *key* was deleted.

    AWS answers AccessDenied then, with the key's id where a missing permission names the user.
    """
    denied = error.reason is Reason.ACCESS_DENIED and f"access key {key.id}" in str(error)
    return denied or error.code in ("NoSuchEntity", "ValidationError")


def _utc(at: datetime) -> datetime:
    return at.astimezone(UTC)
