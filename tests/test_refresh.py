"""When accounts are read, and what a failure leaves standing."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from exporter.model import Account, AccountSnapshot, Partition, ReadError, Reason, RoleArn
from exporter.refresh import Scheduler, phase
from tests.facts import NOON, a_key, a_snapshot, an_account
from tests.servers import wait_until

PROD = an_account("111111111111", "prod")
TEST = an_account("222222222222", "test")


class FakeSource:
    """Reads accounts from what a test says."""

    def __init__(self) -> None:
        self.began: list[Account] = []
        self.under_way: list[Account] = []
        self.overlapped = False
        self.hold = threading.Event()
        self.hold.set()
        self.answer: Callable[[Account, AccountSnapshot], AccountSnapshot] = self.whole

    def whole(self, account: Account, before: AccountSnapshot) -> AccountSnapshot:
        return replace(a_snapshot(a_key(), account=account), read_at=NOON)

    def read(self, account: Account, before: AccountSnapshot) -> AccountSnapshot:
        self.overlapped = self.overlapped or account in self.under_way
        self.under_way.append(account)
        self.began.append(account)
        self.hold.wait(5)
        try:
            return self.answer(account, before)
        finally:
            self.under_way.remove(account)


@contextmanager
def refreshing(
    source: FakeSource,
    *accounts: Account,
    interval: float = 0.02,
    workers: int = 4,
    stale_after: timedelta = timedelta(days=7),
    now: Callable[[], datetime] = lambda: NOON,
) -> Iterator[tuple[Scheduler, list[AccountSnapshot]]]:
    published: list[AccountSnapshot] = []
    refresher = Scheduler(
        accounts,
        source.read,
        lambda account, snapshot: published.append(snapshot),
        interval=interval,
        workers=workers,
        stale_after=stale_after,
        stop=threading.Event(),
        now=now,
    )
    refresher.start()
    try:
        yield refresher, published
    finally:
        source.hold.set()
        refresher.stop()


def test_each_account_is_read_again_and_again() -> None:
    """The loop goes round: every account is read many times."""
    source = FakeSource()

    with refreshing(source, PROD, TEST):
        wait_until(
            lambda: min(source.began.count(PROD), source.began.count(TEST)) >= 3, "three rounds"
        )


def test_an_account_is_on_the_page_before_it_is_read() -> None:
    """Every account is published at once, not up, before the first reading."""
    source = FakeSource()
    source.hold.clear()

    with refreshing(source, PROD, TEST) as (_, published):
        first = published[:2]

    assert [(snapshot.account, snapshot.up) for snapshot in first] == [(PROD, False), (TEST, False)]


def test_an_account_never_overlaps_itself() -> None:
    """While an account is being read its turns pass, although there are threads to take them."""
    source = FakeSource()
    source.hold.clear()
    held = source.read

    def read(account: Account, before: AccountSnapshot) -> AccountSnapshot:
        return held(account, before) if account is PROD else source.whole(account, before)

    source.read = read  # type: ignore[method-assign]
    with refreshing(source, PROD, TEST, interval=0.01, workers=8):
        time.sleep(0.2)
        begun = source.began.count(PROD)

    assert (begun, source.overlapped) == (1, False)


def test_a_slow_account_delays_nobody() -> None:
    """While one account hangs the others are read and published."""
    source = FakeSource()
    source.hold.clear()
    slow = source.read

    def read(account: Account, before: AccountSnapshot) -> AccountSnapshot:
        return slow(account, before) if account is PROD else source.whole(account, before)

    source.read = read  # type: ignore[method-assign]
    with refreshing(source, PROD, TEST) as (_, published):
        wait_until(
            lambda: sum(snapshot.account == TEST for snapshot in published) > 3, "the other goes on"
        )


def test_workers_bound_how_many_are_read_at_once() -> None:
    """No more accounts are read at the same time than there are workers."""
    source = FakeSource()
    source.hold.clear()
    accounts = [an_account(f"{number:012}", f"a{number}") for number in range(10)]

    with refreshing(source, *accounts, workers=3):
        wait_until(lambda: len(source.began) == 3, "three begin")
        time.sleep(0.1)
        begun = len(source.began)

    assert begun == 3


def test_a_bug_costs_one_account_its_reading(caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected error is a failed reading with a traceback, and the loop goes on."""
    source = FakeSource()

    def answer(account: Account, before: AccountSnapshot) -> AccountSnapshot:
        if account == PROD:
            raise ZeroDivisionError("oops")
        return source.whole(account, before)

    source.answer = answer
    with caplog.at_level(logging.ERROR), refreshing(source, PROD, TEST) as (refresher, _):
        wait_until(lambda: source.began.count(PROD) > 2, "goes on")
        (prod, _), (test, _) = refresher.snapshots()

    assert (prod.failure, test.up) == (Reason.UNEXPECTED, True)
    assert "ZeroDivisionError" in caplog.text


