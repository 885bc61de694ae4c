"""What Prometheus is told."""

import gzip
import platform
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from exporter.metrics import (
    FAMILIES,
    Exposition,
    Format,
    MetricsStore,
    RenderOptions,
    SelfMetrics,
    negotiate,
)
from exporter.metrics.families import (
    AccountFamily,
    ExporterFamily,
    Family,
    Key,
    KeyFamily,
    UserFamily,
)
from exporter.model import (
    NEVER,
    UNKNOWN,
    AccessKey,
    AccountSnapshot,
    ReadError,
    Reason,
    ReportState,
    Root,
)
from tests.facts import NOON, a_key, a_snapshot, a_use, a_user, an_account, days_ago

DATA = Path(__file__).parent / "data" / "exposition"

PROD = an_account("111111111111", "prod")
TEST = an_account("222222222222", "test", source="organization")

SUFFIXES = {Format.TEXT: "txt", Format.OPENMETRICS: "openmetrics"}


def a_page(*snapshots: AccountSnapshot, shown: RenderOptions | None = None) -> MetricsStore:
    page = MetricsStore(shown or RenderOptions())
    for snapshot in snapshots:
        page.publish(snapshot.account, snapshot)
    return page


def render(
    page: MetricsStore, format_: Format = Format.TEXT, names: frozenset[str] = frozenset()
) -> str:
    self_metrics = SelfMetrics(version="1.2.3", operations=("ListUsers",), process=False)
    self_metrics.configured(accounts=2, interval=900)
    self_metrics.observe("ListUsers", 0.2, "")
    exposition = Exposition(page, self_metrics, clock=NOON.timestamp)
    return exposition.render(format_, names=names).decode()


KEYS = (
    a_key("AKIAUSEDUSEDUSEDUSED", last_use=a_use(2)),
    a_key("AKIANEVERNEVERNEVER1", last_use=NEVER, created=days_ago(40)),
    a_key("AKIAUNKNOWNUNKNOWN12", user="bob", last_use=UNKNOWN, as_of=None),
    a_key("AKIAINACTIVEINACTIV1", user="carol+=,.@-_", status="Inactive", final=True),
)
WHOLE = a_snapshot(
    *KEYS,
    account=PROD,
    root=Root(NOON, 1, days_ago(30), None),
    report=ReportState(days_ago(0.1), NOON, usable=True),
)
DENIED = ReadError(Reason.ACCESS_DENIED, "ListUsers: AccessDenied: no")

SCENES: dict[str, tuple[AccountSnapshot, ...]] = {
    "before": (AccountSnapshot(PROD), AccountSnapshot(TEST)),
    "after": (WHOLE, a_snapshot(account=TEST)),
    "failed": (replace(WHOLE.failed(DENIED), seconds=0.5), a_snapshot(account=TEST)),
    "deleted": (replace(WHOLE, keys=KEYS[1:]), a_snapshot(account=TEST)),
}


@pytest.mark.parametrize("format_", Format)
@pytest.mark.parametrize("scene", SCENES)
def test_the_whole_page(scene: str, format_: Format) -> None:
    """The whole page before the first reading, after it, after a failure, after a deletion."""
    expected = (DATA / f"{scene}.{SUFFIXES[format_]}").read_text()

    page = render(a_page(*SCENES[scene]), format_)

    assert page == expected.replace("PYTHON", platform.python_version())


def test_a_page_that_was_published_again_has_no_zombies() -> None:
    """A key that is gone from the latest reading is gone from the page."""
    page = a_page(*SCENES["after"])

    page.publish(PROD, SCENES["deleted"][0])

    assert render(page) == render(a_page(*SCENES["deleted"]))


def test_an_age_is_as_of_the_scrape() -> None:
    """Ages grow from scrape to scrape without a reading."""
    exposition = Exposition(
        a_page(WHOLE), SelfMetrics(version="1", process=False), clock=lambda: NOON.timestamp() + 60
    )

    samples = dict(_samples(exposition.render(Format.TEXT).decode()))

    ages = [v for (name, _), v in samples.items() if name.endswith("age_seconds")]
    assert ages == [2 * 86400 + 60, 86400 + 60]


