"""
The refresh of one account: its users, keys and last uses, with as few calls as the truth allows.

A plain refresh takes one call per page of users, one per user for their keys, and one per key for
its last use. The credential report says which users' keys have not changed, so that in the steady
state only the pages and the keys remain.

Source: IAM ListUsers, ListAccessKeys, GetAccessKeyLastUsed.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from exporter.aws import responses, tags
from exporter.aws.account_session import AccountSession, AccountSessions
from exporter.aws.api import MAX_ITEMS, Aborted, AccountApi
from exporter.aws.credential_report import CredentialReport
from exporter.aws.key_refresh import KeyRefresh
from exporter.aws.operations import Operation
from exporter.aws.progress import Progress
from exporter.aws.report_source import NoReport, read_report, state_of
from exporter.aws.root import read_root
from exporter.aws.tags import TagFilter
from exporter.model import (
    Account,
    AccountSnapshot,
    Clock,
    ReadError,
    Reason,
    ReportMode,
    TagSource,
    User,
)

PLAIN_SHARE: Final = 0.1
"""
The share of an interval's calls that a plain refresh may take before `auto` prefers the report.
"""


LISTING_DELAY: Final = timedelta(minutes=15)
"""How long IAM, which is eventually consistent, may take to show a new user everywhere."""


def calls_of(mode: ReportMode, *, users: int, keys: int, active_keys: int) -> int:
    """
    Return the number of calls of a regular refresh: without a new report, tags or failures.

    Args:
        mode: Anything but AUTO.
        keys: The number of all keys.
    """
    pages = max(1, math.ceil(users / MAX_ITEMS))
    if mode is ReportMode.VALUES:
        return pages
    # With a report, inactive keys are asked for as well: a use reveals that they are active again.
    return pages + (keys if mode is ReportMode.GUIDE else users + active_keys)


def resolve_mode(
    mode: ReportMode, *, users: int, active_keys: int, plain_calls: float
) -> ReportMode:
    """
    Resolve `auto`: an account that is quickly refreshed without a report is refreshed without.

    Args:
        plain_calls: The number of calls up to which that is so.
    """
    if mode is not ReportMode.AUTO:
        return mode
    calls = calls_of(ReportMode.OFF, users=users, keys=active_keys, active_keys=active_keys)
    return ReportMode.OFF if calls <= plain_calls else ReportMode.GUIDE


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRefresher:
    """
    Refreshes accounts.

    Attributes:
        interval: Seconds between two refreshes of an account.
        deadline: Maximum duration of one refresh, in seconds.
        include_user: Whether to read the user of this name.
        keep_tag: Whether to keep the tag of this name.
        tags_interval: How often tags are read.
        rng: Spreads requests for reports, retries, and the user to begin with.
    """

    sessions: AccountSessions
    interval: float
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
        session = self.sessions.get(account)
        api = self._api(session)
        try:
            api.sign_in()
        except Aborted as aborted:
            snapshot = before.failed(aborted.error)
        else:
            plain_calls = session.rate_limiter.full_rate * self.interval * PLAIN_SHARE
            if before.account.id and before.account.id != api.account.id:
                before = AccountSnapshot(account)  # what is known is about another account
            before = replace(before, account=api.account)
            snapshot = _Refresh(self, before, api, plain_calls).run()
        return replace(snapshot, throttles=before.throttles + api.throttles)

    def identify(self, account: Account) -> Account:
        """
        Return *account* with its id, as AWS reports it.

        Raises:
            ReadError: It cannot be entered.
        """
        api = self._api(self.sessions.get(account))
        try:
            api.sign_in()
        except Aborted as aborted:
            raise aborted.error from aborted
        return api.account

    def _api(self, session: AccountSession) -> AccountApi:
        return AccountApi(
            self.sessions.clients,
            session,
            seconds=self.deadline,
            clock=self.clock,
            rng=self.rng,
        )


class _Refresh:
    """
    One refresh of one account.

    Args:
        plain_calls: The number of calls up to which `auto` refreshes without a report.
    """

    def __init__(
        self,
        refresher: AccountRefresher,
        before: AccountSnapshot,
        api: AccountApi,
        plain_calls: float,
    ) -> None:
        self._refresher = refresher
        self._before = before
        self._api = api
        self._plain_calls = plain_calls
        self._root = before.root
        self._report_state = before.report
        self._bookmarks = before.bookmarks
        self._listed_at = before.listed_at
        self._progress = Progress(before, refresher.clock.now())

    def run(self) -> AccountSnapshot:
        progress = self._progress
        try:
            self._refresh_users()
            self._refresh_tags()
            keys = KeyRefresh(self._api, progress, self._before, self._refresher.clock)
            for user in self._rotated(list(progress.users.values())):
                keys.refresh(user)
            self._refresh_root()
        except Aborted as aborted:
            progress.failures.append(aborted.error)
        except ReadError as error:  # without the list of users there is nothing to go on with
            progress.failures.append(error)
        return self._finish()

    def _finish(self) -> AccountSnapshot:
        progress = self._progress
        snapshot = replace(
            self._before,
            users=tuple(progress.users.values()),
            keys=progress.all_keys(),
            root=self._root,
            report=self._report_state,
            bookmarks=replace(
                self._bookmarks,
                relist=frozenset(progress.to_list & progress.users.keys()),
                in_report=frozenset(progress.covered),
                missing=frozenset(progress.missing),
            ),
            listed_at=self._listed_at,
        )
        if not progress.failures:
            return replace(snapshot, read_at=progress.began, failure=None, error="")
        first, *others = progress.failures
        text = f"{first} (and {len(others)} more)" if others else str(first)
        return snapshot.failed(ReadError(first.reason, text, code=first.code))

    # -- users ---------------------------------------------------------------------------------

    def _refresh_users(self) -> None:
        """
        List the users, read a report if one is due, and decide whose keys have to be listed.

        Raises:
            ReadError: The users cannot be listed.
        """
        progress = self._progress
        users = self._list_users()
        progress.mode = self._report_mode(users)
        if progress.mode is ReportMode.OFF:
            progress.report, self._report_state = NoReport(), None
            self._bookmarks = replace(self._bookmarks, next_report_at=None)
        else:
            progress.report, next_at = read_report(
                self._api,
                self._before.report,
                self._before.bookmarks.next_report_at,
                began=progress.began,
                clock=self._refresher.clock,
                rng=self._refresher.rng,
                check=lambda report: _check_complete(report, users),
            )
            self._report_state = state_of(progress.report, self._before.report)
            self._bookmarks = replace(self._bookmarks, next_report_at=next_at)
        progress.replace_users(users)
        self._listed_at = progress.began
        progress.plan_listing()

    def _report_mode(self, users: list[User]) -> ReportMode:
        """Resolve `auto` by what is known of the keys; a user whose keys are unknown has one."""
        known = self._progress.keys
        keys = sum(
            sum(key.active for key in known[user.name]) if user.name in known else 1
            for user in users
        )
        return resolve_mode(
            self._refresher.report_mode,
            users=len(users),
            active_keys=keys,
            plain_calls=self._plain_calls,
        )

    def _list_users(self) -> list[User]:
        """
        List the users that the configuration includes.

        Raises:
            ReadError: They cannot be listed, or are another account's.
        """
        progress, now = self._progress, self._refresher.clock.now
        users: dict[str, User] = {}  # by name: pages are no snapshot, and may return a user twice
        complete = True
        for item in self._api.pages(Operation.LIST_USERS):
            text = item.get("UserName")
            name = text if isinstance(text, str) else ""
            if name and not self._refresher.include_user(name):
                continue
            try:
                user = responses.user(item, self._before.account.id, now())
            except ReadError as error:
                if error.reason is Reason.WRONG_ACCOUNT:
                    self._api.discard_credentials()
                    raise Aborted(error) from error
                self._count_malformed(Operation.LIST_USERS, error)
                if name in progress.users:
                    users[name] = progress.users[name]
                complete = complete and name != ""
                continue
            try:
                used = responses.password_last_used(item, now())
                user = replace(user, password_last_used=used)
            except ReadError as error:
                self._count_malformed(Operation.LIST_USERS, error)
            users[user.name] = user
        if not complete:  # it may be any of those that are missing
            users = {**progress.users, **users}
        return list(users.values())

    def _count_malformed(self, operation: Operation, error: ReadError) -> None:
        self._api.count_malformed(operation)
        self._progress.failures.append(error)

    def _refresh_root(self) -> None:
        refresher = self._refresher
        self._root, next_at = read_root(
            self._api,
            self._root,
            self._bookmarks.next_root_at,
            self._progress.report,
            use_report=refresher.report_mode is ReportMode.AUTO,
            began=self._progress.began,
            clock=refresher.clock,
            rng=refresher.rng,
        )
        self._bookmarks = replace(self._bookmarks, next_root_at=next_at)

    # -- tags ----------------------------------------------------------------------------------

    def _refresh_tags(self) -> None:
        refresher, progress, tags_at = self._refresher, self._progress, self._bookmarks.tags_at
        due = tags_at is None or progress.began - tags_at >= refresher.tags_interval
        if refresher.tag_source is TagSource.OFF or not due:
            return
        failures = len(progress.failures)
        if refresher.tag_source is TagSource.BULK:
            self._refresh_all_tags()
        else:
            for user in list(progress.users.values()):
                self._refresh_tags_of(user)
        if len(progress.failures) == failures:
            self._bookmarks = replace(self._bookmarks, tags_at=progress.began)

    def _refresh_all_tags(self) -> None:
        progress = self._progress
        incomplete: list[ReadError] = []
        try:
            read = tags.of_all_users(
                self._api, self._before.account.id, self._refresher.keep_tag, incomplete.append
            )
        except ReadError as error:
            progress.failures.append(error)
            return
        for _ in incomplete:
            self._api.count_malformed(Operation.GET_ACCOUNT_AUTHORIZATION_DETAILS)
        progress.failures += incomplete
        for name, user in progress.users.items():
            absent = user.tags if incomplete else ()
            progress.users[name] = replace(user, tags=read.get(name, absent))

    def _refresh_tags_of(self, user: User) -> None:
        operation = Operation.LIST_USER_TAGS
        if self._api.has_ended(operation):
            return
        try:
            read = tags.of_user(self._api, user, self._refresher.keep_tag)
        except ReadError as error:
            if error.code != "NoSuchEntity":  # deleted, which the next list of users will confirm
                self._api.count_denial(operation, error)
                self._progress.failures.append(error)
        else:
            self._progress.users[user.name] = replace(user, tags=read)

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


def _check_complete(report: CredentialReport, users: list[User]) -> None:
    """
    Make sure that the report has every user that is older than it: some reports are cut short.

    Raises:
        ReadError: Some are missing.
    """
    described = report.rows.keys() | report.malformed
    missing = [
        user.name
        for user in users
        if user.name not in described and user.created < report.generated - LISTING_DELAY
    ]
    if missing:
        text = f"the credential report lacks {len(missing)} of {len(users)} users"
        raise ReadError(Reason.MALFORMED, text, code="IncompleteReport")
