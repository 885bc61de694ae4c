"""A refresh ends when its deadline has passed."""

import pytest

from exporter.aws import Operation
from exporter.aws.api import Aborted
from exporter.model import Reason, ReportMode
from tests import fake_aws
from tests.aws import Monitor
from tests.builders import FakeClock, add_users, an_account, an_api, last_uses_of, some_sessions
from tests.fake_aws import FakeAws, Fault


def test_ends_a_refresh(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """A refresh that would wait beyond its deadline ends, and the previous data is kept."""
    add_users(prod, 20, keys=20)
    account = monitor(report_mode=ReportMode.OFF)
    account.refresh()
    sessions = some_sessions(aws.url, clock, requests_per_second=0.01, burst=5)
    account.reconfigure(sessions=sessions, deadline=10.0)
    clock.advance(minutes=15)
    account.refresh()

    assert account.latest.failure is Reason.DEADLINE
    assert sum(account.calls.values()) == 5
    assert account.last_uses == last_uses_of(prod)


@pytest.fixture
def _slow_failures(aws: FakeAws, clock: FakeClock) -> None:
    """ListUsers fails, each time after 40 seconds."""

    def pass_time(operation: str, *_: object) -> None:
        if operation == "ListUsers":
            clock.advance(seconds=40)

    aws.on_call(pass_time)
    aws.fault(Fault(operation="ListUsers", code="ServiceFailure"))


@pytest.mark.usefixtures("_slow_failures")
def test_no_retry_after_the_deadline(monitor: Monitor) -> None:
    """A refresh whose deadline passes during an attempt is not retried, and fails."""
    account = monitor(report_mode=ReportMode.OFF, deadline=60.0)
    account.refresh()

    assert account.latest.failure is Reason.DEADLINE
    assert account.calls["ListUsers"] == 2


@pytest.mark.usefixtures("_slow_failures")
def test_no_attempt_after_the_deadline(aws: FakeAws, clock: FakeClock) -> None:
    """A call whose deadline passes during an attempt is not retried, and raises the reason."""
    api = an_api(some_sessions(aws.url, clock), an_account(), clock, deadline=60.0)

    with pytest.raises(Aborted) as raised:
        api.call(Operation.LIST_USERS)

    assert raised.value.error.reason is Reason.DEADLINE
    assert aws.count("ListUsers") == 2
