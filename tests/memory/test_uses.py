"""Last uses that change: first, after a long time, or in another place."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from exporter.memory.uses import MAX_USES
from exporter.model import NEVER, UNKNOWN, AccessKey, Event, EventKind, LastUse, SeenUse, Use
from tests.builders import a_key
from tests.memory.watcher import KEY, Watcher, day, kinds, owner, used

FIRST_USED, AWAKENED = EventKind.FIRST_USED, EventKind.AWAKENED
NEW_SERVICE, NEW_REGION = EventKind.NEW_SERVICE, EventKind.NEW_REGION


def key(last_use: Use, **fields: Any) -> AccessKey:
    return a_key(**{"last_use": last_use, "created": day(-100), **fields})


def awakened(events: list[Event]) -> list[Event]:
    return [event for event in events if event.kind is AWAKENED]


# -- the first use -----------------------------------------------------------------------------


def test_a_key_is_used_for_the_first_time() -> None:
    """It was never used, and now it was: how old was it?"""
    watcher = Watcher()
    watcher.look(0, key(NEVER))
    assert watcher.look(1, key(used(0.5))) == [
        Event(
            kind=FIRST_USED,
            at=day(0.5),
            noticed_at=day(1),
            user="alice",
            access_key_id=KEY,
            seconds=timedelta(days=100.5).total_seconds(),
            service="s3",
            region="eu-west-1",
        )
    ]


def test_a_key_cannot_be_used_before_it_was_created() -> None:
    """AWS rounds the times of uses down."""
    watcher = Watcher()
    watcher.look(0, key(NEVER, created=day(0.5)))
    (event,) = watcher.look(1, key(used(0.49), created=day(0.5)))
    assert event.seconds == 0


def test_a_last_use_that_was_unknown_is_not_the_first() -> None:
    """The key may have been used for years."""
    watcher = Watcher()
    watcher.look(0, key(UNKNOWN))
    assert watcher.look(1, key(used(0.5))) == []


def test_a_key_that_was_created_and_used_was_seen_used_at_once() -> None:
    """Nobody has seen that it was never used."""
    watcher = Watcher()
    watcher.look(0)
    assert kinds(watcher.look(1, key(used(0.6), created=day(0.5)))) == [EventKind.CREATED]


@pytest.mark.parametrize("missing", [UNKNOWN, NEVER])
def test_a_known_last_use_is_not_forgotten(missing: Use) -> None:
    """A last use that could not be read, or that AWS lacks for a moment, was there before."""
    watcher = Watcher()
    watcher.look(0, key(used(-1)))
    assert watcher.look(1, key(missing)) == []
    assert watcher.look(2, key(used(-1))) == []
    assert (watcher.key.key.last_use, watcher.key.key.as_of) == (used(-1), day(2))


# -- after a long time -------------------------------------------------------------------------


def test_a_key_awakens() -> None:
    """The proven idle time: AWS still reported the earlier use thirty days after it."""
    watcher = Watcher()
    watcher.look(0, key(used(-1)))
    watcher.look(29, key(used(-1)))
    assert watcher.look(40, key(used(35))) == [
        Event(
            kind=AWAKENED,
            at=day(35),
            noticed_at=day(40),
            user="alice",
            access_key_id=KEY,
            occurrence=day(-1).isoformat(),
            seconds=timedelta(days=30).total_seconds(),
            service="s3",
            region="eu-west-1",
        )
    ]


def test_a_key_that_was_idle_for_less_does_not_awaken() -> None:
    """A moment less than the configured time is not enough."""
    watcher = Watcher()
    watcher.look(0, key(used(-1)))
    watcher.look(28.99, key(used(-1)))
    assert watcher.look(40, key(used(35))) == []


def test_time_in_which_nobody_looked_proves_nothing() -> None:
    """The key may have been used every day of an outage: only its end is known."""
    watcher = Watcher()
    watcher.look(0, key(used(-1)))
    assert watcher.look(400, key(used(399))) == []


def test_time_in_which_the_last_use_was_unknown_proves_nothing() -> None:
    """A refresh that did not read the last use is no look."""
    watcher = Watcher()
    watcher.look(0, key(used(-1)))
    watcher.look(100, key(UNKNOWN))
    watcher.look(200, key(used(-1), as_of=day(1)))  # the call failed, and the fact is old
    assert watcher.look(201, key(used(200))) == []


def test_a_key_is_not_idle_after_its_use() -> None:
    """A use that AWS reports late was before the latest look."""
    watcher = Watcher()
    watcher.look(0, key(used(-1)))
    watcher.look(50, key(used(-1)))
    (event,) = watcher.look(60, key(used(40)))
    assert event.seconds == timedelta(days=41).total_seconds()


def test_the_same_use_does_not_awaken_a_key() -> None:
    """However short the configured time is."""
    watcher = Watcher(min_idle=timedelta(0))
    watcher.look(0, key(used(-1)))
    assert watcher.look(1, key(used(-1))) == []
    assert kinds(watcher.look(2, key(used(1.5)))) == [AWAKENED]


def test_a_key_awakens_again() -> None:
    """After another month it is another event."""
    watcher = Watcher()
    looks = [(0, -1), (30, -1), (40, 35), (70, 35), (80, 75)]
    events = [event for at, use in looks for event in watcher.look(at, key(used(use)))]
    assert kinds(events) == [AWAKENED, AWAKENED]
    assert len({event.identity for event in events}) == 2


def test_a_key_that_stays_in_use_awakens_once() -> None:
    """The uses after the one that awakened it are not events, however many there are."""
    watcher = Watcher()
    watcher.look(0, key(used(-100)))
    looks = [1 + hours / 24 for hours in range(100)]
    events = [event for at in looks for event in watcher.look(at, key(used(at - 0.01)))]
    assert kinds(events) == [AWAKENED]
    assert events[0].noticed_at == day(1)


def test_a_key_that_is_seen_for_the_first_time_does_not_awaken() -> None:
    """Nobody knows when it was used before its last use."""
    watcher = Watcher()
    assert watcher.look(0, key(used(-0.01), created=day(-400))) == []


def test_a_dormant_key_awakens_soon_after_the_first_look() -> None:
    """One look proves all the time since the last use."""
    watcher = Watcher()
    watcher.look(0, key(used(-100)))
    (event,) = watcher.look(0.04, key(used(0.02)))
    assert event.seconds == timedelta(days=100).total_seconds()


def test_a_key_that_awakens_during_an_outage() -> None:
    """What was proven before the outage counts, and not how long the outage lasted."""
    watcher = Watcher()
    watcher.look(0, key(used(-100)))
    (event,) = watcher.look(3, key(used(2)))
    assert event.seconds == timedelta(days=100).total_seconds()
    assert event.noticed_at == day(3)


def test_an_older_answer_is_no_use() -> None:
    """IAM, or a report, may return an earlier use than it did before."""
    watcher = Watcher()
    watcher.look(0, key(used(-1)))
    watcher.look(50, key(used(-1)))
    assert watcher.look(51, key(used(-60))) == []
    assert (watcher.key.key.last_use, watcher.key.key.as_of) == (used(-1), day(50))


def test_an_older_confirmation_does_not_shorten_what_is_proven() -> None:
    """Another process relies on an older report with the same last use."""
    watcher = Watcher()
    watcher.look(0, key(used(-1)))
    watcher.look(50, key(used(-1)))
    watcher.look(50.1, key(used(-1), as_of=day(49)))
    assert watcher.key.key.as_of == day(50)
    assert kinds(watcher.look(60, key(used(55)))) == [AWAKENED]


def test_a_use_is_confirmed_when_it_was_read() -> None:
    """Another process has read it earlier, and remembers it later."""
    watcher = Watcher()
    watcher.look(50, key(used(-1)))
    watcher.look(51, key(used(48), as_of=day(49)))
    assert watcher.key.key.as_of == day(49)


def test_a_confirmation_in_the_future_proves_nothing() -> None:
    """The clock was ahead when it was read, nobody knows by how much."""
    watcher = Watcher()
    watcher.look(0, key(used(-1)))
    watcher.look(500, key(used(-1)))
    assert watcher.look(40, key(used(35))) == []


def test_a_confirmation_in_the_future_is_replaced() -> None:
    """The present counts again as soon as the clock is right."""
    watcher = Watcher()
    watcher.look(500, key(used(-1)))
    watcher.look(1, key(used(-1)))
    assert watcher.key.key.as_of == day(1)


# -- in another place --------------------------------------------------------------------------


def test_a_new_service_and_region() -> None:
    """A key is used in a service and a region where it was not seen used before."""
    watcher = Watcher()
    watcher.look(0, key(used(-1)))
    service, region = watcher.look(7, key(used(6.5, "ec2", "us-east-1")))
    facts: dict[str, Any] = {
        "at": day(6.5),
        "noticed_at": day(7),
        "user": "alice",
        "access_key_id": KEY,
        "service": "ec2",
        "region": "us-east-1",
    }
    assert {service, region} == {
        Event(kind=NEW_SERVICE, occurrence="ec2", **facts),
        Event(kind=NEW_REGION, occurrence="us-east-1", **facts),
    }


def test_a_key_is_watched_before_a_place_is_new() -> None:
    """What is seen within the first days is what the key is used for."""
    watcher = Watcher()
    watcher.look(0, key(used(-1)))
    assert watcher.look(6.99, key(used(6, "ec2", "us-east-1"))) == []
    assert watcher.look(8, key(used(7, "ec2", "us-east-1"))) == []
    assert watcher.look(9, key(used(8))) == []


def test_a_key_is_watched_since_its_last_use_is_known() -> None:
    """A key whose last use is unknown is not watched."""
    watcher = Watcher()
    watcher.look(0, key(UNKNOWN))
    watcher.look(1, key(UNKNOWN))
    assert watcher.key.watched_since is None
    watcher.look(5, key(used(4)))
    assert watcher.key.watched_since == day(5)
    assert watcher.look(11.99, key(used(11, "ec2"))) == []
    assert kinds(watcher.look(12, key(used(11.5, "iam")))) == [NEW_SERVICE]


def test_a_key_is_watched_since_aws_reported_its_last_use() -> None:
    """A report may be some hours old."""
    watcher = Watcher()
    watcher.look(5, key(used(4), as_of=day(4.9)))
    assert watcher.key.watched_since == day(4.9)


def test_a_key_that_was_never_used_is_watched() -> None:
    """Its first use is not in a new place, and its second may be."""
    watcher = Watcher()
    watcher.look(0, key(NEVER))
    assert kinds(watcher.look(10, key(used(9)))) == [FIRST_USED]
    assert kinds(watcher.look(11, key(used(10, "iam")))) == [NEW_SERVICE]


def test_a_service_without_regions_is_in_no_new_region() -> None:
    """AWS reports N/A as the region of such a service."""
    watcher = Watcher()
    watcher.look(0, key(used(-1)))
    assert kinds(watcher.look(8, key(used(7, "iam", "N/A")))) == [NEW_SERVICE]


def test_a_service_that_aws_cannot_name_is_not_new() -> None:
    """AWS reports N/A as such a service, which is remembered like others."""
    watcher = Watcher()
    watcher.look(0, key(used(-1)))
    assert watcher.look(8, key(used(7, "N/A", "N/A"))) == []
    assert [use.service for use in watcher.key.uses] == ["s3", "N/A"]


def test_places_are_remembered() -> None:
    """A place is new once."""
    watcher = Watcher()
    watcher.look(0, key(used(-1)))
    watcher.look(8, key(used(7, "iam", "us-east-1")))
    assert watcher.look(20, key(used(19, "s3", "us-east-1"))) == []
    assert watcher.key.uses == (
        SeenUse("s3", "eu-west-1", day(-1), day(-1)),
        SeenUse("iam", "us-east-1", day(7), day(7)),
        SeenUse("s3", "us-east-1", day(19), day(19)),
    )


def test_a_place_of_long_ago_is_not_new() -> None:
    """However long ago the key was used there, also if nothing is scraped for that long."""
    watcher = Watcher()
    watcher.look(0, key(used(-1)))
    for at in range(8, 400, 8):
        watcher.look(at, key(used(at - 1, "ec2", "us-east-1")))
    assert watcher.look(401, key(used(400))) == []


def test_the_first_and_the_latest_use_of_a_place_are_remembered() -> None:
    """Also if an older answer comes later."""
    watcher = Watcher()
    for at, use in ((0, -1), (2, 1), (3, -5)):
        watcher.look(at, key(used(use)))
    assert watcher.key.uses == (SeenUse("s3", "eu-west-1", day(-5), day(1)),)


def test_an_older_answer_can_be_of_a_new_place() -> None:
    """A report has a use that was missed between two looks."""
    watcher = Watcher()
    watcher.look(0, key(used(-1)))
    watcher.look(10, key(used(9)))
    (event,) = watcher.look(11, key(used(8, "iam")))
    assert (event.kind, event.at) == (NEW_SERVICE, day(8))
    assert watcher.key.key.last_use == used(9)


def test_the_oldest_place_is_forgotten_if_there_are_too_many() -> None:
    """Sixty-four places of a key are remembered, those that were used last."""
    watcher = Watcher()
    for number in range(MAX_USES + 1):
        watcher.look(number, key(used(number, f"service-{number}")))
    services = [use.service for use in watcher.key.uses]
    assert services == [f"service-{number}" for number in range(1, MAX_USES + 1)]


def test_a_clock_that_was_ahead_does_not_end_learning() -> None:
    """A key that is watched since a time in the future is watched since now."""
    watcher = Watcher()
    watcher.look(500, key(used(-1)))
    assert watcher.look(1, key(used(0.5))) == []
    assert watcher.key.watched_since == day(1)
    assert kinds(watcher.look(8, key(used(7, "iam")))) == [NEW_SERVICE]


def test_a_report_of_a_time_in_the_future_does_not_delay_learning() -> None:
    """Our clock is a bit behind AWS's."""
    watcher = Watcher()
    watcher.look(0, key(used(-1), as_of=day(0.001)))
    assert watcher.key.watched_since == day(0)


