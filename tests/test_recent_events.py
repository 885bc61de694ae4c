"""The samples of recent events, and of what is remembered of keys."""

from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from exporter.key_ids import KeyIdFormatter
from exporter.metrics import RenderOptions
from exporter.model import (
    AccessKey,
    AccountMemory,
    AccountSnapshot,
    Event,
    EventKind,
    KeyIdFormat,
    KeyMemory,
    User,
)
from tests.exposition import KEYS, a_store, an_event, hours_ago, render
from tests.facts import NOON, a_key, a_snapshot, a_user, days_ago

KEY = KEYS[0]
MASKED = KeyIdFormatter(KeyIdFormat.MASKED)
OPTIONS = RenderOptions(key_labels=MASKED.labels, user_names=MASKED.names, redact=MASKED.redact)

Series = list[tuple[dict[str, str], float]]
"""(labels besides those of the account, value) of each sample."""


def remembered(*keys: AccessKey, events: tuple[Event, ...] = ()) -> AccountMemory:
    return AccountMemory(
        keys={key.id: KeyMemory(key=key, user_id="", status_as_of=NOON) for key in keys},
        events=events,
    )


def samples(
    name: str,
    *events: Event,
    snapshot: AccountSnapshot | None = None,
    memory: AccountMemory | None = None,
    options: RenderOptions | None = None,
) -> Series:
    """Return the samples of one family, given *events* about the key of alice."""
    store = a_store(
        snapshot or a_snapshot(KEY),
        options=options,
        memory=memory or remembered(KEY, events=events),
    )
    return [
        (
            {k: v for k, v in sample.labels.items() if k not in ("account_id", "account")},
            sample.value,
        )
        for family in text_string_to_metric_families(render(store))
        for sample in family.samples
        if sample.name == name
    ]


def values(name: str, *events: Event) -> list[float]:
    return [value for _, value in samples(name, *events)]


EVENT_FAMILIES = {
    EventKind.CREATED: "aws_iam_access_key_creation_noticed_timestamp_seconds",
    EventKind.FIRST_USED: "aws_iam_access_key_first_used_age_seconds",
    EventKind.AWAKENED: "aws_iam_access_key_used_after_idle_seconds",
    EventKind.NEW_SERVICE: "aws_iam_access_key_new_service_timestamp_seconds",
    EventKind.NEW_REGION: "aws_iam_access_key_new_region_timestamp_seconds",
    EventKind.ROOT_USED: "aws_iam_account_root_use_noticed_timestamp_seconds",
}


@pytest.mark.parametrize("kind", EventKind)
def test_an_event_is_a_sample_of_its_family_only(kind: EventKind) -> None:
    """An event has a sample in the family of its kind, if there is one, and in no other."""
    key = "" if kind in (EventKind.ROOT_USED, EventKind.ROOT_KEY_CREATED) else KEY.id
    event = an_event(kind, key, seconds=1.0, service="s3", region="eu-west-1")

    found = {name for name in EVENT_FAMILIES.values() if values(name, event)}

    assert found == ({EVENT_FAMILIES[kind]} if kind in EVENT_FAMILIES else set())


def test_a_new_key_is_shown_when_it_is_noticed() -> None:
    """The value is when its creation was noticed, which may be long after the creation."""
    event = an_event(EventKind.CREATED, at=days_ago(9), noticed_at=hours_ago(2))

    (value,) = values(EVENT_FAMILIES[EventKind.CREATED], event)

    assert value == hours_ago(2).timestamp()


@pytest.mark.parametrize("kind", [EventKind.AWAKENED, EventKind.FIRST_USED])
def test_the_longest_time_is_shown(kind: EventKind) -> None:
    """Of several events of a kind, the one with the most seconds is shown."""
    events = [an_event(kind, seconds=seconds) for seconds in (40.0, 90.7, 60.0)]

    assert values(EVENT_FAMILIES[kind], *events) == [90]


