"""What the refreshes of all accounts amount to: one line in the log for each round."""

import logging
import threading
from collections.abc import Callable, Iterable

from exporter.model import Account, AccountSnapshot, Clock
from exporter.refresh import key_of

log = logging.getLogger(__name__)


class Rounds:
    """
    Logs a line each time that every account was refreshed again. Thread-safe.

    If an account takes longer than an interval, the line does not wait for it.

    Args:
        calls: Returns the number of requests to AWS so far.
        interval: Seconds between two refreshes of an account.
    """

    def __init__(self, *, calls: Callable[[], int], interval: float, clock: Clock) -> None:
        self._calls = calls
        self._interval = interval
        self._clock = clock
        self._changed = threading.Condition()
        self._latest: dict[str, AccountSnapshot | None] = {}
        self._left: set[str] = set()
        self._began, self._calls_before = clock.monotonic(), 0

    def set_interval(self, interval: float) -> None:
        self._interval = interval

    def set_accounts(self, accounts: Iterable[Account]) -> None:
        """Set the accounts that are refreshed."""
        with self._changed:
            keys = [key_of(account) for account in accounts]
            self._left = {key for key in keys if key in self._left or key not in self._latest}
            self._latest = {key: self._latest.get(key) for key in keys}
            self._changed.notify_all()

    def finished(self, account: Account, snapshot: AccountSnapshot) -> None:
        """Take note of the result of a refresh."""
        key = key_of(account)
        with self._changed:
            if key not in self._latest:
                return
            self._latest[key] = snapshot
            self._left.discard(key)
            if not self._left or self._clock.monotonic() - self._began >= self._interval:
                self._log()
            self._changed.notify_all()

    def wait_for_first(self) -> list[AccountSnapshot]:
        """Wait until every account was refreshed at least once; return the latest results."""
        with self._changed:
            self._changed.wait_for(lambda: None not in self._latest.values())
            return [snapshot for snapshot in self._latest.values() if snapshot is not None]

    def _log(self) -> None:
        now, calls = self._clock.monotonic(), self._calls()
        known = [snapshot for snapshot in self._latest.values() if snapshot is not None]
        log.info(
            "refreshed",
            extra={
                "accounts": len(self._latest),
                "keys": sum(len(snapshot.keys) for snapshot in known),
                "failures": sum(snapshot.failure is not None for snapshot in known),
                "calls": calls - self._calls_before,
                "seconds": round(now - self._began, 3),
            },
        )
        self._began, self._calls_before = now, calls
        self._left = set(self._latest)
