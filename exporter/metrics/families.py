"""
The metric families: the one place where a metric is defined.

A row declares everything about its family. To add a metric, add a row and run `make generate`,
which updates the documentation and the expected output of the tests.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Generic, Literal, TypeVar

from exporter.metrics.options import RenderOptions
from exporter.model import ACTIVE, NEVER, UNKNOWN, AccessKey, AccountSnapshot, LastUse, Reason, User

ACCOUNT = ("account_id", "account")
USER = (*ACCOUNT, "user")
KEY = (*USER, "access_key_id")

STATUSES = (ACTIVE, "Inactive", "Expired")

Kind = Literal["gauge", "counter", "histogram"]
Samples = Iterable[tuple[tuple[str, ...], float]]
"""(values of the extra labels, sample value) pairs."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """
    The facts that samples about a key are computed from.

    Attributes:
        exempt_until: None: the key is not exempt.
        description: Empty: it has none, or tags are not read.
    """

    key: AccessKey
    user: User
    exempt_until: datetime | None
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """
    A metric family.

    Attributes:
        subject: The names of the labels that identify what the samples are about.
        help: The meaning, unit and source call, and what the absence of a sample means.
        extra_labels: The names of the labels besides those of the subject.
    """

    subject: ClassVar[tuple[str, ...]] = ()

    name: str
    kind: Kind
    help: str
    extra_labels: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of all labels except those of user tags, which the configuration names."""
        return (*self.subject, *self.extra_labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotFamily(Family, Generic[T]):
    """
    A family rendered from the snapshots of accounts.

    Attributes:
        samples: Returns the samples about one subject; none where the fact is unknown.
        enabled: Whether samples are exposed with these options.
    """

    samples: Callable[[T], Samples]
    enabled: Callable[[RenderOptions], bool] = lambda options: True


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFamily(SnapshotFamily[KeyFacts]):
    """
    Facts about an access key.

    Attributes:
        tag_labels: The allowed tags of the key's user are labels, too.
        age: The sample values are Unix times, exposed as the seconds since then.
    """

    subject: ClassVar[tuple[str, ...]] = KEY

    tag_labels: bool = False
    age: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFamily(SnapshotFamily[User]):
    """Facts about a user."""

    subject: ClassVar[tuple[str, ...]] = USER


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFamily(SnapshotFamily[AccountSnapshot]):
    """
    Facts about an account and its refreshes.

    Attributes:
        unidentified: Samples are also exposed while the id of the account is unknown. Others are
            not: their labels would change as soon as it is known.
    """

    subject: ClassVar[tuple[str, ...]] = ACCOUNT

    unidentified: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExporterFamily(Family):
    """Facts about the exporter itself, kept by the client library."""


def _sample(value: float | None, *labels: str) -> Samples:
    """Return one sample, or none if the value is unknown."""
    return () if value is None else ((labels, value),)


def _time(at: datetime | None, *labels: str) -> Samples:
    """Return one sample, a Unix time, or none if there is no time. AWS reports whole seconds."""
    return () if at is None else ((labels, int(at.timestamp())),)


def _last_used_age(facts: KeyFacts) -> Samples:
    use = facts.key.last_use
    return _time(use.at, use.service, use.region) if isinstance(use, LastUse) else ()


def _last_used(facts: KeyFacts) -> Samples:
    use = facts.key.last_use
    return _time(use.at) if isinstance(use, LastUse) else ()


def _never_used(facts: KeyFacts) -> Samples:
    use = facts.key.last_use
    return () if use is UNKNOWN else _sample(use is NEVER)


def _keys_by_status(snapshot: AccountSnapshot) -> Samples:
    """Count nothing if the keys of some users are unknown: what was not read is not zero."""
    if not snapshot.keys_known:
        return ()
    counts = dict.fromkeys(STATUSES, 0)
    for key in snapshot.keys:
        counts[key.status] = counts.get(key.status, 0) + 1
    return [((status,), count) for status, count in counts.items()]


def _root_last_used(snapshot: AccountSnapshot) -> Samples:
    if snapshot.root is None:
        return ()
    return (
        *_time(snapshot.root.password_last_used, "password"),
        *_time(snapshot.root.access_key_last_used, "access_key"),
    )


KEY_FAMILIES: tuple[KeyFamily, ...] = (
    KeyFamily(
        name="aws_iam_access_key_last_used_age_seconds",
        kind="gauge",
        help="Seconds since the last use of the key, computed at scrape time. AWS records at most"
        " one use in 15 minutes (GetAccessKeyLastUsed). Absent: never used, or unknown.",
        extra_labels=("service", "region"),
        samples=_last_used_age,
        age=True,
    ),
    KeyFamily(
        name="aws_iam_access_key_last_used_timestamp_seconds",
        kind="gauge",
        help="Time of the last use of the key, in Unix seconds, with labels that do not change from"
        " use to use (GetAccessKeyLastUsed). Absent: never used, or unknown.",
        samples=_last_used,
    ),
    KeyFamily(
        name="aws_iam_access_key_created_timestamp_seconds",
        kind="gauge",
        help="Creation time of the key, in Unix seconds (ListAccessKeys). Absent: no such key is"
        " known.",
        samples=lambda facts: _time(facts.key.created),
    ),
    KeyFamily(
        name="aws_iam_access_key_active",
        kind="gauge",
        help="1 if the status of the key is Active, 0 if it is Inactive or Expired"
        " (ListAccessKeys). Absent: no such key is known.",
        samples=lambda facts: _sample(facts.key.active),
    ),
    KeyFamily(
        name="aws_iam_access_key_never_used",
        kind="gauge",
        help="1 if the key has never been used, 0 if it has (GetAccessKeyLastUsed). Absent:"
        " unknown.",
        samples=_never_used,
    ),
    KeyFamily(
        name="aws_iam_access_key_exempt_until_timestamp_seconds",
        kind="gauge",
        help="Time until which the key is exempt from findings, in Unix seconds, as set by a tag of"
        " its user or by the configuration. Absent: not exempt.",
        samples=lambda facts: _time(facts.exempt_until),
    ),
    KeyFamily(
        name="aws_iam_access_key_info",
        kind="gauge",
        help="Status of the key (ListAccessKeys), path of its user (ListUsers) and, where tags are"
        " read, description of the key and allowed tags of its user. Always 1. Absent: no such key"
        " is known.",
        extra_labels=("status", "path", "description"),
        tag_labels=True,
        samples=lambda facts: _sample(1, facts.key.status, facts.user.path, facts.description),
    ),
)

USER_FAMILIES: tuple[UserFamily, ...] = (
    UserFamily(
        name="aws_iam_user_password_last_used_timestamp_seconds",
        kind="gauge",
        help="Time of the last use of the user's console password, in Unix seconds (ListUsers)."
        " Only with collection.passwords. Absent: never used, or no password.",
        samples=lambda user: _time(user.password_last_used),
        enabled=lambda options: options.passwords,
    ),
)

ACCOUNT_FAMILIES: tuple[AccountFamily, ...] = (
    AccountFamily(
        name="aws_iam_account_info",
        kind="gauge",
        help="Partition and source of the account; the source is static (configured) or"
        " organization. Always 1.",
        extra_labels=("partition", "source"),
        samples=lambda snapshot: _sample(1, snapshot.account.partition, snapshot.account.source),
    ),
    AccountFamily(
        name="aws_iam_account_users",
        kind="gauge",
        help="Number of IAM users, except excluded ones (ListUsers). Absent: unknown.",
        samples=lambda snapshot: _sample(len(snapshot.users) if snapshot.listed_at else None),
    ),
    AccountFamily(
        name="aws_iam_account_access_keys",
        kind="gauge",
        help="Number of access keys by status (ListAccessKeys). Absent: the keys of some users are"
        " unknown.",
        extra_labels=("status",),
        samples=_keys_by_status,
    ),
    AccountFamily(
        name="aws_iam_account_root_access_keys",
        kind="gauge",
        help="Number of active access keys of the root user (GetCredentialReport); without a"
        " report, 1 if there is any (GetAccountSummary). Absent: unknown.",
        samples=lambda snapshot: _sample(snapshot.root.access_keys if snapshot.root else None),
    ),
    AccountFamily(
        name="aws_iam_account_root_last_used_timestamp_seconds",
        kind="gauge",
        help="Time of the last use of the root user's password or access_key, in Unix seconds"
        " (GetCredentialReport, up to 4 hours old). Absent: never used, or unknown.",
        extra_labels=("credential",),
        samples=_root_last_used,
    ),
    AccountFamily(
        name="aws_iam_exporter_account_up",
        kind="gauge",
        help="1 if the last refresh of the account succeeded completely, otherwise 0 (also before"
        " the first one). The only metric about an account whose ID is unknown: account_id is empty"
        " until AWS has reported it.",
        samples=lambda snapshot: _sample(snapshot.up),
        unidentified=True,
    ),
    AccountFamily(
        name="aws_iam_exporter_account_last_success_timestamp_seconds",
        kind="gauge",
        help="Start time of the last refresh that succeeded completely, in Unix seconds. 0: none"
        " has succeeded yet.",
        samples=lambda snapshot: _time(snapshot.read_at) or _sample(0),
    ),
    AccountFamily(
        name="aws_iam_exporter_account_refresh_duration_seconds",
        kind="gauge",
        help="Duration of the last refresh, in seconds. Absent: no refresh has finished yet.",
        samples=lambda snapshot: _sample(
            round(snapshot.seconds, 6) if snapshot.finished_at else None
        ),
    ),
    AccountFamily(
        name="aws_iam_exporter_account_keys_unknown",
        kind="gauge",
        help="Number of access keys whose last use could not be read. Absent: the keys of some"
        " users are unknown.",
        samples=lambda snapshot: _sample(snapshot.unknown if snapshot.keys_known else None),
    ),
    AccountFamily(
        name="aws_iam_exporter_account_failures_total",
        kind="counter",
        help="Failed or partial refreshes by (first) reason.",
        extra_labels=("reason",),
        samples=lambda snapshot: [
            ((reason,), snapshot.failures.get(reason, 0)) for reason in Reason
        ],
    ),
    AccountFamily(
        name="aws_iam_exporter_account_throttles_total",
        kind="counter",
        help="Requests that AWS throttled. Its limits are shared by all callers in the account.",
        samples=lambda snapshot: _sample(snapshot.throttles),
    ),
    AccountFamily(
        name="aws_iam_exporter_account_report_usable",
        kind="gauge",
        help="1 if the last refresh could rely on a credential report, 0 if it had to list keys"
        " user by user. Absent: keys are read without reports (off, or auto in a small account),"
        " or no refresh has finished yet.",
        samples=lambda snapshot: _sample(snapshot.report.usable if snapshot.report else None),
    ),
    AccountFamily(
        name="aws_iam_exporter_account_report_timestamp_seconds",
        kind="gauge",
        help="Time at which AWS generated the last credential report that keys were read with, in"
        " Unix seconds (GetCredentialReport). Absent: none.",
        samples=lambda snapshot: _time(snapshot.report.generated if snapshot.report else None),
    ),
)

EXPORTER_FAMILIES: tuple[ExporterFamily, ...] = (
    ExporterFamily(
        name="aws_iam_exporter_api_requests_total",
        kind="counter",
        help="Requests to AWS, including retries.",
        extra_labels=("operation",),
    ),
    ExporterFamily(
        name="aws_iam_exporter_api_request_errors_total",
        kind="counter",
        help="Failed requests to AWS by AWS's error code, or by type of error if AWS did not"
        " respond.",
        extra_labels=("operation", "code"),
    ),
    ExporterFamily(
        name="aws_iam_exporter_api_request_duration_seconds",
        kind="histogram",
        help="Duration of requests to AWS, in seconds.",
        extra_labels=("operation",),
    ),
    ExporterFamily(
        name="aws_iam_exporter_http_requests_total",
        kind="counter",
        help="HTTP requests to the exporter by status code and handler; malformed requests have the"
        " handler malformed.",
        extra_labels=("code", "handler"),
    ),
    ExporterFamily(
        name="aws_iam_exporter_accounts_configured",
        kind="gauge",
        help="Number of accounts configured.",
    ),
    ExporterFamily(
        name="aws_iam_exporter_refresh_interval_seconds",
        kind="gauge",
        help="Configured interval between two refreshes of an account, in seconds.",
    ),
    ExporterFamily(
        name="aws_iam_exporter_log_messages_dropped_total",
        kind="counter",
        help="Log messages that were not written, because nobody read them or the disk was full.",
    ),
    ExporterFamily(
        name="aws_iam_exporter_build_info",
        kind="gauge",
        help="Version of the exporter and version of Python. Always 1.",
        extra_labels=("version", "pythonversion"),
    ),
)

FAMILIES: tuple[Family, ...] = (
    *KEY_FAMILIES,
    *USER_FAMILIES,
    *ACCOUNT_FAMILIES,
    *EXPORTER_FAMILIES,
)
"""All families, in the order in which they are exposed."""
