"""When accounts are refreshed, and what happens when a refresh fails."""

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest

from exporter.model import Account, AccountSnapshot, Partition, ReadError, Reason, RoleArn
from exporter.refresh import Scheduler, phase
from tests.builders import NOON, FakeClock, a_key, a_scheduler, a_snapshot, an_account
from tests.servers import wait_until

PROD = an_account("111111111111", "prod")
TEST = an_account("222222222222", "test")

INTERVAL = 0.01
"""Seconds of the fake clock, but also how often the scheduler really looks at it: keep it short."""


def succeed(account: Account, _: AccountSnapshot) -> AccountSnapshot:
    return a_snapshot(a_key(), account=account)


class FakeRefresher:
    """
    Refreshes accounts with the outcome that a test chooses.

    Attributes:
        outcome: Gives the snapshot, or raises.
        held: Accounts whose refreshes last until `release`.
        started: The account of every refresh so far.
        running: The accounts that are being refreshed.
        max_running: The most refreshes that have been running at the same time.
        overlapped: Whether an account was refreshed while it already was being refreshed.
    """

    def __init__(self) -> None:
        self.outcome: Callable[[Account, AccountSnapshot], AccountSnapshot] = succeed
        self.held: set[Account] = set()
        self.started: list[Account] = []
        self.running: list[Account] = []
        self.max_running = 0
        self.overlapped = False
        self._lock = threading.Lock()
        self._released = threading.Event()

    def release(self) -> None:
        self._released.set()

    def refresh(self, account: Account, before: AccountSnapshot) -> AccountSnapshot:
        with self._lock:
            self.overlapped = self.overlapped or account in self.running
            self.running.append(account)
            self.max_running = max(self.max_running, len(self.running))
            self.started.append(account)
        try:
            if account in self.held:
                self._released.wait(10)
            return self.outcome(account, before)
        finally:
            with self._lock:
                self.running.remove(account)


@pytest.fixture
def refresher() -> Iterator[FakeRefresher]:
    refresher = FakeRefresher()
    yield refresher
    refresher.release()


@contextmanager
def scheduling(
    refresher: FakeRefresher,
    clock: FakeClock,
    *accounts: Account,
    publish: Callable[[Account, AccountSnapshot], None] = lambda *_: None,
    restored: Mapping[Account, AccountSnapshot] | None = None,
    **options: Any,
) -> Iterator[Scheduler]:
    """Run a scheduler of *accounts*."""
    options = {"interval": INTERVAL, **options}
    scheduler = a_scheduler(
        accounts, refresher.refresh, publish, clock, restored=restored, **options
    )
    scheduler.start()
    try:
        yield scheduler
    finally:
        refresher.release()
        scheduler.stop()


def pass_intervals(
    scheduler: Scheduler, refresher: FakeRefresher, clock: FakeClock, count: int, *on: Account
) -> None:
    """Make all accounts due, *count* times, each time until those *on* time were refreshed."""
    wait_until(partial(are_waiting, scheduler, on), "all wait for their next slot")
    for _ in range(count):
        before = refresher.started.copy()
        # The first slot that is half an interval away is less than two intervals away.
        clock.advance(seconds=2 * INTERVAL)
        wait_until(partial(are_waiting, scheduler, on), "all are refreshed")
        assert all(refresher.started.count(each) == before.count(each) + 1 for each in on)


def are_waiting(scheduler: Scheduler, accounts: Collection[Account]) -> bool:
    """Whether none of *accounts* is due or being refreshed."""
    return all(due for snapshot, due in scheduler.snapshots() if snapshot.account in accounts)


def crashes(caplog: pytest.LogCaptureFixture) -> int:
    """Count the log records with the traceback of a failure that could not be published."""
    infos = [record.exc_info for record in caplog.records if record.exc_info]
    return sum("not even of the failure" in str(info[1]) for info in infos)


def test_accounts_are_refreshed_every_interval(refresher: FakeRefresher, clock: FakeClock) -> None:
    """Every account is refreshed again and again."""
    with scheduling(refresher, clock, PROD, TEST) as scheduler:
        pass_intervals(scheduler, refresher, clock, 3, PROD, TEST)


