"""What AWS reports: accounts, users, access keys and their last use."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Final, Literal, Self

from exporter.model.vocabulary import ACTIVE, Partition


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


Tags = tuple[tuple[str, str], ...]
"""Names and values, sorted by name."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleSession:
    """
    How a role is assumed.

    Attributes:
        name: The name of the session, as CloudTrail shows it.
        external_id: None: the trust policy does not require one.
        tags: Tags of the session, which policies may refer to.
        source_identity: Who is behind the session. None: that is not said.
        seconds: How long the session lasts.
        via: Roles to assume before, in this order.
    """

    name: str = "aws-iam-key-exporter"
    external_id: str | None = field(default=None, repr=False)
    tags: Tags = ()
    source_identity: str | None = None
    seconds: int = 3600
    via: tuple[RoleArn, ...] = ()


@dataclass(frozen=True, slots=True)
class Account:
    """
    An AWS account, and how to get into it.

    Attributes:
        id: Twelve digits. Empty until AWS has reported whose credentials these are.
        name: What people call it. Accounts of an organization may share a name.
        role_arn: The role to assume. None: use the credentials of *profile*, or of the default
            chain, as they are.
        profile: Where the base credentials come from. None: the default chain.
        source: How we know of the account: ``static`` (configured) or ``organization``.
        tags: Those of the account itself that are exposed as labels.
        requests_per_second: Rate limit of this account. None: the default.
        burst: Burst size of this account. None: the default.
    """

    id: str
    name: str
    partition: Partition = Partition.AWS
    role_arn: RoleArn | None = None
    role_session: RoleSession = RoleSession()
    profile: str | None = None
    source: str = "static"
    requests_per_second: float | None = None
    burst: int | None = None
    tags: Tags = ()

    @property
    def label(self) -> str:
        """The name, else the id, else where the credentials come from: never empty."""
        return self.name or self.id or self.profile or "default"


@dataclass(frozen=True, slots=True)
class User:
    """
    An IAM user.

    Attributes:
        id: IAM's unique id (``AIDA...``). Empty where only the credential report was read.
        password_last_used: None: never, or the user has no console password.
        tags: Only the configured ones.
        keys_at: When the list of the user's keys was last confirmed. None: it is unknown.
        keys_as_of: The time as of which that list is right: when ListAccessKeys returned it, or
            when AWS generated the credential report that confirms it. None: it is unknown.
    """

    name: str
    path: str
    created: datetime
    id: str = ""
    password_last_used: datetime | None = None
    tags: Tags = ()
    keys_at: datetime | None = None
    keys_as_of: datetime | None = None

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


def superseded_seconds(keys: Iterable[AccessKey]) -> dict[str, int]:
    """
    Compare the active *keys* of one user.

    Returns:
        By how many seconds the last use of another one is later than that of each key, or than its
        creation if it was never used, by key id. Only what is positive and known.
    """
    active = [key for key in keys if key.active]
    uses = {key.id: key.last_use.at for key in active if isinstance(key.last_use, LastUse)}
    seconds = {}
    for key in active:
        since = key.created if key.last_use is NEVER else uses.get(key.id)
        latest_other = max([at for id_, at in uses.items() if id_ != key.id], default=None)
        if since is None or latest_other is None or key.as_of is None:
            continue
        until = min(latest_other, key.as_of)
        if until > since:
            seconds[key.id] = int((until - since).total_seconds())
    return seconds


@dataclass(frozen=True, slots=True)
class Root:
    """
    What is known of an account's root user.

    Attributes:
        as_of: When AWS reported it.
        access_keys: The number of active ones. None: unknown.
        password_last_used: None: never, or unknown.
        access_key_last_used: The latest use of any of root's keys. None: never, or unknown.
        uses_as_of: When AWS generated the credential report that has the last uses. None: no report
            was read, so that they are unknown.
    """

    as_of: datetime
    access_keys: int | None
    password_last_used: datetime | None = None
    access_key_last_used: datetime | None = None
    uses_as_of: datetime | None = None
