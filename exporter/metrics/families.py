"""
The table of metric families: the one place where a metric is defined.

A row says all there is to say of a family; the README's table is held against these rows.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from exporter.model import ACTIVE, NEVER, UNKNOWN, AccessKey, AccountSnapshot, LastUse, Reason, User

ACCOUNT = ("account_id", "account")
USER = (*ACCOUNT, "user")
KEY = (*USER, "access_key_id")

STATUSES = (ACTIVE, "Inactive", "Expired")

Kind = Literal["gauge", "counter", "histogram"]
Samples = Iterable[tuple[tuple[str, ...], float]]
"""Values of the labels that a family has besides its subject's, and the sample's value."""


@dataclass(frozen=True, slots=True)
class Key:
    """
    What a sample about a key is made of.

    Attributes:
        description: Empty: there is none, or tags are not read.
        tags: The values of the allowed tags, in their order.
    """

    key: AccessKey
    user: User
    exempt_until: datetime | None
    description: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Family:
    """
    A metric family.

    Attributes:
        help: What it is, in which unit, from which call; and what absence means.
        labels: Those of the subject first: KEY, USER or ACCOUNT.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyFamily(Family):
    """
    Facts about a key.

    Attributes:
        ages: The samples' values are Unix times, exposed as the seconds since then.
    """

    samples: Callable[[Key], Samples] = lambda key: ()
    ages: bool = False


@dataclass(frozen=True, slots=True)
class UserFamily(Family):
    """Facts about a user."""

    samples: Callable[[User], Samples] = lambda user: ()


@dataclass(frozen=True, slots=True)
class AccountFamily(Family):
    """Facts about an account and its readings."""

    samples: Callable[[AccountSnapshot], Samples] = lambda snapshot: ()


@dataclass(frozen=True, slots=True)
class ExporterFamily(Family):
    """Facts about the exporter itself, kept by the client library."""


def seconds(at: datetime) -> int:
    """Give a Unix time. AWS tells whole seconds."""
    return int(at.timestamp())


def _age(key: Key) -> Samples:
    use = key.key.last_use
    if isinstance(use, LastUse):
        yield (use.service, use.region), seconds(use.at)


def _last_used(key: Key) -> Samples:
    if isinstance(key.key.last_use, LastUse):
        yield (), seconds(key.key.last_use.at)


def _never_used(key: Key) -> Samples:
    if key.key.last_use is not UNKNOWN:
        yield (), key.key.last_use is NEVER


def _exempt(key: Key) -> Samples:
    if key.exempt_until is not None:
        yield (), seconds(key.exempt_until)


def _info(key: Key) -> Samples:
    yield (key.key.status, key.user.path, key.description, *key.tags), 1


def _password(user: User) -> Samples:
    if user.password_last_used is not None:
        yield (), seconds(user.password_last_used)


def _if_keys_known(
    count: Callable[[AccountSnapshot], Samples],
) -> Callable[[AccountSnapshot], Samples]:
    """Count no keys where some users' are not known: what was not read is not zero."""
    return lambda snapshot: count(snapshot) if snapshot.keys_known else ()


def _keys_by_status(snapshot: AccountSnapshot) -> Iterator[tuple[tuple[str, ...], float]]:
    counts = dict.fromkeys(STATUSES, 0)
    for key in snapshot.keys:
        counts[key.status] = counts.get(key.status, 0) + 1
    return (((status,), count) for status, count in counts.items())


def _root_keys(snapshot: AccountSnapshot) -> Samples:
    if snapshot.root is not None and snapshot.root.access_keys is not None:
        yield (), snapshot.root.access_keys


def _root_last_used(snapshot: AccountSnapshot) -> Samples:
    if snapshot.root is not None and snapshot.root.password_last_used is not None:
        yield ("password",), seconds(snapshot.root.password_last_used)
    if snapshot.root is not None and snapshot.root.access_key_last_used is not None:
        yield ("access_key",), seconds(snapshot.root.access_key_last_used)


def _report_usable(snapshot: AccountSnapshot) -> Samples:
    if snapshot.report is not None:
        yield (), snapshot.report.usable


def _report_generated(snapshot: AccountSnapshot) -> Samples:
    if snapshot.report is not None and snapshot.report.generated is not None:
        yield (), seconds(snapshot.report.generated)


