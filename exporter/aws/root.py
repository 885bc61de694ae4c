"""
What is known of an account's root user.

Source: the credential report, else IAM GetAccountSummary.
"""

import logging
from dataclasses import replace
from datetime import datetime

from exporter.aws.api import AccountApi
from exporter.aws.operations import Operation
from exporter.aws.report_source import REPORT_LIFETIME, FreshReport, NoReport, Report
from exporter.model import ReadError, Reason, Root

log = logging.getLogger(__name__)


def read_root(api: AccountApi, before: Root | None, report: Report, began: datetime) -> Root | None:
    """
    Read what there is to know about root, about as often as reports are generated.

    Best effort: a failure is logged and does not fail the refresh.

    Raises:
        Aborted: See `AccountApi.call`.
    """
    if isinstance(report, FreshReport) and report.content.root is not None:
        return report.content.root
    recent = before is not None and began - before.as_of < REPORT_LIFETIME
    if recent or not isinstance(report, NoReport):
        return before
    try:
        summary = api.call(Operation.GET_ACCOUNT_SUMMARY)["SummaryMap"]
    except ReadError as error:
        log.warning("cannot read root user", extra={"account": api.account.id, "error": str(error)})
        if error.reason is Reason.ACCESS_DENIED and (before is None or before.access_keys is None):
            return Root(began, None)  # do not ask again before the next report is due
        return before
    count = summary.get("AccountAccessKeysPresent")
    return replace(before or Root(began, None), as_of=began, access_keys=count)
