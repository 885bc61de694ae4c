"""Which accounts are read, and what happens when they cannot be discovered."""

import logging
import threading
from dataclasses import replace

import pytest

from exporter.cli.accounts import Accounts, combine, complete
from exporter.model import Account, ReadError, Reason, RoleSession
from tests.builders import a_role_account, an_account

SESSION = RoleSession(external_id="x")

ONE, TWO, THREE = (
    replace(an_account(f"{number:012}", name), source="organization")
    for number, name in enumerate(("one", "two", "three"), 1)
)


class FakeDiscovery:
    """
    Finds the accounts that a test chooses.

    Attributes:
        outcome: The accounts, or what is raised.
    """

    def __init__(self, *accounts: Account) -> None:
        self.outcome: list[Account] | Exception = list(accounts)

    def discover(self) -> list[Account]:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class Reader:
    """What is read, and whether discovery is reported to work."""

    def __init__(self, discovery: FakeDiscovery, *configured: Account) -> None:
        self.applied: list[list[Account]] = []
        self.up: list[bool | None] = []
        self.identified: list[str] = []
        self._discovery = discovery
        self.accounts = Accounts(
            configured,
            discovery,
            interval=3600.0,
            identified=lambda: self.identified,
            apply=self.applied.append,
            report=self.up.append,
        )

    def discover(self) -> bool:
        return self.accounts.discover(self._discovery)


def test_discovered_accounts_are_read() -> None:
    """What is discovered is read, beside what is configured."""
    reader = Reader(FakeDiscovery(ONE, TWO), THREE)

    assert reader.discover()

    assert reader.applied == [[THREE, ONE, TWO]]
    assert reader.up == [False, True]


@pytest.mark.parametrize("error", [ReadError(Reason.TIMEOUT, "no answer"), ValueError("a bug")])
def test_a_failed_discovery_changes_nothing(error: Exception) -> None:
    """If accounts cannot be listed, those known so far are read, and discovery is down."""
    discovery = FakeDiscovery(ONE)
    reader = Reader(discovery)
    reader.discover()
    discovery.outcome = error

    assert not reader.discover()

    assert reader.applied == [[ONE]]
    assert reader.up == [False, True, False]


def test_why_accounts_are_missing() -> None:
    """It is known whether all accounts of an organization are missing, or new ones, and why."""
    discovery = FakeDiscovery(ONE)
    reader = Reader(discovery)
    errors = [reader.accounts.error]
    outcomes: list[list[Account] | Exception] = [
        ReadError(Reason.TIMEOUT, "no answer"),
        [ONE],
        RuntimeError("a secret"),
        [ONE],
    ]
    for discovery.outcome in outcomes:
        reader.discover()
        errors.append(reader.accounts.error)

    assert errors == [
        "the accounts of the organization are unknown: it is being asked",
        "the accounts of the organization are unknown: no answer",
        "",
        "new accounts of the organization are unknown: see the log",
        "",
    ]


def test_a_failure_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A failure that persists is logged when it begins, and the recovery is."""
    caplog.set_level(logging.INFO)
    discovery = FakeDiscovery()
    reader = Reader(discovery)
    discovery.outcome = ReadError(Reason.ACCESS_DENIED, "not allowed")
    reader.discover()
    reader.discover()
    discovery.outcome = [ONE]
    reader.discover()
    reader.discover()

    assert [record.message for record in caplog.records] == [
        "discovery failed",
        "accounts discovered",
    ]


def test_an_account_that_left_is_not_read() -> None:
    """What the organization no longer has is not read any longer."""
    discovery = FakeDiscovery(ONE, TWO)
    reader = Reader(discovery)
    reader.discover()
    discovery.outcome = [TWO]
    reader.discover()

    assert reader.applied[-1] == [TWO]


def test_configured_accounts_take_precedence() -> None:
    """An account that is also discovered is read as it is configured."""
    configured = a_role_account(ONE.id, name="prod")

    assert combine([configured], [ONE, TWO]) == [configured, TWO]


def test_a_configured_account_without_a_name_gets_its_name() -> None:
    """The organization's name of an account is better than its id."""
    configured = a_role_account(ONE.id, name="")

    assert combine([configured], [ONE]) == [replace(configured, name="one")]


def test_a_configured_account_gets_its_tags() -> None:
    """The tags of a configured account are those that the organization has for it."""
    discovered = replace(ONE, tags=(("env", "prod"),))

    [account] = combine([an_account(ONE.id, "mine")], [discovered])

    assert (account.name, account.tags) == ("mine", (("env", "prod"),))


def test_an_account_that_is_configured_without_id_is_read_once() -> None:
    """Once it is known whose the default credentials are, that account is not read twice."""
    default = Account("", "")
    reader = Reader(FakeDiscovery(ONE, TWO), default)
    reader.identified = [ONE.id]

    reader.discover()

    assert reader.applied == [[default, TWO]]


def test_stored_accounts_are_completed() -> None:
    """A discovered account that was stored gets what is configured for all."""
    stored = replace(a_role_account(role="old"), source="organization")

    account = complete(stored, role_name="new", role_session=SESSION, profile="audit")

    assert account.role_arn is not None
    assert (account.role_arn.name, account.role_session, account.profile) == (
        "new",
        SESSION,
        "audit",
    )


def test_a_stored_account_without_a_role_stays_so() -> None:
    """The management account, which was read with its own credentials, still is."""
    account = complete(an_account(), role_name="new", role_session=SESSION, profile=None)

    assert (account.role_arn, account.role_session.external_id) == (None, None)


def test_discovery_ends_with_the_exporter() -> None:
    """The thread that discovers accounts ends when the exporter stops."""
    stop = threading.Event()
    reader = Reader(FakeDiscovery(ONE))
    stop.set()

    reader.accounts.keep_up_to_date(stop)

    assert reader.applied == [[ONE]]


def test_a_failed_discovery_is_repeated_soon() -> None:
    """After a failure it takes 30 s, 1 m, 2 m ... until the next attempt, up to the interval."""
    discovery, waits = FakeDiscovery(), list[float]()
    discovery.outcome = ReadError(Reason.TIMEOUT, "no answer")
    reader = Reader(discovery)

    reader.accounts.keep_up_to_date(_Stop(waits, 8))

    assert waits == [30, 60, 120, 240, 480, 960, 1920, 3600]


def test_accounts_are_discovered_at_every_interval() -> None:
    """After a success the next discovery is an interval away, and earlier failures do not count."""
    failure, waits = ReadError(Reason.TIMEOUT, "no answer"), list[float]()
    discovery = FakeDiscovery()
    outcomes: list[list[Account] | Exception] = [[ONE], failure, failure, [ONE], failure]
    reader = Reader(discovery)

    class Stop(_Stop):
        def wait(self, timeout: float | None = None) -> bool:
            discovery.outcome = outcomes.pop(0) if outcomes else []
            return super().wait(timeout)

    discovery.outcome = [ONE]
    reader.accounts.keep_up_to_date(Stop(waits, 6))

    assert waits == [3600, 3600, 30, 60, 3600, 30]


class _Stop(threading.Event):
    """Notes how long is waited, and is set after so many times."""

    def __init__(self, waits: list[float], count: int) -> None:
        super().__init__()
        self._waits = waits
        self._count = count

    def wait(self, timeout: float | None = None) -> bool:
        self._waits.append(timeout or 0)
        return len(self._waits) == self._count