def test_a_clock_behind_awss_makes_no_negative_age() -> None:
    """A use that lies in our future is zero seconds ago."""
    page = a_page(a_snapshot(a_key(last_use=a_use(days=-1))))

    assert "} 0\n" in render(page, names=frozenset({"aws_iam_access_key_last_used_age_seconds"}))


def test_names_restrict_the_page() -> None:
    """With names only those families are rendered, ours and the library's alike."""
    names = frozenset({"aws_iam_account_users", "aws_iam_exporter_accounts_configured"})

    page = render(a_page(*SCENES["after"]), names=names)

    assert set(re.findall(r"^# TYPE (\S+)", page, re.MULTILINE)) == names


def test_gzip_holds_the_same_page() -> None:
    """The compressed page is the page."""
    exposition = Exposition(
        a_page(WHOLE), SelfMetrics(version="1", process=False), clock=NOON.timestamp
    )

    packed = exposition.render(Format.TEXT, gzip=True)

    assert gzip.decompress(packed) == exposition.render(Format.TEXT)


def test_masked_ids_are_labels() -> None:
    """The page shows key ids as it is told to."""
    shown = RenderOptions(
        key_labels=lambda keys: {key.id: f"label{i}" for i, key in enumerate(keys)}
    )

    page = render(a_page(WHOLE, shown=shown))

    assert "AKIA" not in page


def test_tags_and_descriptions_are_labels_of_the_info() -> None:
    """Allowed tags, and the tag named by the key's id, are labels of the info family."""
    user = a_user(tags=(("AKIA1", 'the "CI" key'), ("Team", "web")))
    snapshot = replace(a_snapshot(a_key("AKIA1")), users=(user,))

    page = render(
        a_page(snapshot, shown=RenderOptions(tags={"Team": "tag_Team", "cost": "tag_cost"}))
    )

    assert (
        'status="Active",path="/",description="the \\"CI\\" key",tag_Team="web",tag_cost=""} 1\n'
        in page
    )


def test_passwords_are_told_only_on_request() -> None:
    """Passwords' last uses are exposed where they are wanted, and only there."""
    snapshot = replace(a_snapshot(), users=(a_user(password_last_used=days_ago(1)),))

    lines = [
        "aws_iam_user_password_last_used_timestamp_seconds{"
        in render(a_page(snapshot, shown=shown))
        for shown in (RenderOptions(), RenderOptions(passwords=True))
    ]

    assert lines == [False, True]


def test_keys_are_not_counted_where_some_are_not_known() -> None:
    """A user whose keys were never listed makes the counts absent, not smaller."""
    snapshot = a_snapshot(a_key())
    denied = replace(snapshot, users=(*snapshot.users, a_user("bob", keys_at=None)))

    names = {name for (name, _), _ in _samples(render(a_page(denied)))}

    assert names & {"aws_iam_account_access_keys", "aws_iam_exporter_account_keys_unknown"} == set()


def test_ids_within_tags_are_shown_as_labels_are() -> None:
    """Key ids within descriptions and tags are redacted."""
    user = a_user(tags=(("AKIA1", "replaces AKIAOLD"), ("team", "AKIAOLD")))
    shown = RenderOptions(
        tags={"team": "tag_team"}, redact=lambda text: text.replace("AKIAOLD", "****")
    )

    page = render(a_page(replace(a_snapshot(a_key("AKIA1")), users=(user,)), shown=shown))

    assert 'description="replaces ****",tag_team="****"' in page


def test_exemptions_are_exposed() -> None:
    """The end of a key's exemption is a sample of its own."""
    page = a_page(WHOLE, shown=RenderOptions(exempt_until=lambda account, user, key: NOON))

    name = "aws_iam_access_key_exempt_until_timestamp_seconds"
    values = [v for (n, _), v in _samples(render(page)) if n == name]
    assert values == [NOON.timestamp()] * len(KEYS)


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
    """The format that is liked best of those on offer; the older one as the last resort."""
    assert negotiate(accept) is expected


# The page against the library.


def _samples(text: str) -> Iterator[tuple[tuple[str, tuple[tuple[str, str], ...]], float]]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield (sample.name, tuple(sorted(sample.labels.items()))), sample.value


