"""
What is known of an account's root user.

Source: the credential report, else IAM GetAccountSummary.
"""

import logging
import random
from dataclasses import replace
from datetime import datetime

from exporter.aws import credential_report
from exporter.aws.api import AccountApi
from exporter.aws.errors import malformed
from exporter.aws.operations import Operation
from exporter.aws.report_source import (
    MAX_REPORT_AGE,
    REPORT_JITTER,
    REPORT_LIFETIME,
    FreshReport,
    NoReport,
    Report,
)
from exporter.model import Clock, ReadError, Root

log = logging.getLogger(__name__)


def read_root(
    api: AccountApi,
    before: Root | None,
    next_at: datetime | None,
    report: Report,
    *,
    use_report: bool,
    began: datetime,
    clock: Clock,
    rng: random.Random,
) -> tuple[Root | None, datetime | None]:
    """
    Read what there is to know about root, as often as AWS generates reports.

    Best effort: a failure is logged and does not fail the refresh.

    Args:
        next_at: When to ask AWS, where the refresh has no report. None: now.
        report: What the refresh relies on.
        use_report: Read a report for root's sake: only there is when root was last used.

    Returns:
        What is known, and when to ask AWS next.

    Raises:
        Aborted: See `AccountApi.call`.
    """
    if isinstance(report, FreshReport) and report.content.root is not None:
        return report.content.root, next_at
    if not isinstance(report, NoReport) or (next_at is not None and began < next_at):
        return before, next_at
    next_at = began + REPORT_LIFETIME
    try:
        if use_report:
            content = credential_report.fetch(api, clock)
            if content.root is not None and began - content.generated < MAX_REPORT_AGE:
                jitter = REPORT_JITTER * rng.random()
                return content.root, max(content.generated + REPORT_LIFETIME, began) + jitter
    except ReadError as error:
        log.warning(
            "cannot use credential report",
            extra={
                "account": api.account.id,
                "reason": error.reason,
                "error": str(error),
                "fallback": "root's last use is unknown",
            },
        )
    try:
        count = _count_keys(api)
    except ReadError as error:
        log.warning("cannot read root user", extra={"account": api.account.id, "error": str(error)})
        return before, next_at
    return replace(before or Root(began, None), as_of=began, access_keys=count), next_at


def _count_keys(api: AccountApi) -> int:
    operation = Operation.GET_ACCOUNT_SUMMARY
    count = api.call(operation)["SummaryMap"].get("AccountAccessKeysPresent")
    if not isinstance(count, int) or count < 0:
        api.count_malformed(operation)
        raise malformed(operation, "no valid AccountAccessKeysPresent")
    return count
