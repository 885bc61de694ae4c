"""A list comes to an end, or is malformed after a few calls."""

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from exporter.aws.api import MAX_IDLE_PAGES, MAX_PAGES
from exporter.model import Reason, ReportMode, TagSource
from tests import fake_aws
from tests.aws import Monitor
from tests.aws.responses import response, user_element
from tests.builders import MonitoredAccount, add_key, last_use_of
from tests.fake_aws import FakeAws, Fault

TRUNCATED = "<IsTruncated>true</IsTruncated>"

MEMBERS = {
    "ListUsers": "Users",
    "ListAccessKeys": "AccessKeyMetadata",
    "ListUserTags": "Tags",
    "GetAccountAuthorizationDetails": "UserDetailList",
}


def page(operation: str, items: str, more: str) -> str:
    member = MEMBERS[operation]
    return response(operation, f"<{member}>{items}</{member}>{more}")


def serve(aws: FakeAws, operation: str, pages: Iterator[str]) -> None:
    """Answer each *operation* with the next of *pages*."""
    fault = aws.fault(Fault(operation=operation, body=""))

    def advance(called: str, *_: object) -> None:
        if called == operation:
            fault.body = next(pages)

    aws.on_call(advance)


@pytest.fixture
def account(prod: fake_aws.Account, monitor: Monitor) -> MonitoredAccount:
    """An account that was refreshed once, with two users."""
    add_key(prod, "alice")
    add_key(prod, "bob")
    account = monitor(report_mode=ReportMode.OFF)
    account.refresh()
    return account


BROKEN = {
    "no Marker": (TRUNCATED, 1),
    "an empty Marker": (f"{TRUNCATED}<Marker/>", 1),
    "two Markers": (f"{TRUNCATED}<Marker>a</Marker><Marker>b</Marker>", 1),
    "a repeated Marker": (f"{TRUNCATED}<Marker>a</Marker>", 2),
    "maybe": ("<IsTruncated>maybe</IsTruncated>", 1),
    "TRUE": ("<IsTruncated>TRUE</IsTruncated><Marker>a</Marker>", 1),
    "empty": ("<IsTruncated/>", 1),
    "false and a Marker": ("<IsTruncated>false</IsTruncated><Marker>a</Marker>", 1),
    "a Marker alone": ("<Marker>a</Marker>", 1),
}


@pytest.mark.parametrize("end", BROKEN)
@pytest.mark.parametrize("operation", MEMBERS)
def test_a_broken_end_of_a_page(
    aws: FakeAws, account: MonitoredAccount, operation: str, end: str
) -> None:
    """A page that does not say clearly whether it is the last one is malformed at once."""
    more, calls = BROKEN[end]
    bulk = operation == "GetAccountAuthorizationDetails"
    account.reconfigure(tag_source=TagSource.BULK if bulk else TagSource.PER_USER)
    known = account.latest
    aws.fault(Fault(operation=operation, body=page(operation, "", more)))
    account.refresh()
    users = 2 if operation in ("ListAccessKeys", "ListUserTags") else 1

    assert account.latest.failure is Reason.MALFORMED
    assert [key.id for key in account.latest.keys] == [key.id for key in known.keys]
    assert account.calls[operation] == calls * users


def endless(items: Callable[[int], str]) -> Iterator[str]:
    return (
        page("ListUsers", items(number), f"{TRUNCATED}<Marker>{number}</Marker>")
        for number in count()
    )


ENDLESS: dict[str, tuple[Callable[[int], str], int]] = {
    "empty pages": (lambda number: "", MAX_IDLE_PAGES),
    "the same user": (lambda number: user_element("alice"), MAX_IDLE_PAGES + 1),
    "the same two pages": (lambda number: user_element("ab"[number % 2] * 5), MAX_IDLE_PAGES + 2),
    "items without a name": (lambda number: "<member/>", MAX_IDLE_PAGES + 1),
}


@pytest.mark.parametrize("pages", ENDLESS)
def test_endless_pages(
    aws: FakeAws, prod: fake_aws.Account, account: MonitoredAccount, pages: str
) -> None:
    """Pages that bring nothing new end after a few calls, and the facts are kept."""
    items, calls = ENDLESS[pages]
    known = account.latest
    serve(aws, "ListUsers", endless(items))
    account.refresh()

    assert account.latest.failure is Reason.MALFORMED
    assert account.calls["ListUsers"] == calls
    assert (account.latest.users, account.latest.keys) == (known.users, known.keys)


def test_ever_new_users(aws: FakeAws, account: MonitoredAccount) -> None:
    """A list that goes on for ever with new users ends too."""
    serve(aws, "ListUsers", endless(lambda number: user_element(f"user-{number}")))
    account.refresh()

    assert account.latest.failure is Reason.MALFORMED
    assert account.calls["ListUsers"] == MAX_PAGES
    assert len(account.latest.users) == 2


def test_other_users_are_refreshed(
    aws: FakeAws, prod: fake_aws.Account, account: MonitoredAccount
) -> None:
    """A list of keys without an end costs only its user."""
    more = f"{TRUNCATED}<Marker>a</Marker>"
    aws.fault(
        Fault(operation="ListAccessKeys", user="alice", body=page("ListAccessKeys", "", more))
    )
    for key in prod.keys:
        key.use("ec2", "us-east-1")
    account.refresh()

    assert account.last_uses == {key.id: last_use_of(key) for key in prod.keys}