class Reference(Collector):
    """The same families, handed to the library sample by sample."""

    def __init__(self, snapshots: list[AccountSnapshot]) -> None:
        self._readings = snapshots

    def collect(self) -> Iterator[Metric]:
        for family in FAMILIES:
            if isinstance(family, KeyFamily | UserFamily | AccountFamily):
                kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
                metric = kind(family.name, family.help, labels=family.labels)
                for snapshot in self._readings:
                    for labels, value in _of(family, snapshot):
                        account = (snapshot.account.id, snapshot.account.label)
                        metric.add_metric((*account, *labels), value)
                yield metric


def _of(family: Family, snapshot: AccountSnapshot) -> Iterator[tuple[tuple[str, ...], float]]:
    if isinstance(family, AccountFamily):
        yield from family.samples(snapshot)
    users = {user.name: user for user in snapshot.users}
    if isinstance(family, UserFamily):
        for user in snapshot.users:
            for labels, value in family.samples(user):
                yield (user.name, *labels), value
    if isinstance(family, KeyFamily):
        for key in snapshot.keys:
            user = users[key.user]
            description = dict(user.tags).get(key.id, "")
            for labels, value in family.samples(Key(key, user, NOON, description, ())):
                age = NOON.timestamp() - value if family.ages else value
                yield (key.user, key.id, *labels), age


HOSTILE = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@st.composite
def snapshots(draw: st.DrawFn) -> AccountSnapshot:
    number = draw(st.integers(0, 4))
    names = draw(st.lists(HOSTILE, min_size=number, max_size=number, unique=True))
    keys: list[AccessKey] = []
    for i, name in enumerate(names):
        use = draw(
            st.one_of(
                st.sampled_from([NEVER, UNKNOWN]),
                st.builds(a_use, st.integers(0, 900), service=HOSTILE, region=HOSTILE),
            )
        )
        status = draw(st.sampled_from(["Active", "Inactive", "Expired", "New\n"]))
        keys.append(a_key(f"AKIA{i}", user=name, last_use=use, status=status))
    account = an_account(draw(st.sampled_from("123")), draw(HOSTILE))
    snapshot = a_snapshot(*keys, account=account)
    users = tuple(
        replace(
            user,
            path=draw(HOSTILE),
            tags=((f"AKIA{i}", draw(HOSTILE)),),
            password_last_used=draw(st.sampled_from([None, NOON])),
        )
        for i, user in enumerate(snapshot.users)
    )
    snapshot = replace(snapshot, users=users)
    return snapshot.failed(DENIED) if draw(st.booleans()) else snapshot


@given(st.lists(snapshots(), min_size=1, max_size=3, unique_by=lambda r: r.account.id))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_the_page_parses_to_what_the_library_would_have_said(
    several: list[AccountSnapshot],
) -> None:
    """Whatever names and tags hold, both formats parse to the samples of the same families."""
    registry = CollectorRegistry()
    registry.register(Reference(several))
    page = a_page(*several, shown=RenderOptions(passwords=True, exempt_until=lambda *_: NOON))
    exposition = Exposition(page, SelfMetrics(version="1", process=False), clock=NOON.timestamp)

    text = exposition.render(Format.TEXT, names=NOT_OWN).decode()
    in_openmetrics = exposition.render(Format.OPENMETRICS, names=NOT_OWN).decode()

    ours = sorted(_samples(text))
    assert ours == sorted(_samples(generate_latest(registry).decode()))
    assert len({series for series, _ in ours}) == len(ours)
    reference = generate_openmetrics(registry).decode()  # type: ignore[no-untyped-call]
    assert _parsed(in_openmetrics) == _parsed(reference)


NOT_OWN = frozenset(family.name for family in FAMILIES if not isinstance(family, ExporterFamily))


def _parsed(text: str) -> list[tuple[str, tuple[tuple[str, str], ...], float]]:
    families = openmetrics.text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    return sorted(
        (sample.name, tuple(sorted(sample.labels.items())), sample.value)
        for family in families
        for sample in family.samples
    )


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_each_help_says_something(family: Family) -> None:
    """A help text is a sentence or more, on one line, that needs no escaping."""
    assert re.fullmatch(r'[^\n\\"]{20,}\.', family.help)


@pytest.mark.parametrize(
    "family",
    [family for family in FAMILIES if isinstance(family, KeyFamily | UserFamily)],
    ids=lambda family: family.name,
)
def test_each_fact_says_what_absence_means(family: Family) -> None:
    """The help of a fact about a key or user ends with what its absence means."""
    assert "Absent:" in family.help or "Always 1" in family.help
