"""
The refresh of one account: its users, keys and last uses, with as few calls as the truth allows.

A plain refresh takes one call per page of users, one per user for their keys, and one per key for
its last use. The credential report says which users' keys have not changed, so that in the steady
state only the pages and the keys remain.

Source: IAM ListUsers, ListAccessKeys, GetAccessKeyLastUsed.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from exporter.aws import tags
from exporter.aws.account_session import AccountSessions
from exporter.aws.api import Aborted, AccountApi
from exporter.aws.credential_report import SLOTS, CredentialReport, Row
from exporter.aws.operations import Operation
from exporter.aws.report_source import (
    FreshReport,
    NoReport,
    PreviousReport,
    Report,
    read_report,
    state_of,
)
from exporter.aws.root import read_root
from exporter.aws.tags import TagFilter
from exporter.model import (
    ACTIVE,
    NEVER,
    AccessKey,
    Account,
    AccountSnapshot,
    Clock,
    LastUse,
    ReadError,
    Reason,
    ReportMode,
    TagSource,
    Use,
    User,
    latest,
)

FINAL_RECHECK: Final = timedelta(days=1)
"""How often to re-check an inactive key when no credential report covers it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRefresher:
    """
    Refreshes accounts.

    Attributes:
        deadline: Maximum duration of one refresh, in seconds.
        include_user: Whether to read the user of this name.
        keep_tag: Whether to keep the tag of this name.
        tags_interval: How often tags are read.
        rng: Spreads requests for reports, retries, and the user to begin with.
    """

    sessions: AccountSessions
    deadline: float
    report_mode: ReportMode
    include_user: Callable[[str], bool]
    tag_source: TagSource
    keep_tag: TagFilter
    tags_interval: timedelta
    clock: Clock
    rng: random.Random

    def refresh(self, account: Account, before: AccountSnapshot) -> AccountSnapshot:
        """
        Refresh *account*.

        A call that fails for one key or user costs only that one its freshness: everything else is
        refreshed, and the snapshot carries the failure. A key or user that was deleted meanwhile
        is not a failure.

        Args:
            before: The latest snapshot.

        Returns:
            The new snapshot. Its *failure* says whether the refresh succeeded completely.
        """
        api = AccountApi(
            self.sessions.clients,
            self.sessions.get(account),
            seconds=self.deadline,
            clock=self.clock,
            rng=self.rng,
        )
        try:
            api.sign_in()
        except Aborted as aborted:
            snapshot = before.failed(aborted.error)
        else:
            snapshot = _Refresh(self, replace(before, account=api.account), api).run()
        return replace(snapshot, throttles=before.throttles + api.throttles)


