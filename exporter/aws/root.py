"""
What is known of an account's root user.

Source: the credential report, else IAM GetAccountSummary.
"""

import logging
from dataclasses import replace
from datetime import datetime

from exporter.aws.api import AccountApi
from exporter.aws.errors import malformed
from exporter.aws.operations import Operation
from exporter.aws.report_source import REPORT_LIFETIME, FreshReport, NoReport, Report
from exporter.model import ReadError, Root

log = logging.getLogger(__name__)


def read_root(
    api: AccountApi, before: Root | None, next_at: datetime | None, report: Report, began: datetime
) -> tuple[Root | None, datetime | None]:
    """
    Read what there is to know about root, as often as reports are generated.

    Best effort: a failure is logged and does not fail the refresh.

    Args:
        next_at: When to ask AWS, where no report has it. None: now.

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
    operation = Operation.GET_ACCOUNT_SUMMARY
    try:
        count = api.call(operation)["SummaryMap"].get("AccountAccessKeysPresent")
        if not isinstance(count, int) or count < 0:
            api.count_malformed(operation)
            raise malformed(operation, "no valid AccountAccessKeysPresent")
    except ReadError as error:
        log.warning("cannot read root user", extra={"account": api.account.id, "error": str(error)})
        return before, next_at
    return replace(before or Root(began, None), as_of=began, access_keys=count), next_at
