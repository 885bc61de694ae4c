"""What guides a reading: an account's credential report, when to ask for one, how long it holds."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from exporter.aws import credential_report
from exporter.aws.api import AccountApi
from exporter.aws.credential_report import CredentialReport, Row
from exporter.model import ReadError, Reason, ReportMode, ReportState, User

log = logging.getLogger(__name__)

REPORT_LIFETIME = timedelta(hours=4)
"""For so long AWS answers with the same report."""

MAX_REPORT_AGE = timedelta(hours=6)
"""A report older than this is no guide any more."""

REPORT_JITTER = timedelta(minutes=15)
"""Up to so much later than possible a report is asked for, so that accounts do not all at once."""

REPORT_RETRY = timedelta(minutes=30)
"""About so long after a report could not be had, the next attempt."""


class ReportSource:
    """
    The report of one account, during one reading.

    Attributes:
        state: How it stands with the report, for the next reading to know.
        fresh: The report itself. None: none was due, or none could be had.

    Args:
        began: When the reading began.
        chance: A random number from 0 to 1.
    """

    def __init__(
        self,
        report_mode: ReportMode,
        calls: AccountApi,
        state: ReportState | None,
        *,
        began: datetime,
        chance: Callable[[], float],
    ) -> None:
        self._calls = calls
        self._began = began
        self._chance = chance
        self._awaited = report_mode is not ReportMode.OFF and (
            state is None or began >= state.next_at
        )
        self.by_value = report_mode is ReportMode.VALUES
        self.state = state
        self.fresh: CredentialReport | None = None

    @property
    def holds(self) -> bool:
        """Whether the reading can go by a report, a fresh one or the one before."""
        return self.state is not None and self.state.usable

    @property
    def values_of(self) -> datetime | None:
        """When the report was made whose last uses are facts. None: they are not."""
        return self.state.generated if self.by_value and self.state and self.holds else None

    def row_of(self, user: User) -> Row | None:
        """Find what the fresh report says of *user*, and not of an earlier one of that name."""
        row = self.fresh.rows.get(user.name) if self.fresh is not None else None
        return row if row is not None and row.created == user.created else None

    def start(self) -> None:
        """Ask AWS to make a report, if one is due."""
        if self._awaited:
            try:
                credential_report.start(self._calls)
            except ReadError as error:
                self._do_without(error)

    def fetch(self) -> None:
        """Get the report that was started, if one was."""
        if not self._awaited:
            return
        try:
            fresh = credential_report.fetch(self._calls)
            if self._began - fresh.generated >= MAX_REPORT_AGE:
                text = f"the credential report is of {fresh.generated.isoformat()}"
                raise ReadError(Reason.SERVICE_FAILURE, text, code="ReportExpired")
        except ReadError as error:
            self._do_without(error)
            return
        self.fresh = fresh
        jitter = REPORT_JITTER * self._chance()
        next_at = max(fresh.generated + REPORT_LIFETIME, self._began) + jitter
        self.state = ReportState(fresh.generated, next_at, usable=True)

    def _do_without(self, error: ReadError) -> None:
        """Go by the report before while it is young enough, else user by user."""
        self._awaited = False
        generated = self.state.generated if self.state else None
        usable = generated is not None and self._began - generated < MAX_REPORT_AGE
        retry = REPORT_RETRY * (0.5 + self._chance())
        self.state = ReportState(generated, self._began + retry, usable)
        log.warning(
            "no credential report; " + ("going by the last" if usable else "asking user by user"),
            extra={"account": self._calls.account.id, "reason": error.reason, "error": str(error)},
        )
