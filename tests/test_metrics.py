"""What is exposed."""

import gzip
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from exporter.key_ids import description_of
from exporter.metrics import (
    FAMILIES,
    Counts,
    Exposition,
    Format,
    MetricsStore,
    RenderOptions,
    SelfMetrics,
    negotiate,
)
from exporter.metrics.families import (
    COUNT_FAMILIES,
    EVENT_FAMILIES,
    EXPORTER_FAMILIES,
    KEY_FAMILIES,
    SNAPSHOT_FAMILIES,
    USER_FAMILIES,
    Family,
    KeyFamily,
    SnapshotFamily,
    UserFamily,
)
from exporter.metrics.subjects import Subjects, subjects
from exporter.model import (
    NEVER,
    UNKNOWN,
    AccessKey,
    AccountMemory,
    AccountSnapshot,
    EventKind,
    KeyMemory,
    Root,
    Use,
)
from tests.exposition import (
    COMPLETE,
    DENIED,
    KEYS,
    PROD,
    SCENES,
    FakeClock,
    a_store,
    an_event,
    render,
)
from tests.facts import NOON, a_key, a_snapshot, a_use, a_user, an_account, days_ago

Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]
"""Sample values by name and labels."""


def samples(text: str) -> Values:
    """Parse the text format."""
    values: Values = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            series = (sample.name, tuple(sorted(sample.labels.items())))
            assert series not in values, "duplicate series"
            values[series] = sample.value
    return values


def values_of(name: str, text: str) -> list[float]:
    """Return the values of all samples of one name."""
    return [value for (of, _), value in samples(text).items() if of == name]


# -- the store ---------------------------------------------------------------------------------


def test_publishing_replaces_all_samples_of_the_account() -> None:
    """A key that is missing from the latest snapshot is no longer exposed."""
    store = a_store(*SCENES["after"])

    store.publish(PROD, SCENES["deleted"][0])

    assert render(store) == render(a_store(*SCENES["deleted"]))


def test_ages_are_computed_at_scrape_time() -> None:
    """Ages grow from scrape to scrape without a refresh."""
    clock = FakeClock()
    exposition = Exposition(a_store(COMPLETE), SelfMetrics(version="1", process=False), clock)
    clock.advance(minutes=1)

    text = exposition.render(Format.TEXT).decode()

    ages = values_of("aws_iam_access_key_last_used_age_seconds", text)
    assert ages == [2 * 86400 + 60, 86400 + 60]


def test_a_clock_behind_awss_gives_no_negative_age() -> None:
    """The age of a use in our future is 0."""
    store = a_store(a_snapshot(a_key(last_use=a_use(days=-1))))

    assert values_of("aws_iam_access_key_last_used_age_seconds", render(store)) == [0]


def test_options_cannot_change() -> None:
    """Tag labels stay as they were when the options were created."""
    tags = {"team": "tag_team"}
    options = RenderOptions(tags=tags)

    tags["cost"] = "tag_cost"

    assert dict(options.tags) == {"team": "tag_team"}


# -- rows --------------------------------------------------------------------------------------


def test_a_new_user_family_needs_a_row_only() -> None:
    """A row about users is exposed without any option, passwords included."""
    row = UserFamily(
        name="aws_iam_user_created_timestamp_seconds",
        help="Creation time of the user.",
        extra_labels=("path",),
        samples=lambda user: [((user.path,), user.created.timestamp())],
    )
    store = MetricsStore(RenderOptions(), families=[row])

    store.publish(PROD, a_snapshot(a_key(), account=PROD))

    line = (
        'aws_iam_user_created_timestamp_seconds{account_id="111111111111",account="prod",'
        f'user="alice",path="/"}} {int(days_ago(500).timestamp())}\n'
    )
    assert line in render(store)


def test_a_new_key_family_needs_a_row_only() -> None:
    """A row about keys can be an age, with labels of its own and the tags of the user."""
    row = KeyFamily(
        name="aws_iam_access_key_age_seconds",
        help="Seconds since the creation of the key.",
        extra_labels=("status",),
        samples=lambda facts: [((facts.key.status,), facts.key.created.timestamp())],
        tag_labels=True,
        age=True,
    )
    snapshot = replace(a_snapshot(a_key("AKIA1")), users=(a_user(tags=(("team", "web"),)),))
    store = MetricsStore(RenderOptions(tags={"team": "tag_team"}), families=[row])

    store.publish(PROD, snapshot)

    line = (
        'aws_iam_access_key_age_seconds{account_id="111111111111",account="prod",user="alice",'
        f'access_key_id="AKIA1",status="Active",tag_team="web"}} {100 * 86400}\n'
    )
    assert line in render(store)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_each_help_text_is_a_sentence(family: Family) -> None:
    """A help text is one line, without characters that need escaping, and ends with a period."""
    assert re.fullmatch(r'[^\n\\"]{20,}\.', family.help)


