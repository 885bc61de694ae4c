"""
What we know: accounts, users, access keys, their last use, and how the latest refresh went.

Facts and the vocabulary that modules share: no I/O, no clock, no lock. Times are aware datetimes in
UTC, durations float seconds. Everything is immutable and compared by value, so that a value can
cross threads and modules.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Final, Literal, Protocol, Self

ACTIVE: Final = "Active"
"""The only status in which a key can sign requests. IAM has two others: Inactive and Expired."""


# -- shared vocabulary -------------------------------------------------------------------------


class Reason(StrEnum):
    """Why a refresh failed. Closed and public: the values are label values."""

    ACCESS_DENIED = "access_denied"
    ASSUME_ROLE = "assume_role"
    WRONG_ACCOUNT = "wrong_account"
    CREDENTIALS = "credentials"
    THROTTLED = "throttled"
    SERVICE_FAILURE = "service_failure"
    INVALID_REQUEST = "invalid_request"
    TIMEOUT = "timeout"
    NETWORK = "network"
    MALFORMED = "malformed"
    DEADLINE = "deadline"
    UNEXPECTED = "unexpected"


class Partition(StrEnum):
    """AWS's partitions: separate clouds, each with its own IAM."""

    AWS = "aws"
    CHINA = "aws-cn"
    EUROPEAN_SOVEREIGN = "aws-eusc"
    ISO = "aws-iso"
    ISO_B = "aws-iso-b"
    ISO_E = "aws-iso-e"
    ISO_F = "aws-iso-f"
    US_GOV = "aws-us-gov"


class ReportMode(StrEnum):
    """What the credential report is used for; `auto` chooses `off` or `guide` by account."""

    AUTO = "auto"
    GUIDE = "guide"
    OFF = "off"
    VALUES = "values"


class TagSource(StrEnum):
    """Where users' tags come from: nowhere, one call for all users, or one call per user."""

    OFF = "off"
    BULK = "bulk"
    PER_USER = "per_user"


class KeyIdFormat(StrEnum):
    """How access key ids are shown."""

    FULL = "full"
    MASKED = "masked"
    HASHED = "hashed"


class Clock(Protocol):
    """The two clocks that everything is measured by. Injected, so that tests can set them."""

    def now(self) -> datetime:
        """The current time; aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go backwards."""
        ...


class Stopped(BaseException):
    """
    The exporter is shutting down.

    Not an Exception, so that no error handling takes it for a failure.
    """


