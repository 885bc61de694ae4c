"""Credential reports are parsed in all their variants, and what is not one is rejected."""

import csv
import io
import re
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.aws.credential_report import parse
from exporter.model import ReadError, Reason, ReportMode
from tests import fake_aws
from tests.aws import WITH_REPORTS, Monitor
from tests.aws.responses import response
from tests.builders import (
    NOON,
    PROD,
    TEST,
    FakeClock,
    add_key,
    add_users,
    last_use_of,
    last_uses_of,
)
from tests.fake_aws import FakeAws, Fault


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_content(content: bytes) -> None:
    """Any content is either a report or reported as malformed."""
    header = ",".join(fake_aws.report.COLUMNS).encode()
    for text in (content, header + b"\n" + content):
        try:
            parse(text, NOON, PROD)
        except ReadError as error:
            assert error.reason in (Reason.MALFORMED, Reason.WRONG_ACCOUNT)  # noqa: PT017


@given(st.lists(st.sampled_from(["x", "N/A", "", "true", "0001-01-01T00:00:00+23:00"])))
def test_any_fields(fields: list[str]) -> None:
    """Any values in the columns are either a row or reported as malformed."""
    row = ["alice", f"arn:aws:iam::{PROD}:user/alice", "2026-01-01T00:00:00Z", *fields]
    lines = [fake_aws.report.COLUMNS, [*row, *["N/A"] * 22][:22]]
    text = io.StringIO()
    csv.writer(text).writerows(lines)
    try:
        parse(text.getvalue().encode(), NOON, PROD)
    except ReadError as error:
        assert error.reason is Reason.MALFORMED  # noqa: PT017


def test_a_row_that_is_not_a_user() -> None:
    """A row that is not a user's costs that row, not the report."""
    row = ["alice", f"arn:aws:iam::{PROD}:group/alice", "2026-01-01T00:00:00Z", *["N/A"] * 19]
    content = "\n".join(",".join(line) for line in (fake_aws.report.COLUMNS, row))

    report = parse(content.encode(), NOON, PROD)

    assert not report.rows
    assert report.malformed == {"alice"}


def test_rows_of_another_account() -> None:
    """A report about another account is not used."""
    row = ["alice", f"arn:aws:iam::{TEST}:user/alice", "2026-01-01T00:00:00Z", *["N/A"] * 19]
    content = "\n".join(",".join(line) for line in (fake_aws.report.COLUMNS, row))

    with pytest.raises(ReadError) as raised:
        parse(content.encode(), NOON, PROD)

    assert raised.value.reason is Reason.WRONG_ACCOUNT


@pytest.mark.parametrize("quoted", [True, False])
@WITH_REPORTS
def test_names_with_commas(
    prod: fake_aws.Account, monitor: Monitor, report_mode: ReportMode, quoted: bool
) -> None:
    """Commas in a name do not separate columns, whether AWS quotes them or not."""
    prod.report.quoted = quoted
    add_key(prod, "alice,of,arn", used=NOON)
    add_key(prod, "bob")
    account = monitor(report_mode=report_mode)
    account.refresh()
    account.refresh()

    assert account.last_uses == last_uses_of(prod)
    assert account.calls["ListAccessKeys"] == 0


def test_rows_in_any_order(prod: fake_aws.Account, clock: FakeClock, monitor: Monitor) -> None:
    """The rows of a report may be in any order."""
    add_users(prod, 4, keys=4)
    header, *rows = fake_aws.report.content(prod, quoted=True).splitlines()
    prod.report.content = b"\n".join([header, *reversed(rows)])
    account = monitor()
    account.refresh()
    clock.advance(minutes=15)
    account.refresh()

    assert account.calls["ListAccessKeys"] == 0
    assert account.last_uses == last_uses_of(prod)


@pytest.mark.parametrize("style", ["Z", "+00:00", "TRUE"])
def test_spellings_of_dates_and_booleans(
    prod: fake_aws.Account, monitor: Monitor, style: str
) -> None:
    """Dates end in Z or +00:00, and booleans are in either case."""
    add_key(prod)
    text = fake_aws.report.content(prod, quoted=True).decode()
    if style == "+00:00":
        text = re.sub(r"(\d)Z\b", r"\1+00:00", text)
    if style == "TRUE":
        text = text.replace("true", "TRUE").replace("false", "FALSE")
    prod.report.content = text.encode()
    account = monitor(report_mode=ReportMode.VALUES)
    account.refresh()

    assert account.last_uses == last_uses_of(prod)
    assert account.calls["GetAccessKeyLastUsed"] == 0


