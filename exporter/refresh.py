"""
When accounts are refreshed, and what survives a failure.

Each account has its own schedule. A pool of threads refreshes one account each, and every snapshot
is published as soon as it is there, so that a slow account delays nobody.
"""

import hashlib
import heapq
import itertools
import logging
import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from exporter.model import Account, AccountSnapshot, Clock, ReadError, Reason, Stopped

log = logging.getLogger(__name__)

Refresh = Callable[[Account, AccountSnapshot], AccountSnapshot]
"""Refreshes an account, given its latest snapshot."""

Publish = Callable[[Account, AccountSnapshot], None]

START_SPREAD: Final = 0.1
"""Seconds for each account over which the first refreshes are spread."""


@dataclass(slots=True)
class _Entry:
    """
    An account's place in the schedule.

    Attributes:
        next_at: In seconds of the monotonic clock. None: the account is being refreshed.
    """

    snapshot: AccountSnapshot
    next_at: float | None = None


class Scheduler:
    """
    Refreshes every account, again and again.

    Args:
        interval: Seconds between the starts of an account's refreshes.
        workers: The number of accounts that are refreshed at the same time.
        stale_after: The age at which facts that could not be confirmed are dropped.
        publish: Called with each result, and once per account at start-up. Calls may be concurrent,
            but never for the same account.
        stop: Ends all waiting.
    """

    def __init__(
        self,
        accounts: Iterable[Account],
        refresh: Refresh,
        publish: Publish,
        *,
        interval: float,
        workers: int,
        stale_after: timedelta,
        stop: threading.Event,
        clock: Clock,
    ) -> None:
        self._refresh = refresh
        self._publish = publish
        self._interval = interval
        self._workers = workers
        self._stale_after = stale_after
        self._stop = stop
        self._clock = clock
        self._due = threading.Condition()
        self._entries = {account: _Entry(AccountSnapshot(account)) for account in accounts}
        self._queue: list[tuple[float, int, Account]] = []
        self._order = itertools.count()

    def start(self) -> None:
        """
        Publish every account and start the threads.

        They are daemons: a request to AWS that is in flight does not delay the exit.
        """
        spread = min(self._interval, START_SPREAD * (len(self._entries) - 1))
        began = self._clock.monotonic()
        for account, entry in self._entries.items():
            self._publish(account, entry.snapshot)
            with self._due:
                self._schedule(account, began + spread * phase(account))
        for number in range(min(self._workers, len(self._entries))):
            threading.Thread(target=self._worker, name=f"aws_{number}", daemon=True).start()

    def snapshots(self) -> list[tuple[AccountSnapshot, float | None]]:
        """List the latest snapshots, with the seconds until each next refresh. None: under way."""
        with self._due:
            now = self._clock.monotonic()
            return [
                (entry.snapshot, None if entry.next_at is None else max(0.0, entry.next_at - now))
                for entry in self._entries.values()
            ]

    def is_ready(self) -> bool:
        """Whether the first refresh of every account has ended."""
        with self._due:
            return all(entry.snapshot.finished_at for entry in self._entries.values())

    def stop(self) -> None:
        """Wake the threads that wait, so that they end."""
        self._stop.set()
        with self._due:
            self._due.notify_all()

    def _worker(self) -> None:
        while (account := self._pop_due()) is not None:
            began = self._clock.monotonic()
            try:
                self._refresh_account(account, began)
            except Stopped:
                return
            except Exception:
                log.exception("cannot publish account", extra={"account": account.label})
            finally:
                with self._due:
                    self._schedule(account, self._next_due(account, began))

    def _pop_due(self) -> Account | None:
        """Wait for an account that is due. None: the exporter is shutting down."""
        with self._due:
            while not self._stop.is_set():
                seconds = self._queue[0][0] - self._clock.monotonic() if self._queue else None
                if seconds is not None and seconds <= 0:
                    account = heapq.heappop(self._queue)[2]
                    self._entries[account].next_at = None
                    return account
                self._due.wait(seconds)
        return None

    def _refresh_account(self, account: Account, began: float) -> None:
        before = self._entries[account].snapshot
        try:
            snapshot = self._finished(self._refresh(account, before), began)
            self._publish(account, snapshot)
        except Exception as error:
            # A bug: it may cost this account its refresh, but never look as if all were well.
            log.exception("refresh crashed", extra={"account": account.label})
            text = f"{type(error).__name__}: {error}"
            snapshot = before.failed(ReadError(Reason.UNEXPECTED, text))
            snapshot = self._finished(snapshot, began)
            self._publish(account, snapshot)
        with self._due:
            self._entries[account].snapshot = snapshot
        _log_outcome(before, snapshot)

    def _finished(self, snapshot: AccountSnapshot, began: float) -> AccountSnapshot:
        """
        Complete *snapshot* with when and how long, without facts that are too old.

        Raises:
            Stopped: The exporter is shutting down.
        """
        if self._stop.is_set():
            raise Stopped
        now = self._clock.now()
        seconds = self._clock.monotonic() - began
        snapshot = replace(snapshot, seconds=seconds, finished_at=now)
        return snapshot.without_facts_before(now - self._stale_after)

    def _schedule(self, account: Account, at: float) -> None:
        self._entries[account].next_at = at
        heapq.heappush(self._queue, (at, next(self._order), account))
        self._due.notify()

    def _next_due(self, account: Account, began: float) -> float:
        """
        Find when the account is due next.

        Its slots are fixed by its id, so that accounts spread evenly and stay so. Slots that have
        passed meanwhile are skipped, and so is one that comes too soon after *began*.
        """
        offset = phase(account) * self._interval
        earliest = max(self._clock.monotonic(), began + self._interval / 2)
        return offset + math.ceil((earliest - offset) / self._interval) * self._interval


def phase(account: Account) -> float:
    """Return a number from 0 to 1: always the same for an account, evenly spread over accounts."""
    text = account.id or account.label
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _log_outcome(before: AccountSnapshot, snapshot: AccountSnapshot) -> None:
    facts: dict[str, object] = {"account": snapshot.account.label}
    if snapshot.failure is not None:
        facts |= {"reason": str(snapshot.failure), "error": snapshot.error}
        log.warning("refresh failed", extra=facts)
        return
    facts |= {
        "users": len(snapshot.users),
        "keys": len(snapshot.keys),
        "seconds": round(snapshot.seconds, 3),
    }
    first_or_recovered = not before.up
    log.log(logging.INFO if first_or_recovered else logging.DEBUG, "account refreshed", extra=facts)
