"""Sessions and keys that end are replaced in time, or at once when AWS rejects them."""

import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from exporter.aws import Operation
from exporter.aws.base_credentials import MIN_LIFETIME, REBUILD_AFTER
from exporter.model import Reason, ReportMode
from tests import fake_aws
from tests.aws import Monitor
from tests.aws.responses import response
from tests.builders import (
    MONITORING,
    NOON,
    PROD,
    ROLE,
    TEST,
    FakeClock,
    a_role_account,
    add_key,
    an_account,
    an_api,
    before_answer,
    environment,
    last_uses_of,
    some_sessions,
)
from tests.fake_aws import FakeAws, Fault


@pytest.fixture
def credentials_file(aws: FakeAws, tmp_path: Path) -> Iterator[Path]:
    """A file of credentials, in place of the environment."""
    file = tmp_path / "credentials"
    write_keys(file, aws, MONITORING)
    with environment({"AWS_SHARED_CREDENTIALS_FILE": str(file)}):
        yield file


def write_keys(file: Path, aws: FakeAws, account_id: str, *, new: bool = False) -> None:
    """Write the keys of a principal in this account; *new* ones, of a user there."""
    id_, secret = aws.credentials(account_id)
    if new:
        id_, secret = add_key(aws.account(account_id), "exporter", used=None).id, "secret"
    file.write_text(f"[default]\naws_access_key_id = {id_}\naws_secret_access_key = {secret}\n")


@pytest.mark.parametrize("minutes", [15, 30, 60])
def test_the_expiration_counts(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, minutes: int
) -> None:
    """A session is renewed shortly before the time that AWS has set, and not earlier."""
    session = aws.session(prod.role(ROLE))
    ends = NOON + timedelta(minutes=minutes)
    credentials = (
        f"<AccessKeyId>{session.key_id}</AccessKeyId><SecretAccessKey>x</SecretAccessKey>"
        f"<SessionToken>{session.token}</SessionToken>"
        f"<Expiration>{ends:%Y-%m-%dT%H:%M:%SZ}</Expiration>"
    )
    body = response("AssumeRole", f"<Credentials>{credentials}</Credentials>")
    aws.fault(Fault(operation="AssumeRole", body=body))
    api = an_api(some_sessions(aws.url, clock), a_role_account(), clock, deadline=1e6)
    api.call(Operation.LIST_USERS)
    clock.advance(minutes=minutes - 6)
    api.call(Operation.LIST_USERS)
    early = aws.count("AssumeRole")
    clock.advance(minutes=3)
    api.call(Operation.LIST_USERS)

    assert (early, aws.count("AssumeRole")) == (1, 2)


@pytest.mark.parametrize("expiration", ["2026-11-23T10:00:00Z", "2001-01-01T00:00:00Z"])
def test_a_clock_that_is_ahead(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, monitor: Monitor, expiration: str
) -> None:
    """A session that seems to have expired, because our clock is ahead, is used all the same."""
    session = aws.session(prod.role(ROLE))
    for number in range(5):
        add_key(prod, f"user-{number}")
    credentials = (
        f"<AccessKeyId>{session.key_id}</AccessKeyId><SecretAccessKey>x</SecretAccessKey>"
        f"<SessionToken>{session.token}</SessionToken><Expiration>{expiration}</Expiration>"
    )
    body = response("AssumeRole", f"<Credentials>{credentials}</Credentials>")
    aws.fault(Fault(operation="AssumeRole", body=body))
    account = monitor(a_role_account(), report_mode=ReportMode.OFF)

    assert account.refresh().up
    assert aws.count("AssumeRole") == 1
    clock.advance(seconds=MIN_LIFETIME)
    account.refresh()
    assert aws.count("AssumeRole") == 2


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidClientTokenId", "RequestExpired"])
@pytest.mark.parametrize("operation", ["ListUsers", "ListAccessKeys", "GetAccessKeyLastUsed"])
def test_a_session_that_ends_in_the_middle(
    aws: FakeAws, prod: fake_aws.Account, monitor: Monitor, operation: str, code: str
) -> None:
    """A call that is rejected is repeated with a new session, and the refresh succeeds."""
    prod.role(ROLE)
    add_key(prod)
    aws.fault(Fault(operation=operation, code=code, times=1))
    account = monitor(a_role_account(), report_mode=ReportMode.OFF)

    assert account.refresh().up
    assert account.calls[operation] == 2
    assert aws.count("AssumeRole") == 2


