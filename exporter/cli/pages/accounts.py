"""The rows of the table of accounts."""

import math
from collections.abc import Mapping
from typing import Final

from exporter.aws.account_refresh import PLAIN_SHARE
from exporter.aws.api import MAX_ITEMS
from exporter.config import Config
from exporter.model import AccountSnapshot, Reason, ReportMode

REASONS: Final[Mapping[Reason, tuple[str, str]]] = {
    Reason.ACCESS_DENIED: (
        "AWS denied a call.",
        (
            "Add the permission named below to the policy of the role, and check service control"
            " policies. aws-iam-key-exporter policy prints the policy that is required."
        ),
    ),
    Reason.ASSUME_ROLE: (
        "The role cannot be assumed.",
        (
            "Create the role, or fix its trust policy or the external ID; allow the exporter to"
            " call sts:AssumeRole."
        ),
    ),
    Reason.WRONG_ACCOUNT: (
        "The credentials belong to another account, or the account is configured twice.",
        "Fix account_id, role_arn or profile in the configuration.",
    ),
    Reason.CREDENTIALS: (
        "There are no credentials, or AWS rejects them.",
        "Provide or renew the credentials of the exporter, and check the clock of its machine.",
    ),
    Reason.THROTTLED: (
        "AWS throttles the calls.",
        "Lower requests_per_second, and find out who else calls IAM in this account.",
    ),
    Reason.SERVICE_FAILURE: (
        "AWS failed.",
        "Wait: the exporter keeps trying.",
    ),
    Reason.INVALID_REQUEST: (
        "AWS rejected a call as invalid.",
        "Report a bug.",
    ),
    Reason.TIMEOUT: (
        "AWS did not respond in time.",
        "Check the network, proxies and VPC endpoints between the exporter and AWS.",
    ),
    Reason.NETWORK: (
        "AWS cannot be reached.",
        "Check the network, proxies, VPC endpoints and DNS between the exporter and AWS.",
    ),
    Reason.MALFORMED: (
        "What responded does not look like AWS.",
        "Look for a proxy that responds in its place.",
    ),
    Reason.DEADLINE: (
        "The refresh took longer than collection.deadline.",
        (
            "Raise the deadline or the rate limit. For a very large account, set"
            " collection.credential_report to values."
        ),
    ),
    Reason.UNEXPECTED: (
        "Something happened that the exporter does not expect.",
        "See the log, and report a bug.",
    ),
}
"""Why a refresh failed, and what to do about it."""


def report_mode(snapshot: AccountSnapshot, config: Config) -> ReportMode | None:
    """Return what the credential report is used for. None: that is not known yet."""
    mode = config.collection.credential_report
    if mode is not ReportMode.AUTO:
        return mode
    if snapshot.listed_at is None:
        return None
    account, collection = snapshot.account, config.collection
    rate = account.requests_per_second or collection.requests_per_second
    plain = rate * collection.interval.total_seconds() * PLAIN_SHARE
    return ReportMode.OFF if _plain_calls(snapshot) <= plain else ReportMode.GUIDE


def calls_of(snapshot: AccountSnapshot, mode: ReportMode | None) -> int | None:
    """Return how many calls a refresh takes in the steady state. None: that is not known yet."""
    if mode is None or snapshot.listed_at is None:
        return None
    if mode is ReportMode.VALUES:
        return _pages(snapshot)
    if mode is ReportMode.GUIDE:
        return _pages(snapshot) + len(snapshot.keys)
    return _plain_calls(snapshot)


def _plain_calls(snapshot: AccountSnapshot) -> int:
    return _pages(snapshot) + len(snapshot.users) + sum(key.active for key in snapshot.keys)


def _pages(snapshot: AccountSnapshot) -> int:
    return max(1, math.ceil(len(snapshot.users) / MAX_ITEMS))