class ReadError(Exception):
    """
    AWS did not give a usable answer.

    Attributes:
        reason: What operators alert on.
        code: AWS's error code, or the name of the exception where AWS did not answer.
    """

    def __init__(self, reason: Reason, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.code = code


# -- last use ----------------------------------------------------------------------------------


class NoUse(Enum):
    """What takes the place of a last use where there is none to report."""

    NEVER = "never"
    UNKNOWN = "unknown"


NEVER: Final = NoUse.NEVER
"""AWS reports that the key was never used."""

UNKNOWN: Final = NoUse.UNKNOWN
"""The last use could not be read. Not the same as never."""


@dataclass(frozen=True, slots=True)
class LastUse:
    """
    The latest use of a key that AWS reports.

    Attributes:
        service: AWS's short name, such as ``s3``.
        region: As AWS spells it; ``N/A`` for a service that is not regional.
    """

    at: datetime
    service: str
    region: str


Use = LastUse | Literal[NoUse.NEVER, NoUse.UNKNOWN]


def latest(before: Use, after: Use) -> Use:
    """
    Choose between two answers about one key: a known last use never goes backwards.

    IAM is eventually consistent, so *after* can be older than *before*.
    """
    if not isinstance(after, LastUse):
        return before if isinstance(before, LastUse) or after is UNKNOWN else after
    return before if isinstance(before, LastUse) and before.at > after.at else after


# -- accounts ----------------------------------------------------------------------------------


_ROLE_ARN = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):iam::(?P<account_id>\d{12}):role/(?P<name>[\w+=,.@/-]+)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class RoleArn:
    """
    The ARN of an IAM role.

    Attributes:
        name: With its path, if it has one: ``team/exporter``.
    """

    partition: Partition
    account_id: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Parse an ARN.

        Raises:
            ValueError: *text* is not the ARN of an IAM role, or of no partition that we know.
        """
        match = _ROLE_ARN.fullmatch(text)
        if match is None:
            raise ValueError("not the ARN of an IAM role")
        if match["partition"] not in tuple(Partition):
            raise ValueError("not in a partition of AWS")
        return cls(Partition(match["partition"]), match["account_id"], match["name"])

    def __str__(self) -> str:
        return f"arn:{self.partition}:iam::{self.account_id}:role/{self.name}"


@dataclass(frozen=True, slots=True)
class Account:
    """
    An AWS account, and how to get into it.

    Attributes:
        id: Twelve digits. Empty until AWS has reported whose credentials these are.
        name: What people call it; unique among the accounts.
        role_arn: The role to assume. None: use the credentials of *profile*, or of the default
            chain, as they are.
        profile: Where the base credentials come from. None: the default chain.
        source: How we know of the account: ``static`` (configured) or ``organization``.
        requests_per_second: Rate limit of this account. None: the default.
        burst: Burst size of this account. None: the default.
    """

    id: str
    name: str
    partition: Partition = Partition.AWS
    role_arn: RoleArn | None = None
    external_id: str | None = field(default=None, repr=False)
    session_name: str = "aws-iam-key-exporter"
    profile: str | None = None
    source: str = "static"
    requests_per_second: float | None = None
    burst: int | None = None

    @property
    def label(self) -> str:
        """The name, else the id, else where the credentials come from: never empty."""
        return self.name or self.id or self.profile or "default"


Tags = tuple[tuple[str, str], ...]
"""Names and values, sorted by name."""


@dataclass(frozen=True, slots=True)
class User:
    """
    An IAM user.

    Attributes:
        id: IAM's unique id (``AIDA...``). Empty where only the credential report was read.
        password_last_used: None: never, or the user has no console password.
        tags: Only the configured ones.
        keys_at: When the list of the user's keys was last confirmed. None: it is unknown.
    """

    name: str
    path: str
    created: datetime
    id: str = ""
    password_last_used: datetime | None = None
    tags: Tags = ()
    keys_at: datetime | None = None

    def is_same_user(self, other: "User") -> bool:
        """Tell a user from a later one of the same name."""
        known = self.id and other.id
        return self.created == other.created and (not known or self.id == other.id)


@dataclass(frozen=True, slots=True)
class AccessKey:
    """
    An IAM access key.

    Attributes:
        status: As IAM spells it: Active, Inactive or Expired.
        as_of: When AWS last confirmed *last_use*. None: not yet.
        final: *last_use* was read after the key was deactivated, so it cannot change.
    """

    id: str
    user: str
    status: str
    created: datetime
    last_use: Use = UNKNOWN
    as_of: datetime | None = None
    final: bool = False

    @property
    def active(self) -> bool:
        return self.status == ACTIVE


@dataclass(frozen=True, slots=True)
class Root:
    """
    What is known of an account's root user.

    Attributes:
        as_of: When AWS reported it.
        access_keys: The number of active ones. None: unknown.
        password_last_used: None: never, or unknown.
        access_key_last_used: The latest use of any of root's keys. None: never, or unknown.
    """

    as_of: datetime
    access_keys: int | None
    password_last_used: datetime | None = None
    access_key_last_used: datetime | None = None


# -- snapshots ---------------------------------------------------------------------------------


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
            replace(user, keys_at=None) if user.keys_at and is_stale(user.keys_at) else user
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


def parse_expiry(text: str) -> datetime:
    """
    Parse an ISO date, which lasts until its end, or an ISO time; UTC unless it says otherwise.

    Raises:
        ValueError: *text* is neither.
    """
    try:
        day = date.fromisoformat(text)
    except ValueError:
        pass
    else:
        last = day == date.max
        return datetime.combine(day if last else day + timedelta(days=1), time(), UTC)
    try:
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from error