def test_ready_once_every_account_was_tried() -> None:
    """A failed first attempt counts as tried."""
    source = FakeSource()
    source.hold.clear()
    source.answer = lambda account, before: before.failed(ReadError(Reason.ASSUME_ROLE, "no"))

    with refreshing(source, PROD, TEST) as (refresher, _):
        before = refresher.is_ready()
        source.hold.set()
        wait_until(refresher.is_ready, "ready")

    assert before is False


def test_facts_that_are_too_old_are_dropped() -> None:
    """An account that fails for longer than stale_after loses its facts, not its last success."""
    source = FakeSource()
    clock = [NOON]
    failing = threading.Event()

    def answer(account: Account, before: AccountSnapshot) -> AccountSnapshot:
        if failing.is_set():
            return before.failed(ReadError(Reason.THROTTLED, "no"))
        return source.whole(account, before)

    source.answer = answer
    with refreshing(source, PROD, now=lambda: clock[0]) as (refresher, _):
        wait_until(refresher.is_ready, "read once")
        failing.set()
        clock[0] = NOON + timedelta(days=8)
        wait_until(lambda: not refresher.snapshots()[0][0].keys, "dropped")
        snapshot = refresher.snapshots()[0][0]

    assert (snapshot.read_at, snapshot.listed_at) == (NOON, None)


def test_a_reading_that_cannot_be_published_is_a_failed_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What cannot be shown leaves no older page that says all is well, and the loop goes on."""
    source = FakeSource()
    told: list[AccountSnapshot] = []

    def publish(account: Account, snapshot: AccountSnapshot) -> None:
        if snapshot.keys:
            raise ValueError("no page")
        told.append(snapshot)

    refresher = Scheduler(
        [PROD],
        source.read,
        publish,
        interval=0.01,
        workers=1,
        stale_after=timedelta(days=7),
        stop=threading.Event(),
        now=lambda: NOON,
    )
    refresher.start()
    wait_until(lambda: len(told) > 3, "goes on")
    refresher.stop()

    assert "no page" in caplog.text
    assert {(snapshot.up, snapshot.failure) for snapshot in told[1:]} == {
        (False, Reason.UNEXPECTED)
    }


def test_accounts_spread_evenly() -> None:
    """Over many accounts each quarter of the interval gets about a quarter of them."""
    shares = [phase(an_account(f"{number:012}")) for number in range(1000)]

    quarters = [sum(int(s * 4) == quarter for s in shares) for quarter in range(4)]

    assert all(200 < count < 300 for count in quarters)


def test_the_first_readings_do_not_begin_all_at_once() -> None:
    """At the start a hundred accounts are due within ten seconds, not within one."""
    accounts = [an_account(f"{number:012}", f"a{number}") for number in range(100)]
    refresher = Scheduler(
        accounts,
        FakeSource().read,
        lambda *_: None,
        interval=900,
        workers=4,
        stale_after=timedelta(days=7),
        stop=threading.Event(),
        now=lambda: NOON,
        clock=lambda: 0.0,
    )

    due = [seconds or 0.0 for _, seconds in refresher.snapshots()]

    assert all(sum(int(at) == second for at in due) < 25 for second in range(10))
    assert max(due) < 10


def test_an_account_keeps_its_turn() -> None:
    """The share of an account depends on its id alone."""
    assert phase(PROD) == phase(
        replace(PROD, name="renamed", role_arn=RoleArn(Partition.AWS, PROD.id, "role"))
    )


def test_stopping_wakes_all_threads() -> None:
    """Threads that wait for a turn end when they are told to."""
    source = FakeSource()
    before = threading.active_count()
    with refreshing(source, PROD, interval=3600) as (refresher, _):
        wait_until(refresher.is_ready, "read once")

    wait_until(lambda: threading.active_count() <= before, "the threads are gone", 2)
