"""Rows of the credential report are matched with users, and their slots with keys."""

from datetime import timedelta

from exporter.model import NEVER, ReportMode
from tests import fake_aws
from tests.aws import ALL_MODES, EXACT_MODES, WITH_REPORTS, Monitor
from tests.builders import (
    NOON,
    FakeClock,
    add_key,
    days_ago,
    last_use_of,
    last_uses_of,
    with_swapped_slots,
)


def test_slots_in_another_order(prod: fake_aws.Account, clock: FakeClock, monitor: Monitor) -> None:
    """Slots are matched by creation time: a report lists the active key first."""
    old = add_key(prod, created=days_ago(9), status="Inactive")
    young = add_key(prod, used=NOON + timedelta(minutes=1))
    account = monitor(report_mode=ReportMode.VALUES)
    account.refresh()
    clock.advance(hours=5)
    young.use()
    account.refresh()

    assert account.last_uses == {old.id: last_use_of(old), young.id: last_use_of(young)}


def test_a_single_key_in_the_second_slot(prod: fake_aws.Account, monitor: Monitor) -> None:
    """A user's only key can be in the second slot."""
    key = add_key(prod)
    content = fake_aws.report.content(prod, quoted=True)
    prod.report.content = with_swapped_slots(content)
    account = monitor(report_mode=ReportMode.VALUES)
    account.refresh()

    assert account.last_uses == {key.id: last_use_of(key)}
    assert account.calls["GetAccessKeyLastUsed"] == 0