@pytest.mark.parametrize(
    "family",
    [*KEY_FAMILIES, *EVENT_FAMILIES, *USER_FAMILIES, *COUNT_FAMILIES],
    ids=lambda family: family.name,
)
def test_each_fact_says_what_absence_means(family: Family) -> None:
    """The help text of a fact about a key or user says what its absence means."""
    assert "Absent:" in family.help


# -- facts -------------------------------------------------------------------------------------


def test_tags_and_descriptions_are_labels_of_the_info() -> None:
    """Allowed tags, and the tag named by the key's id, are labels of the info family."""
    user = a_user(tags=(("AKIA1", 'the "CI" key'), ("Team", "web")))
    snapshot = replace(a_snapshot(a_key("AKIA1")), users=(user,))
    options = RenderOptions(
        tags={"Team": "tag_Team", "cost": "tag_cost"}, description=description_of
    )

    text = render(a_store(snapshot, options=options))

    assert (
        'status="Active",path="/",description="the \\"CI\\" key",tag_Team="web",tag_cost=""} 1\n'
        in text
    )


def test_key_ids_within_tags_are_redacted() -> None:
    """Key ids within descriptions and tags are shown the way labels show them."""
    user = a_user(tags=(("AKIA1", "replaces AKIAOLD"), ("team", "AKIAOLD")))
    options = RenderOptions(
        tags={"team": "tag_team"},
        description=description_of,
        redact=lambda text: text.replace("AKIAOLD", "****"),
    )

    text = render(a_store(replace(a_snapshot(a_key("AKIA1")), users=(user,)), options=options))

    assert 'description="replaces ****",tag_team="****"' in text


def test_key_ids_are_shown_as_configured() -> None:
    """Key ids are exposed only through the configured labels."""
    options = RenderOptions(
        key_labels=lambda keys: {key.id: f"label{i}" for i, key in enumerate(keys)}
    )

    text = render(a_store(COMPLETE, options=options))

    assert 'access_key_id="label0"' in text
    assert "AKIA" not in text


@pytest.mark.parametrize("passwords", [False, True])
def test_passwords_are_exposed_only_if_enabled(passwords: bool) -> None:
    """The last uses of passwords are exposed only with the option."""
    snapshot = replace(a_snapshot(), users=(a_user(password_last_used=days_ago(1)),))

    text = render(a_store(snapshot, options=RenderOptions(passwords=passwords)))

    values = values_of("aws_iam_user_password_last_used_timestamp_seconds", text)
    assert values == ([days_ago(1).timestamp()] if passwords else [])


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        (None, {}),
        (Root(NOON, 0), {}),
        (Root(NOON, 0, days_ago(3), None), {"password": 3}),
        (Root(NOON, 1, None, days_ago(2)), {"access_key": 2}),
        (Root(NOON, 1, days_ago(3), days_ago(2)), {"password": 3, "access_key": 2}),
    ],
)
def test_last_use_of_root_credentials(root: Root | None, expected: dict[str, int]) -> None:
    """Each credential of root that was used has a sample of its own."""
    text = render(a_store(replace(a_snapshot(), root=root)))

    ages = {
        dict(labels)["credential"]: (NOON.timestamp() - value) / 86400
        for (name, labels), value in samples(text).items()
        if name == "aws_iam_account_root_last_used_timestamp_seconds"
    }
    assert ages == expected


def test_keys_are_not_counted_if_some_are_unknown() -> None:
    """If the keys of a user could not be listed, the counts are absent, not too small."""
    snapshot = a_snapshot(a_key())
    incomplete = replace(snapshot, users=(*snapshot.users, a_user("bob", keys_at=None)))

    names = {name for name, _ in samples(render(a_store(incomplete)))}

    assert names & {"aws_iam_account_access_keys", "aws_iam_exporter_account_keys_unknown"} == set()


def test_exemptions_are_exposed() -> None:
    """The expiry of a key's exemption is a sample."""
    store = a_store(COMPLETE, options=RenderOptions(exempt_until=lambda account, user, key: NOON))

    values = values_of("aws_iam_access_key_exempt_until_timestamp_seconds", render(store))
    assert values == [NOON.timestamp()] * len(KEYS)


def confirmed(key: AccessKey) -> list[float]:
    """The values of `confirmed_timestamp_seconds` of *key*, as days before NOON."""
    values = values_of(
        "aws_iam_access_key_confirmed_timestamp_seconds", render(a_store(a_snapshot(key)))
    )
    return [(NOON.timestamp() - value) / 86400 for value in values]