@pytest.mark.parametrize(
    ("kind", "label"), [(EventKind.NEW_SERVICE, "service"), (EventKind.NEW_REGION, "region")]
)
def test_each_new_place_is_shown(kind: EventKind, label: str) -> None:
    """Each new service, or region, has the time of its latest use."""
    events = [
        an_event(kind, at=hours_ago(hours), **{label: value})
        for value, hours in [("one", 3), ("two", 2), ("one", 1)]
    ]

    found = samples(EVENT_FAMILIES[kind], *events)

    assert {labels[label]: value for labels, value in found} == {
        "one": hours_ago(1).timestamp(),
        "two": hours_ago(2).timestamp(),
    }


def test_each_credential_of_root_is_shown() -> None:
    """Each credential has the time at which its latest use was noticed."""
    events = [
        an_event(EventKind.ROOT_USED, "", "", credential=credential, noticed_at=hours_ago(hours))
        for credential, hours in [("password", 3), ("access_key", 2), ("password", 1)]
    ]

    found = samples(EVENT_FAMILIES[EventKind.ROOT_USED], *events)

    assert found == [
        ({"credential": "password"}, hours_ago(1).timestamp()),
        ({"credential": "access_key"}, hours_ago(2).timestamp()),
    ]


# -- the labels of events ----------------------------------------------------------------------

CREATED = EVENT_FAMILIES[EventKind.CREATED]


def labels_of_new_keys(
    snapshot: AccountSnapshot, memory: AccountMemory, options: RenderOptions | None = None
) -> list[tuple[str, str]]:
    found = samples(CREATED, snapshot=snapshot, memory=memory, options=options)
    return [(labels["user"], labels["access_key_id"]) for labels, _ in found]


def test_a_renamed_user() -> None:
    """An event has the current name of the key's user, as the other facts about the key have."""
    memory = remembered(KEY, events=(an_event(EventKind.CREATED, user="old-name"),))

    assert labels_of_new_keys(a_snapshot(KEY), memory) == [("alice", KEY.id)]


def test_a_deleted_key() -> None:
    """The event of a key that is gone has the labels that the key had last."""
    gone = a_key("AKIAGONE", user="new-name")
    memory = remembered(gone, events=(an_event(EventKind.CREATED, gone.id, "old-name"),))

    assert labels_of_new_keys(a_snapshot(KEY), memory) == [("new-name", "AKIAGONE")]


def test_a_deleted_key_that_is_not_remembered() -> None:
    """Its event has the labels of the time of the event."""
    memory = AccountMemory(events=(an_event(EventKind.CREATED, "AKIAGONE", "dave"),))

    assert labels_of_new_keys(a_snapshot(KEY), memory) == [("dave", "AKIAGONE")]


def test_stale_facts() -> None:
    """Events are shown while the facts about their keys are unknown."""
    memory = remembered(KEY, events=(an_event(EventKind.CREATED),))

    assert labels_of_new_keys(a_snapshot(KEY).without_facts(), memory) == [("alice", KEY.id)]


def test_key_ids_of_events_are_formatted() -> None:
    """The key and user of a deleted key are shown as configured."""
    event = an_event(EventKind.CREATED, "AKIAAAAAAAAAAAAASAME", "ci-AKIABBBBBBBBBBBBSAME")

    shown = labels_of_new_keys(a_snapshot(KEY), AccountMemory(events=(event,)), OPTIONS)

    assert shown == [("ci-AKIA****SAME", "AKIA****SAME")]


TAGGED = a_user("alice", tags=(("team", "data"), ("owner", "ada")))
TAGS = RenderOptions(tags={"team": "tag_team"})


