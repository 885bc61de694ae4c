"""What a refresh knows so far, and what of it the credential report confirms."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from exporter.aws.credential_report import SLOTS, Row
from exporter.aws.report_source import FreshReport, NoReport, PreviousReport, Report
from exporter.model import AccessKey, AccountSnapshot, ReadError, ReportMode, User

FINAL_RECHECK: Final = timedelta(days=1)
"""How often to re-check an inactive key whose status is listed at every refresh."""


@dataclass(slots=True)
class Progress:
    """
    What a refresh knows so far.

    It is updated call by call, so that a refresh that is aborted keeps what it has learned, and the
    facts of everything that it did not reach.

    Attributes:
        began: When the refresh began.
        mode: What the report is used for; `auto` is resolved.
        users: By name.
        keys: By the name of their user.
        covered: Names of the users whose keys the report covers completely.
        to_list: Names of the users whose keys have to be listed.
        missing: Names of the users that ListUsers returned and ListAccessKeys does not know.
        failures: What went wrong, in order.
    """

    began: datetime
    mode: ReportMode
    report: Report
    users: dict[str, User]
    keys: dict[str, list[AccessKey]]
    covered: set[str]
    to_list: set[str]
    missing: set[str]
    failures: list[ReadError]

    def __init__(self, before: AccountSnapshot, began: datetime) -> None:
        self.began = began
        self.mode = ReportMode.OFF
        self.report = NoReport()
        self.users = {user.name: user for user in before.users}
        self.keys = {name: [] for name in self.users}
        for key in before.keys:
            self.keys.setdefault(key.user, []).append(key)
        self.covered = set(before.bookmarks.in_report)
        self.to_list = set(before.bookmarks.relist)
        self.missing = set()
        self.failures = []

    def replace_users(self, users: list[User]) -> None:
        """Take over a new list of users, carrying over what other calls have returned."""
        known_users, known_keys = self.users, self.keys
        self.users, self.keys = {}, {}
        for user in users:
            known = known_users.get(user.name)
            self.users[user.name], self.keys[user.name] = user, []
            if known is None or not known.is_same_user(user):
                self.covered.discard(user.name)  # by the report, it was an earlier user
            else:
                used = (known.password_last_used, user.password_last_used)
                self.users[user.name] = replace(
                    user,
                    password_last_used=max(filter(None, used), default=None),
                    tags=known.tags,
                    keys_at=known.keys_at,
                    keys_as_of=known.keys_as_of,
                )
                self.keys[user.name] = known_keys[user.name]

    def plan_listing(self) -> None:
        """Decide whose keys have to be listed, because no report confirms what we know of them."""
        match self.report:
            case NoReport():
                self.covered, confirmed = set(), set[str]()
            case PreviousReport():
                self.covered &= self.users.keys()
                confirmed = {
                    name
                    for name in self.covered - self.to_list
                    if self.users[name].keys_at is not None
                }
            case FreshReport():
                rows = {name: self.row_for(user) for name, user in self.users.items()}
                self.covered = {
                    name
                    for name, row in rows.items()
                    if row is not None and not row.more and len(self.keys[name]) <= SLOTS
                }
                confirmed = {
                    name
                    for name in self.covered
                    if (row := rows[name]) is not None and row.matches(self.keys[name])
                }
        self.to_list = set(self.users) - confirmed

    def confirm_keys(self, name: str) -> None:
        """Note that the report confirms what is known of this user's keys."""
        user, as_of = self.users[name], self.users[name].keys_as_of
        if isinstance(self.report, FreshReport):
            generated = self.report.generated
            as_of = generated if as_of is None else max(as_of, generated)
        self.users[name] = replace(user, keys_at=self.began, keys_as_of=as_of)

    def all_keys(self) -> tuple[AccessKey, ...]:
        """
        Collect the keys in the order of their users.

        A key belongs to one user. If it is found at two, such as one that was renamed while pages
        of users were read, it stays with the one whose keys were listed last.
        """
        found: dict[str, AccessKey] = {}
        for name, user in self.users.items():
            for key in self.keys[name]:
                other = found.get(key.id)
                if other is None or _is_later(user, self.users[other.user]):
                    found[key.id] = key
        return tuple(key for name in self.users for key in self.keys[name] if found[key.id] is key)

    def row_for(self, user: User) -> Row | None:
        """Find what a fresh report says of *user*, and not of an earlier user of that name."""
        if not isinstance(self.report, FreshReport):
            return None
        row = self.report.content.rows.get(user.name)
        return row if row is not None and row.created == user.created else None

    @property
    def values_as_of(self) -> datetime | None:
        """When the report whose last uses we rely on was generated. None: we ask for each key."""
        if self.mode is not ReportMode.VALUES or isinstance(self.report, NoReport):
            return None
        return self.report.generated

    def trusts_never(self, key: AccessKey) -> bool:
        """
        Whether a report that shows no last use for *key* means that it was never used.

        Of an active key it does, where the mode relies on the report's values. An inactive key may
        have lost its last use there: the report can only confirm what AWS has said since.
        """
        return self.mode is ReportMode.VALUES if key.active else key.final

    def is_fresh(self, key: AccessKey) -> bool:
        """Whether there is no need to ask for the last use of *key*."""
        if key.as_of is None:
            return False
        if key.active:
            return key.as_of == self.values_as_of
        if self.mode is ReportMode.GUIDE:
            return False  # its status may be hours old: a use reveals that it is active again
        return key.final and self.began - key.as_of < FINAL_RECHECK


def _is_later(user: User, other: User) -> bool:
    """Whether the keys of *user* were listed later than those of *other*."""
    if user.keys_at is None or other.keys_at is None:
        return user.keys_at is not None
    return user.keys_at > other.keys_at