@pytest.mark.parametrize(
    ("use", "expected"), [(a_use(9), [2]), (NEVER, [2]), (UNKNOWN, [])], ids=["used", "never", "?"]
)
def test_when_the_last_use_was_confirmed(use: Use, expected: list[float]) -> None:
    """A key whose last use is known has the time at which AWS last reported it."""
    assert confirmed(a_key(last_use=use, as_of=days_ago(2))) == expected


@pytest.mark.parametrize(("configured", "expected"), [(None, 5), (0.5, 0.5)])
def test_rate_limits(configured: float | None, expected: float) -> None:
    """The rate limit of an account is its own, or the default one."""
    account = an_account(requests_per_second=configured)

    text = render(a_store(a_snapshot(account=account)))

    assert values_of("aws_iam_exporter_account_rate_limit", text) == [expected]


@pytest.mark.parametrize(("code", "errors"), [("", []), ("Throttling", [1.0])])
def test_requests_are_counted_by_error_code(code: str, errors: list[float]) -> None:
    """A failed request counts as a request and as an error, a successful one only as a request."""
    self_metrics = SelfMetrics(version="1", process=False)

    self_metrics.observe("ListUsers", 0.1, code)

    text = self_metrics.render(as_openmetrics=False, names=frozenset()).decode()
    assert values_of("aws_iam_exporter_api_requests_total", text) == [1]
    assert values_of("aws_iam_exporter_api_request_errors_total", text) == errors


# -- formats -----------------------------------------------------------------------------------


def test_names_select_families() -> None:
    """With names, only those families are rendered, from snapshots and self metrics alike."""
    names = frozenset({"aws_iam_account_users", "aws_iam_exporter_accounts_configured"})

    text = render(a_store(*SCENES["after"]), names=names)

    assert set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)) == names


def test_gzip() -> None:
    """The compressed body decompresses to the plain one."""
    exposition = Exposition(a_store(COMPLETE), SelfMetrics(version="1", process=False), FakeClock())

    compressed = exposition.render(Format.TEXT, gzip=True)

    assert gzip.decompress(compressed) == exposition.render(Format.TEXT)


PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", Format.TEXT),
        ("*/*", Format.TEXT),
        ("text/html,application/xhtml+xml,*/*;q=0.8", Format.TEXT),
        (PROMETHEUS_3, Format.OPENMETRICS),
        ("text/plain;version=0.0.4;q=0.9,application/openmetrics-text;q=0.1", Format.TEXT),
        ("text/plain;q=0.1,application/openmetrics-text;q=0.9", Format.OPENMETRICS),
        ("application/openmetrics-text;version=2.0.0", Format.TEXT),
        ("application/openmetrics-text", Format.OPENMETRICS),
        ("application/vnd.google.protobuf;q=0.9,text/plain;q=0.5", Format.TEXT),
        ("application/openmetrics-text;q=much", Format.TEXT),
    ],
)
def test_negotiation(accept: str, expected: Format) -> None:
    """The preferred format of those supported; the text format if none is accepted."""
    assert negotiate(accept) is expected


# -- compared with the client library ----------------------------------------------------------

FROM_SNAPSHOTS = frozenset(f.name for f in FAMILIES if f not in EXPORTER_FAMILIES)


HOSTILE = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)

OPTIONS = RenderOptions(
    tags={"team": "tag_team", "cost": "tag_cost"},
    counts=Counts(days=(0, 30), by_tags=("team",)),
    passwords=True,
    exempt_until=lambda account, user, key: NOON if key.id.endswith("1") else None,
    description=description_of,
)

Published = tuple[AccountSnapshot, AccountMemory]


class Reference(Collector):
    """Hands the facts of the same families, with labels as they are, to the client library."""

    def __init__(self, published: list[Published]) -> None:
        self._published = published

    def collect(self) -> Iterator[Metric]:
        for family in SNAPSHOT_FAMILIES:
            kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
            tags = list(OPTIONS.tags.values()) if family.tag_labels else []
            if family in COUNT_FAMILIES:
                tags = ["tag_team"]
            metric = kind(family.name, family.help, labels=(*family.labels, *tags))
            for snapshot, memory in self._published:
                account = (snapshot.account.id, snapshot.account.label)
                facts_of = [facts for _, facts, _ in family.subjects(prepared(snapshot, memory))]
                labels_of = list(labels(family, snapshot, memory))
                for (identity, tag_values), facts in zip(labels_of, facts_of, strict=True):
                    for extra, value in family.samples_of(facts):
                        age = NOON.timestamp() - value if is_age(family) else value
                        values = tag_values if family.tag_labels else ()
                        metric.add_metric((*account, *identity, *extra, *values), age)
            yield metric


def prepared(snapshot: AccountSnapshot, memory: AccountMemory) -> Subjects:
    return subjects(snapshot, memory, OPTIONS)


