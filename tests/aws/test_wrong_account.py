"""One account's keys are never shown as another's, whatever happens to credentials."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from exporter.model import Account, Reason, ReportMode, TagSource
from tests import fake_aws
from tests.aws import Monitor
from tests.aws.programs import SOON, Program
from tests.aws.responses import response, users_page
from tests.builders import (
    PROD,
    ROLE,
    TEST,
    FakeClock,
    MonitoredAccount,
    a_role_account,
    add_key,
    an_account,
    before_answer,
    environment,
    last_uses_of,
)
from tests.fake_aws import FakeAws, Fault

pytestmark = pytest.mark.process

RENEWAL = 13
"""Hours after which all credentials are renewed."""

ENTRIES = pytest.mark.parametrize(
    "entry", [an_account(PROD), an_account("", "mine")], ids=["with id", "without id"]
)


@pytest.fixture
def program(aws: FakeAws, tmp_path: Path) -> Iterator[Program]:
    """A credential_process that yields credentials of PROD."""
    program = Program(tmp_path, aws)
    program.belong_to(PROD)
    add_key(aws.account(PROD), "alice")
    add_key(aws.account(TEST), "intruder")
    with environment(program.environment):
        yield program


def assert_only_prod(aws: FakeAws, account: MonitoredAccount) -> None:
    """Nothing of TEST was read, and what was known of PROD is still there."""
    assert {operation for (id_, operation) in aws.calls if id_ == TEST} <= {"GetCallerIdentity"}
    assert [user.name for user in account.latest.users] == ["alice"]
    assert account.last_uses == last_uses_of(aws.account(PROD))
    assert account.latest.account.id == PROD


@ENTRIES
def test_between_refreshes(
    aws: FakeAws, program: Program, clock: FakeClock, monitor: Monitor, entry: Account
) -> None:
    """Credentials that belong to another account at the next refresh are not used."""
    account = monitor(entry)
    assert account.refresh().up
    program.belong_to(TEST)
    clock.advance(hours=RENEWAL)

    assert account.refresh().failure is Reason.WRONG_ACCOUNT
    assert_only_prod(aws, account)


@ENTRIES
@pytest.mark.parametrize("operation", ["ListUsers", "ListAccessKeys", "GetAccessKeyLastUsed"])
def test_in_the_middle_of_a_refresh(
    aws: FakeAws,
    program: Program,
    clock: FakeClock,
    monitor: Monitor,
    entry: Account,
    operation: str,
) -> None:
    """Credentials that belong to another account in the middle of a refresh are not used."""
    account = monitor(entry, report_mode=ReportMode.OFF, deadline=1e6)
    account.refresh()
    add_key(aws.account(PROD), "alice")

    def change() -> None:
        program.belong_to(TEST)
        clock.advance(hours=RENEWAL)

    with before_answer(aws, operation, change):
        snapshot = account.refresh()

    assert snapshot.failure is Reason.WRONG_ACCOUNT
    assert {operation for (id_, operation) in aws.calls if id_ == TEST} == {"GetCallerIdentity"}
    assert {user.name for user in snapshot.users} == {"alice"}


@ENTRIES
def test_after_a_rejection(
    aws: FakeAws, program: Program, clock: FakeClock, monitor: Monitor, entry: Account
) -> None:
    """Credentials that replace rejected ones are checked before the call is repeated."""
    account = monitor(entry, report_mode=ReportMode.OFF)
    account.refresh()
    program.belong_to(TEST)
    clock.advance(minutes=15)
    aws.fault(Fault(operation="ListAccessKeys", code="ExpiredToken", times=1))

    assert account.refresh().failure is Reason.WRONG_ACCOUNT
    assert_only_prod(aws, account)


@ENTRIES
@pytest.mark.parametrize("seconds", [300.0, 86400.0, None])
def test_recovery(
    aws: FakeAws,
    program: Program,
    clock: FakeClock,
    monitor: Monitor,
    entry: Account,
    seconds: float | None,
) -> None:
    """Once the credentials are the right ones again, the next refresh succeeds."""
    account = monitor(entry)
    account.refresh()
    program.belong_to(TEST, seconds=seconds)
    clock.advance(hours=RENEWAL)
    account.refresh()
    assert account.latest.failure is Reason.WRONG_ACCOUNT
    program.belong_to(PROD, seconds=seconds)
    clock.advance(minutes=15)

    assert account.refresh().up
    assert_only_prod(aws, account)


def test_wrong_from_the_start(
    aws: FakeAws, program: Program, clock: FakeClock, monitor: Monitor
) -> None:
    """A profile of another account than the configured one is corrected without a restart."""
    program.belong_to(TEST, seconds=None)
    account = monitor()
    assert account.refresh().failure is Reason.WRONG_ACCOUNT
    program.belong_to(PROD, seconds=None)
    clock.advance(minutes=15)

    assert account.refresh().up
    assert_only_prod(aws, account)


@pytest.mark.parametrize(
    ("trusts", "failure"), [(None, None), ([PROD], Reason.ASSUME_ROLE)], ids=["trusted", "not"]
)
def test_with_a_role(
    aws: FakeAws,
    prod: fake_aws.Account,
    program: Program,
    clock: FakeClock,
    monitor: Monitor,
    trusts: list[str] | None,
    failure: Reason | None,
) -> None:
    """Whoever assumes it, a role leads to its own account, or nowhere."""
    prod.role(ROLE, trusts=trusts)
    account = monitor(a_role_account())
    account.refresh()
    program.belong_to(TEST)
    clock.advance(hours=RENEWAL)

    assert account.refresh().failure is failure
    assert_only_prod(aws, account)


def test_two_profiles_that_become_one_account(
    aws: FakeAws, program: Program, clock: FakeClock, monitor: Monitor, tmp_path: Path
) -> None:
    """Of two entries that turn out to be one account, the second does not show its keys."""
    account = monitor(an_account("", "mine"))
    account.refresh()
    other = monitor(an_account("", "other"), sessions=account.sessions)

    assert other.refresh().failure is Reason.WRONG_ACCOUNT
    assert other.latest.users == ()


def test_an_account_that_has_changed(program: Program, monitor: Monitor) -> None:
    """An account whose name or role has changed is not taken for a second one."""
    before = monitor(an_account(PROD))
    before.refresh()
    after = monitor(an_account(PROD, "renamed"), sessions=before.sessions)

    assert after.refresh().up
    assert before.refresh().up  # which was under way when the name changed


@pytest.mark.parametrize("entry", [an_account(PROD), an_account("", "mine")])
def test_web_identity(
    aws: FakeAws, clock: FakeClock, monitor: Monitor, tmp_path: Path, entry: Account
) -> None:
    """A web identity whose role begins to be in another account is not used."""
    token = tmp_path / "token"
    token.write_text("token")
    add_key(aws.account(PROD), "alice")
    add_key(aws.account(TEST), "intruder")
    fault = aws.fault(Fault(operation="AssumeRoleWithWebIdentity", body=web_session(aws, PROD)))
    variables = {
        "AWS_ROLE_ARN": f"arn:aws:iam::{PROD}:role/x",
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
        "AWS_ENDPOINT_URL": aws.url,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with environment(variables):
        account = monitor(entry)
        assert account.refresh().up
        fault.body = web_session(aws, TEST)
        clock.advance(hours=RENEWAL)
        account.refresh()

    assert account.latest.failure is Reason.WRONG_ACCOUNT
    assert_only_prod(aws, account)


def web_session(aws: FakeAws, account_id: str) -> str:
    role = aws.account(account_id).role("web")
    session = aws.session(role)
    credentials = (
        f"<AccessKeyId>{session.key_id}</AccessKeyId>"
        f"<SecretAccessKey>{session.secret}</SecretAccessKey>"
        f"<SessionToken>{session.token}</SessionToken>"
        f"<Expiration>{(datetime.now(UTC) + timedelta(seconds=SOON)).isoformat()}</Expiration>"
    )
    return response("AssumeRoleWithWebIdentity", f"<Credentials>{credentials}</Credentials>")


OTHERS_USER = (
    "<member><Path>/</Path><UserName>intruder</UserName><UserId>AIDAINTRUDER</UserId>"
    f"<Arn>arn:aws:iam::{TEST}:user/intruder</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate>"
    "</member>"
)


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("ListUsers", users_page(OTHERS_USER, "")),
        (
            "GetAccountAuthorizationDetails",
            response(
                "GetAccountAuthorizationDetails", f"<UserDetailList>{OTHERS_USER}</UserDetailList>"
            ),
        ),
    ],
)
def test_users_of_another_account(
    aws: FakeAws, program: Program, monitor: Monitor, operation: str, body: str
) -> None:
    """Users whose ARN is of another account are not shown, whoever signed the request."""
    account = monitor(tag_source=TagSource.BULK, report_mode=ReportMode.OFF)
    aws.fault(Fault(operation=operation, body=body))

    assert account.refresh().failure is Reason.WRONG_ACCOUNT
    assert "intruder" not in {user.name for user in account.latest.users}


@pytest.mark.parametrize("report_mode", [ReportMode.GUIDE, ReportMode.VALUES])
def test_a_report_of_another_account(
    aws: FakeAws,
    prod: fake_aws.Account,
    program: Program,
    monitor: Monitor,
    caplog: pytest.LogCaptureFixture,
    report_mode: ReportMode,
) -> None:
    """A report whose rows are of another account is not used."""
    other = aws.account(TEST)
    add_key(other, "alice", used=None)
    prod.report.content = fake_aws.report.content(other, quoted=True)
    account = monitor(report_mode=report_mode)
    with caplog.at_level(logging.WARNING):
        account.refresh()

    assert account.last_uses == last_uses_of(prod)
    assert account.latest.report is not None
    assert not account.latest.report.usable
    assert "cannot use credential report" in caplog.text
