"""
One account's users and access keys, read with the fewest calls that give the truth.

Naively that is a call per page of users, one per user for their keys, and one per key for its
last use. The credential report tells which users' keys are as they were, so that in the steady
state only the pages and the active keys are asked.

Source: IAM ListUsers, ListAccessKeys, GetAccessKeyLastUsed, GetAccountAuthorizationDetails,
ListUserTags, GetAccountSummary.
"""

import logging
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from exporter.aws import report as credential_report
from exporter.aws.calls import Calls
from exporter.aws.report import CredentialReport, Row
from exporter.aws.session import Sessions
from exporter.model import (
    ACTIVE,
    NEVER,
    AccessKey,
    Account,
    LastUse,
    ReadError,
    Reading,
    Reason,
    Report,
    Root,
    Tags,
    Use,
    User,
    later,
)

log = logging.getLogger(__name__)

REPORT_LIFE = timedelta(hours=4)
"""For so long AWS answers with the same report."""

REPORT_LIMIT = timedelta(hours=6)
"""A report older than this is no guide any more."""

REPORT_JITTER = timedelta(minutes=15)
"""Up to so much later than possible a report is asked for, so that accounts do not all at once."""

REPORT_RETRY = timedelta(minutes=30)
"""About so long after a report could not be had, the next attempt."""

SETTLED_RECHECK = timedelta(days=1)
"""So often a key that cannot be used any more is asked, where no report tells."""


class Guide(StrEnum):
    """What the credential report is used for."""

    GUIDE = "guide"
    OFF = "off"
    VALUES = "values"


class TagSource(StrEnum):
    """Where users' tags come from: nowhere, all at once, or user by user."""

    OFF = "off"
    BULK = "bulk"
    PER_USER = "per_user"


@dataclass(frozen=True, slots=True)
class Reader:
    """
    Reads accounts.

    Attributes:
        deadline: Seconds that one reading may take.
        guide: What the credential report is used for.
        wanted_user: Whether a user of this name is to be read.
        wanted_tag: Whether a tag of this name is to be kept.
        tags_interval: How often tags are read.
        now: Aware, UTC.
        chance: A random number from 0 to 1.
    """

    sessions: Sessions
    deadline: float = 3600.0
    guide: Guide = Guide.GUIDE
    wanted_user: Callable[[str], bool] = lambda name: True
    tags: TagSource = TagSource.OFF
    wanted_tag: Callable[[str], bool] = lambda name: True
    tags_interval: timedelta = timedelta(hours=1)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    chance: Callable[[], float] = random.random

    def read(self, account: Account, before: Reading) -> Reading:
        """
        Read *account*, going by what was known *before*.

        A call that fails for one key or user costs only that one its freshness: the rest is read,
        and the reading carries the failure. What vanished meanwhile is no failure.

        Returns:
            What is known now. Whether the attempt succeeded whole is told by its *failure*.
        """
        calls = Calls(self.sessions, account, seconds=self.deadline)
        try:
            calls.sign_in()
            reading = _Attempt(self, replace(before, account=calls.account), calls).read()
        except ReadError as error:
            reading = before.failed(error)
        return replace(reading, throttles=before.throttles + calls.throttles)


