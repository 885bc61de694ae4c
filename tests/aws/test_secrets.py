"""No text of a response reaches an error, whatever is wrong with the response."""

import logging

import pytest

from exporter.aws import Operation
from exporter.model import ReportMode, TagSource
from tests import fake_aws
from tests.aws import Monitor
from tests.builders import PROD, ROLE, a_role_account, add_key
from tests.fake_aws import FakeAws, Fault

SENTINEL = "wJalrXUtnFEMISENTINEL"

BODIES = {
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
@pytest.mark.parametrize("operation", list(Operation))
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
