"""Without a usable credential report the account is refreshed user by user."""

import logging
from collections.abc import Callable
from datetime import timedelta

import pytest

from exporter.aws.credential_report import POLLS
from exporter.model import ReportMode
from tests import fake_aws
from tests.aws import WITH_REPORTS, Monitor
from tests.aws.responses import report_response, response
from tests.builders import (
    NOON,
    PROD,
    FakeClock,
    FakeStop,
    FixedRandom,
    add_key,
    add_users,
    last_uses_of,
    some_sessions,
)
from tests.fake_aws import FakeAws, Fault

Problem = Callable[[FakeAws], object]


def denied(aws: FakeAws) -> None:
    aws.account(PROD).report.denied = True


def no_capacity(aws: FakeAws) -> None:
    aws.account(PROD).report.limit_exceeded = 1000


def expired(aws: FakeAws) -> None:
    aws.fault(Fault(operation="GetCredentialReport", code="ReportExpired"))


def not_present(aws: FakeAws) -> None:
    aws.fault(Fault(operation="GetCredentialReport", code="ReportNotPresent"))


def slow(aws: FakeAws) -> None:
    report = aws.account(PROD).report
    report.instant, report.delay = False, 1000


def garbage(aws: FakeAws) -> None:
    aws.account(PROD).report.content = b"\xff\xfe garbage"


def empty(aws: FakeAws) -> None:
    aws.account(PROD).report.content = b""


def without_rows(aws: FakeAws) -> None:
    prod = aws.account(PROD)
    prod.report.content = fake_aws.report.content(prod, quoted=True).splitlines()[0]


def truncated(aws: FakeAws) -> None:
    prod = aws.account(PROD)
    prod.report.content = fake_aws.report.content(prod, quoted=True)[:-40]


def without_columns(aws: FakeAws) -> None:
    content = b"user,arn\n<root_account>,arn:aws:iam::1:root\nalice,x"
    aws.account(PROD).report.content = content


def without_time(aws: FakeAws) -> None:
    body = response("GetCredentialReport", "<Content>dXNlcg==</Content>")
    aws.fault(Fault(operation="GetCredentialReport", body=body))


def invalid_base64(aws: FakeAws) -> None:
    content = "<Content>*</Content><GeneratedTime>2026-11-23T12:00:00Z</GeneratedTime>"
    body = response("GetCredentialReport", content)
    aws.fault(Fault(operation="GetCredentialReport", body=body))


def broken_xml(aws: FakeAws) -> None:
    aws.fault(Fault(operation="GetCredentialReport", truncate=True))


def throttled(aws: FakeAws) -> None:
    aws.fault(Fault(operation="GenerateCredentialReport", code="Throttling"))


NO_REPORT = pytest.mark.parametrize(
    "problem",
    [
        denied,
        no_capacity,
        expired,
        not_present,
        slow,
        garbage,
        empty,
        without_rows,
        truncated,
        without_columns,
        without_time,
        invalid_base64,
        broken_xml,
        throttled,
    ],
)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@NO_REPORT
@WITH_REPORTS
def test_falls_back_to_listing_keys_per_user(
    aws: FakeAws,
    prod: fake_aws.Account,
    monitor: Monitor,
    report_mode: ReportMode,
    problem: Problem,
) -> None:
    """Without a report keys are listed per user, and the refresh succeeds."""
    add_users(prod, 3, keys=2)
    problem(aws)
    account = monitor(report_mode=report_mode)
    account.refresh()

    assert account.latest.up
    assert account.last_uses == last_uses_of(prod)
    assert account.calls["ListAccessKeys"] == 3


@NO_REPORT
def test_a_missing_report_is_logged_once(
    aws: FakeAws,
    prod: fake_aws.Account,
    monitor: Monitor,
    caplog: pytest.LogCaptureFixture,
    problem: Problem,
) -> None:
    """A missing report is part of the snapshot, and one line in the log."""
    add_users(prod, 3, keys=2)
    problem(aws)
    report = monitor().refresh().report

    assert report is not None
    assert not report.usable
    assert warnings(caplog) == ["cannot use credential report"]