def test_accounts_are_published_before_their_first_refresh(
    refresher: FakeRefresher, clock: FakeClock
) -> None:
    """Every account is published at the start, not up, before it is refreshed."""
    published: list[tuple[Account, bool]] = []

    def publish(account: Account, snapshot: AccountSnapshot) -> None:
        published.append((account, snapshot.up))

    with scheduling(refresher, clock, PROD, TEST, publish=publish):
        at_start = published.copy()

    assert at_start == [(PROD, False), (TEST, False)]
    assert refresher.started == []


def test_an_account_never_overlaps_itself(refresher: FakeRefresher, clock: FakeClock) -> None:
    """While an account is being refreshed its slots are skipped, even if threads are idle."""
    refresher.held = {PROD}

    with scheduling(refresher, clock, PROD, TEST, workers=8) as scheduler:
        pass_intervals(scheduler, refresher, clock, 1, TEST)
        wait_until(lambda: refresher.running == [PROD], "the other account hangs")
        pass_intervals(scheduler, refresher, clock, 5, TEST)

    assert (refresher.started.count(PROD), refresher.overlapped) == (1, False)


def test_a_slow_account_delays_no_other(refresher: FakeRefresher, clock: FakeClock) -> None:
    """While one account hangs the others are refreshed and published."""
    refresher.held = {PROD}
    published: list[Account] = []

    def publish(account: Account, snapshot: AccountSnapshot) -> None:
        if snapshot.up:
            published.append(account)

    with scheduling(refresher, clock, PROD, TEST, publish=publish) as scheduler:
        pass_intervals(scheduler, refresher, clock, 4, TEST)
        wait_until(lambda: published == [TEST] * 4, "the other account is published")


def test_workers_limit_concurrent_refreshes(refresher: FakeRefresher, clock: FakeClock) -> None:
    """No more accounts are refreshed at the same time than there are workers."""
    accounts = [an_account(f"{number:012}", f"a{number}") for number in range(10)]
    refresher.held = set(accounts)

    with scheduling(refresher, clock, *accounts, workers=3):
        clock.advance(seconds=2 * INTERVAL)
        wait_until(lambda: len(refresher.running) == 3, "three refreshes are running")
        refresher.release()
        wait_until(lambda: len(refresher.started) == 10, "all accounts are refreshed")

    assert refresher.max_running == 3