def test_sessions_that_never_last(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """If new sessions are rejected as well, the refresh ends after one repetition."""
    prod.role(ROLE)
    add_key(prod)
    account = monitor(a_role_account(), report_mode=ReportMode.OFF)
    account.refresh()
    aws.fault(Fault(operation="GetAccessKeyLastUsed", code="ExpiredToken"))
    account.refresh()

    assert account.latest.failure is Reason.CREDENTIALS
    assert account.calls["GetAccessKeyLastUsed"] == 2
    assert account.last_uses == last_uses_of(prod)


def test_keys_rotated_in_the_middle(
    aws: FakeAws,
    clock: FakeClock,
    monitor: Monitor,
    credentials_file: Path,
) -> None:
    """Keys that were rotated on disk are found when AWS rejects the old ones: nothing fails."""
    account = monitor(an_account(MONITORING), report_mode=ReportMode.OFF)
    account.refresh()
    clock.advance(minutes=15)
    add_key(aws.account(MONITORING), "alice")

    def rotate() -> None:
        write_keys(credentials_file, aws, MONITORING, new=True)
        aws.fault(Fault(operation="ListAccessKeys", code="InvalidClientTokenId", times=1))

    with before_answer(aws, "ListUsers", rotate):
        account.refresh()

    assert account.latest.up


def test_keys_rotated_under_many_accounts(
    aws: FakeAws, clock: FakeClock, monitor: Monitor, credentials_file: Path
) -> None:
    """Of accounts that share rotated keys, all go on: the first finds them for the others."""
    sessions = some_sessions(aws.url, clock)
    accounts = []
    for id_ in (PROD, TEST):
        aws.account(id_).role(ROLE)
        accounts.append(monitor(a_role_account(id_), sessions=sessions))
        assert accounts[-1].refresh().up
    clock.advance(minutes=56)
    rotated = aws.account(MONITORING)
    write_keys(credentials_file, aws, MONITORING, new=True)
    old_id, _ = aws.credentials(MONITORING)
    assert rotated.users
    aws.forget_credentials(old_id)

    assert [account.refresh().failure for account in accounts] == [None, None]


def test_rejected_keys_are_not_looked_up_at_every_refresh(
    aws: FakeAws, clock: FakeClock, monitor: Monitor, credentials_file: Path
) -> None:
    """Rejected keys cost a call or two a refresh, and are found when they are replaced."""
    aws.forget_credentials(aws.credentials(MONITORING)[0])
    account = monitor(an_account(MONITORING))
    account.refresh()
    failed = account.latest.failure
    calls = aws.count("GetCallerIdentity")
    write_keys(credentials_file, aws, MONITORING, new=True)
    clock.advance(seconds=REBUILD_AFTER)

    assert (failed, calls) == (Reason.CREDENTIALS, 1)
    assert account.refresh().up


def test_each_call_is_a_line_at_debug(
    prod: fake_aws.Account, monitor: Monitor, caplog: pytest.LogCaptureFixture
) -> None:
    """At the level debug each call is a line with operation, account, seconds and code."""
    add_key(prod)
    prod.deny("iam:ListAccessKeys")
    account = monitor(report_mode=ReportMode.OFF)
    with caplog.at_level(logging.DEBUG, logger="exporter.aws"):
        account.refresh()
    lines = [record for record in caplog.records if record.message == "AWS request"]
    facts = [(vars(line)["operation"], vars(line)["code"]) for line in lines]

    assert facts == [
        ("GetCallerIdentity", ""),
        ("ListUsers", ""),
        ("ListAccessKeys", "AccessDenied"),
        ("GetAccountSummary", ""),
    ]
    assert {vars(line)["account"] for line in lines} == {"prod"}
    assert all(vars(line)["seconds"] >= 0 for line in lines)
