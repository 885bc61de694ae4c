"""Accounts are read, also while another process has the store open."""

from datetime import timedelta

from exporter.store import Store, read_accounts
from tests.builders import NOON, PROD, TEST
from tests.store.conftest import Location
from tests.store.values import a_memory, an_event, save

DAY = timedelta(days=1)


def test_what_is_read_is_what_is_loaded(store: Store, location: Location) -> None:
    """Reading gives the snapshots and memories that the exporter loads at its start."""
    save(store, a_memory(), [an_event()], account_id=PROD)
    save(store, a_memory(), account_id=TEST)

    read = read_accounts(location, now=NOON, shown_for=DAY)

    assert read == sorted(store.load(), key=lambda each: each.snapshot.account.id)


def test_accounts_that_are_gone_are_not_read(store: Store, location: Location) -> None:
    """An account that is no longer configured is not read."""
    save(store, a_memory(), account_id=PROD)
    save(store, a_memory(), account_id=TEST)
    store.end_accounts([PROD], NOON)

    read = read_accounts(location, now=NOON, shown_for=DAY)

    assert [each.snapshot.account.id for each in read] == [PROD]