class _Attempt:
    def __init__(self, reader: Reader, before: Reading, calls: Calls) -> None:
        self._reader = reader
        self._before = before
        self._calls = calls
        self._began = reader.now()
        self._failures: list[ReadError] = []
        self._report = before.report
        self._fresh: CredentialReport | None = None
        self._users = {user.name: user for user in before.users}
        self._keys: dict[str, list[AccessKey]] = {}
        for key in before.keys:
            self._keys.setdefault(key.user, []).append(key)

    def read(self) -> Reading:
        try:
            users = self._read_users()
        except ReadError as error:
            return self._end(replace(self._before, report=self._report), error)
        users, tags_at = self._read_tags(users)
        root = self._read_root()
        found = {user.name: self._read_keys(user) for user in self._turned(users)}
        told = [pair for user in users if (pair := found[user.name]) is not None]
        reading = replace(
            self._before,
            users=tuple(user for user, _ in told),
            keys=tuple(key for _, keys in told for key in keys),
            root=root,
            report=self._report,
            listed_at=self._listed_at(),
            tags_at=tags_at,
        )
        return self._end(reading, self._failures[0] if self._failures else None)

    def _end(self, reading: Reading, error: ReadError | None) -> Reading:
        if error is None:
            return replace(reading, read_at=self._began, failure=None, error="")
        more = len(self._failures) - 1
        text = f"{error} (and {more} more)" if more > 0 else str(error)
        return reading.failed(ReadError(error.reason, text, code=error.code))

    # Users and the report.

    def _read_users(self) -> list[User]:
        due = self._report is None or self._began >= self._report.next_at
        started = self._reader.guide is not Guide.OFF and due and self._start_report()
        if self._reader.guide is not Guide.VALUES:
            listed = self._list_users()
            if started:
                self._fetch_report()
            return listed
        if started:
            self._fetch_report()
        if not self._guided:
            return self._list_users()
        if self._fresh is None:
            return list(self._before.users)
        rows = self._fresh.rows.values()
        return [self._user_of_row(row) for row in rows if self._reader.wanted_user(row.user)]

    def _list_users(self) -> list[User]:
        users = {}  # by name: pages are no snapshot, and may tell of a user twice
        for told in self._calls.pages("ListUsers", "Users"):
            if not self._reader.wanted_user(told["UserName"]):
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
        if known is None or not known.is_same(user):
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

    def _start_report(self) -> bool:
        try:
            credential_report.start(self._calls)
        except ReadError as error:
            self._no_report(error)
            return False
        return True

    def _fetch_report(self) -> None:
        try:
            fresh = credential_report.fetch(self._calls)
            if self._began - fresh.generated >= REPORT_LIMIT:
                text = f"the credential report is of {fresh.generated.isoformat()}"
                raise ReadError(Reason.SERVICE_FAILURE, text, code="ReportExpired")
        except ReadError as error:
            self._no_report(error)
            return
        self._fresh = fresh
        jitter = REPORT_JITTER * self._reader.chance()
        next_at = max(fresh.generated + REPORT_LIFE, self._began) + jitter
        self._report = Report(fresh.generated, next_at, usable=True)

    def _no_report(self, error: ReadError) -> None:
        """Go on without: by the one before while it is young enough, else user by user."""
        generated = self._report.generated if self._report else None
        usable = generated is not None and self._began - generated < REPORT_LIMIT
        retry = REPORT_RETRY * (0.5 + self._reader.chance())
        self._report = Report(generated, self._began + retry, usable)
        log.warning(
            "no credential report; " + ("going by the last" if usable else "asking user by user"),
            extra={"account": self._calls.account.id, "reason": error.reason, "error": str(error)},
        )

    @property
    def _guided(self) -> bool:
        return self._report is not None and self._report.usable

    def _listed_at(self) -> datetime:
        if self._reader.guide is Guide.VALUES and self._guided and self._report is not None:
            return self._report.generated or self._began
        return self._began

    # Tags and root.

    def _read_tags(self, users: list[User]) -> tuple[list[User], datetime | None]:
        source, tags_at = self._reader.tags, self._before.tags_at
        due = tags_at is None or self._began - tags_at >= self._reader.tags_interval
        if source is TagSource.OFF or not due:
            return users, tags_at
        if source is TagSource.PER_USER:
            failed = len(self._failures)
            users = [self._with_own_tags(user) for user in users]
            return users, tags_at if len(self._failures) > failed else self._began
        try:
            details = self._calls.pages(
                "GetAccountAuthorizationDetails", "UserDetailList", Filter=["User"]
            )
            tags = {user["UserName"]: self._kept(user.get("Tags", ())) for user in details}
        except ReadError as error:
            self._note(error)
            return users, tags_at
        return [replace(user, tags=tags.get(user.name, ())) for user in users], self._began

    def _with_own_tags(self, user: User) -> User:
        try:
            return replace(
                user,
                tags=self._kept(self._calls.pages("ListUserTags", "Tags", UserName=user.name)),
            )
        except ReadError as error:
            if error.code != "NoSuchEntity":
                self._note(error)
            return user

    def _kept(self, tags: Iterable[dict[str, str]]) -> Tags:
        wanted = self._reader.wanted_tag
        return tuple(sorted((tag["Key"], tag["Value"]) for tag in tags if wanted(tag["Key"])))

    def _read_root(self) -> Root | None:
        root = self._before.root
        if self._fresh is not None and self._fresh.root is not None:
            return self._fresh.root
        if self._guided or (root is not None and self._began - root.as_of < REPORT_LIFE):
            return root
        try:
            answer = self._calls.call("GetAccountSummary", expect="SummaryMap")
            count = answer["SummaryMap"].get("AccountAccessKeysPresent")
        except ReadError as error:
            # Only the report and this tell of root, and neither is a must: absent is honest.
            log.warning(
                "nothing known of the root user",
                extra={"account": self._calls.account.id, "error": str(error)},
            )
            if error.reason is Reason.ACCESS_DENIED and (root is None or root.access_keys is None):
                return Root(self._began, None)
            return root  # what was known stays, and is asked again at the next reading
        return replace(root or Root(self._began, None), as_of=self._began, access_keys=count)

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
        row = self._row_of(user)
        user, keys = self._known_keys(user, row)
        if keys is None:
            return None
        answered: dict[str, AccessKey] = {}
        relisted = False
        while (key := next((key for key in keys if key.id not in answered), None)) is not None:
            try:
                answered[key.id] = self._read_last_use(key, keys, row)
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

    def _row_of(self, user: User) -> Row | None:
        row = self._fresh.rows.get(user.name) if self._fresh is not None else None
        return row if row is not None and row.created == user.created else None

    def _known_keys(self, user: User, row: Row | None) -> tuple[User, list[AccessKey] | None]:
        """Take the remembered keys where the report vouches for them, else list them."""
        keys = self._keys.get(user.name, [])
        if not self._guided:
            vouched, user = False, replace(user, in_report=False)
        elif self._fresh is None:
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
                settled = key.settled and told["Status"] != ACTIVE
                keys[id_] = replace(key, status=told["Status"], settled=settled)
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

    def _read_last_use(self, key: AccessKey, keys: list[AccessKey], row: Row | None) -> AccessKey:
        key = self._told_by_report(key, keys, row)
        if self._is_known(key):
            return key
        answer = self._calls.call(
            "GetAccessKeyLastUsed", expect="AccessKeyLastUsed", AccessKeyId=key.id
        )["AccessKeyLastUsed"]
        at = answer.get("LastUsedDate")
        use: Use = LastUse(_utc(at), answer["ServiceName"], answer["Region"]) if at else NEVER
        return replace(
            key, last_use=later(key.last_use, use), as_of=self._began, settled=not key.active
        )

    def _told_by_report(self, key: AccessKey, keys: list[AccessKey], row: Row | None) -> AccessKey:
        """Add what *row* tells of *key*."""
        slot = row.slot_of(key, keys) if row is not None else None
        if slot is None or self._fresh is None or slot.active != key.active:
            return key
        enough = self._reader.guide is Guide.VALUES if key.active else key.settled
        if slot.last_use is NEVER and not enough:
            return key  # an inactive key may have lost its last use there
        use = later(key.last_use, slot.last_use)
        return replace(key, last_use=use, as_of=self._fresh.generated)

    def _is_known(self, key: AccessKey) -> bool:
        """Tell whether the last use needs not be asked."""
        if key.as_of is None:
            return False
        if key.active:
            by_value = self._reader.guide is Guide.VALUES and self._guided
            return by_value and self._report is not None and key.as_of == self._report.generated
        return key.settled and self._began - key.as_of < SETTLED_RECHECK

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