def test_a_key_whose_answer_has_no_time_is_watched_since_now() -> None:
    """A snapshot always has one; nothing depends on it."""
    watcher = Watcher()
    watcher.look(0, key(UNKNOWN))
    snapshot_key = replace(key(used(-1)), as_of=None)
    watcher.look(3, snapshot_key)
    assert watcher.key.watched_since == day(3)


def test_uses_are_noticed_although_the_keys_could_not_be_listed() -> None:
    """The last use is read key by key."""
    watcher = Watcher()
    watcher.look(0, key(NEVER))
    outdated = (owner(listed=day(0)),)
    assert kinds(watcher.look(1, key(used(0.5)), users=outdated)) == [FIRST_USED]


def test_an_event_of_a_use_has_the_latest_name_of_its_user() -> None:
    """The user was renamed since the last look."""
    watcher = Watcher()
    watcher.look(0, key(NEVER))
    renamed = owner("zed", id="AIDAALICE", listed=day(1))
    (event,) = watcher.look(1, key(used(0.5), user="zed"), users=(renamed,))
    assert event.user == "zed"


def test_a_use_is_compared_by_its_time() -> None:
    """AWS's times have whole seconds: a use of the same second is no later one."""
    watcher = Watcher()
    watcher.look(0, key(used(-40)))
    watcher.look(1, key(used(-40)))
    assert awakened(watcher.look(2, key(LastUse(day(-40), "ec2", "eu-west-1")))) == []
