"""
What is known of an account's root user.

Source: the credential report, else IAM GetAccountSummary.
"""

import logging
from dataclasses import replace
from datetime import datetime

from exporter.aws.api import AccountApi
from exporter.aws.report_source import REPORT_LIFETIME, ReportSource
from exporter.model import ReadError, Reason, Root

log = logging.getLogger(__name__)


def read_root(
    calls: AccountApi, before: Root | None, report_source: ReportSource, began: datetime
) -> Root | None:
    """
    Read what there is to know of root, about as often as reports are made.

    It is no must: where AWS does not tell, nothing is known, and the reading is none the worse.
    """
    if report_source.fresh is not None and report_source.fresh.root is not None:
        return report_source.fresh.root
    if report_source.holds or (before is not None and began - before.as_of < REPORT_LIFETIME):
        return before
    try:
        answer = calls.call("GetAccountSummary", expect="SummaryMap")
    except ReadError as error:
        log.warning(
            "nothing known of the root user",
            extra={"account": calls.account.id, "error": str(error)},
        )
        if error.reason is Reason.ACCESS_DENIED and (before is None or before.access_keys is None):
            return Root(began, None)
        return before  # what was known stays, and is asked again at the next reading
    count = answer["SummaryMap"].get("AccountAccessKeysPresent")
    return replace(before or Root(began, None), as_of=began, access_keys=count)