@WITH_REPORTS
def test_relies_on_a_recent_report(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor, report_mode: ReportMode
) -> None:
    """A report younger than six hours is used when there is no new one."""
    add_users(prod, 3, keys=2)
    account = monitor(report_mode=report_mode)
    account.refresh()
    prod.report.denied = True
    clock.advance(hours=5)
    account.refresh()

    assert account.calls["ListAccessKeys"] == 0
    assert account.latest.report is not None
    assert account.latest.report.usable


@WITH_REPORTS
def test_does_not_rely_on_an_old_report(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor, report_mode: ReportMode
) -> None:
    """A report that is six hours old is not used any more."""
    add_users(prod, 3, keys=2)
    account = monitor(report_mode=report_mode)
    account.refresh()
    prod.report.denied = True
    clock.advance(hours=6)
    next(prod.keys).use()
    account.refresh()

    assert account.calls["ListAccessKeys"] == 3
    assert account.last_uses == last_uses_of(prod)


def test_a_refused_report_is_not_requested_at_every_refresh(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """A report that was refused is not requested again at the next refresh."""
    prod.report.denied = True
    account = monitor()
    account.refresh()
    clock.advance(minutes=15)
    account.refresh()

    assert account.calls["GenerateCredentialReport"] == 0


@WITH_REPORTS
def test_recovers_when_reports_are_available_again(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor, report_mode: ReportMode
) -> None:
    """Once there is a report again, refreshes rely on it again."""
    add_users(prod, 3, keys=2)
    prod.report.denied = True
    account = monitor(report_mode=report_mode)
    account.refresh()
    prod.report.denied = False
    clock.advance(hours=1)
    account.refresh()
    clock.advance(minutes=15)
    account.refresh()

    assert account.latest.report is not None
    assert account.latest.report.usable
    assert account.calls["ListAccessKeys"] == 0


def test_a_report_that_takes_longer_than_the_deadline(
    prod: fake_aws.Account, monitor: Monitor
) -> None:
    """A refresh does not wait for a report that would take longer than its deadline."""
    prod.report.instant, prod.report.delay = False, 1000
    add_users(prod, 3, keys=2)
    account = monitor(deadline=20.0)
    account.refresh()

    assert account.latest.up
    assert account.last_uses == last_uses_of(prod)


def test_accounts_request_reports_at_different_times(monitor: Monitor) -> None:
    """A random delay of up to 15 minutes lies between the reports of two accounts."""
    early, late = (monitor(rng=FixedRandom(number)).refresh() for number in (0.0, 1.0))

    assert early.bookmarks.next_report_at is not None
    assert late.bookmarks.next_report_at is not None
    delay = late.bookmarks.next_report_at - early.bookmarks.next_report_at
    assert delay == timedelta(minutes=15)


def test_polling_backs_off(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """A report that is being generated is polled after ever longer waits."""
    stop = FakeStop()
    prod.report.instant, prod.report.delay = False, 1000
    account = monitor(sessions=some_sessions(aws.url, clock, stop=stop))
    account.refresh()

    assert [wait for wait in stop.waits if wait >= 1] == list(POLLS)
    assert account.calls["GenerateCredentialReport"] == 1 + len(POLLS)


def test_a_report_of_yesterday(aws: FakeAws, prod: fake_aws.Account, monitor: Monitor) -> None:
    """A report that AWS generated long ago is not used."""
    add_key(prod)
    complete = response("GenerateCredentialReport", "<State>COMPLETE</State>")
    aws.fault(Fault(operation="GenerateCredentialReport", body=complete))
    content = fake_aws.report.content(prod, quoted=True)
    body = report_response(content, generated=NOON - timedelta(hours=20))
    aws.fault(Fault(operation="GetCredentialReport", body=body))
    prod.users["alice"].add_key()
    account = monitor()
    account.refresh()

    assert account.latest.report is not None
    assert not account.latest.report.usable
    assert account.last_uses == last_uses_of(prod)


@pytest.mark.parametrize("polls", [1, 2, 5])
def test_waits_for_a_report_in_progress(
    prod: fake_aws.Account, monitor: Monitor, polls: int
) -> None:
    """A report that is still being generated is waited for."""
    prod.report.instant, prod.report.delay = False, polls
    snapshot = monitor().refresh()

    assert snapshot.report is not None
    assert snapshot.report.usable