def test_the_second_key_after_the_first_was_deleted(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """After the first key was deleted the second one keeps its own last use."""
    first = add_key(prod, created=days_ago(2), used=NOON - timedelta(hours=1))
    second = add_key(prod, created=days_ago(1), used=NOON - timedelta(hours=2))
    account = monitor(report_mode=ReportMode.VALUES)
    account.refresh()
    first.delete()
    clock.advance(hours=5)
    account.refresh()

    assert account.last_uses == {second.id: last_use_of(second)}


def test_two_keys_of_the_same_second(prod: fake_aws.Account, monitor: Monitor) -> None:
    """The slots of two active keys of the same second are ambiguous: both last uses are read."""
    first, second = add_key(prod), add_key(prod, used=None)
    account = monitor(report_mode=ReportMode.VALUES)
    account.refresh()

    assert account.calls["GetAccessKeyLastUsed"] == 2
    assert account.last_uses == {first.id: last_use_of(first), second.id: NEVER}


def test_two_keys_of_the_same_second_and_different_status(
    prod: fake_aws.Account, monitor: Monitor
) -> None:
    """The slots of two keys of the same second are distinguished by their status."""
    first, second = (
        add_key(prod, status="Inactive"),
        add_key(prod, used=NOON - timedelta(minutes=15)),
    )
    account = monitor(report_mode=ReportMode.VALUES)
    account.refresh()

    assert account.calls["GetAccessKeyLastUsed"] == 1  # of the inactive one, once
    assert account.last_uses == {first.id: last_use_of(first), second.id: last_use_of(second)}


@WITH_REPORTS
def test_a_key_created_after_the_report(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor, report_mode: ReportMode
) -> None:
    """A second key created after the report is found with the next report at the latest."""
    add_key(prod)
    account = monitor(report_mode=report_mode)
    account.refresh()
    clock.advance(minutes=15)
    prod.users["alice"].add_key().use()
    clock.advance(hours=5)
    account.refresh()

    assert account.last_uses == last_uses_of(prod)


@WITH_REPORTS
def test_a_key_created_between_report_and_first_refresh(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor, report_mode: ReportMode
) -> None:
    """The first refresh lists keys, and so finds a key that is not in the report."""
    add_key(prod)
    prod.report.generate()
    clock.advance(hours=1)
    prod.users["alice"].add_key().use()
    account = monitor(report_mode=report_mode)
    account.refresh()

    assert account.last_uses == last_uses_of(prod)


def test_a_new_key_without_reports(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """Without reports a new key is found by the next refresh."""
    add_key(prod)
    account = monitor(report_mode=ReportMode.OFF)
    account.refresh()
    clock.advance(minutes=15)
    prod.users["alice"].add_key()
    account.refresh()

    assert account.last_uses == last_uses_of(prod)


@ALL_MODES
def test_a_third_key(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor, report_mode: ReportMode
) -> None:
    """A third key, which reports do not cover, is known and kept up to date."""
    add_key(prod, created=days_ago(3))
    add_key(prod, created=days_ago(2))
    third = add_key(prod, created=days_ago(1), used=None)
    prod.report.generate()
    clock.advance(minutes=1)
    account = monitor(report_mode=report_mode)
    account.refresh()
    clock.advance(minutes=15)
    third.use()
    account.refresh()

    assert account.last_uses == last_uses_of(prod)


@WITH_REPORTS
def test_more_keys_than_a_report_covers(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor, report_mode: ReportMode
) -> None:
    """Keys are listed at every refresh for a user whom the report does not cover completely."""
    for days in (3, 2, 1):
        add_key(prod, created=days_ago(days))
    account = monitor(report_mode=report_mode)
    account.refresh()
    clock.advance(minutes=15)
    prod.users["alice"].add_key()
    account.refresh()

    assert account.last_uses == last_uses_of(prod)


@EXACT_MODES
def test_a_recreated_user(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor, report_mode: ReportMode
) -> None:
    """A user that was deleted and recreated is a different user with other keys."""
    add_key(prod)
    account = monitor(report_mode=report_mode)
    account.refresh()
    clock.advance(minutes=15)
    prod.users["alice"].delete()
    key = prod.add_user("alice").add_key()
    account.refresh()

    assert account.last_uses == {key.id: NEVER}


def test_a_recreated_user_in_values_mode(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """In values mode a recreated user is found with the next report."""
    add_key(prod)
    account = monitor(report_mode=ReportMode.VALUES)
    account.refresh()
    clock.advance(hours=5)
    prod.users["alice"].delete()
    key = prod.add_user("alice").add_key()
    account.refresh()

    assert account.last_uses == {key.id: NEVER}


@WITH_REPORTS
def test_a_user_recreated_after_the_report(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor, report_mode: ReportMode
) -> None:
    """The row of a deleted user is not applied to a new user of the same name."""
    add_key(prod)
    account = monitor(report_mode=report_mode)
    prod.report.generate()
    clock.advance(minutes=15)
    prod.users["alice"].delete()
    key = prod.add_user("alice").add_key()
    account.refresh()

    assert account.last_uses == {key.id: NEVER}


def test_a_recreated_user_is_not_covered_by_the_report(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """Keys are listed for a user created after the report, whoever had the name before."""
    alice = prod.add_user("alice")
    prod.report.generate()
    clock.advance(minutes=15)
    alice.delete()
    alice = prod.add_user("alice")
    account = monitor()
    account.refresh()
    clock.advance(minutes=15)
    key = alice.add_key()
    account.refresh()

    assert account.last_uses == {key.id: NEVER}


@EXACT_MODES
def test_a_moved_user(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor, report_mode: ReportMode
) -> None:
    """A user moved to another path keeps the keys, and the new path is known at once."""
    add_key(prod)
    account = monitor(report_mode=report_mode)
    account.refresh()
    clock.advance(minutes=15)
    prod.users["alice"].move("/staff/")
    account.refresh()

    assert account.latest.users[0].path == "/staff/"
    assert account.last_uses == last_uses_of(prod)


def test_a_moved_user_in_values_mode(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """In values mode the new path comes with the next report, without listing keys."""
    add_key(prod)
    account = monitor(report_mode=ReportMode.VALUES)
    account.refresh()
    prod.users["alice"].move("/staff/")
    clock.advance(hours=5)
    account.refresh()

    assert account.latest.users[0].path == "/staff/"
    assert account.calls["ListAccessKeys"] == 0


def test_an_inactive_key_that_is_unused_in_the_report(
    prod: fake_aws.Account, monitor: Monitor
) -> None:
    """A report may lack the last use of an inactive key, so it is read from AWS."""
    key = add_key(prod, status="Inactive")
    use, key.last_use = key.last_use, None
    prod.report.generate()
    key.last_use = use
    account = monitor(report_mode=ReportMode.VALUES)
    account.refresh()

    assert account.last_uses == {key.id: last_use_of(key)}


def test_a_report_older_than_the_known_last_use(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """A report older than a known last use does not change it."""
    key = add_key(prod, used=None)
    prod.report.generate()
    prod.report.denied = True
    clock.advance(hours=1)
    key.use()
    account = monitor(report_mode=ReportMode.VALUES)
    account.refresh()
    prod.report.denied = False
    clock.advance(hours=1)
    account.refresh()

    assert account.last_uses == {key.id: last_use_of(key)}


def test_a_report_older_than_an_answer(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """A report never replaces a later last use that AWS has returned."""
    key = add_key(prod, used=days_ago(3))
    prod.report.generate()
    clock.advance(minutes=15)
    key.use()
    key.status = "Inactive"
    account = monitor(report_mode=ReportMode.OFF)
    account.refresh()
    account.reconfigure(report_mode=ReportMode.VALUES)
    account.refresh()

    assert account.last_uses == {key.id: last_use_of(key)}


def test_a_recreated_user_is_listed_until_a_report_covers_it(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """The keys of a user recreated since the report are listed at every refresh until the next."""
    add_key(prod)
    account = monitor()
    account.refresh()
    prod.users["alice"].delete()
    clock.advance(minutes=15)
    add_key(prod)
    account.refresh()
    clock.advance(minutes=15)
    second = add_key(prod)
    account.refresh()

    assert second.id in account.last_uses