def test_a_bug_costs_one_account_one_refresh(
    refresher: FakeRefresher, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """An unexpected error is a failed refresh, logged with a traceback, and the loop goes on."""

    def outcome(account: Account, before: AccountSnapshot) -> AccountSnapshot:
        if account == PROD:
            raise ZeroDivisionError("oops")
        return succeed(account, before)

    refresher.outcome = outcome
    with caplog.at_level(logging.ERROR), scheduling(refresher, clock, PROD, TEST) as scheduler:
        pass_intervals(scheduler, refresher, clock, 3, PROD, TEST)
        (prod, _), (test, _) = scheduler.snapshots()

    assert (prod.failure, test.up) == (Reason.UNEXPECTED, True)
    assert "ZeroDivisionError" in caplog.text


def test_ready_after_every_account_was_refreshed_once(
    refresher: FakeRefresher, clock: FakeClock
) -> None:
    """A first refresh that fails counts."""
    refresher.held = {PROD, TEST}
    refresher.outcome = lambda _, before: before.failed(ReadError(Reason.ASSUME_ROLE, "no"))

    with scheduling(refresher, clock, PROD, TEST) as scheduler:
        clock.advance(seconds=2 * INTERVAL)
        wait_until(lambda: len(refresher.running) == 2, "both are being refreshed")
        before = scheduler.is_ready()
        refresher.release()
        wait_until(scheduler.is_ready, "ready")

    assert before is False


def test_stale_data_is_dropped(refresher: FakeRefresher, clock: FakeClock) -> None:
    """An account that fails for longer than stale_after loses its data, not its last success."""
    with scheduling(refresher, clock, PROD) as scheduler:
        pass_intervals(scheduler, refresher, clock, 1, PROD)
        wait_until(scheduler.is_ready, "refreshed once")
        refresher.outcome = lambda _, before: before.failed(ReadError(Reason.THROTTLED, "no"))
        clock.advance(days=8)
        wait_until(lambda: not scheduler.snapshots()[0][0].keys, "dropped")
        snapshot = scheduler.snapshots()[0][0]

    assert (snapshot.read_at, snapshot.listed_at) == (NOON, None)


def test_a_snapshot_that_cannot_be_published(
    refresher: FakeRefresher, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A snapshot that cannot be published becomes a failure, and the loop goes on."""
    published: list[AccountSnapshot] = []

    def publish(_: Account, snapshot: AccountSnapshot) -> None:
        if snapshot.keys:
            raise ValueError("no exposition")
        published.append(snapshot)

    with scheduling(refresher, clock, PROD, publish=publish) as scheduler:  # due at once
        pass_intervals(scheduler, refresher, clock, 3, PROD)
        wait_until(lambda: len(published) == 1 + 4, "goes on")

    assert "no exposition" in caplog.text
    assert {(snapshot.up, snapshot.failure) for snapshot in published[1:]} == {
        (False, Reason.UNEXPECTED)
    }


def test_a_crash_costs_one_account_one_refresh(
    refresher: FakeRefresher, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """If not even the failure can be published, that is logged, and the loop goes on."""
    published: list[AccountSnapshot] = []

    def publish(account: Account, snapshot: AccountSnapshot) -> None:
        if account == PROD and snapshot.finished_at:
            raise ValueError("no exposition" if snapshot.keys else "not even of the failure")
        published.append(snapshot)

    with scheduling(refresher, clock, PROD, TEST, publish=publish) as scheduler:
        pass_intervals(scheduler, refresher, clock, 3, PROD, TEST)
        wait_until(lambda: len(published) == 2 + 3, "the other account is published")
        wait_until(lambda: crashes(caplog) == 3, "three crashes are logged")


def test_accounts_are_spread_evenly() -> None:
    """Of many accounts about a quarter is refreshed in each quarter of the interval."""
    phases = [phase(an_account(f"{number:012}")) for number in range(1000)]

    quarters = [sum(int(p * 4) == quarter for p in phases) for quarter in range(4)]

    assert all(200 < count < 300 for count in quarters)


def test_first_refreshes_do_not_start_all_at_once(
    refresher: FakeRefresher, clock: FakeClock
) -> None:
    """At the start a hundred accounts are due within ten seconds, not within one."""
    accounts = [an_account(f"{number:012}", f"a{number}") for number in range(100)]

    with scheduling(refresher, clock, *accounts, interval=900) as scheduler:
        due = [seconds or 0.0 for _, seconds in scheduler.snapshots()]

    assert all(sum(int(at) == second for at in due) < 25 for second in range(10))
    assert 9 < max(due) < 10


def test_an_account_keeps_its_phase() -> None:
    """The phase of an account depends on its id alone."""
    role_arn = RoleArn(Partition.AWS, PROD.id, "role")

    assert phase(PROD) == phase(replace(PROD, name="renamed", role_arn=role_arn))


def test_stopping_ends_all_threads(refresher: FakeRefresher, clock: FakeClock) -> None:
    """Threads that wait for an account to become due end when the scheduler stops."""
    before = set(threading.enumerate())
    with scheduling(refresher, clock, PROD, interval=3600) as scheduler:
        wait_until(scheduler.is_ready, "refreshed once")
        threads = set(threading.enumerate()) - before

    assert threads
    wait_until(lambda: not any(thread.is_alive() for thread in threads), "threads ended", 2)


def fail(account: Account, before: AccountSnapshot) -> AccountSnapshot:
    return before.failed(ReadError(Reason.ASSUME_ROLE, "no"))


def test_retries_before_the_first_success(refresher: FakeRefresher, clock: FakeClock) -> None:
    """An account that never succeeded is due sooner: each failure doubles the time."""
    refresher.outcome = fail
    delays = []
    with scheduling(refresher, clock, PROD, interval=0.1, first_retry=0.01) as scheduler:
        for refreshes in range(1, 4):
            wait_until(partial(is_waiting_after, scheduler, refresher, refreshes), "refreshed")
            ((_, due),) = scheduler.snapshots()
            delays.append(round(due or 0.0, 6))
            clock.advance(seconds=due or 0.0)

    assert delays[:2] == [0.01, 0.02]
    assert delays[2] <= 0.04


def test_no_early_retries_after_a_success(refresher: FakeRefresher, clock: FakeClock) -> None:
    """An account that has succeeded once keeps to its slots, also when it fails."""
    with scheduling(refresher, clock, PROD, interval=0.1, first_retry=0.0001) as scheduler:
        wait_until(partial(is_waiting_after, scheduler, refresher, 1), "refreshed")
        refresher.outcome = fail
        clock.advance(seconds=0.2)
        wait_until(partial(is_waiting_after, scheduler, refresher, 2), "refreshed")
        ((_, due),) = scheduler.snapshots()

    assert due is not None
    assert due >= 0.04


def is_waiting_after(scheduler: Scheduler, refresher: FakeRefresher, refreshes: int) -> bool:
    ((_, due),) = scheduler.snapshots()
    return len(refresher.started) == refreshes and due is not None


def test_a_wall_clock_that_jumps_drops_nothing(refresher: FakeRefresher) -> None:
    """Ages are measured by the monotonic clock: a day ahead is not a day later."""
    clock = JumpingClock()
    refresher.outcome = lambda account, before: (
        before.failed(ReadError(Reason.THROTTLED, "no"))
        if before.keys
        else succeed(account, before)
    )
    with scheduling(refresher, clock, PROD) as scheduler:
        pass_intervals(scheduler, refresher, clock, 1, PROD)
        clock.jump = timedelta(days=8)
        pass_intervals(scheduler, refresher, clock, 2, PROD)
        ((snapshot, _),) = scheduler.snapshots()

    assert len(snapshot.keys) == 1


class JumpingClock(FakeClock):
    """A wall clock that can jump, while time goes on."""

    jump = timedelta()

    def now(self) -> datetime:
        return super().now() + self.jump


def test_a_snapshot_that_lost_facts_is_not_up(refresher: FakeRefresher, clock: FakeClock) -> None:
    """Facts that a refresh says it confirmed, and did not, are dropped and reported."""
    with scheduling(refresher, clock, PROD, stale_after=timedelta(hours=1)) as scheduler:
        pass_intervals(scheduler, refresher, clock, 1, PROD)
        clock.advance(hours=2)
        pass_intervals(scheduler, refresher, clock, 1, PROD)
        ((snapshot, _),) = scheduler.snapshots()

    assert snapshot.keys == ()
    assert (snapshot.up, snapshot.failure) == (False, Reason.DEADLINE)


def test_a_refresh_that_hangs_is_reported(refresher: FakeRefresher, clock: FakeClock) -> None:
    """At its deadline an account whose worker hangs is down, and another worker takes over."""
    refresher.held.add(PROD)
    with scheduling(refresher, clock, PROD, TEST, workers=1, deadline=1.0) as scheduler:
        clock.advance(seconds=INTERVAL)
        wait_until(lambda: PROD in refresher.running, "hangs")
        clock.advance(seconds=4)
        wait_until(lambda: scheduler.snapshots()[0][0].failure, "given up")
        wait_until(lambda: TEST in refresher.started, "the other account is refreshed")
        hanging = scheduler.snapshots()[0][0]
        refresher.release()
        wait_until(lambda: scheduler.snapshots()[0][0].up, "recovers")

    assert hanging.failure is Reason.DEADLINE
    assert not refresher.overlapped


def test_a_persistent_failure_is_logged_hourly(
    refresher: FakeRefresher, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A failure is logged when it begins, when its reason changes, hourly, and when it ends."""
    outcome = [Reason.THROTTLED]
    refresher.outcome = lambda account, before: (
        before.failed(ReadError(outcome[0], "no")) if outcome else succeed(account, before)
    )
    with caplog.at_level(logging.INFO), scheduling(refresher, clock, PROD) as scheduler:
        pass_intervals(scheduler, refresher, clock, 5, PROD)
        outcome[0] = Reason.TIMEOUT
        pass_intervals(scheduler, refresher, clock, 5, PROD)
        clock.advance(hours=1)
        pass_intervals(scheduler, refresher, clock, 5, PROD)
        outcome.clear()
        pass_intervals(scheduler, refresher, clock, 2, PROD)

    events = [(r.getMessage(), vars(r).get("reason")) for r in caplog.records]
    assert events == [
        ("refresh failed", "throttled"),
        ("refresh failed", "timeout"),
        ("refresh failed", "timeout"),
        ("account refreshed", None),
    ]


# -- restarts ------------------------------------------------------------------------------------


def known(clock: FakeClock, *, hours: float, **fields: Any) -> AccountSnapshot:
    """A snapshot of PROD from a refresh that was successful *hours* ago."""
    at = clock.now() - timedelta(hours=hours)
    key = a_key(as_of=at)
    snapshot = a_snapshot(key, account=PROD)
    users = tuple(replace(user, keys_at=at) for user in snapshot.users)
    times = {"listed_at": at, "read_at": at, "finished_at": at}
    return replace(snapshot, users=users, **{**times, **fields})


def test_restored_facts_are_published_at_once(refresher: FakeRefresher) -> None:
    """After a restart, what was known is published before anything is refreshed."""
    clock, published = FakeClock(), []
    before = known(clock, hours=2)
    refresher.held = {PROD}

    with scheduling(
        refresher,
        clock,
        PROD,
        publish=lambda _, snapshot: published.append(snapshot),
        restored={PROD: before},
    ) as scheduler:
        assert published[0] == before
        assert scheduler.is_ready()


def test_a_restored_account_waits_for_its_turn(refresher: FakeRefresher) -> None:
    """An account that was refreshed 20 minutes ago is due after the rest of the hour."""
    clock = FakeClock()
    restored = {PROD: known(clock, hours=1 / 3)}

    with scheduling(refresher, clock, PROD, restored=restored, interval=3600.0) as scheduler:
        [(_, seconds)] = scheduler.snapshots()

        assert seconds == pytest.approx(2400.0)
        assert refresher.started == []


@pytest.mark.parametrize(
    "before",
    [
        pytest.param({"hours": 2}, id="last refreshed more than an interval ago"),
        pytest.param({"hours": 0.1, "failure": Reason.TIMEOUT}, id="failed"),
        pytest.param({"hours": 0.1, "read_at": None}, id="never succeeded"),
        pytest.param({"hours": -1}, id="refreshed in the future"),
    ],
)
def test_a_restored_account_is_due(refresher: FakeRefresher, before: dict[str, Any]) -> None:
    """An account that was not refreshed successfully within the interval is due at once."""
    clock = FakeClock()

    with scheduling(
        refresher, clock, PROD, restored={PROD: known(clock, **before)}, interval=3600.0
    ):
        wait_until(lambda: refresher.started == [PROD], "it is refreshed")


def test_restored_facts_can_be_stale(refresher: FakeRefresher) -> None:
    """Facts that became stale while the exporter was down are not published."""
    clock, published = FakeClock(), []
    refresher.held = {PROD}

    with scheduling(
        refresher,
        clock,
        PROD,
        publish=lambda _, snapshot: published.append(snapshot),
        restored={PROD: known(clock, hours=8 * 24)},
    ):
        assert published[0].keys == ()
        assert published[0].failure is Reason.DEADLINE


def test_restored_facts_become_stale(refresher: FakeRefresher) -> None:
    """The time during which the exporter was down counts for the age of facts."""
    clock, published = FakeClock(), []
    refresher.outcome = lambda _, before: before.failed(ReadError(Reason.TIMEOUT, "no answer"))

    with scheduling(
        refresher,
        clock,
        PROD,
        publish=lambda _, snapshot: published.append(snapshot),
        restored={PROD: known(clock, hours=6 * 24)},
    ):
        wait_until(lambda: len(published) >= 2, "the first refresh failed")
        assert published[1].keys != ()
        clock.advance(days=2)
        wait_until(lambda: published[-1].keys == (), "the facts are dropped")


def test_results_are_remembered_before_they_are_published(refresher: FakeRefresher) -> None:
    """What was known before a restart is only published; what a refresh gives is remembered."""
    clock, calls = FakeClock(), []

    with scheduling(
        refresher,
        clock,
        PROD,
        publish=lambda *_: calls.append("publish"),
        remember=lambda *_: calls.append("remember"),
        restored={PROD: known(clock, hours=2)},
    ):
        wait_until(lambda: len(calls) >= 3, "it is refreshed")

    assert calls[:3] == ["publish", "remember", "publish"]


# -- accounts that come, change and go -----------------------------------------------------------


def names_of(scheduler: Scheduler) -> list[str]:
    return [snapshot.account.name for snapshot, _ in scheduler.snapshots()]


def test_a_new_account_is_refreshed(refresher: FakeRefresher) -> None:
    """An account that is added while the scheduler runs is published and refreshed."""
    clock, published = FakeClock(), []

    with scheduling(
        refresher,
        clock,
        PROD,
        publish=lambda account, snapshot: published.append((account, snapshot.up)),
        interval=3600.0,
    ) as scheduler:
        wait_until(lambda: (PROD, True) in published, "the first is refreshed")
        scheduler.set_accounts([PROD, TEST])
        wait_until(lambda: (TEST, True) in published, "the second is refreshed")

    assert published == [(PROD, False), (PROD, True), (TEST, False), (TEST, True)]


def test_an_account_that_is_gone_is_forgotten(refresher: FakeRefresher) -> None:
    """An account that is removed is not refreshed again."""
    clock, gone = FakeClock(), list[Account]()

    with scheduling(refresher, clock, PROD, TEST, forget=gone.append) as scheduler:
        clock.advance(seconds=1)
        wait_until(lambda: set(refresher.started) == {PROD, TEST}, "both are refreshed")
        scheduler.set_accounts([TEST])
        wait_until(lambda: not refresher.running, "nothing is under way")
        refresher.started.clear()
        pass_intervals(scheduler, refresher, clock, 3, TEST)

    assert gone == [PROD]
    assert set(refresher.started) == {TEST}


def test_the_result_of_an_account_that_is_gone_is_not_published(refresher: FakeRefresher) -> None:
    """A refresh that is under way when its account is removed has no effect."""
    clock, published = FakeClock(), []
    refresher.held = {PROD}

    with scheduling(
        refresher,
        clock,
        PROD,
        TEST,
        publish=lambda account, snapshot: published.append((account, snapshot.up)),
        remember=lambda account, snapshot: published.append((account, snapshot.up)),
    ) as scheduler:
        clock.advance(seconds=1)
        wait_until(lambda: PROD in refresher.running, "it is being refreshed")
        scheduler.set_accounts([TEST])
        refresher.release()
        wait_until(lambda: PROD not in refresher.running, "its refresh has ended")
        pass_intervals(scheduler, refresher, clock, 1, TEST)

    assert (PROD, True) not in published


def test_an_account_that_leaves_while_it_is_refreshed_is_released_again(
    refresher: FakeRefresher,
) -> None:
    """What a refresh uses after its account left is released when it ends."""
    clock, released = FakeClock(), list[Account]()
    refresher.held = {PROD}

    with scheduling(refresher, clock, PROD, TEST, release=released.append) as scheduler:
        clock.advance(seconds=1)
        wait_until(lambda: PROD in refresher.running, "it is being refreshed")
        scheduler.set_accounts([TEST])
        at_first = released.copy()
        refresher.release()
        wait_until(lambda: released == [PROD, PROD], "it is released again")

    assert at_first == [PROD]


def test_a_refresh_that_hangs_and_whose_account_leaves(refresher: FakeRefresher) -> None:
    """The worker that refreshes an account that leaves is replaced at once: it may hang."""
    clock = FakeClock()
    refresher.held = {PROD}

    with scheduling(refresher, clock, PROD, workers=1) as scheduler:
        wait_until(lambda: PROD in refresher.running, "it is being refreshed")
        scheduler.set_accounts([TEST])
        wait_until(lambda: TEST in refresher.started, "the other one is refreshed")

        assert refresher.running == [PROD]


def test_an_account_that_changes_keeps_what_is_known(refresher: FakeRefresher) -> None:
    """The facts and the schedule of an account stay when it gets another name or role."""
    clock, published, gone = FakeClock(), [], list[Account]()
    renamed = replace(PROD, name="production")

    with scheduling(
        refresher,
        clock,
        PROD,
        publish=lambda account, snapshot: published.append(snapshot),
        release=gone.append,
        interval=3600.0,
    ) as scheduler:
        wait_until(lambda: len(published) == 2, "it is refreshed")
        scheduler.set_accounts([renamed])

        assert published[-1] == replace(published[1], account=renamed)
        assert names_of(scheduler) == ["production"]
        assert gone == [PROD]
        assert refresher.started == [PROD]


def test_an_account_that_changes_while_it_is_refreshed(refresher: FakeRefresher) -> None:
    """The result of a refresh is published with the name that the account has by then."""
    clock, published = FakeClock(), []
    refresher.held = {PROD}

    with scheduling(
        refresher, clock, PROD, publish=lambda _, snapshot: published.append(snapshot)
    ) as scheduler:
        wait_until(lambda: PROD in refresher.running, "it is being refreshed")
        scheduler.set_accounts([replace(PROD, name="production")])
        refresher.release()
        wait_until(lambda: published[-1].up, "its refresh has ended")

    assert published[-1].account.name == "production"


def test_an_account_that_has_changed_is_released_before_its_next_refresh(
    refresher: FakeRefresher,
) -> None:
    """Its next refresh begins when the last one, of the account as it was, holds nothing."""
    clock, due = FakeClock(), list[float | None]()
    refresher.held = {PROD}

    def release(_account: Account) -> None:
        due.extend(seconds for _, seconds in scheduler.snapshots())

    with scheduling(refresher, clock, PROD, release=release) as scheduler:
        wait_until(lambda: PROD in refresher.running, "it is being refreshed")
        scheduler.set_accounts([replace(PROD, name="production")])
        refresher.release()
        wait_until(lambda: len(due) == 2, "its refresh has ended")

    assert due == [None, None]


def test_accounts_that_stay_are_not_touched(refresher: FakeRefresher) -> None:
    """Setting the same accounts again publishes and refreshes nothing."""
    clock, published = FakeClock(), []

    with scheduling(
        refresher,
        clock,
        PROD,
        publish=lambda _, snapshot: published.append(snapshot),
        interval=3600.0,
    ) as scheduler:
        wait_until(lambda: len(published) == 2, "it is refreshed")
        scheduler.set_accounts([PROD])

    assert len(published) == 2


def test_readiness_does_not_depend_on_later_accounts(refresher: FakeRefresher) -> None:
    """Once ready, a new account that has not been refreshed yet changes nothing."""
    refresher.held = {TEST}

    with scheduling(refresher, FakeClock(), PROD) as scheduler:
        wait_until(scheduler.is_ready, "the first account is refreshed")
        scheduler.set_accounts([PROD, TEST])

        assert scheduler.is_ready()


def test_without_accounts_it_is_not_ready(refresher: FakeRefresher) -> None:
    """As long as no account is known, the exporter is not ready."""
    with scheduling(refresher, FakeClock()) as scheduler:
        assert not scheduler.is_ready()


def test_workers_are_started_with_the_accounts(refresher: FakeRefresher) -> None:
    """Accounts that come later are refreshed at the same time, up to the number of workers."""
    refresher.held = {PROD, TEST}

    with scheduling(refresher, FakeClock(), workers=2) as scheduler:
        scheduler.set_accounts([PROD])
        scheduler.set_accounts([PROD, TEST])
        wait_until(lambda: set(refresher.running) == {PROD, TEST}, "both are being refreshed")


def test_an_account_that_cannot_be_published_does_not_stop_the_others(
    refresher: FakeRefresher, caplog: pytest.LogCaptureFixture
) -> None:
    """If publishing what is known of one account fails, the others are refreshed all the same."""

    def publish(account: Account, _: AccountSnapshot) -> None:
        if account == PROD:
            raise ValueError("a bug")

    clock = FakeClock()
    with scheduling(refresher, clock, PROD, TEST, publish=publish):
        clock.advance(seconds=1)
        wait_until(lambda: TEST in refresher.started, "the other is refreshed")

    assert "cannot publish account" in caplog.messages


# -- another configuration -----------------------------------------------------------------------


def test_publishing_again_survives_a_bug(refresher: FakeRefresher, clock: FakeClock) -> None:
    """An account that cannot be published once more does not keep the others from it."""
    published: list[Account] = []

    def publish(account: Account, _: AccountSnapshot) -> None:
        if account is PROD:
            raise ValueError("a bug")
        published.append(account)

    with scheduling(refresher, clock, PROD, TEST) as scheduler:
        scheduler.publish_to(publish)

    assert published == [TEST]


def test_a_longer_interval_delays_nobody(refresher: FakeRefresher, clock: FakeClock) -> None:
    """With a longer interval, an account is due when it was, and only then less often."""
    with scheduling(refresher, clock, PROD) as scheduler:
        wait_until(partial(is_waiting_after, scheduler, refresher, 1), "refreshed")
        ((_, before),) = scheduler.snapshots()
        scheduler.reconfigure(
            refresher.refresh,
            interval=86400.0,
            deadline=3600.0,
            workers=2,
            stale_after=timedelta(days=7),
        )
        ((_, after),) = scheduler.snapshots()

    assert before == after is not None
