"""When an account's credential report is requested, and which report a refresh relies on."""

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from exporter.aws import credential_report
from exporter.aws.api import AccountApi
from exporter.aws.credential_report import CredentialReport
from exporter.model import Clock, ReadError, Reason, ReportState

log = logging.getLogger(__name__)

REPORT_LIFETIME: Final = timedelta(hours=4)
"""How long AWS caches a generated report."""

MAX_REPORT_AGE: Final = timedelta(hours=6)
"""A report older than this is no longer relied on."""

REPORT_JITTER: Final = timedelta(minutes=15)
"""
Maximum random delay before requesting a new report, so that accounts do not request theirs
simultaneously.
"""

REPORT_RETRY: Final = timedelta(minutes=30)
"""Approximate delay before retrying a failed report."""


@dataclass(frozen=True, slots=True)
class NoReport:
    """No report can be relied on: the keys of every user are listed."""


@dataclass(frozen=True, slots=True)
class PreviousReport:
    """The report that an earlier refresh has read is still recent enough."""

    generated: datetime


@dataclass(frozen=True, slots=True)
class FreshReport:
    """This refresh has read a report."""

    content: CredentialReport

    @property
    def generated(self) -> datetime:
        return self.content.generated


Report = NoReport | PreviousReport | FreshReport


def read_report(
    api: AccountApi,
    before: ReportState | None,
    next_at: datetime | None,
    *,
    began: datetime,
    clock: Clock,
    rng: random.Random,
    check: Callable[[CredentialReport], None],
) -> tuple[Report, datetime | None]:
    """
    Read a new report if one is due, else rely on the one before.

    Args:
        before: The state of the report at the latest refresh.
        next_at: When a report is due. None: now.
        began: When the refresh began.
        check: Raises a ReadError if the report is not to be relied on.

    Returns:
        The report, and when the next one is due.

    Raises:
        Aborted: See `AccountApi.call`.
    """
    if next_at is not None and began < next_at:
        return _previous(before, began), next_at
    try:
        content = credential_report.fetch(api, clock)
        if began - content.generated >= MAX_REPORT_AGE:
            text = f"the credential report was generated at {content.generated.isoformat()}"
            raise ReadError(Reason.SERVICE_FAILURE, text, code="ReportExpired")
        check(content)
    except ReadError as error:
        report = _previous(before, began)
        log.warning(
            "cannot use credential report",
            extra={
                "account": api.account.id,
                "reason": error.reason,
                "error": str(error),
                "fallback": "list keys" if isinstance(report, NoReport) else "previous report",
            },
        )
        return report, began + REPORT_RETRY * (0.5 + rng.random())
    jitter = REPORT_JITTER * rng.random()
    return FreshReport(content), max(content.generated + REPORT_LIFETIME, began) + jitter


def state_of(report: Report, before: ReportState | None) -> ReportState:
    """Return the state that a snapshot carries. A report that failed keeps its time."""
    if isinstance(report, NoReport):
        return ReportState(before.generated if before else None, usable=False)
    return ReportState(report.generated, usable=True)


def _previous(before: ReportState | None, began: datetime) -> NoReport | PreviousReport:
    generated = before.generated if before is not None else None
    if generated is None or began - generated >= MAX_REPORT_AGE:
        return NoReport()
    return PreviousReport(generated)
