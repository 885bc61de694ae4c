"""No text of a response reaches an error, whatever is wrong with the response."""

import logging

import pytest

from exporter.aws import Operation
from exporter.aws.errors import MAX_MESSAGE
from exporter.model import Account, AccountSnapshot, ReadError, ReportMode, TagSource
from tests import fake_aws
from tests.aws import Monitor
from tests.builders import (
    PROD,
    ROLE,
    FakeClock,
    a_discovery,
    a_role_account,
    a_scheduler,
    add_key,
    an_account,
    environment,
    request_once,
    some_sessions,
)
from tests.fake_aws import FakeAws, Fault
from tests.servers import wait_until

pytestmark = pytest.mark.slow

SENTINEL = "wJalrXUtnFEMISENTINEL"


def error_body(code: str, message: str, more: str = "") -> str:
    error = f"<Code>{code}</Code><Message>{message}</Message>{more}"
    return f"<ErrorResponse><Error>{error}</Error></ErrorResponse>"


PADDING = "x" * MAX_MESSAGE

BODIES = {
    "a message that is too long": error_body("AccessDenied", PADDING + SENTINEL),
    "lines beyond the first": error_body("AccessDenied", "\n" * 10 + PADDING + f"\n{SENTINEL}"),
    "elements in a message": error_body("AccessDenied", f"<b>{SENTINEL}</b>"),
    "other elements of an error": error_body("Throttling", "no", f"<Detail>{SENTINEL}</Detail>"),
    "an error within a result": (
        f"<ListUsersResponse><Error><Message>{SENTINEL}</Message></Error></ListUsersResponse>"
    ),
    "an error without elements": f"<ErrorResponse><Error>{SENTINEL}</Error></ErrorResponse>",
    "two errors": error_body("AccessDenied", SENTINEL[:4]).replace(
        "<Error>", f"<Error>{SENTINEL}</Error><Error>"
    ),
    "two codes": error_body("AccessDenied", "no", f"<Code>{SENTINEL}</Code>"),
    "CDATA": f"<![CDATA[{SENTINEL}]]>",
    "JSON": f'{{"__type": "{SENTINEL}", "message": "{SENTINEL}"}}',
    "HTML": f"<html><body>{SENTINEL}</body></html>",
    "truncated XML": f"<AssumeRoleResponse><SecretAccessKey>{SENTINEL}</SecretAccess",
    "other XML": f"<a><b>{SENTINEL}</b></a>",
    "text": SENTINEL,
    "error with a strange code": (
        f"<ErrorResponse><Error><Code>{SENTINEL} {SENTINEL}</Code><Message>no</Message></Error>"
        "</ErrorResponse>"
    ),
}


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("body", list(BODIES))
@pytest.mark.parametrize("operation", [o for o in Operation if o.service != "organizations"])
def test_a_broken_response_is_not_repeated(
    aws: FakeAws,
    prod: fake_aws.Account,
    monitor: Monitor,
    caplog: pytest.LogCaptureFixture,
    operation: Operation,
    body: str,
    status: int,
) -> None:
    """What AWS, or something in its place, answers is neither logged nor part of the snapshot."""
    prod.role(ROLE)
    add_key(prod)
    aws.fault(Fault(operation=operation, body=BODIES[body], status=status))
    # A report takes the place of the summary, and one source of tags that of the other.
    summary = operation is Operation.GET_ACCOUNT_SUMMARY
    each = operation is Operation.LIST_USER_TAGS
    account = monitor(
        a_role_account(PROD),
        report_mode=ReportMode.OFF if summary else ReportMode.GUIDE,
        tag_source=TagSource.PER_USER if each else TagSource.BULK,
    )
    with caplog.at_level(logging.DEBUG, logger="exporter"):
        snapshot = account.refresh()

    assert aws.count(operation) > 0
    assert SENTINEL not in repr(snapshot)
    assert SENTINEL not in caplog.text


# The body with the name JSON is an error of AWS itself there, with its code and message.
@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("body", [name for name in BODIES if name != "JSON"])
def test_a_broken_list_of_accounts_is_not_repeated(
    aws: FakeAws, clock: FakeClock, caplog: pytest.LogCaptureFixture, body: str, status: int
) -> None:
    """What something in the place of Organizations answers is neither logged nor in the error."""
    aws.organization(PROD)
    aws.fault(Fault(operation="ListAccounts", body=BODIES[body], status=status))
    discovery = a_discovery(some_sessions(aws.url, clock), clock)

    with (
        caplog.at_level(logging.DEBUG, logger="exporter"),
        environment(aws.environment(PROD)),
        pytest.raises(ReadError) as caught,
    ):
        discovery.discover()

    assert SENTINEL not in str(caught.value) + caught.value.code
    assert SENTINEL not in caplog.text


def test_an_error_is_one_printable_line(
    aws: FakeAws, prod: fake_aws.Account, monitor: Monitor
) -> None:
    """AWS's own message is one line without control characters, whatever is in it."""
    message = "a&#10;b\tc&#13;&#10;level=error msg=forged \u202e\u2028\x7f end"
    aws.fault(Fault(operation="ListUsers", status=403, body=error_body("AccessDenied", message)))
    error = monitor().refresh().error

    assert error.startswith("ListUsers: AccessDenied: a b c level=error msg=forged")
    assert error.endswith("end")
    assert error.isprintable()


def test_a_crash_shows_no_response(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A traceback that the scheduler logs does not lead back to a response."""
    sessions = some_sessions(aws.url, clock)
    aws.fault(Fault(operation="ListUsers", body=f"<a>{SENTINEL}"))

    def refresh(account: Account, before: AccountSnapshot) -> AccountSnapshot:
        request_once(sessions, clock, Operation.LIST_USERS)
        raise AssertionError("unreachable")

    published: list[AccountSnapshot] = []
    scheduler = a_scheduler(
        [an_account()], refresh, lambda _, snapshot: published.append(snapshot), clock, interval=900
    )
    scheduler.start()
    wait_until(lambda: len(published) > 1, "the refresh has crashed")
    scheduler.stop()

    assert "refresh crashed" in caplog.text
    assert SENTINEL not in caplog.text + repr(published)
