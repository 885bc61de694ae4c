"""Rows of keys: their findings, which are those of the alert rules, and how they are sorted."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from exporter.exemptions import Exemption, Exemptions
from exporter.key_ids import KeyIdFormatter
from exporter.model import (
    NEVER,
    UNKNOWN,
    AccountMemory,
    Event,
    EventKind,
    KeyIdFormat,
    KeyMemory,
    LastUse,
    ReportState,
    Root,
)
from exporter.report import (
    KeyRow,
    Order,
    Selection,
    ShowOptions,
    coverage_of,
    fitting,
    key_headings,
    key_names,
    key_record,
    key_rows,
    key_texts,
    not_seen,
    sort_keys,
    summary,
)
from exporter.report.findings import LIMITS, SEEN_INACTIVE, FindingKind
from tests.builders import NOON, a_key, a_snapshot, a_use, a_user, days_ago
from tests.report_scene import SCENE, failed, key_id, partial

RULES = Path(__file__).parent.parent / "deploy" / "prometheus" / "rules"

ALERTS = {
    "AwsIamAccessKeyAwakened": FindingKind.AWAKENED,
    "AwsIamAccessKeyFirstUse": FindingKind.FIRST_USE,
    "AwsIamAccessKeyUnused": FindingKind.UNUSED,
    "AwsIamAccessKeyNeverUsed": FindingKind.NEVER_USED,
    "AwsIamAccessKeySafeToDelete": FindingKind.SUPERSEDED,
    "AwsIamAccessKeyNotRotated": FindingKind.NOT_ROTATED,
    "AwsIamAccessKeyInactiveNotDeleted": FindingKind.INACTIVE_NOT_DELETED,
}

SHORT = timedelta(minutes=1)
DAY = timedelta(days=1)


def rows(
    *keys: Any, memory: AccountMemory | None = None, options: ShowOptions | None = None, **more: Any
) -> list[KeyRow]:
    snapshot = a_snapshot(*keys, **more)
    return [*key_rows(snapshot, memory or AccountMemory(), options or ShowOptions(), NOON)]


def kinds(row: KeyRow) -> list[str]:
    return [str(finding.kind) for finding in row.findings]


def scene() -> list[KeyRow]:
    options = ShowOptions(exempt_until=Exemptions("exempt").until)
    return [row for each in SCENE for row in key_rows(*each, options, NOON)]


# -- findings ----------------------------------------------------------------------------------


@pytest.mark.skipif(
    (RULES / "thresholds.yaml").exists(), reason="the limits are not in the alert rules yet"
)
def test_limits_are_those_of_the_alert_rules() -> None:
    """Every limit is the number that the alert of the same name compares with."""
    text = "".join((RULES / f"{name}.yaml").read_text() for name in ("hygiene", "security"))
    limits = {
        name: [int(days) for days in re.findall(r"(?m)^ +> (\d+)", rule)]
        for name, rule in re.findall(r"(?s)- alert: (\w+)(.*?)(?=\n +- alert:|\Z)", text)
    }

    assert {name: limits[name][-1] for name in ALERTS} == {
        name: LIMITS[kind].days for name, kind in ALERTS.items()
    }
    assert limits["AwsIamAccessKeyInactiveNotDeleted"][0] == SEEN_INACTIVE.days


def test_an_unused_key() -> None:
    """An active key is unused if AWS reported it more than 90 days after its last use."""
    for idle, found in ((90 * DAY, []), (90 * DAY + SHORT, ["unused"])):
        use = LastUse(NOON - idle, "s3", "eu-west-1")

        (row,) = rows(a_key(created=NOON - idle, last_use=use, as_of=NOON))
        assert [kind for kind in kinds(row) if kind != "not_rotated"] == found


def test_a_never_used_key() -> None:
    """An active key that was never used is a finding after more than 30 days."""
    for age, found in ((30 * DAY, []), (30 * DAY + SHORT, ["never_used"])):
        (row,) = rows(a_key(created=NOON - age, last_use=NEVER))

        assert kinds(row) == found


def test_a_key_that_is_not_rotated() -> None:
    """An active key is a finding when it is more than 90 days old, even if it is used."""
    for age, found in ((90 * DAY, []), (90 * DAY + SHORT, ["not_rotated"])):
        (row,) = rows(a_key(created=NOON - age))

        assert kinds(row) == found


def test_nothing_grows_while_nobody_looks() -> None:
    """Idle time and age end when AWS last reported the key, however long ago that was."""
    use = LastUse(days_ago(100), "s3", "eu-west-1")

    (row,) = rows(a_key(created=days_ago(150), last_use=use, as_of=days_ago(70)))

    assert (row.idle, row.age, kinds(row)) == (30 * DAY, 80 * DAY, [])


def test_a_superseded_key() -> None:
    """Of two active keys, one whose other was used more than 30 days later is superseded."""
    old = a_key(key_id(1), created=days_ago(80), last_use=a_use(31.5))
    new = a_key(key_id(2), created=days_ago(40), last_use=a_use(1))

    first, second = rows(old, new)

    assert kinds(first) == ["superseded", "two_active_keys"]
    assert kinds(second) == ["two_active_keys"]


@pytest.mark.parametrize(
    ("idle", "seen", "found"),
    [(91, 15, True), (91, 14, False), (90, 15, False), (91, None, True), (90, None, False)],
)
def test_an_inactive_key(idle: float, seen: float | None, found: bool) -> None:
    """
    An inactive key should be deleted if idle for over 90 days and seen inactive for over 14.

    Where nobody knows since when it has been inactive, the idle time decides.
    """
    key = a_key(created=days_ago(200), status="Inactive", last_use=a_use(idle))
    remembered = KeyMemory(
        key=key,
        user_id="",
        status_as_of=NOON,
        inactive_since=None if seen is None else days_ago(seen),
    )

    (row,) = rows(key, memory=AccountMemory(keys={key.id: remembered}))

    assert kinds(row) == (["inactive_not_deleted"] if found else [])


@pytest.mark.parametrize(
    ("kind", "days", "found"),
    [
        (EventKind.AWAKENED, 91, ["awakened"]),
        (EventKind.AWAKENED, 90, []),
        (EventKind.FIRST_USED, 31, ["first_use"]),
        (EventKind.NEW_SERVICE, 0, []),
    ],
)
def test_recent_uses(kind: EventKind, days: float, found: list[str]) -> None:
    """Recent uses that the alert rules warn about are findings, also of exempt keys."""
    key = a_key(created=days_ago(50))
    event = Event(
        kind=kind,
        at=NOON,
        noticed_at=NOON,
        user="alice",
        access_key_id=key.id,
        seconds=days * 86400,
    )
    options = ShowOptions(exempt_until=lambda *_: NOON + DAY)

    (row,) = rows(key, memory=AccountMemory(events=(event,)), options=options)

    assert kinds(row) == found


def test_an_unknown_last_use_is_said() -> None:
    """A key of unknown last use has that finding, no idle time, and its age as AWS reported it."""
    (row,) = rows(a_key(created=days_ago(400), last_use=UNKNOWN, as_of=None))

    assert (kinds(row), row.idle, row.age) == (["last_use_unknown"], None, 400 * DAY)
    assert key_texts(row, str)[6:11] == ["400d", *["unknown"] * 4]
    assert key_record(row, {})["last_use"] == "unknown"


def test_exempt_keys_have_no_finding() -> None:
    """An exemption holds back findings until it ends, and two active keys of its user, too."""
    keys = [a_key(key_id(number), created=days_ago(500), last_use=NEVER) for number in (1, 2)]
    for until, found in ((NOON + SHORT, [0, 2]), (NOON, [3, 3])):
        exemptions = Exemptions(entries=[Exemption(until, access_key_id=key_id(1))])

        shown = rows(*keys, options=ShowOptions(exempt_until=exemptions.until))

        assert [len(row.findings) for row in shown] == found
        assert (shown[0].exempt_until is not None) is (until > NOON)


def test_keys_of_the_root_user() -> None:
    """Active keys of the root user are a row of their own; without any there is none."""
    (row,) = rows(root=Root(NOON, 2, None, days_ago(3), NOON))

    assert (row.user, row.idle, kinds(row)) == ("<root>", 3 * DAY, ["root_access_key"])
    assert key_record(row, {})["user"] is None
    assert rows(root=Root(NOON, 0)) == rows(root=Root(NOON, None)) == []


# -- rows --------------------------------------------------------------------------------------


def test_key_ids_are_shown_as_configured() -> None:
    """Key IDs are masked wherever they are: in names and tags, too."""
    key_ids = KeyIdFormatter(KeyIdFormat.MASKED)
    options = ShowOptions(
        {"owner": "tag_owner"},
        key_labels=key_ids.labels,
        user_names=key_ids.names,
        redact=key_ids.redact,
    )
    user = a_user(f"of-{key_id(1)}", tags=(("owner", key_id(1)),))

    (row,) = rows(a_key(key_id(1), user.name), users=(user,), options=options)

    assert (row.access_key_id, row.user, row.tags) == (
        "AKIA****0001",
        "of-AKIA****0001",
        ("AKIA****0001",),
    )


def test_keys_of_users_that_are_not_known_are_shown() -> None:
    """The keys of a user that could not be listed are rows as well."""
    (row,) = rows(a_key(), users=())

    assert row.user == "alice"


def test_records_have_the_public_names() -> None:
    """The values of a row have exactly the names of the columns, tags among them."""
    tags = {"owner": "tag_owner"}
    (row,) = rows(a_key(), options=ShowOptions(tags))

    assert list(key_record(row, tags)) == key_names(tags)
    assert len(key_texts(row, str)) == len(key_headings(tags))


# -- which, and in which order -----------------------------------------------------------------


def shown_ids(selection: Selection) -> set[int]:
    return {int(row.access_key_id[4:] or 0) for row in filter(selection.has, scene())}


def test_idle_keys() -> None:
    """--idle-for has keys that are known to be idle for that long, never used ones as well."""
    assert shown_ids(Selection(idle_for=90 * DAY)) == {2, 7, 8, 22}
    assert shown_ids(Selection(idle_for=45 * DAY)) == {2, 4, 6, 7, 8, 22}


def test_never_used_keys() -> None:
    """--never-used has keys that were never used, and not those of which that is unknown."""
    assert shown_ids(Selection(never_used=True)) == {5, 6}


def test_unrotated_keys() -> None:
    """--unrotated-for has active keys by their age, also if their last use is unknown."""
    assert shown_ids(Selection(unrotated_for=500 * DAY)) == {2, 7, 9}
    assert 21 in shown_ids(Selection(unrotated_for=300 * DAY))


def test_conditions_apply_together() -> None:
    """A key has to meet every condition."""
    assert shown_ids(Selection(never_used=True, idle_for=20 * DAY)) == {6}
    assert shown_ids(Selection(frozenset({"ci", "new"}), never_used=True)) == {5}


def order_of(order: Order) -> list[int]:
    return [int(row.access_key_id[4:] or 0) for row in sort_keys(scene(), order)]


def test_the_most_urgent_first() -> None:
    """Root, used again, unused or never used, unknown, the other findings; exempt ones last."""
    assert order_of(Order.URGENCY) == [0, 9, 2, 22, 6, 21, 4, 3, 8, 5, 1, 10, 7]


def test_unused_and_never_used_keys_are_equally_urgent() -> None:
    """What has been idle for longer comes first, whether it was ever used or not."""
    keys = [
        a_key(key_id(1), created=days_ago(120), last_use=a_use(100)),
        a_key(key_id(2), "bob", created=days_ago(110), last_use=NEVER),
        a_key(key_id(3), "carol", created=days_ago(120), last_use=a_use(119)),
    ]

    assert [row.user for row in sort_keys(rows(*keys), Order.URGENCY)] == ["carol", "bob", "alice"]


def test_the_longest_first() -> None:
    """By idle time or age, the longest comes first and what is unknown last."""
    assert order_of(Order.IDLE)[:3] == [7, 2, 8]
    assert order_of(Order.IDLE)[-1] == 21
    assert order_of(Order.AGE)[:3] == [2, 9, 8]
    assert order_of(Order.AGE)[-1] == 0


def test_by_name() -> None:
    """By account or user, names are in alphabetical order; so are keys of equal rank."""
    users = [row.user for row in sort_keys(scene(), Order.USER)]

    assert users == sorted(users)
    assert [row.account for row in sort_keys(scene(), Order.ACCOUNT)] == ["prod"] * 11 + [
        "test"
    ] * 2


@pytest.mark.parametrize("width", [1, 80, 120, 160, 250])
def test_columns_that_do_not_fit_are_named(width: int) -> None:
    """Every heading is either in the table or among those that are left out."""
    headings = key_headings(["owner"])
    texts = [["x" * 20] * len(headings)] * 3

    kept, shown, omitted = fitting(headings, texts, width, 1)

    assert sorted((*kept, *omitted)) == sorted(headings)
    assert {len(row) for row in shown} == {len(kept)}
    assert {"ACCOUNT", "USER", "ACCESS KEY ID", "FINDING"} <= set(kept)
    assert (width < 250) is bool(omitted)


# -- what was not seen -------------------------------------------------------------------------


def test_an_account_that_was_read_completely() -> None:
    """Of an account that was read completely, there is nothing to say."""
    coverage = [coverage_of(a_snapshot(a_key(), root=Root(NOON, 0)))]

    assert not_seen(coverage, NOON) == []
    assert summary(1, 1, coverage, stored=False) == "1 key; 1 of 1 account read completely."


def test_an_account_that_failed() -> None:
    """Of an account that failed, the reason is said, and that nothing is known."""
    (line,) = not_seen([coverage_of(failed()[0])], NOON)

    assert line == (
        "audit (333333333333): the refresh failed (assume_role): the role cannot be assumed;"
        " its users and keys are unknown"
    )


def test_an_account_that_failed_in_part() -> None:
    """Users whose keys are unknown are named, and unknown last uses counted."""
    (line,) = not_seen([coverage_of(partial()[0])], NOON)

    assert "it was last read completely 2 days ago (2026-11-21T12:00:00Z)" in line
    assert "the keys of 2 users are unknown: frank, gail; the last use of 1 key is unknown" in line
    assert line.endswith("; whether the root user has access keys is unknown")


def test_many_users_are_counted() -> None:
    """Ten users whose keys are unknown are named, the others counted."""
    users = tuple(a_user(f"u{number:02}", keys_at=None) for number in range(15))

    (line,) = not_seen([coverage_of(a_snapshot(users=users, root=Root(NOON, 0)))], NOON)

    assert line.endswith(
        "the keys of 15 users are unknown: "
        + ", ".join(f"u{n:02}" for n in range(10))
        + " and 5 more"
    )


def test_the_age_of_reports() -> None:
    """The age of the oldest credential report that is relied on is said; unusable ones are not."""
    times = ((3, True), (1, True), (9, False))
    coverage = [
        coverage_of(
            a_snapshot(
                report=ReportState(NOON - timedelta(hours=hours), usable), root=Root(NOON, 0)
            )
        )
        for hours, usable in times
    ]

    (line,) = not_seen(coverage, NOON)

    assert line.startswith("2 accounts: keys that were created or deactivated since the credential")
    assert line.endswith("generated the oldest report 3 hours ago (2026-11-23T09:00:00Z)")


def test_the_age_of_stored_facts() -> None:
    """What the store has was read from the oldest complete refresh to the latest."""
    coverage = [coverage_of(a_snapshot(read_at=at)) for at in (days_ago(1), NOON)]

    assert summary(0, 3, coverage, stored=True) == (
        "0 keys of 3; 2 of 2 accounts read completely, from 2026-11-22T12:00:00Z to"
        " 2026-11-23T12:00:00Z."
    )