@pytest.mark.parametrize("family", EVENT_FAMILIES.items(), ids=lambda family: family[1])
def test_tags_are_labels_of_events(family: tuple[EventKind, str]) -> None:
    """The events of a key have the allowed tags of its user; those of root have none."""
    kind, name = family
    is_root = kind is EventKind.ROOT_USED
    event = an_event(kind, "" if is_root else KEY.id, seconds=1.0, service="s3", region="us-east-1")
    snapshot = replace(a_snapshot(KEY), users=(TAGGED,))

    found = samples(name, snapshot=snapshot, memory=remembered(KEY, events=(event,)), options=TAGS)

    tags = [{k: v for k, v in labels.items() if k.startswith("tag_")} for labels, _ in found]
    assert tags == [{} if is_root else {"tag_team": "data"}]


@pytest.mark.parametrize(
    ("users", "remembered_users", "expected"),
    [((TAGGED,), (), "data"), ((), (TAGGED,), "data"), ((), (), "")],
    ids=["of a user", "without facts", "of a deleted user"],
)
def test_tags_of_a_deleted_key(
    users: tuple[User, ...], remembered_users: tuple[User, ...], expected: str
) -> None:
    """The event of a key that is gone has the tags of its user, as far as they are known."""
    memory = replace(
        remembered(KEY, events=(an_event(EventKind.CREATED),)),
        users={user.id: user for user in remembered_users},
    )

    found = samples(
        CREATED, snapshot=replace(a_snapshot(), users=users), memory=memory, options=TAGS
    )

    assert [labels["tag_team"] for labels, _ in found] == [expected]


@pytest.mark.parametrize("is_deleted", [False, True])
def test_keys_that_look_the_same(is_deleted: bool) -> None:
    """The label of a key does not change when another key that looks the same is deleted."""
    first, second = a_key("AKIAAAAAAAAAAAAASAME"), a_key("AKIABBBBBBBBBBBBSAME")
    snapshot = a_snapshot(second) if is_deleted else a_snapshot(first, second)
    memory = remembered(first, second, events=(an_event(EventKind.CREATED, first.id),))

    shown = labels_of_new_keys(snapshot, memory, OPTIONS)

    assert shown == [("alice", MASKED.labels([first, second])[first.id])]


@pytest.mark.parametrize("kind", [EventKind.NEW_SERVICE, EventKind.NEW_REGION])
def test_services_and_regions_of_events_are_formatted(kind: EventKind) -> None:
    """Values that look the same when formatted are one sample."""
    events = tuple(
        an_event(kind, service=text, region=text)
        for text in ("akiaiosfodnn7example", "AKIAIOSFODNN7EXAMPLE")
    )

    found = samples(EVENT_FAMILIES[kind], memory=remembered(KEY, events=events), options=OPTIONS)

    assert [labels[str(kind).removeprefix("new_")] for labels, _ in found] == ["AKIA****MPLE"]


# -- what is remembered of keys ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "expected"), [("Inactive", [3]), ("Expired", [3]), ("Active", [])]
)
def test_since_when_a_key_is_inactive(status: str, expected: list[int]) -> None:
    """A key that is not active has the time at which it was first seen so."""
    key = replace(KEY, status=status)
    memory = AccountMemory(
        keys={
            key.id: KeyMemory(
                key=key, user_id="", status_as_of=NOON, inactive_since=NOON - timedelta(days=3)
            )
        }
    )

    found = samples(
        "aws_iam_access_key_inactive_since_timestamp_seconds",
        snapshot=a_snapshot(key),
        memory=memory,
    )

    assert [(NOON.timestamp() - value) / 86400 for _, value in found] == expected


def test_an_inactive_key_of_which_nothing_is_remembered() -> None:
    """Nobody can say since when it is inactive."""
    name = "aws_iam_access_key_inactive_since_timestamp_seconds"
    snapshot = a_snapshot(replace(KEY, status="Inactive"))

    assert samples(name, snapshot=snapshot, memory=AccountMemory()) == []


def test_a_user_whose_only_key_is_gone() -> None:
    """The event of the key is shown beside the user, who has no key any more."""
    snapshot = replace(a_snapshot(), users=(a_user(),))
    memory = remembered(KEY, events=(an_event(EventKind.CREATED),))

    assert labels_of_new_keys(snapshot, memory) == [("alice", KEY.id)]