def is_age(family: SnapshotFamily[Any]) -> bool:
    return isinstance(family, KeyFamily) and family.age


def labels(
    family: SnapshotFamily[Any], snapshot: AccountSnapshot, memory: AccountMemory
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Yield the label values that identify each subject of *family*, and those of its tags."""
    tags = {
        user.name: tuple(dict(user.tags).get(tag, "") for tag in OPTIONS.tags)
        for user in snapshot.users
    }
    if family in KEY_FAMILIES:
        yield from [((key.user, key.id), tags[key.user]) for key in snapshot.keys]
    elif family in EVENT_FAMILIES:
        about = {event.access_key_id: event.user for event in memory.events}
        present = [key for key in snapshot.keys if key.id in about]
        yield from [((key.user, key.id), tags[key.user]) for key in present]
        for key in present:
            del about[key.id]
        for user in dict.fromkeys(about.values()):
            of_user = tags.get(user, ("",) * len(OPTIONS.tags))
            yield from [((user, id_), of_user) for id_, name in about.items() if name == user]
    elif family in USER_FAMILIES:
        yield from [((user.name,), ()) for user in snapshot.users]
    elif family in COUNT_FAMILIES:
        teams = dict.fromkeys(tags[key.user][0] for key in snapshot.keys if key.active)
        yield from [((), (team,)) for team in teams or [""]]
    else:
        yield (), ()


@st.composite
def published(draw: st.DrawFn) -> Published:
    names = draw(st.lists(HOSTILE, max_size=4, unique=True))
    keys: list[AccessKey] = []
    for name in names:
        for _ in range(draw(st.integers(1, 2))):
            use = draw(
                st.one_of(
                    st.sampled_from([NEVER, UNKNOWN]),
                    st.builds(a_use, st.integers(0, 900), service=HOSTILE, region=HOSTILE),
                )
            )
            status = draw(st.sampled_from(["Active", "Inactive", "Expired", "New\n"]))
            keys.append(a_key(f"AKIA{len(keys)}", user=name, last_use=use, status=status))
    account = an_account(draw(st.sampled_from("123")), draw(HOSTILE))
    snapshot = a_snapshot(*keys, account=account)
    users = tuple(
        replace(
            user,
            path=draw(HOSTILE),
            tags=((f"AKIA{i}", draw(HOSTILE)), ("team", draw(HOSTILE))),
            password_last_used=draw(st.sampled_from([None, NOON])),
        )
        for i, user in enumerate(snapshot.users)
    )
    snapshot = replace(snapshot, users=users)
    memory = draw(memories(snapshot))
    return (snapshot.failed(DENIED) if draw(st.booleans()) else snapshot), memory


@st.composite
def memories(draw: st.DrawFn, snapshot: AccountSnapshot) -> AccountMemory:
    """Recent events about some of the keys of *snapshot*, and about keys that are gone."""
    about = [*[(key.id, key.user) for key in snapshot.keys], ("AKIAGONE", draw(HOSTILE))]
    events = st.builds(
        lambda kind, key, seconds, service, region: an_event(
            kind, *key, seconds=seconds, service=service, region=region
        ),
        st.sampled_from(EventKind),
        st.sampled_from(about),
        st.integers(0, 10**8).map(float),
        HOSTILE,
        HOSTILE,
    )
    keys = {
        key.id: KeyMemory(key=key, user_id="", status_as_of=NOON, inactive_since=days_ago(3))
        for key in snapshot.keys
    }
    return AccountMemory(keys=keys, events=tuple(draw(st.lists(events, max_size=8))))


@given(st.lists(published(), min_size=1, max_size=3, unique_by=lambda each: each[0].account.id))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_both_formats_parse_to_the_samples_of_the_client_library(several: list[Published]) -> None:
    """Whatever names and tags contain, the parsed samples are those of the client library."""
    registry = CollectorRegistry()
    registry.register(Reference(several))
    store = MetricsStore(OPTIONS)
    for snapshot, memory in several:
        store.publish(snapshot.account, snapshot, memory)

    text = render(store, Format.TEXT, FROM_SNAPSHOTS)
    in_openmetrics = render(store, Format.OPENMETRICS, FROM_SNAPSHOTS)

    assert samples(text) == samples(generate_latest(registry).decode())
    reference = generate_openmetrics(registry).decode()  # type: ignore[no-untyped-call]
    assert openmetrics_samples(in_openmetrics) == openmetrics_samples(reference)


def openmetrics_samples(text: str) -> list[tuple[str, tuple[tuple[str, str], ...], float]]:
    families = openmetrics.text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    return sorted(
        (sample.name, tuple(sorted(sample.labels.items())), sample.value)
        for family in families
        for sample in family.samples
    )
