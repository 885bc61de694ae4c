"""Calls respect the rate limit, which yields to AWS's throttling."""

import pytest

from exporter.aws.rate_limiter import MIN_RATE_SHARE, RECOVERY_SECONDS, RateLimiter
from exporter.model import ReportMode, Stopped
from tests import fake_aws
from tests.aws import Monitor
from tests.builders import (
    FakeClock,
    FakeStop,
    a_rate_limiter,
    add_users,
    an_account,
    rate_limiter_of,
    some_sessions,
)
from tests.fake_aws import FakeAws, Fault


@pytest.fixture
def stop(clock: FakeClock) -> FakeStop:
    """A stop event on which waiting advances the clock."""
    return FakeStop(clock)


@pytest.fixture
def limiter(clock: FakeClock, stop: FakeStop) -> RateLimiter:
    return a_rate_limiter(clock, stop, rate=5.0, burst=10)


def test_burst(clock: FakeClock, limiter: RateLimiter) -> None:
    """A burst does not wait."""
    for _ in range(10):
        limiter.take()

    assert clock.monotonic() == 0


def test_rate(clock: FakeClock, limiter: RateLimiter) -> None:
    """After the burst requests are made at the configured rate."""
    for _ in range(10 + 50):
        limiter.take()

    assert clock.monotonic() == pytest.approx(10)


def test_idle(clock: FakeClock, limiter: RateLimiter) -> None:
    """After any idle time no more than the burst goes without waiting."""
    clock.advance(seconds=3600)
    for _ in range(11):
        limiter.take()

    assert clock.monotonic() == pytest.approx(3600.2)


def test_throttling_halves_the_rate(limiter: RateLimiter) -> None:
    """Throttling halves the rate, and ends the burst."""
    limiter.throttled()

    assert limiter.rate == pytest.approx(2.5)
    assert limiter.delay() == pytest.approx(0.4)


def test_minimum_rate(limiter: RateLimiter) -> None:
    """Throttling never reduces the rate below a minimum."""
    for _ in range(100):
        limiter.throttled()

    assert limiter.rate == pytest.approx(5 * MIN_RATE_SHARE)


def test_recovery(clock: FakeClock, limiter: RateLimiter) -> None:
    """The rate recovers slowly, up to the configured one."""
    limiter.throttled()
    rates = []
    for _ in range(3):
        clock.advance(seconds=RECOVERY_SECONDS / 4)
        rates.append(limiter.rate)

    assert rates == pytest.approx([3.75, 5, 5])


def test_a_clock_that_goes_backwards(clock: FakeClock, limiter: RateLimiter) -> None:
    """A clock that goes backwards causes no wait."""
    clock.advance(seconds=-100)

    assert limiter.delay() == 0


def test_stop(limiter: RateLimiter, stop: FakeStop) -> None:
    """Waiting ends when the exporter stops."""
    stop.set()

    with pytest.raises(Stopped):
        limiter.take()


def test_all_calls_of_a_refresh_are_limited(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, stop: FakeStop, monitor: Monitor
) -> None:
    """All calls of a refresh respect the rate limit."""
    add_users(prod, 50, keys=50)
    sessions = some_sessions(aws.url, clock, requests_per_second=5.0, burst=10, stop=stop)
    monitor(report_mode=ReportMode.OFF, sessions=sessions).refresh()

    calls = 1 + 50 + 50 + 1
    assert clock.monotonic() == pytest.approx((calls - 10) / 5)


def test_rate_limit_of_an_account(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, stop: FakeStop, monitor: Monitor
) -> None:
    """An account can have its own rate limit."""
    add_users(prod, 50, keys=50)
    sessions = some_sessions(aws.url, clock, requests_per_second=5.0, burst=10, stop=stop)
    account = an_account(requests_per_second=1.0, burst=2)
    monitor(account, report_mode=ReportMode.OFF, sessions=sessions).refresh()

    assert clock.monotonic() == pytest.approx(1 + 50 + 50 + 1 - 2)


def test_a_throttled_account_is_read_at_half_the_rate(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, stop: FakeStop, monitor: Monitor
) -> None:
    """An account that AWS throttles is read at half the rate for a while."""
    add_users(prod, 10, keys=10)
    sessions = some_sessions(aws.url, clock, requests_per_second=100.0, burst=1, stop=stop)
    aws.fault(Fault(operation="ListUsers", code="Throttling", times=1))
    snapshot = monitor(report_mode=ReportMode.OFF, sessions=sessions).refresh()

    assert snapshot.up
    assert snapshot.throttles == 1
    assert 50 <= rate_limiter_of(sessions, an_account()).rate <= 52


def test_stopping_ends_a_refresh(aws: FakeAws, clock: FakeClock, monitor: Monitor) -> None:
    """A refresh that waits for the rate limiter ends when the exporter stops."""

    class StopWhileWaiting(FakeStop):
        def wait(self, timeout: float | None = None) -> bool:
            if timeout and timeout > 100:
                self.set()
            return super().wait(timeout)

    stop = StopWhileWaiting()
    sessions = some_sessions(aws.url, clock, requests_per_second=0.001, burst=1, stop=stop)

    with pytest.raises(Stopped):
        monitor(report_mode=ReportMode.OFF, sessions=sessions).refresh()
