"""The counts of an account's active keys: exact, a lower bound, or absent."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from exporter.metrics import Counts, RenderOptions
from exporter.model import NEVER, UNKNOWN, AccessKey, AccountSnapshot, LastUse, User
from tests.exposition import a_store, render
from tests.facts import a_key, a_snapshot, a_use, a_user, days_ago

DAYS = (0, 30, 90)
PREFIX = "aws_iam_account_access_keys_"
EXEMPT = "AKIAEXEMPT"

Found = dict[tuple[str, ...], float]
"""Sample values by tags and days."""


def counts(
    snapshot: AccountSnapshot, *by_tags: str, exempt: Mapping[str, float] | None = None
) -> dict[str, Found]:
    """
    Return the samples of *snapshot* by the last part of the family's name.

    Args:
        exempt: Days, counted back from NOON, at which the exemptions of keys expire.
    """
    ends = {id_: days_ago(days) for id_, days in (exempt or {}).items()}
    options = RenderOptions(
        tags={tag: f"tag_{tag}" for tag in by_tags},
        counts=Counts(DAYS, by_tags),
        exempt_until=lambda account, user, key: ends.get(key.id),
    )
    found: dict[str, Found] = {}
    for family in text_string_to_metric_families(render(a_store(snapshot, options=options))):
        for sample in family.samples:
            if sample.name.startswith(PREFIX):
                names = [*[f"tag_{tag}" for tag in by_tags], "days", "service", "region"]
                values = tuple(sample.labels[name] for name in names if name in sample.labels)
                found.setdefault(sample.name.removeprefix(PREFIX), {})[values] = sample.value
    return found


def by_days(*values: float) -> Found:
    return {(str(days),): value for days, value in zip(DAYS, values, strict=True)}


# -- what is counted ---------------------------------------------------------------------------


def test_idle_keys() -> None:
    """A used key is idle for at least as many days as passed from its last use until confirmed."""
    keys = [a_key(f"AKIA{days}", last_use=a_use(days)) for days in (0, 29, 30, 90, 400)]

    assert counts(a_snapshot(*keys))["idle"] == by_days(5, 3, 2)


def test_keys_that_were_never_used() -> None:
    """Keys that were never used are counted by their age."""
    keys = [a_key(f"AKIA{n}", last_use=NEVER, created=days_ago(n)) for n in (0, 30, 90)]

    found = counts(a_snapshot(*keys))

    assert found["never_used"] == found["age"] == by_days(3, 2, 1)
    assert found["idle"] == by_days(0, 0, 0)


def test_nothing_grows_while_nobody_can_look() -> None:
    """Idle times and ages end when AWS last confirmed them."""
    used = a_key("AKIA1", last_use=a_use(100), created=days_ago(150), as_of=days_ago(65))
    never = a_key("AKIA2", last_use=NEVER, created=days_ago(100), as_of=days_ago(65))

    found = counts(a_snapshot(used, never))

    assert found["idle"] == by_days(1, 1, 0)
    assert found["never_used"] == by_days(1, 1, 0)
    assert found["age"] == by_days(2, 2, 0)


def test_the_age_of_a_key_of_unknown_use() -> None:
    """It ends when the keys of its user were last listed."""
    key = a_key(last_use=UNKNOWN, as_of=None, created=days_ago(100))
    snapshot = replace(a_snapshot(key), users=(a_user(keys_at=days_ago(60)),))

    assert counts(snapshot)["age"] == by_days(1, 1, 0)


def test_a_clock_behind_awss() -> None:
    """A use or a creation after it was confirmed counts as just now."""
    keys = [
        a_key("AKIA1", last_use=a_use(-1), created=days_ago(-1)),
        a_key("AKIA2", last_use=NEVER, created=days_ago(-1)),
    ]

    found = counts(a_snapshot(*keys))

    assert found["idle"] == found["never_used"] == by_days(1, 0, 0)
    assert found["age"] == by_days(2, 0, 0)


@pytest.mark.parametrize("status", ["Inactive", "Expired"])
def test_keys_that_are_not_active(status: str) -> None:
    """Only active keys are counted."""
    key = a_key(status=status, last_use=a_use(400))

    found = counts(a_snapshot(key))

    assert {value for each in found.values() for value in each.values()} == {0}
    assert "used_in" not in found


@pytest.mark.parametrize(("expires", "exempt"), [(-1, 1), (0, 0), (1, 0)])
def test_exempt_keys_are_only_counted_as_exempt(expires: float, exempt: int) -> None:
    """A key whose exemption expires after the refresh ended counts as exempt, and as used."""
    key = a_key(EXEMPT, last_use=a_use(10))

    found = counts(a_snapshot(key), exempt={EXEMPT: expires})

    assert found["exempt"] == {(): exempt}
    assert found["idle"] == by_days(1 - exempt, 0, 0)
    assert found["age"] == by_days(1 - exempt, 1 - exempt, 1 - exempt)
    assert found["used_in"] == {("s3", "eu-west-1"): 1}


@pytest.mark.parametrize("exempt", [{}, {"AKIAOLD": -1.0}])
def test_superseded_keys(exempt: Mapping[str, float]) -> None:
    """An active key whose user used another active key later is superseded, unless exempt."""
    old, new = a_key("AKIAOLD", last_use=a_use(9)), a_key("AKIANEW", last_use=a_use(1))

    assert counts(a_snapshot(old, new), exempt=exempt)["superseded"] == {(): 1 - len(exempt)}


def test_key_that_was_not_confirmed_since_is_not_superseded() -> None:
    """A use of the other key says nothing about a key that could not be read since."""
    old = a_key("AKIAOLD", last_use=a_use(40), as_of=days_ago(40))
    new = a_key("AKIANEW", last_use=a_use(1))

    assert counts(a_snapshot(old, new))["superseded"] == {(): 0}


def test_where_keys_were_used() -> None:
    """Each service and region has the number of active keys that were last used there."""
    uses = [a_use(), a_use(5), a_use(service="ec2"), NEVER, UNKNOWN]
    keys = [a_key(f"AKIA{n}", last_use=use) for n, use in enumerate(uses)]

    found = counts(a_snapshot(*keys))["used_in"]

    assert found == {("s3", "eu-west-1"): 2, ("ec2", "eu-west-1"): 1}


# -- what is not known -------------------------------------------------------------------------


def test_some_uses_are_unknown() -> None:
    """The counts are lower bounds, and another count says by how much."""
    keys = a_key("AKIA1", last_use=a_use(40)), a_key("AKIA2", last_use=UNKNOWN, as_of=None)

    found = counts(a_snapshot(*keys))

    assert found["idle"] == by_days(1, 1, 0)
    assert found["never_used"] == by_days(0, 0, 0)
    assert found["age"] == by_days(2, 2, 2)
    assert found["unknown"] == {(): 1}


def test_all_uses_are_unknown() -> None:
    """What depends on uses is absent, not 0; the number of unknown keys is known."""
    keys = [a_key(f"AKIA{n}", last_use=UNKNOWN, as_of=None) for n in range(2)]

    found = counts(a_snapshot(*keys))

    assert found == {"age": by_days(2, 2, 2), "exempt": {(): 0}, "unknown": {(): 2}}


def test_only_the_uses_of_exempt_keys_are_known() -> None:
    """They say nothing about the other keys, so that their counts are absent."""
    keys = a_key(EXEMPT), a_key("AKIA1", last_use=UNKNOWN, as_of=None)

    found = counts(a_snapshot(*keys), exempt={EXEMPT: -1})

    assert {"idle", "never_used", "superseded"} & set(found) == set()
    assert (found["exempt"], found["unknown"]) == ({(): 1}, {(): 1})


def test_the_keys_of_some_users_are_unknown() -> None:
    """What is known is a lower bound, and nobody can say by how much."""
    snapshot = a_snapshot(a_key(last_use=a_use(40)))
    snapshot = replace(snapshot, users=(*snapshot.users, a_user("bob", keys_at=None)))

    found = counts(snapshot)

    assert found["idle"] == by_days(1, 1, 0)
    assert "unknown" not in found


@pytest.mark.parametrize(
    "snapshot",
    [
        replace(a_snapshot(), listed_at=None),
        replace(a_snapshot(), users=(a_user(keys_at=None),)),
        replace(a_snapshot(), users=(a_user(), a_user("bob", keys_at=None))),
        replace(a_snapshot(a_key(status="Inactive")), users=(a_user(), a_user("b", keys_at=None))),
    ],
    ids=["no users", "no keys", "no active keys of some users", "only inactive keys of some users"],
)
def test_no_active_keys_are_known(snapshot: AccountSnapshot) -> None:
    """If there may be keys that are not known, and no active one is, all counts are absent."""
    assert counts(snapshot, "team") == {}


def test_an_account_without_keys_has_zeros() -> None:
    """0 is a fact, and different from unknown."""
    found = counts(a_snapshot())

    assert set(found) == {"idle", "never_used", "age", "exempt", "superseded", "unknown"}
    assert {value for each in found.values() for value in each.values()} == {0}


# -- by tags -----------------------------------------------------------------------------------


def with_team(snapshot: AccountSnapshot, **teams: str) -> AccountSnapshot:
    """Set the tag team of users, by name."""
    users = tuple(
        replace(user, tags=(("team", teams[user.name]),)) if user.name in teams else user
        for user in snapshot.users
    )
    return replace(snapshot, users=users)


def test_counts_by_tags() -> None:
    """There is a count for each combination of tags that active keys have, and for no other."""
    keys = [a_key(f"AKIA{user}", user=user) for user in ("a", "b", "c", "d")]
    inactive = a_key("AKIAe", user="e", status="Inactive")
    snapshot = with_team(a_snapshot(*keys, inactive), a="web", b="web", c="data", e="old")

    found = counts(snapshot, "team")

    assert found["unknown"] == {("web",): 0, ("data",): 0, ("",): 0}
    assert {tags: value for tags, value in found["idle"].items() if tags[1] == "0"} == {
        ("web", "0"): 2,
        ("data", "0"): 1,
        ("", "0"): 1,
    }


def test_an_account_without_keys_has_zeros_with_empty_tags() -> None:
    """With tags, too, 0 is different from unknown."""
    found = counts(with_team(a_snapshot(a_key(status="Inactive")), alice="web"), "team")

    assert found["unknown"] == found["exempt"] == {("",): 0}


def test_a_team_whose_uses_are_all_unknown() -> None:
    """Its counts are absent, and those of others are not."""
    keys = a_key("AKIAa", user="a"), a_key("AKIAb", user="b", last_use=UNKNOWN, as_of=None)

    found = counts(with_team(a_snapshot(*keys), a="web", b="data"), "team")

    assert {team for team, _ in found["idle"]} == {"web"}
    assert found["unknown"] == {("web",): 0, ("data",): 1}


def test_counting_by_a_tag_that_is_no_label() -> None:
    """Keys can only be counted by tags that are exposed."""
    with pytest.raises(ValueError, match="labels"):
        RenderOptions(tags={"team": "tag_team"}, counts=Counts(by_tags=("owner",)))


# -- totals ------------------------------------------------------------------------------------


def uses() -> st.SearchStrategy[object]:
    return st.sampled_from([NEVER, UNKNOWN]) | st.builds(a_use, st.integers(0, 500))


@given(
    st.lists(st.tuples(uses(), st.sampled_from(["Active", "Inactive"]), st.booleans()), max_size=8),
    st.lists(st.sampled_from(["web", "data", ""]), min_size=8, max_size=8),
)
def test_every_active_key_is_counted_once(
    keys: list[tuple[object, str, bool]], teams: list[str]
) -> None:
    """Exempt, idle, never used and unknown keys add up to the active ones, whatever the tags."""
    snapshot = a_snapshot(
        *[
            a_key(f"AKIA{n}", user=f"u{n}", last_use=use, status=status)
            for n, (use, status, _) in enumerate(keys)
        ]
    )
    snapshot = with_team(snapshot, **{f"u{n}": team for n, team in enumerate(teams)})
    exempt = {f"AKIA{n}": -1.0 for n, (_, _, is_exempt) in enumerate(keys) if is_exempt}

    for tags in ((), ("team",)):
        found = counts(snapshot, *tags, exempt=exempt)
        parts = [
            value
            for name in ("exempt", "idle", "never_used", "unknown")
            for labels, value in found.get(name, {}).items()
            if labels[len(tags) :] in ((), ("0",))
        ]
        assert sum(parts) == sum(key.active for key in snapshot.keys)


# -- one key and the others of its user --------------------------------------------------------


def superseded(*keys: AccessKey) -> list[float]:
    """The values of `superseded_seconds` of the *keys* of a user, in days."""
    text = render(a_store(a_snapshot(*keys)))
    return [
        sample.value / 86400
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "aws_iam_access_key_superseded_seconds"
    ]


def used(days: float, id_: str = "AKIA1", **fields: Any) -> AccessKey:
    return a_key(id_, last_use=a_use(days), **fields)


OTHER = used(1, "AKIA2")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (used(5), [4]),
        (a_key("AKIA1", last_use=NEVER, created=days_ago(50)), [49]),
        (a_key("AKIA1", last_use=NEVER, created=days_ago(0)), []),
        (a_key("AKIA1", last_use=UNKNOWN), []),
        (used(1), []),
        (used(5, status="Inactive"), []),
        (used(5, user="bob"), []),
    ],
    ids=["earlier", "never", "new", "unknown", "same time", "inactive", "another user's"],
)
def test_a_superseded_key(key: AccessKey, expected: list[float]) -> None:
    """An active key is superseded since its use, or creation, by later uses of the other one."""
    assert superseded(key, OTHER) == expected


@pytest.mark.parametrize("use", [NEVER, UNKNOWN])
def test_an_unused_key_supersedes_nothing(use: LastUse) -> None:
    """A key of which no use is known does not supersede the other one."""
    assert superseded(used(5), a_key("AKIA2", last_use=use, created=days_ago(5))) == []


def test_an_inactive_key_supersedes_nothing() -> None:
    """The other key must be active: an inactive one cannot replace this one."""
    assert superseded(used(5), used(1, "AKIA2", status="Inactive")) == []


def test_a_superseded_key_stays_superseded() -> None:
    """With each use of the other key the time grows; while that is not used, it stays as it is."""
    old = used(40)

    times = [superseded(old, used(days, "AKIA2")) for days in (9, 9, 5, 1, 1)]

    assert times == [[31], [31], [35], [39], [39]]


# -- users -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("users", "expected"),
    [((), [1.0]), ((a_user("carol"),), [1.0]), ((a_user("carol", keys_at=None),), [])],
)
def test_users_with_two_active_keys(users: tuple[User, ...], expected: list[float]) -> None:
    """They are counted if the keys of all users are known."""
    keys = [
        a_key("AKIA1"),
        a_key("AKIA2"),
        a_key("AKIA3", user="bob"),
        a_key("AKIA4", user="bob", status="Inactive"),
    ]
    snapshot = a_snapshot(*keys)

    text = render(a_store(replace(snapshot, users=(*snapshot.users, *users))))

    name = "aws_iam_account_users_with_two_active_keys"
    values = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    ]
    assert values == expected