FAMILIES: tuple[Family, ...] = (
    KeyFamily(
        "aws_iam_access_key_last_used_age_seconds",
        "gauge",
        "Seconds since the key was last used, as of the scrape. AWS records at most one use in 15"
        " minutes (GetAccessKeyLastUsed). Absent: never used, or not known.",
        (*KEY, "service", "region"),
        _age,
        ages=True,
    ),
    KeyFamily(
        "aws_iam_access_key_last_used_timestamp_seconds",
        "gauge",
        "When the key was last used, in Unix time, with labels that stay the same"
        " (GetAccessKeyLastUsed). Absent: never used, or not known.",
        KEY,
        _last_used,
    ),
    KeyFamily(
        "aws_iam_access_key_created_timestamp_seconds",
        "gauge",
        "When the key was made, in Unix time (ListAccessKeys). Absent: there is no such key.",
        KEY,
        lambda key: [((), seconds(key.key.created))],
    ),
    KeyFamily(
        "aws_iam_access_key_active",
        "gauge",
        "1 if the key's status is Active, 0 if it is Inactive or Expired (ListAccessKeys)."
        " Absent: there is no such key.",
        KEY,
        lambda key: [((), key.key.active)],
    ),
    KeyFamily(
        "aws_iam_access_key_never_used",
        "gauge",
        "1 if AWS says that the key was never used, 0 if it was (GetAccessKeyLastUsed)."
        " Absent: not known.",
        KEY,
        _never_used,
    ),
    KeyFamily(
        "aws_iam_access_key_exempt_until_timestamp_seconds",
        "gauge",
        "Until when findings about the key are exempt, in Unix time, by the user's tag or the"
        " configuration. Absent: not exempt.",
        KEY,
        _exempt,
    ),
    KeyFamily(
        "aws_iam_access_key_info",
        "gauge",
        "Always 1. The key's status (ListAccessKeys), its user's path (ListUsers), and, where tags"
        " are read, its description and the allowed tags of its user. Absent: there is no such"
        " key.",
        (*KEY, "status", "path", "description"),
        _info,
    ),
    UserFamily(
        "aws_iam_user_password_last_used_timestamp_seconds",
        "gauge",
        "When the user's console password was last used, in Unix time (ListUsers). Only with"
        " collection.passwords. Absent: never used, or no password.",
        USER,
        _password,
    ),
    AccountFamily(
        "aws_iam_account_info",
        "gauge",
        "Always 1. The account's partition, and how the exporter knows of it: static"
        " (configured) or organization.",
        (*ACCOUNT, "partition", "source"),
        lambda snapshot: [((snapshot.account.partition, snapshot.account.source), 1)],
    ),
    AccountFamily(
        "aws_iam_account_users",
        "gauge",
        "How many users there are, without excluded ones (ListUsers). Absent: not known.",
        ACCOUNT,
        lambda snapshot: [((), len(snapshot.users))] if snapshot.listed_at else [],
    ),
    AccountFamily(
        "aws_iam_account_access_keys",
        "gauge",
        "How many access keys of this status the users have (ListAccessKeys). Absent: the keys of"
        " some users are not known.",
        (*ACCOUNT, "status"),
        _if_keys_known(_keys_by_status),
    ),
    AccountFamily(
        "aws_iam_account_root_access_keys",
        "gauge",
        "How many active access keys the root user has (GetCredentialReport), or 1 for any"
        " (GetAccountSummary, where there is no report). Absent: not known.",
        ACCOUNT,
        _root_keys,
    ),
    AccountFamily(
        "aws_iam_account_root_last_used_timestamp_seconds",
        "gauge",
        "When the root user's password or access_key was last used, in Unix time"
        " (GetCredentialReport, up to 4 hours old). Absent: never, or not known.",
        (*ACCOUNT, "credential"),
        _root_last_used,
    ),
    AccountFamily(
        "aws_iam_exporter_account_up",
        "gauge",
        "1 if the latest reading of the account succeeded whole, else 0; 0 until the first has.",
        ACCOUNT,
        lambda snapshot: [((), snapshot.up)],
    ),
    AccountFamily(
        "aws_iam_exporter_account_last_success_timestamp_seconds",
        "gauge",
        "When the latest reading that succeeded whole began, in Unix time. 0: none has yet.",
        ACCOUNT,
        lambda snapshot: [((), seconds(snapshot.read_at) if snapshot.read_at else 0)],
    ),
    AccountFamily(
        "aws_iam_exporter_account_refresh_duration_seconds",
        "gauge",
        "How long the latest reading took, in seconds. Absent: there was none yet.",
        ACCOUNT,
        lambda snapshot: [((), round(snapshot.seconds, 6))] if snapshot.finished_at else [],
    ),
    AccountFamily(
        "aws_iam_exporter_account_keys_unknown",
        "gauge",
        "How many keys there are whose last use could not be learned. Absent: the keys of some"
        " users are not known.",
        ACCOUNT,
        _if_keys_known(lambda snapshot: [((), snapshot.unknown)]),
    ),
    AccountFamily(
        "aws_iam_exporter_account_failures_total",
        "counter",
        "Readings that did not succeed whole, by the first reason.",
        (*ACCOUNT, "reason"),
        lambda snapshot: [((reason,), snapshot.failures.get(reason, 0)) for reason in Reason],
    ),
    AccountFamily(
        "aws_iam_exporter_account_throttles_total",
        "counter",
        "Requests that AWS refused because too many were made, by us or by others.",
        ACCOUNT,
        lambda snapshot: [((), snapshot.throttles)],
    ),
    AccountFamily(
        "aws_iam_exporter_account_report_usable",
        "gauge",
        "1 if a credential report guides the readings, 0 if none could be had and they ask user by"
        " user. Absent: none is wanted, or there was no reading yet.",
        ACCOUNT,
        _report_usable,
    ),
    AccountFamily(
        "aws_iam_exporter_account_report_timestamp_seconds",
        "gauge",
        "When AWS made the credential report that was read last, in Unix time"
        " (GetCredentialReport). Absent: none was read.",
        ACCOUNT,
        _report_generated,
    ),
    ExporterFamily(
        "aws_iam_exporter_api_requests_total",
        "counter",
        "Requests to AWS, each attempt counted.",
        ("operation",),
    ),
    ExporterFamily(
        "aws_iam_exporter_api_request_errors_total",
        "counter",
        "Requests to AWS that failed, by AWS's error code, or by the kind of error where AWS did"
        " not answer.",
        ("operation", "code"),
    ),
    ExporterFamily(
        "aws_iam_exporter_api_request_duration_seconds",
        "histogram",
        "How long requests to AWS took, in seconds.",
        ("operation",),
    ),
    ExporterFamily(
        "aws_iam_exporter_accounts_configured",
        "gauge",
        "How many accounts the exporter is to read.",
    ),
    ExporterFamily(
        "aws_iam_exporter_refresh_interval_seconds",
        "gauge",
        "Seconds from one reading of an account to its next, as configured.",
    ),
    ExporterFamily(
        "aws_iam_exporter_build_info",
        "gauge",
        "Always 1. The exporter's version, and that of Python.",
        ("version", "pythonversion"),
    ),
)
