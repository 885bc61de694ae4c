"""The event log is read by account, user, key and time, oldest first."""

from datetime import datetime
from typing import Any

import pytest

from exporter.model import EventKind
from exporter.store import EventRow, Store, read_events
from tests.builders import NOON, PROD, TEST, FakeClock, days_ago
from tests.store.conftest import Location
from tests.store.values import a_memory, an_event, save

ALICE = an_event("AKIA1", at=days_ago(1))
BOB = an_event("AKIA2", user="bob", at=days_ago(3.5), kind=EventKind.DELETED)
ROOT = an_event("", user="", at=days_ago(2), kind=EventKind.ROOT_USED)


@pytest.fixture
def events(store: Store, location: Location) -> Location:
    save(store, a_memory(), [ALICE, BOB], account_id=PROD)
    save(store, a_memory(), [ROOT], account_id=TEST)
    return location


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [BOB, ROOT, ALICE]),
        ({"account": TEST}, [ROOT]),
        ({"account": "prod"}, [BOB, ROOT, ALICE]),
        ({"account": "other"}, []),
        ({"user": "bob"}, [BOB]),
        ({"key": "AKIA1"}, [ALICE]),
        ({"since": days_ago(2)}, [ROOT, ALICE]),
        ({"since": days_ago(1.99), "user": "alice"}, [ALICE]),
    ],
)
def test_filters(events: Location, filters: dict[str, Any], expected: list[object]) -> None:
    """Each filter selects events, which are read in the order in which they happened."""
    assert [row.event for row in read_events(events, **filters)] == expected


def test_a_row(events: Location) -> None:
    """A row has the id and the name of the account."""
    assert read_events(events, account=TEST) == [EventRow(TEST, "prod", ROOT)]


def test_an_account_that_is_gone(store: Store, location: Location, clock: FakeClock) -> None:
    """Events outlive the account, whose name is then its id."""
    clock.advance(days=450)
    late = an_event(noticed_at=clock.now())
    saved = save(store, a_memory(), [late])
    store.end_accounts([], _midnight(NOON))
    clock.advance(days=1)
    save(store, a_memory(), account_id=TEST)

    assert saved.events == (late,)
    assert [row.account for row in read_events(location)] == [PROD]


def _midnight(at: datetime) -> datetime:
    return at.replace(hour=0)
