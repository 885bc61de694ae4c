"""Families about accounts, their root user, and their refreshes."""

from collections import Counter

from exporter.metrics.facts import AccountFacts
from exporter.metrics.families.family import AccountFamily, Samples, unix
from exporter.model import ACTIVE, EventKind, LastUse, Reason

STATUSES = (ACTIVE, "Inactive", "Expired")


def _keys_by_status(facts: AccountFacts) -> Samples:
    """Count nothing if the keys of some users are unknown: what was not read is not zero."""
    if not facts.snapshot.keys_known:
        return ()
    counts = dict.fromkeys(STATUSES, 0)
    for key in facts.keys:
        counts[key.status] = counts.get(key.status, 0) + 1
    return [((status,), count) for status, count in counts.items()]


def _users_with_two_active_keys(facts: AccountFacts) -> int | None:
    if not facts.snapshot.keys_known:
        return None
    keys = Counter([key.user for key in facts.keys if key.active])
    return sum([count >= 2 for count in keys.values()])


def _used_in(facts: AccountFacts) -> Samples:
    uses = [key.last_use for key in facts.keys if key.active]
    counts = Counter([(use.service, use.region) for use in uses if isinstance(use, LastUse)])
    return counts.items()


def _root_last_used(facts: AccountFacts) -> Samples:
    root = facts.snapshot.root
    if root is None:
        return
    for credential, at in (
        ("password", root.password_last_used),
        ("access_key", root.access_key_last_used),
    ):
        if at is not None:
            yield (credential,), int(at.timestamp())


def _root_use_noticed(facts: AccountFacts) -> Samples:
    noticed: dict[str, int] = {}
    for event in facts.root_events:
        if event.kind is EventKind.ROOT_USED:
            at = int(event.noticed_at.timestamp())
            noticed[event.credential] = max(at, noticed.get(event.credential, at))
    return [((credential,), at) for credential, at in noticed.items()]


def _refresh_duration(facts: AccountFacts) -> float | None:
    snapshot = facts.snapshot
    return round(snapshot.seconds, 6) if snapshot.finished_at else None


ACCOUNT_FAMILIES: tuple[AccountFamily, ...] = (
    AccountFamily(
        name="aws_iam_account_info",
        help="Partition, source and allowed tags of the account; the source is static (configured)"
        " or organization (ListAccounts). Always 1.",
        extra_labels=("partition", "source"),
        tag_labels=True,
        samples=lambda facts: (((facts.account.partition, facts.account.source), 1),),
    ),
    AccountFamily(
        name="aws_iam_account_users",
        help="Number of IAM users, except excluded ones (ListUsers). Absent: unknown.",
        value=lambda facts: len(facts.snapshot.users) if facts.snapshot.listed_at else None,
    ),
    AccountFamily(
        name="aws_iam_account_users_with_two_active_keys",
        help="Number of IAM users that have two active access keys (ListAccessKeys). Absent: the"
        " keys of some users are unknown.",
        value=_users_with_two_active_keys,
    ),
    AccountFamily(
        name="aws_iam_account_access_keys",
        help="Number of access keys by status (ListAccessKeys). Absent: the keys of some users are"
        " unknown.",
        extra_labels=("status",),
        samples=_keys_by_status,
    ),
    AccountFamily(
        name="aws_iam_account_access_keys_used_in",
        help="Number of active access keys, including exempt ones, by service and region of their"
        " last use (GetAccessKeyLastUsed). Absent: none is known.",
        extra_labels=("service", "region"),
        samples=_used_in,
    ),
    AccountFamily(
        name="aws_iam_account_root_access_keys",
        help="Number of active access keys of the root user (GetCredentialReport); without a"
        " report, 1 if there is any (GetAccountSummary). Absent: unknown.",
        value=lambda facts: facts.snapshot.root.access_keys if facts.snapshot.root else None,
    ),
    AccountFamily(
        name="aws_iam_account_root_last_used_timestamp_seconds",
        help="Time of the last use of the root user's password or access_key, in Unix seconds"
        " (GetCredentialReport, up to 4 hours old). Absent: never used, or unknown.",
        extra_labels=("credential",),
        samples=_root_last_used,
    ),
    AccountFamily(
        name="aws_iam_account_root_use_noticed_timestamp_seconds",
        help="Time at which a new use of the root user's password or access_key was noticed, in"
        " Unix seconds (GetCredentialReport). For changes.shown_for after that. Absent: no such"
        " event.",
        extra_labels=("credential",),
        samples=_root_use_noticed,
    ),
    AccountFamily(
        name="aws_iam_exporter_account_up",
        help="1 if the last refresh of the account succeeded completely, otherwise 0 (also before"
        " the first one). The only metric about an account whose ID is unknown: account_id is empty"
        " until AWS has reported it.",
        value=lambda facts: facts.snapshot.up,
        unidentified=True,
    ),
    AccountFamily(
        name="aws_iam_exporter_account_last_success_timestamp_seconds",
        help="Start time of the last refresh that succeeded completely, in Unix seconds. 0: none"
        " has succeeded yet.",
        value=lambda facts: unix(facts.snapshot.read_at) or 0,
    ),
    AccountFamily(
        name="aws_iam_exporter_account_refresh_duration_seconds",
        help="Duration of the last refresh, in seconds. Absent: no refresh has finished yet.",
        value=_refresh_duration,
    ),
    AccountFamily(
        name="aws_iam_exporter_account_keys_unknown",
        help="Number of access keys whose last use could not be read. Absent: the keys of some"
        " users are unknown.",
        value=lambda facts: facts.snapshot.unknown if facts.snapshot.keys_known else None,
    ),
    AccountFamily(
        name="aws_iam_exporter_account_failures_total",
        kind="counter",
        help="Failed or partial refreshes by (first) reason.",
        extra_labels=("reason",),
        samples=lambda facts: [
            ((reason,), facts.snapshot.failures.get(reason, 0)) for reason in Reason
        ],
    ),
    AccountFamily(
        name="aws_iam_exporter_account_throttles_total",
        kind="counter",
        help="Requests that AWS throttled. Its limits are shared by all callers in the account.",
        value=lambda facts: facts.snapshot.throttles,
    ),
    AccountFamily(
        name="aws_iam_exporter_account_rate_limit",
        help="Configured limit of the requests to AWS, per second.",
        value=lambda facts: facts.requests_per_second,
    ),
    AccountFamily(
        name="aws_iam_exporter_account_report_usable",
        help="1 if the last refresh could rely on a credential report, 0 if it had to list keys"
        " user by user. Absent: keys are read without reports (off, or auto in a small account),"
        " or no refresh has finished yet.",
        value=lambda facts: facts.snapshot.report.usable if facts.snapshot.report else None,
    ),
    AccountFamily(
        name="aws_iam_exporter_account_report_timestamp_seconds",
        help="Time at which AWS generated the last credential report that keys were read with, in"
        " Unix seconds (GetCredentialReport). Absent: none.",
        value=lambda facts: unix(
            facts.snapshot.report.generated if facts.snapshot.report else None
        ),
    ),
)