class _Refresh:
    """
    One refresh of one account.

    What is known is updated call by call, so that a refresh that is aborted keeps what it has
    learned, and the facts of everything that it did not reach.
    """

    def __init__(
        self, refresher: AccountRefresher, before: AccountSnapshot, api: AccountApi
    ) -> None:
        self._refresher = refresher
        self._before = before
        self._api = api
        self._began = refresher.clock.now()
        self._failures: list[ReadError] = []
        self._users = {user.name: user for user in before.users}
        self._keys: dict[str, list[AccessKey]] = {name: [] for name in self._users}
        for key in before.keys:
            self._keys.setdefault(key.user, []).append(key)
        self._root = before.root
        self._report: Report = NoReport()
        self._report_state = before.report
        self._bookmarks = before.bookmarks
        self._to_list = set(before.bookmarks.relist)
        self._listed_at = before.listed_at

    def run(self) -> AccountSnapshot:
        try:
            self._refresh_users()
            self._refresh_tags()
            self._root = read_root(self._api, self._root, self._report, self._began)
            for user in self._rotated(list(self._users.values())):
                self._refresh_keys(user)
        except Aborted as aborted:
            self._failures.append(aborted.error)
        except ReadError as error:  # without a list of users there is nothing to go on with
            self._failures.append(error)
        return self._finish()

    def _finish(self) -> AccountSnapshot:
        snapshot = replace(
            self._before,
            users=tuple(self._users.values()),
            keys=tuple(key for name in self._users for key in self._keys[name]),
            root=self._root,
            report=self._report_state,
            bookmarks=replace(self._bookmarks, relist=frozenset(self._to_list & set(self._users))),
            listed_at=self._listed_at,
        )
        if not self._failures:
            return replace(snapshot, read_at=self._began, failure=None, error="")
        first, *others = self._failures
        text = f"{first} (and {len(others)} more)" if others else str(first)
        return snapshot.failed(ReadError(first.reason, text, code=first.code))

    # -- users ---------------------------------------------------------------------------------

    def _refresh_users(self) -> None:
        """
        List the users, read a report if one is due, and decide whose keys have to be listed.

        Raises:
            ReadError: The users cannot be listed.
        """
        users = self._list_users()
        if self._refresher.report_mode is not ReportMode.OFF:
            self._report, next_at = read_report(
                self._api,
                self._before.report,
                self._before.bookmarks.next_report_at,
                began=self._began,
                rng=self._refresher.rng,
                check=lambda report: None,
            )
            self._report_state = state_of(self._report, self._before.report)
            self._bookmarks = replace(self._bookmarks, next_report_at=next_at)
        self._users = {user.name: self._carry_over(user) for user in users}
        self._keys = {name: self._keys.get(name, []) for name in self._users}
        self._listed_at = self._began
        self._plan_listing()

    def _list_users(self) -> list[User]:
        users = {}  # by name: pages are no snapshot, and may return a user twice
        for item in self._api.pages(Operation.LIST_USERS):
            if not self._refresher.include_user(item["UserName"]):
                continue
            used = item.get("PasswordLastUsed")
            users[item["UserName"]] = User(
                item["UserName"],
                item["Path"],
                _utc(item["CreateDate"]),
                id=item["UserId"],
                password_last_used=_utc(used) if used else None,
            )
        return list(users.values())

    def _carry_over(self, user: User) -> User:
        """Carry over what other calls have returned, if it is still the same user."""
        known = self._users.get(user.name)
        if known is None or not known.is_same_user(user):
            self._keys.pop(user.name, None)
            return user
        used = max(filter(None, (known.password_last_used, user.password_last_used)), default=None)
        return replace(user, password_last_used=used, tags=known.tags, keys_at=known.keys_at)

    def _plan_listing(self) -> None:
        """Decide whose keys have to be listed, because no report confirms what we know of them."""
        match self._report:
            case NoReport():
                covered, confirmed = set[str](), set[str]()
            case PreviousReport():
                covered = set(self._users) & self._bookmarks.in_report
                confirmed = {
                    name
                    for name in covered - self._bookmarks.relist
                    if self._users[name].keys_at is not None
                }
            case FreshReport(content):
                rows = {name: _row_for(user, content) for name, user in self._users.items()}
                covered = {
                    name
                    for name, row in rows.items()
                    if row is not None and not row.more and len(self._keys[name]) <= SLOTS
                }
                confirmed = {
                    name
                    for name in covered
                    if (row := rows[name]) is not None and row.matches(self._keys[name])
                }
        self._bookmarks = replace(self._bookmarks, in_report=frozenset(covered))
        self._to_list = set(self._users) - confirmed

    def _refresh_tags(self) -> None:
        refresher, tags_at = self._refresher, self._bookmarks.tags_at
        due = tags_at is None or self._began - tags_at >= refresher.tags_interval
        if refresher.tag_source is TagSource.OFF or not due:
            return
        failures = len(self._failures)
        if refresher.tag_source is TagSource.BULK:
            try:
                by_name = tags.of_all_users(self._api, refresher.keep_tag)
            except ReadError as error:
                self._failures.append(error)
            else:
                for name, user in self._users.items():
                    self._users[name] = replace(user, tags=by_name.get(name, ()))
        else:
            for user in list(self._users.values()):
                self._refresh_tags_of(user)
        if len(self._failures) == failures:
            self._bookmarks = replace(self._bookmarks, tags_at=self._began)

    def _refresh_tags_of(self, user: User) -> None:
        try:
            read = tags.of_user(self._api, user, self._refresher.keep_tag)
        except ReadError as error:
            if error.code != "NoSuchEntity":  # deleted; which listing the keys will confirm
                self._failures.append(error)
        else:
            self._users[user.name] = replace(user, tags=read)

    # -- keys ----------------------------------------------------------------------------------

    def _rotated(self, users: list[User]) -> list[User]:
        """
        Choose the user to begin with.

        After a failed refresh that is a random one: a refresh that is cut short would otherwise
        always starve the same users.
        """
        if self._before.failure is None:
            return users
        first = int(self._refresher.rng.random() * len(users))
        return users[first:] + users[:first]

    def _refresh_keys(self, user: User) -> None:
        """Refresh the keys of *user* and their last uses, in two passes."""
        if user.name in self._to_list:
            if not self._list_keys(user):
                return
        else:
            self._users[user.name] = replace(self._users[user.name], keys_at=self._began)
        self._apply_report(user)
        asked: set[str] = set()
        if self._refresh_last_uses(user, asked, listed_again=False):
            return
        # IAM answers AccessDenied for a deleted key. List again: what is still there was really
        # denied, and is asked once more to find out.
        if self._list_keys(user):
            self._refresh_last_uses(user, asked, listed_again=True)

    def _list_keys(self, user: User) -> bool:
        """
        List the keys of *user*, carrying over what is known of them.

        Returns:
            Whether the user still exists.
        """
        known = {key.id: key for key in self._keys[user.name]}
        keys = {}
        try:
            for item in self._api.pages(Operation.LIST_ACCESS_KEYS, UserName=user.name):
                id_, status = item["AccessKeyId"], item["Status"]
                key = known.get(id_) or self._renamed(id_, user)
                key = key or AccessKey(id_, user.name, status, _utc(item["CreateDate"]))
                keys[id_] = replace(key, status=status, final=key.final and status != ACTIVE)
        except ReadError as error:
            if error.code == "NoSuchEntity":
                del self._users[user.name], self._keys[user.name]
                return False
            self._to_list.add(user.name)
            self._failures.append(error)
            return True
        self._to_list.discard(user.name)
        self._users[user.name] = replace(self._users[user.name], keys_at=self._began)
        self._keys[user.name] = list(keys.values())
        return True

    def _renamed(self, id_: str, user: User) -> AccessKey | None:
        """Find what was known of a key before its user had this name."""
        known = next((key for key in self._before.keys if key.id == id_), None)
        return replace(known, user=user.name) if known else None

    def _refresh_last_uses(self, user: User, asked: set[str], *, listed_again: bool) -> bool:
        """
        Ask for the last use of each key of *user* that is not fresh and was not *asked* yet.

        Returns:
            Whether every key was dealt with. If not, the others may have been deleted.
        """
        keys = self._keys[user.name]
        complete = True
        for position, key in enumerate(keys):
            if key.id in asked or self._is_fresh(key):
                continue
            try:
                keys[position] = self._with_last_use(key)
            except ReadError as error:
                if not listed_again and _may_be_deleted(error, key):
                    complete = False
                    continue
                self._failures.append(error)
            asked.add(key.id)
        return complete

    def _with_last_use(self, key: AccessKey) -> AccessKey:
        result = self._api.call(Operation.GET_ACCESS_KEY_LAST_USED, AccessKeyId=key.id)
        item = result["AccessKeyLastUsed"]
        at = item.get("LastUsedDate")
        use: Use = LastUse(_utc(at), item["ServiceName"], item["Region"]) if at else NEVER
        return replace(
            key, last_use=latest(key.last_use, use), as_of=self._began, final=not key.active
        )

    def _apply_report(self, user: User) -> None:
        """Add what a fresh report says about the keys of *user*."""
        if not isinstance(self._report, FreshReport):
            return
        row = _row_for(user, self._report.content)
        keys = self._keys[user.name]
        for position, key in enumerate(keys):
            slot = row.slot_for(key, keys) if row is not None else None
            if slot is None or slot.active != key.active:
                continue
            if slot.last_use is NEVER and not self._trusts_never(key):
                continue
            use = latest(key.last_use, slot.last_use)
            keys[position] = replace(key, last_use=use, as_of=self._report.generated)

    def _trusts_never(self, key: AccessKey) -> bool:
        """
        Whether a report that shows no last use for *key* means that it was never used.

        An active key's row is complete, but only `values` relies on it. An inactive key may have
        lost its last use there, so the report can only confirm what AWS has said since.
        """
        return self._refresher.report_mode is ReportMode.VALUES if key.active else key.final

    def _values_as_of(self) -> datetime | None:
        """When the report whose last uses we rely on was generated. None: we ask for each key."""
        if self._refresher.report_mode is not ReportMode.VALUES or isinstance(
            self._report, NoReport
        ):
            return None
        return self._report.generated

    def _is_fresh(self, key: AccessKey) -> bool:
        """Whether there is no need to ask for the last use of *key*."""
        if key.as_of is None:
            return False
        if key.active:
            return key.as_of == self._values_as_of()
        return key.final and self._began - key.as_of < FINAL_RECHECK


def _row_for(user: User, report: CredentialReport) -> Row | None:
    """Find the row of *user*, unless it is that of an earlier user of the same name."""
    row = report.rows.get(user.name)
    return row if row is not None and row.created == user.created else None


def _may_be_deleted(error: ReadError, key: AccessKey) -> bool:
    """
    Whether *error* can mean that *key* was deleted.

    AWS answers AccessDenied then, and names the key where a missing permission names the user.
    """
    denied = error.reason is Reason.ACCESS_DENIED and f"access key {key.id}" in str(error)
    return denied or error.code in ("NoSuchEntity", "ValidationError")


def _utc(at: datetime) -> datetime:
    return at.astimezone(UTC)
