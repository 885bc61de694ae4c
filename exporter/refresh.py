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
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from exporter.model import Account, AccountSnapshot, Clock, ReadError, Reason, Stopped

log = logging.getLogger(__name__)

Refresh = Callable[[Account, AccountSnapshot], AccountSnapshot]
"""Refreshes an account, given its latest snapshot."""

Publish = Callable[[Account, AccountSnapshot], None]
"""Takes over the latest snapshot of an account."""

START_SPREAD: Final = 0.1
"""The default of *start_spread*."""

FIRST_RETRY: Final = 30.0
"""The default of *first_retry*: who has just created a role does not want to wait for long."""

OVERDUE_SECONDS: Final = 2.0
"""Seconds after its deadline at which a refresh that has not ended is given up."""

REPEAT_LOG: Final = 3600.0
"""Seconds after which a failure that persists is logged again."""


@dataclass(slots=True)
class _Entry:
    """
    An account's place in the schedule. Times are in seconds of the monotonic clock.

    Attributes:
        account: As it is configured, or was discovered, by now.
        removed: It no longer is.
        next_at: When the account is due. None: it is being refreshed.
        began: When its refresh began. None: it is not being refreshed.
        overdue: The refresh that is under way was given up, and another worker started.
        attempts: Refreshes so far.
        logged: The failure that was logged last, and when.
        confirmed: When each time of confirmation in the snapshot was first seen.
        lock: Held while a snapshot is published.
    """

    account: Account
    snapshot: AccountSnapshot
    removed: bool = False
    next_at: float | None = None
    began: float | None = None
    overdue: bool = False
    attempts: int = 0
    logged: tuple[Reason, float] | None = None
    confirmed: dict[datetime, float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Scheduler:
    """
    Refreshes every account, again and again. Accounts may come and go.

    Args:
        interval: Seconds between the starts of an account's refreshes.
        deadline: Seconds after which a refresh has to have ended.
        workers: The number of accounts that are refreshed at the same time.
        stale_after: The age at which facts that could not be confirmed are dropped.
        remember: Called with the result of each refresh, before it is published.
        publish: Called with each result, and once per account at start-up. As with *remember*,
            calls may be concurrent, but never for the same account.
        release: Called with an account that is gone, or as it was before it changed; once more if
            it was being refreshed then.
        forget: Called with an account that is gone, and was released.
        stop: Ends all waiting.
        first_retry: Seconds until an account that has not succeeded yet is refreshed again; doubled
            with each failure, up to the interval.
        start_spread: Seconds for each account over which first refreshes are spread.
    """

    def __init__(
        self,
        refresh: Refresh,
        publish: Publish,
        *,
        interval: float,
        deadline: float,
        workers: int,
        stale_after: timedelta,
        stop: threading.Event,
        clock: Clock,
        first_retry: float = FIRST_RETRY,
        start_spread: float = START_SPREAD,
        remember: Publish = lambda account, snapshot: None,
        release: Callable[[Account], None] = lambda account: None,
        forget: Callable[[Account], None] = lambda account: None,
    ) -> None:
        self._refresh = refresh
        self._remember = remember
        self._publish = publish
        self._release = release
        self._forget = forget
        self._interval = interval
        self._deadline = deadline
        self._workers = workers
        self._stale_after = stale_after.total_seconds()
        self._stop = stop
        self._clock = clock
        self._first_retry = first_retry
        self._start_spread = start_spread
        self._due = threading.Condition()
        self._changing = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        self._queue: list[tuple[float, int, _Entry]] = []
        self._order = itertools.count()
        self._threads = itertools.count()
        self._running = 0
        self._started = self._was_ready = False

    def start(self) -> None:
        """
        Start the threads.

        They are daemons: a request to AWS that is in flight does not delay the exit.
        """
        self._started = True
        self._start_workers()
        threading.Thread(target=self._oversee, name="overseer", daemon=True).start()

    def set_accounts(
        self,
        accounts: Iterable[Account],
        restored: Mapping[Account, AccountSnapshot] = MappingProxyType({}),
    ) -> None:
        """
        Refresh these accounts from now on, and no others.

        What is known of an account stays, even if its name or role has changed. New accounts are
        published at once, and due.

        Args:
            restored: What is known of accounts from before the exporter was restarted. An account
                that was refreshed successfully less than an interval ago is not due yet.
        """
        with self._changing:
            wanted = {key_of(account): account for account in accounts}
            for key in self._entries.keys() - wanted.keys():
                self._remove(key)
            new = {key: wanted[key] for key in wanted if key not in self._entries}
            for key, account in wanted.items():
                if key not in new and account != self._entries[key].account:
                    self._change(self._entries[key], account)
            self._add(new, restored)
            self._start_workers()

    def reconfigure(
        self,
        refresh: Refresh,
        *,
        interval: float,
        deadline: float,
        workers: int,
        stale_after: timedelta,
    ) -> None:
        """
        Go on with other arguments: see the class. Refreshes that are under way are not interrupted.

        With another interval, no account is due later than it was.
        """
        with self._changing:
            with self._due:
                is_other, self._interval = interval != self._interval, interval
                self._refresh, self._deadline = refresh, deadline
                self._workers = workers
                self._stale_after = stale_after.total_seconds()
                if is_other:
                    self._reschedule(lambda entry, at: min(at, self._next_due(entry)))
                self._due.notify_all()  # there may be more workers than are needed
            self._start_workers()

    def make_due(self) -> None:
        """Refresh every account as soon as there is a worker for it."""
        with self._due:
            now = self._clock.monotonic()
            self._reschedule(lambda _, at: min(at, now))
            self._due.notify_all()

    def publish_to(self, publish: Publish) -> None:
        """Publish the latest snapshot of every account once more, with *publish*."""
        with self._changing:
            for entry in list(self._entries.values()):
                with entry.lock:
                    try:
                        publish(entry.account, entry.snapshot)
                    except Exception:
                        # A bug: it must not keep the other accounts from being published.
                        account = entry.account.label
                        log.exception("cannot publish account", extra={"account": account})

    def _reschedule(self, due: Callable[[_Entry, float], float]) -> None:
        """Set when each account that waits is due, given when it was."""
        for at, _, entry in self._queue:
            entry.next_at = due(entry, at)
        self._queue = [(entry.next_at or 0.0, order, entry) for _, order, entry in self._queue]
        heapq.heapify(self._queue)

    def _add(
        self, accounts: Mapping[str, Account], restored: Mapping[Account, AccountSnapshot]
    ) -> None:
        spread = min(self._interval, self._start_spread * (len(accounts) - 1))
        began, now = self._clock.monotonic(), self._clock.now()
        for key, account in accounts.items():
            entry, due = _Entry(account, AccountSnapshot(account)), began + spread * phase(account)
            if account in restored:
                entry.snapshot = self._restored(entry, restored[account], now, began)
                due = max(due, began + self._seconds_left(entry.snapshot, now))
            try:
                self._publish(account, entry.snapshot)
            except Exception:
                # A bug: it must not keep the other accounts from being read.
                log.exception("cannot publish account", extra={"account": account.label})
            with self._due:
                self._entries[key] = entry
                self._schedule(entry, due)

    def _change(self, entry: _Entry, account: Account) -> None:
        """Continue with an account whose name, role or tags have changed."""
        with entry.lock:
            before, entry.account = entry.account, account
            with self._due:
                entry.snapshot = _of(account, entry.snapshot)
            self._publish(account, entry.snapshot)
        self._release(before)

    def _remove(self, key: str) -> None:
        with self._due:
            entry = self._entries.pop(key)
            entry.removed = True  # a refresh that ends now is neither published nor repeated
            self._queue = [item for item in self._queue if item[2] is not entry]
            heapq.heapify(self._queue)
            abandoned = entry.began is not None and not entry.overdue
            entry.overdue |= abandoned
        if abandoned:
            self._start_worker()  # in place of the one whose refresh may hang, unseen from now on
        with entry.lock:
            self._release(entry.account)
            self._forget(entry.account)

    def snapshots(self) -> list[tuple[AccountSnapshot, float | None]]:
        """List the latest snapshots, with the seconds until each next refresh. None: under way."""
        with self._due:
            now = self._clock.monotonic()
            return [
                (entry.snapshot, None if entry.next_at is None else max(0.0, entry.next_at - now))
                for entry in self._entries.values()
            ]

    def is_ready(self) -> bool:
        """Whether the first refresh of every account has ended, but for those that came later."""
        with self._due:
            entries = self._entries.values()
            self._was_ready |= bool(entries) and all(each.snapshot.finished_at for each in entries)
            return self._was_ready

    def stop(self) -> None:
        """Wake the threads that wait, so that they end."""
        self._stop.set()
        with self._due:
            self._due.notify_all()

    def _start_workers(self) -> None:
        """Start as many workers as there are accounts, up to the configured number."""
        with self._due:
            missing = min(self._workers, len(self._entries)) - self._running
            count = max(0, missing) if self._started else 0
            self._running += count
        for _ in range(count):
            self._start_worker()

    def _start_worker(self) -> None:
        name = f"aws_{next(self._threads)}"
        threading.Thread(target=self._worker, name=name, daemon=True).start()

    def _worker(self) -> None:
        while (entry := self._pop_due()) is not None:
            account = entry.account
            try:
                self._refresh_account(account, entry)
            except Stopped:
                return
            except Exception:
                log.exception("cannot publish account", extra={"account": account.label})
            finally:
                if entry.removed or entry.account != account:
                    # This refresh may have used it after its release; the next one must not.
                    self._release(account)
                with self._due:
                    replaced, entry.overdue = entry.overdue, False
                    if not entry.removed:
                        self._schedule(entry, self._next_due(entry))
                    entry.began = None
            if replaced:
                return

    def _pop_due(self) -> _Entry | None:
        """Wait for an account that is due. None: this worker is not needed any more."""
        with self._due:
            while not self._stop.is_set():
                if self._running > self._workers:
                    self._running -= 1
                    return None
                now = self._clock.monotonic()
                seconds = self._queue[0][0] - now if self._queue else None
                if seconds is not None and seconds <= 0:
                    entry = heapq.heappop(self._queue)[2]
                    entry.next_at, entry.began = None, now
                    entry.attempts += 1
                    return entry
                self._due.wait(seconds)
        return None

    def _refresh_account(self, account: Account, entry: _Entry) -> None:
        before = entry.snapshot
        try:
            snapshot = self._refresh(account, before)
            self._finish(entry, snapshot)
        except Exception as error:
            # A bug: it may cost this account its refresh, but never look as if all were well.
            log.exception("refresh crashed", extra={"account": account.label})
            # Not its text, which may quote anything: that is for the log.
            text = f"{type(error).__name__}: see the log"
            self._finish(entry, before.failed(ReadError(Reason.UNEXPECTED, text)))

    def _finish(self, entry: _Entry, snapshot: AccountSnapshot) -> None:
        """
        Publish the result of a refresh, without the facts that are stale.

        Raises:
            Stopped: The exporter is shutting down.
        """
        if self._stop.is_set():
            raise Stopped
        with entry.lock:
            if entry.removed:
                return
            now = self._clock.monotonic()
            seconds = now - (entry.began if entry.began is not None else now)
            snapshot = replace(snapshot, seconds=seconds, finished_at=self._clock.now())
            snapshot = _of(entry.account, self._without_stale_facts(entry, snapshot, now))
            self._remember(entry.account, snapshot)
            self._publish(entry.account, snapshot)
            with self._due:
                entry.snapshot = snapshot
            _log_outcome(entry, now)

    def _without_stale_facts(
        self, entry: _Entry, snapshot: AccountSnapshot, now: float
    ) -> AccountSnapshot:
        # Ages are measured by the monotonic clock: a wall clock that jumps makes no fact older.
        confirmed = {at: entry.confirmed.get(at, now) for at in _confirmations(snapshot)}
        entry.confirmed = confirmed
        kept = snapshot.without_stale_facts(lambda at: now - confirmed[at] > self._stale_after)
        if kept is not snapshot and kept.failure is None:
            text = "facts were dropped, since they could not be confirmed for too long"
            return kept.failed(ReadError(Reason.DEADLINE, text))
        return kept

    def _restored(
        self, entry: _Entry, snapshot: AccountSnapshot, now: datetime, began: float
    ) -> AccountSnapshot:
        """Drop the facts that became stale before the exporter was restarted."""
        # The monotonic clock says nothing about that time, so it is measured by the wall clock.
        entry.confirmed = {
            at: began - max(0.0, (now - at).total_seconds()) for at in _confirmations(snapshot)
        }
        return self._without_stale_facts(entry, snapshot, began)

    def _seconds_left(self, snapshot: AccountSnapshot, now: datetime) -> float:
        """Return the rest of the interval since the latest refresh. 0 if that was no success."""
        if not snapshot.up or snapshot.read_at is None:
            return 0.0
        elapsed = (now - snapshot.read_at).total_seconds()
        return self._interval - elapsed if 0 <= elapsed < self._interval else 0.0

    def _oversee(self) -> None:
        """Report the refreshes that are stuck, so that their accounts do not look well."""
        while not self._stop.wait(min(OVERDUE_SECONDS, self._deadline) / 2):
            limit = self._clock.monotonic() - self._deadline - OVERDUE_SECONDS
            with self._due:
                stuck = [
                    entry
                    for entry in self._entries.values()
                    if entry.began is not None and entry.began <= limit and not entry.overdue
                ]
                for entry in stuck:
                    entry.overdue = True
            for entry in stuck:
                text = "the refresh did not finish before its deadline, and hangs"
                try:
                    self._finish(entry, entry.snapshot.failed(ReadError(Reason.DEADLINE, text)))
                except Stopped:
                    return
                except Exception:
                    account = entry.account.label
                    log.exception("cannot publish account", extra={"account": account})
                self._start_worker()  # in place of the one that hangs

    def _schedule(self, entry: _Entry, at: float) -> None:
        entry.next_at = at
        heapq.heappush(self._queue, (at, next(self._order), entry))
        self._due.notify()

    def _next_due(self, entry: _Entry) -> float:
        """
        Find when the account is due next.

        Its slots are fixed by its id, so that accounts spread evenly and stay so. Slots that have
        passed meanwhile are skipped, and so is one that comes too soon. An account that has not
        succeeded yet is due sooner.
        """
        now = self._clock.monotonic()
        began = entry.began if entry.began is not None else now
        offset = phase(entry.account) * self._interval
        earliest = max(now, began + self._interval / 2)
        slot = offset + math.ceil((earliest - offset) / self._interval) * self._interval
        if entry.snapshot.read_at is not None:
            return slot
        retry = self._first_retry * 2.0 ** min(entry.attempts - 1, 20)
        return min(slot, now + retry) if retry < self._interval else slot


def key_of(account: Account) -> str:
    """Return what identifies an account, whatever else about it changes."""
    return account.id or account.label


def _of(account: Account, snapshot: AccountSnapshot) -> AccountSnapshot:
    """Return *snapshot* as one of *account*, which may have changed since its refresh began."""
    known = snapshot.account
    return replace(snapshot, account=replace(account, id=known.id, partition=known.partition))


def phase(account: Account) -> float:
    """Return a number from 0 to 1: always the same for an account, evenly spread over accounts."""
    digest = hashlib.blake2b(key_of(account).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _confirmations(snapshot: AccountSnapshot) -> set[datetime]:
    """Collect the times at which facts of *snapshot* were confirmed."""
    times = {snapshot.listed_at, snapshot.root.as_of if snapshot.root else None}
    times |= {user.keys_at for user in snapshot.users}
    times |= {key.as_of for key in snapshot.keys}
    return {at for at in times if at is not None}


def _log_outcome(entry: _Entry, now: float) -> None:
    """Log a failure when it begins, when its reason changes, and hourly; and the recovery."""
    snapshot = entry.snapshot
    facts: dict[str, object] = {"account": snapshot.account.label}
    if snapshot.failure is not None:
        facts |= {"reason": str(snapshot.failure), "error": snapshot.error}
        reason, at = entry.logged or (None, now)
        repeated = reason is snapshot.failure and now - at < REPEAT_LOG
        if not repeated:
            entry.logged = snapshot.failure, now
        log.log(logging.DEBUG if repeated else logging.WARNING, "refresh failed", extra=facts)
        return
    recovered, entry.logged = entry.logged is not None, None
    facts |= {
        "users": len(snapshot.users),
        "keys": len(snapshot.keys),
        "seconds": round(snapshot.seconds, 3),
    }
    log.log(logging.INFO if recovered else logging.DEBUG, "account refreshed", extra=facts)
