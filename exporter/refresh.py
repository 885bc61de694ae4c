"""
When accounts are read, and what a failure leaves standing.

Each account has a schedule of its own. A pool of threads reads one account each; every reading is
published as soon as it is there, so that a slow account delays nobody.
"""

import hashlib
import heapq
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from exporter.model import Account, AccountSnapshot, ReadError, Reason, Stopped

log = logging.getLogger(__name__)

Read = Callable[[Account, AccountSnapshot], AccountSnapshot]
"""Reads an account, given what is known of it."""

Publish = Callable[[Account, AccountSnapshot], None]

START_SPREAD = 0.1
"""Seconds for each account over which the first readings are spread."""


@dataclass(slots=True)
class _Entry:
    """
    An account's place in the schedule.

    Attributes:
        next_at: Seconds of the clock. None while the account is being read.
    """

    snapshot: AccountSnapshot
    next_at: float | None


class Scheduler:
    """
    Reads every account, again and again.

    Args:
        interval: Seconds from one reading of an account to its next.
        workers: How many accounts are read at the same time.
        stale_after: How old a fact may get.
        publish: Told of every reading, and first of every account that there is. Called by
            several threads, of one account only by one at a time.
        stop: Ends it, whatever is in flight.
        now: Aware, UTC.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        accounts: Iterable[Account],
        read: Read,
        publish: Publish,
        *,
        interval: float,
        workers: int,
        stale_after: timedelta,
        stop: threading.Event,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._publish = publish
        self._interval = interval
        self._workers = workers
        self._stale_after = stale_after
        self._stop = stop
        self._now = now
        self._clock = clock
        self._due = threading.Condition()
        self._entries: dict[Account, _Entry] = {}
        self._queue: list[tuple[float, int, Account]] = []
        accounts = tuple(accounts)
        spread = min(interval, START_SPREAD * (len(accounts) - 1))
        for account in accounts:
            self._entries[account] = _Entry(AccountSnapshot(account), None)
            publish(account, self._entries[account].snapshot)
            with self._due:
                self._plan(account, clock() + spread * phase(account))

    def start(self) -> None:
        """Start the threads. They are daemons: a call to AWS in flight delays no exit."""
        for number in range(min(self._workers, len(self._entries))):
            threading.Thread(target=self._work, name=f"aws_{number}", daemon=True).start()

    def snapshots(self) -> list[tuple[AccountSnapshot, float | None]]:
        """List what is known, with the seconds until each next reading. None: being read."""
        with self._due:
            now = self._clock()
            return [
                (entry.snapshot, None if entry.next_at is None else max(0.0, entry.next_at - now))
                for entry in self._entries.values()
            ]

    def is_ready(self) -> bool:
        """Tell whether every account has been tried once."""
        with self._due:
            return all(entry.snapshot.finished_at for entry in self._entries.values())

    def stop(self) -> None:
        """Wake the threads that wait, so that they see the stop."""
        self._stop.set()
        with self._due:
            self._due.notify_all()

    def _work(self) -> None:
        while (account := self._take()) is not None:
            began = self._clock()
            try:
                self._turn(account, began)
            except Stopped:
                return
            except Exception:
                log.exception("an account's turn failed", extra={"account": account.label})
            finally:
                with self._due:
                    self._plan(account, self._next(account, began))

    def _turn(self, account: Account, began: float) -> None:
        entry = self._entries[account]
        before = entry.snapshot
        snapshot = self._attempt(account, before)
        if self._stop.is_set():
            raise Stopped
        now = self._now()
        snapshot = replace(snapshot, seconds=self._clock() - began, finished_at=now)
        snapshot = snapshot.without_facts_before(now - self._stale_after)
        try:
            self._publish(account, snapshot)
        except Exception as error:  # a bug: what cannot be shown must not look like all is well
            log.exception("cannot publish a reading", extra={"account": account.label})
            snapshot = _nothing_of(snapshot).failed(_bug(error))
            self._publish(account, snapshot)
        entry.snapshot = snapshot
        self._tell(before, snapshot)

    def _take(self) -> Account | None:
        """Wait for an account that is due. None: the exporter is to stop."""
        with self._due:
            while not self._stop.is_set():
                seconds = self._queue[0][0] - self._clock() if self._queue else None
                if seconds is not None and seconds <= 0:
                    account = heapq.heappop(self._queue)[2]
                    self._entries[account].next_at = None
                    return account
                self._due.wait(seconds)
        return None

    def _plan(self, account: Account, at: float) -> None:
        self._entries[account].next_at = at
        heapq.heappush(self._queue, (at, id(account), account))
        self._due.notify()

    def _next(self, account: Account, began: float) -> float:
        """
        Find the account's next turn.

        Its turns are fixed by its id, so that accounts spread evenly and stay so. Turns that
        passed meanwhile are dropped, and one that comes too soon after *began* as well.
        """
        offset = phase(account) * self._interval
        earliest = max(self._clock(), began + self._interval / 2)
        turns = -((offset - earliest) // self._interval)
        return offset + turns * self._interval

    def _attempt(self, account: Account, before: AccountSnapshot) -> AccountSnapshot:
        try:
            return self._read(account, before)
        except Exception as error:  # a bug: it may cost this account its reading, and no more
            log.exception("cannot read account", extra={"account": account.label})
            return before.failed(_bug(error))

    def _tell(self, before: AccountSnapshot, snapshot: AccountSnapshot) -> None:
        facts: dict[str, object] = {"account": snapshot.account.label}
        if snapshot.failure is not None:
            facts |= {"reason": str(snapshot.failure), "error": snapshot.error}
            log.warning("cannot read account", extra=facts)
            return
        facts |= {
            "users": len(snapshot.users),
            "keys": len(snapshot.keys),
            "seconds": round(snapshot.seconds, 3),
        }
        first_or_mended = not before.up
        log.log(logging.INFO if first_or_mended else logging.DEBUG, "account read", extra=facts)


def _bug(error: Exception) -> ReadError:
    return ReadError(Reason.UNEXPECTED, f"{type(error).__name__}: {error}")


def _nothing_of(snapshot: AccountSnapshot) -> AccountSnapshot:
    """Keep of *reading* only how it went."""
    return AccountSnapshot(
        snapshot.account,
        read_at=snapshot.read_at,
        finished_at=snapshot.finished_at,
        seconds=snapshot.seconds,
        failures=snapshot.failures,
        throttles=snapshot.throttles,
    )


def phase(account: Account) -> float:
    """Give a number from 0 to 1, always the same for an account, evenly spread over accounts."""
    text = account.id or account.label
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
