"""What we know of one account, and how its latest refresh went."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType

from exporter.model.facts import UNKNOWN, AccessKey, Account, Root, User
from exporter.model.vocabulary import ReadError, Reason


@dataclass(frozen=True, slots=True)
class ReportState:
    """
    The state of an account's credential report.

    Attributes:
        generated: When AWS generated the report that was read last. None: none was read yet.
        usable: Whether the latest refresh could rely on it.
    """

    generated: datetime | None
    usable: bool


@dataclass(frozen=True, slots=True)
class Bookmarks:
    """
    Where the next refresh of an account continues. Only the refresh itself reads it.

    Attributes:
        next_report_at: When to request the next credential report. None: at once.
        next_root_at: When to ask for root's keys, where no report has them. None: at once.
        tags_at: When the users' tags were last read. None: not yet, or they are not read.
        relist: Names of the users whose keys could not be listed, and have to be.
        in_report: Names of the users whose keys the latest credential report covers completely.
        missing: Names of the users that ListUsers returned and ListAccessKeys did not know.
    """

    next_report_at: datetime | None = None
    next_root_at: datetime | None = None
    tags_at: datetime | None = None
    relist: frozenset[str] = frozenset()
    in_report: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class AccountSnapshot:
    """
    What we know of one account, and how its latest refresh went.

    Attributes:
        users: In IAM's order, without those that the configuration excludes.
        keys: In the order of their users.
        report: None: credential reports are not used, or there was no refresh yet.
        listed_at: When the users were last listed. None: not yet.
        read_at: When the latest completely successful refresh began. None: there was none yet.
        finished_at: When the latest refresh ended, successful or not. None: not yet.
        failure: Why the latest refresh did not succeed completely. None: it did, or there was none.
        error: The same as a sentence, for people.
        seconds: How long the latest refresh took.
        failures: Failed refreshes since the exporter started, by reason.
        throttles: Requests that AWS throttled since the exporter started.
    """

    account: Account
    users: tuple[User, ...] = ()
    keys: tuple[AccessKey, ...] = ()
    root: Root | None = None
    report: ReportState | None = None
    bookmarks: Bookmarks = Bookmarks()
    listed_at: datetime | None = None
    read_at: datetime | None = None
    finished_at: datetime | None = None
    failure: Reason | None = None
    error: str = ""
    seconds: float = 0.0
    failures: Mapping[Reason, int] = field(default_factory=lambda: MappingProxyType({}))
    throttles: int = 0

    @property
    def up(self) -> bool:
        """Whether the latest refresh succeeded completely."""
        return self.read_at is not None and self.failure is None

    @property
    def keys_known(self) -> bool:
        """Whether the keys of every user are known."""
        return self.listed_at is not None and all(user.keys_at for user in self.users)

    @property
    def unknown(self) -> int:
        """The number of keys whose last use is unknown."""
        return sum(key.last_use is UNKNOWN for key in self.keys)

    def failed(self, error: ReadError) -> "AccountSnapshot":
        """Count a failed refresh. The facts stay."""
        failures = {**self.failures, error.reason: self.failures.get(error.reason, 0) + 1}
        return replace(
            self,
            failure=error.reason,
            error=str(error),
            failures=MappingProxyType(failures),
        )

    def without_facts(self) -> "AccountSnapshot":
        """Keep only the account and how its refreshes went."""
        return AccountSnapshot(
            self.account,
            read_at=self.read_at,
            finished_at=self.finished_at,
            failure=self.failure,
            error=self.error,
            seconds=self.seconds,
            failures=self.failures,
            throttles=self.throttles,
        )

    def without_stale_facts(self, is_stale: Callable[[datetime], bool]) -> "AccountSnapshot":
        """
        Drop the facts that are no longer known: those whose latest confirmation *is_stale*.

        The final last use of an inactive key stays for as long as the key is known to exist.

        Returns:
            This very snapshot if nothing is stale.
        """
        if self.listed_at is not None and is_stale(self.listed_at):
            return self.without_facts()
        root = None if self.root is not None and is_stale(self.root.as_of) else self.root
        users = tuple(
            replace(user, keys_at=None, keys_as_of=None)
            if user.keys_at and is_stale(user.keys_at)
            else user
            for user in self.users
        )
        listed = {user.name for user in users if user.keys_at}
        keys = tuple(
            key
            if key.final or key.as_of is None or not is_stale(key.as_of)
            else replace(key, last_use=UNKNOWN, as_of=None)
            for key in self.keys
            if key.user in listed
        )
        if (root, users, keys) == (self.root, self.users, self.keys):
            return self
        return replace(self, users=users, keys=keys, root=root)
