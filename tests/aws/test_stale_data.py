"""Data that was not confirmed for too long is dropped, and read again."""

from dataclasses import replace
from datetime import timedelta

from exporter.model import UNKNOWN, ReportMode
from tests import fake_aws
from tests.aws import ALL_MODES, Monitor
from tests.builders import NOON, FakeClock, add_key, last_use_of, last_uses_of


def test_old_lists_are_dropped(prod: fake_aws.Account, monitor: Monitor) -> None:
    """What was listed too long ago is dropped completely; the last success stays known."""
    add_key(prod)
    prod.add_root_key()
    snapshot = monitor().refresh().without_stale_facts(lambda at: at < NOON + timedelta(seconds=1))

    assert (snapshot.users, snapshot.keys, snapshot.root) == ((), (), None)
    assert snapshot.read_at == NOON


@ALL_MODES
def test_refresh_after_everything_was_dropped(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor, report_mode: ReportMode
) -> None:
    """After everything was dropped the account is read from scratch."""
    add_key(prod)
    account = monitor(report_mode=report_mode)
    account.refresh()
    clock.advance(days=8)
    account.latest = account.latest.without_stale_facts(lambda at: at < NOON + timedelta(days=1))
    account.refresh()

    assert account.last_uses == last_uses_of(prod)
    assert account.latest.up


@ALL_MODES
def test_an_unknown_last_use_is_read_again(
    prod: fake_aws.Account, clock: FakeClock, monitor: Monitor, report_mode: ReportMode
) -> None:
    """A last use that was dropped for its age comes back with the next refresh."""
    key = add_key(prod)
    account = monitor(report_mode=report_mode)
    account.refresh()
    (known,) = account.latest.keys
    account.latest = replace(account.latest, keys=(replace(known, last_use=UNKNOWN, as_of=None),))
    clock.advance(minutes=15)
    account.refresh()

    assert account.last_uses == {key.id: last_use_of(key)}
