"""
What we know: accounts, users, access keys, their last use, and how the latest reading went.

Facts only: no I/O, no clock, no lock. Times are aware datetimes in UTC, durations float seconds.
Everything is immutable and compared by value, so that a value can cross threads and rooms.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum, StrEnum
from typing import Final, Literal

ACTIVE: Final = "Active"
"""The one status with which a key can sign requests. IAM has two others: Inactive and Expired."""


class Reason(StrEnum):
    """Why a reading failed. Closed and public: the values are label values."""

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


class Stopped(BaseException):
    """
    The exporter is asked to end.

    Not an Exception: nothing that mends failures may take it for one.
    """


class ReadError(Exception):
    """
    A question to AWS that got no answer.

    Attributes:
        reason: What operators alert on.
        code: AWS's error code, or the name of the error's class when AWS did not answer.
    """

    def __init__(self, reason: Reason, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.code = code


class NoUse(Enum):
    """What stands in the place of a last use where there is none to tell."""

    NEVER = "never"
    UNKNOWN = "unknown"


NEVER: Final = NoUse.NEVER
"""AWS says that the key was never used."""

UNKNOWN: Final = NoUse.UNKNOWN
"""We could not learn it. Not the same as never."""


@dataclass(frozen=True, slots=True)
class LastUse:
    """
    The latest use of a key that AWS tells.

    Attributes:
        service: AWS's short name, such as ``s3``.
        region: AWS's own word; ``N/A`` for a service that is not regional.
    """

    at: datetime
    service: str
    region: str


Use = LastUse | Literal[NoUse.NEVER, NoUse.UNKNOWN]


def latest(before: Use, after: Use) -> Use:
    """
    Choose between two answers about one key: a known last use never goes backwards.

    IAM is eventually consistent, so that an *after* can be older than *before*.
    """
    if not isinstance(after, LastUse):
        return before if isinstance(before, LastUse) or after is UNKNOWN else after
    return before if isinstance(before, LastUse) and before.at > after.at else after


@dataclass(frozen=True, slots=True)
class Account:
    """
    An AWS account and the way into it.

    Attributes:
        id: Twelve digits. Empty until the credentials have told which account they belong to.
        name: What people call it; unique among the accounts.
        role_arn: The role to assume. None: the credentials of *profile*, or of the default chain.
        profile: Where the base credentials come from. None: the default chain.
        source: How we know of it: ``static`` (configured) or ``organization``.
        requests_per_second: Overrides the pace for this account. None: the common one.
        burst: Likewise.
    """

    id: str
    name: str
    partition: str = "aws"
    role_arn: str | None = None
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


@dataclass(frozen=True, slots=True)
class User:
    """
    An IAM user.

    Attributes:
        id: IAM's unique id (``AIDA...``). Empty where only the credential report was read.
        password_last_used: None: never, or the user has no console password.
        tags: Those that were asked for, by name.
        keys_at: When the user's keys were last confirmed. None: they are not known.
        relist: The user's keys could not be listed and have to be at the next reading.
        in_report: The latest credential report covers the user whole.
    """

    name: str
    path: str
    created: datetime
    id: str = ""
    password_last_used: datetime | None = None
    tags: Tags = ()
    keys_at: datetime | None = None
    relist: bool = False
    in_report: bool = False

    def is_same_user(self, other: "User") -> bool:
        """Tell a user from a later one of the same name."""
        known = self.id and other.id
        return self.created == other.created and (not known or self.id == other.id)


@dataclass(frozen=True, slots=True)
class AccessKey:
    """
    An IAM access key.

    Attributes:
        status: IAM's word: Active, Inactive or Expired.
        as_of: When *last_use* was last confirmed. None: not yet.
        final: *last_use* was told after the key had stopped being active, so it cannot move.
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
        as_of: When it was told.
        access_keys: How many active ones. None: AWS would not tell.
        password_last_used: None: never, or not told.
        access_key_last_used: Likewise, the latest over root's keys.
    """

    as_of: datetime
    access_keys: int | None
    password_last_used: datetime | None = None
    access_key_last_used: datetime | None = None


@dataclass(frozen=True, slots=True)
class ReportState:
    """
    How it stands with an account's credential report.

    Attributes:
        generated: When AWS made the one that was read last. None: none was read yet.
        next_at: When to ask for one again.
        usable: Whether the latest reading could go by it.
    """

    generated: datetime | None
    next_at: datetime
    usable: bool


@dataclass(frozen=True, slots=True)
class AccountSnapshot:
    """
    What we know of one account, and how the latest attempt to read it went.

    Attributes:
        users: In IAM's order, without those that the configuration excludes.
        keys: In the order of their users.
        listed_at: When the users were listed last. None: not yet.
        tags_at: When the users' tags were read last. None: not yet, or not asked for.
        read_at: When the latest reading that succeeded whole began. None: not yet.
        finished_at: When the latest reading ended, well or not. None: not yet.
        failure: Why the latest reading did not succeed whole. None: it did, or there was none yet.
        error: The same in a sentence, for people.
        seconds: How long the latest reading took.
        failures: Failed readings since the exporter started, by reason.
        throttles: How often AWS throttled us since the exporter started.
    """

    account: Account
    users: tuple[User, ...] = ()
    keys: tuple[AccessKey, ...] = ()
    root: Root | None = None
    report: ReportState | None = None
    listed_at: datetime | None = None
    tags_at: datetime | None = None
    read_at: datetime | None = None
    finished_at: datetime | None = None
    failure: Reason | None = None
    error: str = ""
    seconds: float = 0.0
    failures: Mapping[Reason, int] = field(default_factory=dict)
    throttles: int = 0

    @property
    def up(self) -> bool:
        """Whether the latest reading succeeded whole."""
        return self.read_at is not None and self.failure is None

    @property
    def keys_known(self) -> bool:
        """Whether the keys are known of all users that there are."""
        return self.listed_at is not None and all(user.keys_at for user in self.users)

    @property
    def unknown(self) -> int:
        """How many keys there are whose last use could not be learned."""
        return sum(key.last_use is UNKNOWN for key in self.keys)

    def failed(self, error: ReadError) -> "AccountSnapshot":
        """Count a failed attempt. What was known stays."""
        failures = {**self.failures, error.reason: self.failures.get(error.reason, 0) + 1}
        return replace(self, failure=error.reason, error=str(error), failures=failures)

    def without_facts_before(self, limit: datetime) -> "AccountSnapshot":
        """
        Drop what was last confirmed before *limit*: it is no longer known.

        The final last use of a key that cannot be used any more stays as long as the key is
        known to exist.
        """
        if self.listed_at is not None and self.listed_at < limit:
            return replace(
                self, users=(), keys=(), root=None, report=None, listed_at=None, tags_at=None
            )
        root = self.root if self.root is None or self.root.as_of >= limit else None
        users = tuple(
            replace(user, keys_at=None) if user.keys_at and user.keys_at < limit else user
            for user in self.users
        )
        listed = {user.name for user in users if user.keys_at}
        keys = tuple(
            key
            if key.final or key.as_of is None or key.as_of >= limit
            else replace(key, last_use=UNKNOWN, as_of=None)
            for key in self.keys
            if key.user in listed
        )
        return replace(self, users=users, keys=keys, root=root)


def parse_expiry(text: str) -> datetime:
    """
    Read an ISO date, which lasts until its end, or an ISO time; UTC unless it says otherwise.

    Raises:
        ValueError: It is neither.
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