def test_unknown_columns(prod: fake_aws.Account, monitor: Monitor) -> None:
    """Columns are found by name, and unknown ones are ignored."""
    add_key(prod)
    lines = fake_aws.report.content(prod, quoted=True).splitlines()
    prod.report.content = b"\n".join(b"new," + line for line in lines)
    account = monitor(report_mode=ReportMode.VALUES)
    account.refresh()

    assert account.last_uses == last_uses_of(prod)
    assert account.calls["GetAccessKeyLastUsed"] == 0


def rewritten(prod: fake_aws.Account, old: str, new: str) -> bytes:
    """The report of *prod* with a text replaced, once."""
    text = fake_aws.report.content(prod, quoted=True).decode()
    assert old in text
    return text.replace(old, new, 1).encode()


BAD_ROWS = {
    "a short row": ("\nalice,", "\n"),
    "a date in the future": ("2026-11-23T12:00:00Z,eu-west-1", "2099-01-01T00:00:00Z,eu-west-1"),
    "a date of the year 1": ("2026-11-23T12:00:00Z,eu-west-1", "0001-01-01T00:00:00Z,eu-west-1"),
    "no date": ("2026-11-23T12:00:00Z,eu-west-1", "yesterday,eu-west-1"),
    "no boolean": ("true,2026-11-22T12:00:00Z", "maybe,2026-11-22T12:00:00Z"),
    "no account": (f"arn:aws:iam::{PROD}:user/alice", "arn:aws:iam::x:user/alice"),
    "a second row": ("\nalice,", f"\nalice,arn:aws:iam::{PROD}:user/alice{',N/A' * 20}\nalice,"),
    "root in the future": ("no_information", "2099-01-01T00:00:00Z"),
    "NUL": ("eu-west-1", "\0"),
    "no region": ("eu-west-1", ""),
    "a huge field": ("eu-west-1", "x" * 200_000),
    "a quote": ("eu-west-1", '"'),
}


@pytest.mark.parametrize("case", BAD_ROWS)
@WITH_REPORTS
def test_a_malformed_row(
    prod: fake_aws.Account, monitor: Monitor, report_mode: ReportMode, case: str
) -> None:
    """A row that is malformed, or about another time, makes nothing false."""
    add_key(prod, "alice")
    add_key(prod, "bob")
    prod.report.content = rewritten(prod, *BAD_ROWS[case])
    account = monitor(report_mode=report_mode)
    account.refresh()

    assert account.latest.up
    assert account.last_uses == last_uses_of(prod)
    root = account.latest.root
    assert root is None or root.password_last_used is None


def test_a_byte_order_mark(prod: fake_aws.Account, monitor: Monitor) -> None:
    """A byte order mark at the beginning is ignored."""
    add_key(prod)
    prod.report.content = b"\xef\xbb\xbf" + fake_aws.report.content(prod, quoted=True)
    account = monitor(report_mode=ReportMode.VALUES)
    account.refresh()

    assert account.last_uses == last_uses_of(prod)
    assert account.calls["GetAccessKeyLastUsed"] == 0


@pytest.mark.parametrize("generated", ["2099-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "now", ""])
def test_a_report_of_the_future(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, monitor: Monitor, generated: str
) -> None:
    """A report without a possible time is not used, and another one is requested soon."""
    key = add_key(prod)
    content = b64encode(fake_aws.report.content(prod, quoted=True)).decode()
    body = response(
        "GetCredentialReport",
        f"<Content>{content}</Content><GeneratedTime>{generated}</GeneratedTime>",
    )
    fault = aws.fault(Fault(operation="GetCredentialReport", body=body))
    account = monitor(report_mode=ReportMode.VALUES)
    first = account.refresh().report
    aws.remove_fault(fault)
    clock.advance(hours=1)
    second = account.refresh().report

    assert first is not None
    assert second is not None
    assert (first.usable, second.usable) == (False, True)
    assert account.last_uses == {key.id: last_use_of(key)}
