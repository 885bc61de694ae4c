"""What is known of the root user comes from the credential report or the account summary."""

from exporter.model import ReportMode
from tests import fake_aws
from tests.aws import WITH_REPORTS, Monitor
from tests.builders import FakeClock, days_ago
from tests.fake_aws import FakeAws, Fault


def test_root_from_the_report(prod: fake_aws.Account, monitor: Monitor) -> None:
    """Root's access keys and last uses come from its row in the report, without a call."""
    prod.root_password_last_used = days_ago(9)
    prod.add_root_key().use(at=days_ago(8))
    prod.add_root_key(status="Inactive").use(at=days_ago(7))
    account = monitor()
    root = account.refresh().root

    assert root is not None
    assert root.access_keys == 1
    assert root.password_last_used == days_ago(9)
    assert root.access_key_last_used == days_ago(7)
    assert account.calls["GetAccountSummary"] == 0


@WITH_REPORTS
def test_root_is_not_a_user(
    prod: fake_aws.Account, monitor: Monitor, report_mode: ReportMode
) -> None:
    """Root is not among the users, and its keys are not listed."""
    prod.add_root_key()
    account = monitor(report_mode=report_mode)
    account.refresh()

    assert account.latest.users == ()
    assert account.calls["ListAccessKeys"] == 0


def test_root_from_the_summary(prod: fake_aws.Account, monitor: Monitor) -> None:
    """Without a report the account summary says whether root has keys."""
    prod.add_root_key()
    root = monitor(report_mode=ReportMode.OFF).refresh().root

    assert root is not None
    assert root.access_keys == 1


def test_the_summary_is_read_rarely(clock: FakeClock, monitor: Monitor) -> None:
    """The summary is read no more often than a report would be."""
    account = monitor(report_mode=ReportMode.OFF)
    account.refresh()
    clock.advance(hours=3)
    account.refresh()

    assert account.calls["GetAccountSummary"] == 0


def test_a_denied_summary(prod: fake_aws.Account, monitor: Monitor) -> None:
    """Without the permission root is unknown, and the refresh succeeds."""
    prod.deny("iam:GetAccountSummary")
    snapshot = monitor(report_mode=ReportMode.OFF).refresh()

    assert snapshot.up
    assert snapshot.root is None


def test_a_summary_that_fails(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """What is known of root survives a failing summary, which is read as rarely as any other."""
    prod.add_root_key()
    account = monitor(report_mode=ReportMode.OFF)
    account.refresh()
    clock.advance(hours=5)
    fault = aws.fault(Fault(operation="GetAccountSummary", code="ServiceFailure"))
    root = account.refresh().root
    aws.remove_fault(fault)
    clock.advance(minutes=15)
    account.refresh()
    soon = account.calls["GetAccountSummary"]
    clock.advance(hours=4)
    account.refresh()

    assert root is not None
    assert root.access_keys == 1
    assert (soon, account.calls["GetAccountSummary"]) == (0, 1)


def test_auto_reads_when_root_was_last_used(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """Also where the keys are read without a report, one is read for root's sake, every 4 hours."""
    prod.root_password_last_used = days_ago(9)
    account = monitor(report_mode=ReportMode.AUTO)
    account.refresh()
    first = account.calls
    clock.advance(minutes=15)
    account.refresh()

    assert account.latest.report is None
    assert account.latest.root is not None
    assert account.latest.root.password_last_used == days_ago(9)
    assert first == {"ListUsers": 1, "GenerateCredentialReport": 1, "GetCredentialReport": 1}
    assert account.calls == {"ListUsers": 1}


def test_auto_without_a_report(prod: fake_aws.Account, monitor: Monitor) -> None:
    """Where the report is denied, the summary says whether root has keys."""
    prod.add_root_key()
    prod.deny("iam:GenerateCredentialReport")
    snapshot = monitor(report_mode=ReportMode.AUTO).refresh()

    assert snapshot.up
    assert snapshot.root is not None
    assert snapshot.root.access_keys == 1
