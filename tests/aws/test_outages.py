"""During an outage AWS gets few calls and nothing is lost; afterwards everything recovers."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from exporter.aws.api import MAX_ATTEMPTS, MAX_CONSECUTIVE_FAILURES
from exporter.model import Account, AccountSnapshot, Reason, ReportMode
from tests import fake_aws
from tests.aws import SHORT_TIMEOUT, Monitor
from tests.builders import (
    MONITORING,
    NOON,
    PROD,
    ROLE,
    FakeClock,
    FakeStop,
    MonitoredAccount,
    a_role_account,
    a_scheduler,
    an_account,
    environment,
    last_uses_of,
    rate_limiter_of,
    refresh_of,
    some_sessions,
)
from tests.fake_aws import FakeAws, Fault
from tests.servers import wait_until

USERS = 6

OUTAGES: dict[str, tuple[dict[str, Any], Reason]] = {
    "throttling": ({"code": "Throttling"}, Reason.THROTTLED),
    "server errors": ({"code": "ServiceFailure"}, Reason.SERVICE_FAILURE),
    "gateway errors": ({"body": "<p>bad gateway</p>", "status": 502}, Reason.SERVICE_FAILURE),
    "resets": ({"reset": True}, Reason.NETWORK),
    "truncated XML": ({"truncate": True}, Reason.MALFORMED),
    "slow responses": ({"latency": 2 * SHORT_TIMEOUT}, Reason.TIMEOUT),
}

EVERY_OUTAGE = pytest.mark.parametrize("outage", OUTAGES, indirect=True)


@pytest.fixture
def prod(prod: fake_aws.Account) -> fake_aws.Account:
    """An account of six users with a key each."""
    fill(prod)
    return prod


def fill(account: fake_aws.Account) -> None:
    for number in range(USERS):
        key = account.add_user(f"user-{number}").add_key()
        key.use("s3", "eu-west-1", at=NOON - timedelta(hours=number))


@pytest.fixture
def account(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, monitor: Monitor, read_timeout: float
) -> MonitoredAccount:
    return monitor(
        an_account(prod.id), sessions=some_sessions(aws.url, clock, read_timeout=read_timeout)
    )


def keys_read(aws: FakeAws) -> set[str]:
    """The ids of the keys whose last use was requested so far."""
    return {
        call.params["AccessKeyId"] for call in aws.log if call.operation == "GetAccessKeyLastUsed"
    }


@EVERY_OUTAGE
def test_from_the_first_refresh_on(aws: FakeAws, account: MonitoredAccount, outage: str) -> None:
    """During an outage from the start there are few calls, and nothing is known."""
    fault, reason = OUTAGES[outage]
    aws.fault(Fault(**fault))
    account.refresh()

    assert account.latest.failure is reason
    assert (account.latest.users, account.latest.keys) == ((), ())
    assert aws.count() == MAX_ATTEMPTS  # to sign in


@EVERY_OUTAGE
def test_of_listing_users(
    aws: FakeAws, clock: FakeClock, account: MonitoredAccount, outage: str
) -> None:
    """A refresh ends when the users cannot be listed, after a limited number of attempts."""
    fault, reason = OUTAGES[outage]
    account.refresh()
    known = account.last_uses
    aws.fault(Fault(operation="ListUsers", **fault))
    clock.advance(hours=5)
    account.refresh()

    assert account.latest.failure is reason
    assert account.last_uses == known
    assert account.calls == {"ListUsers": MAX_ATTEMPTS}


@EVERY_OUTAGE
def test_during_a_refresh(
    aws: FakeAws, clock: FakeClock, account: MonitoredAccount, outage: str
) -> None:
    """An outage during a refresh ends it after a few calls, and nothing is lost."""
    fault, reason = OUTAGES[outage]
    account.refresh()
    known = account.last_uses
    aws.fault(Fault(operation="GetAccessKeyLastUsed", **fault))
    clock.advance(minutes=15)
    account.refresh()

    assert account.latest.failure is reason
    assert (account.last_uses, account.latest.read_at) == (known, NOON)
    assert account.calls["GetAccessKeyLastUsed"] == MAX_CONSECUTIVE_FAILURES * MAX_ATTEMPTS


@EVERY_OUTAGE
def test_recovery(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, account: MonitoredAccount, outage: str
) -> None:
    """After an outage the next refresh succeeds completely."""
    fault, _ = OUTAGES[outage]
    aws.fault(Fault(**fault))
    account.refresh()
    aws.clear_faults()
    clock.advance(minutes=15)
    account.refresh()

    assert account.latest.up
    assert account.last_uses == last_uses_of(prod)


@EVERY_OUTAGE
def test_intermittent_failures(
    aws: FakeAws, prod: fake_aws.Account, account: MonitoredAccount, outage: str
) -> None:
    """Failures that end before the last attempt do not fail the refresh."""
    fault, _ = OUTAGES[outage]
    for after in (1, 4, 7):
        aws.fault(Fault(operation="GetAccessKeyLastUsed", after=after, times=2, **fault))
    account.refresh()

    assert account.latest.up
    assert account.last_uses == last_uses_of(prod)


def test_the_next_refresh_starts_with_other_users(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, account: MonitoredAccount
) -> None:
    """After an aborted refresh the next one does not start with the same users."""
    keys = list(prod.keys)
    for key in keys[:3]:
        aws.fault(Fault(key=key.id, code="ServiceFailure"))
    account.refresh()
    first = keys_read(aws)
    clock.advance(minutes=15)
    account.refresh()

    assert first == {key.id for key in keys[:3]}
    assert keys_read(aws) >= {key.id for key in keys[3:]}


def test_a_rate_limit_above_that_of_aws(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """With a rate limit above that of AWS the refresh still succeeds, with little throttling."""
    for number in range(100):
        prod.add_user(f"more-{number:03}").add_key()
    prod.throttle(rate=4.0, burst=5, seconds=clock.monotonic)
    sessions = some_sessions(
        aws.url, clock, requests_per_second=20.0, burst=10, stop=FakeStop(clock)
    )
    snapshot = monitor(sessions=sessions, report_mode=ReportMode.OFF).refresh()

    calls = 1 + 2 * (USERS + 100) + 1
    assert snapshot.up
    assert 0 < snapshot.throttles <= calls / 4


@pytest.mark.usefixtures("prod")
def test_throttling_reduces_the_rate(aws: FakeAws, clock: FakeClock, monitor: Monitor) -> None:
    """After severe throttling the account is read slowly, and then faster again."""
    sessions = some_sessions(
        aws.url, clock, requests_per_second=5.0, burst=10, stop=FakeStop(clock)
    )
    account = monitor(sessions=sessions)
    account.refresh()
    aws.fault(Fault(operation="GetAccessKeyLastUsed", code="Throttling"))
    account.refresh()
    limiter = rate_limiter_of(sessions, an_account())
    slow = limiter.rate
    clock.advance(seconds=300)

    assert account.latest.throttles == MAX_CONSECUTIVE_FAILURES * MAX_ATTEMPTS
    assert slow < 1
    assert limiter.rate == 5.0


class TestScheduledRefreshes:
    """Three accounts that are refreshed by the scheduler, as in the exporter."""

    OTHERS = ("222222222222", "333333333333")
    WORKERS = 2
    INTERVAL = 0.1

    @pytest.fixture
    def accounts(self, aws: FakeAws, prod: fake_aws.Account) -> list[Account]:
        prod.role(ROLE)
        for id in self.OTHERS:
            other = aws.account(id)
            other.role(ROLE)
            fill(other)
        return [a_role_account(id, name=f"account-{id}") for id in (PROD, *self.OTHERS)]

    @pytest.fixture
    def snapshots(
        self, aws: FakeAws, accounts: list[Account], clock: FakeClock, read_timeout: float
    ) -> Iterator[dict[str, AccountSnapshot]]:
        """The latest snapshots by account id, while the scheduler is running."""
        latest: dict[str, AccountSnapshot] = {}

        def publish(account: Account, snapshot: AccountSnapshot) -> None:
            latest[account.id] = snapshot

        sessions = some_sessions(aws.url, clock, read_timeout=read_timeout)
        refresh = refresh_of(sessions, clock, report_mode=ReportMode.OFF)
        scheduler = a_scheduler(
            accounts, refresh, publish, clock, interval=self.INTERVAL, workers=self.WORKERS
        )
        before = set(threading.enumerate())
        with environment(aws.environment(MONITORING)):
            scheduler.start()
            started = set(threading.enumerate()) - before
            threads = [thread for thread in started if thread.name.startswith("aws_")]
            try:
                yield latest
                assert [thread.is_alive() for thread in threads] == [True] * self.WORKERS
            finally:
                scheduler.stop()
                wait_until(lambda: not any(map(threading.Thread.is_alive, threads)), "threads end")

    @EVERY_OUTAGE
    def test_other_accounts_are_not_affected(
        self, aws: FakeAws, clock: FakeClock, snapshots: dict[str, AccountSnapshot], outage: str
    ) -> None:
        """An account that cannot be read is down, and no other; later it is up again."""

        def all_up() -> bool:
            clock.advance(seconds=2 * self.INTERVAL)
            return len(snapshots) == 3 and all(each.up for each in tuple(snapshots.values()))

        def prod_down() -> bool:
            clock.advance(seconds=2 * self.INTERVAL)
            return snapshots[PROD].failure is reason

        fault, reason = OUTAGES[outage]
        wait_until(all_up, "all accounts are up")
        fault_in_force = aws.fault(Fault(account=PROD, operation="ListUsers", **fault))
        wait_until(prod_down, "the account is down")
        down = dict(snapshots)
        aws.remove_fault(fault_in_force)
        wait_until(all_up, "all accounts are up again")

        assert len(down[PROD].keys) == USERS
        assert all(down[other].up for other in self.OTHERS)
