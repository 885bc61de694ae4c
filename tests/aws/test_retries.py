"""Temporary failures are retried a limited number of times, others are not."""

from random import Random
from typing import Any

import pytest

from exporter.aws import Operation
from exporter.aws.api import MAX_ATTEMPTS, MAX_CONSECUTIVE_FAILURES
from exporter.model import ReadError, Reason, ReportMode
from tests import fake_aws
from tests.aws import Monitor
from tests.aws.responses import response
from tests.builders import (
    ROLE,
    FakeClock,
    FakeStop,
    a_role_account,
    add_key,
    add_users,
    last_use_of,
    request_once,
    some_sessions,
)
from tests.fake_aws import FakeAws, Fault

TEMPORARY: dict[str, dict[str, Any]] = {
    "Throttling": {"code": "Throttling"},
    "ThrottlingException": {"code": "ThrottlingException"},
    "TooManyRequestsException": {"code": "TooManyRequestsException"},
    "RequestLimitExceeded": {"code": "RequestLimitExceeded"},
    "BandwidthLimitExceeded": {"code": "BandwidthLimitExceeded", "status": 509},
    "PriorRequestNotComplete": {"code": "PriorRequestNotComplete"},
    "RequestTimeout": {"code": "RequestTimeout"},
    "ServiceFailure": {"code": "ServiceFailure"},
    "InternalFailure": {"code": "InternalFailure"},
    "ServiceUnavailable": {"code": "ServiceUnavailable"},
    "429": {"code": "Strange", "status": 429},
    "500": {"code": "Strange", "status": 500},
    "502": {"body": "<html>bad gateway</html>", "status": 502},
    "503": {"body": "", "status": 503},
    "504": {"body": "gateway timeout", "status": 504},
    "reset": {"reset": True},
    "truncated XML": {"truncate": True},
    "not XML": {"body": "out of order"},
    "other XML": {"body": "<html>sign in to the hotel's network</html>"},
    "empty body": {"body": ""},
}
PERMANENT = {
    "AccessDenied": Reason.ACCESS_DENIED,
    "ExpiredToken": Reason.CREDENTIALS,
    "InvalidClientTokenId": Reason.CREDENTIALS,
    "SignatureDoesNotMatch": Reason.CREDENTIALS,
    "RequestExpired": Reason.CREDENTIALS,
    "OptInRequired": Reason.CREDENTIALS,
    "NoSuchEntity": Reason.INVALID_REQUEST,
    "ValidationError": Reason.INVALID_REQUEST,
    "InvalidInput": Reason.INVALID_REQUEST,
    "LimitExceeded": Reason.SERVICE_FAILURE,
    "Strange": Reason.INVALID_REQUEST,
}


@pytest.mark.parametrize("fault", TEMPORARY)
def test_temporary_failures_are_retried(
    aws: FakeAws, prod: fake_aws.Account, monitor: Monitor, fault: str
) -> None:
    """Temporary failures are retried, and the refresh succeeds."""
    key = add_key(prod)
    aws.fault(Fault(operation="ListUsers", times=2, **TEMPORARY[fault]))
    account = monitor(report_mode=ReportMode.OFF)
    account.refresh()

    assert account.latest.up
    assert account.last_uses == {key.id: last_use_of(key)}
    assert account.calls["ListUsers"] == 3


@pytest.mark.parametrize("code", PERMANENT)
def test_permanent_failures_are_not_retried(aws: FakeAws, monitor: Monitor, code: str) -> None:
    """A permanent failure is not retried, and has its reason."""
    aws.fault(Fault(operation="ListUsers", code=code))
    account = monitor(report_mode=ReportMode.OFF)
    account.refresh()

    assert account.latest.failure is PERMANENT[code]
    assert account.calls["ListUsers"] == 1


@pytest.mark.parametrize("fault", ["Throttling", "500", "503", "reset", "truncated XML"])
def test_botocore_does_not_retry(aws: FakeAws, clock: FakeClock, fault: str) -> None:
    """A request is made once: all retries are ours."""
    sessions = some_sessions(aws.url, clock)
    aws.fault(Fault(**TEMPORARY[fault]))
    with pytest.raises(ReadError):
        request_once(sessions, clock, Operation.LIST_USERS)

    assert aws.count() == 1


@pytest.mark.parametrize("fault", ["Throttling", "500", "reset", "truncated XML"])
def test_retries_end(aws: FakeAws, monitor: Monitor, fault: str) -> None:
    """What still fails in the last attempt is a failure."""
    aws.fault(Fault(operation="ListUsers", **TEMPORARY[fault]))
    account = monitor(report_mode=ReportMode.OFF)
    account.refresh()

    assert not account.latest.up
    assert account.calls["ListUsers"] == MAX_ATTEMPTS


def test_a_refresh_is_aborted(aws: FakeAws, prod: fake_aws.Account, monitor: Monitor) -> None:
    """A refresh is aborted after consecutive calls have exhausted their retries."""
    add_users(prod, 20, keys=20)
    aws.fault(Fault(operation="ListAccessKeys", code="ServiceFailure"))
    account = monitor(report_mode=ReportMode.OFF)
    account.refresh()

    assert account.calls["ListAccessKeys"] == MAX_CONSECUTIVE_FAILURES * MAX_ATTEMPTS


def test_a_closed_connection(aws: FakeAws, prod: fake_aws.Account, monitor: Monitor) -> None:
    """A pooled connection that AWS has closed meanwhile does not fail the refresh."""
    key = add_key(prod)
    account = monitor(report_mode=ReportMode.OFF)
    account.refresh()
    for connection in tuple(aws._server._connections if aws._server else ()):
        aws._server._loop.call_soon_threadsafe(connection.close)  # type: ignore[union-attr]
    account.refresh()

    assert account.latest.up
    assert account.last_uses == {key.id: last_use_of(key)}


def test_jitter(aws: FakeAws, clock: FakeClock, monitor: Monitor) -> None:
    """Waits between attempts are random, and differ from refresh to refresh."""
    stop = FakeStop()
    sessions = some_sessions(aws.url, clock, stop=stop)
    aws.fault(Fault(operation="ListUsers", code="ServiceFailure"))
    for seed in (1, 2):
        monitor(report_mode=ReportMode.OFF, sessions=sessions, rng=Random(seed)).refresh()
    waits = [wait for wait in stop.waits if wait > 0.001]

    assert len(set(waits)) == 2 * (MAX_ATTEMPTS - 1)


def test_an_incomplete_response(aws: FakeAws, monitor: Monitor) -> None:
    """A response without the expected member is malformed, and retried."""
    body = response("ListUsers", "<IsTruncated>false</IsTruncated>")
    aws.fault(Fault(operation="ListUsers", body=body))
    account = monitor(report_mode=ReportMode.OFF)
    account.refresh()

    assert account.latest.failure is Reason.MALFORMED
    assert account.calls["ListUsers"] == MAX_ATTEMPTS


def test_throttling_in_another_partition(aws: FakeAws, monitor: Monitor) -> None:
    """Throttling in another partition is throttling, not a missing service."""
    china = aws.account("333333333333", partition="aws-cn")
    china.role(ROLE)
    add_key(china)
    aws.fault(Fault(account=china.id, operation="ListUsers", code="Throttling"))
    snapshot = monitor(a_role_account(china.id, partition="aws-cn")).refresh()

    assert snapshot.failure is Reason.THROTTLED
