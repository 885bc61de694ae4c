"""The exporter dashboard: targets, the store, limits, and accounts that were not read yet."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from grafana import queries as q
from grafana import states
from tests.grafana.boards import expression, interpolate, panels
from tests.grafana.history import write_blocks
from tests.grafana.live import Client
from tests.grafana.scrapes import Series, scrapes, series
from tests.servers import prometheus

# With pytest-xdist, only one process must write the history.
pytestmark = [pytest.mark.process, pytest.mark.xdist_group("grafana_exporter")]

REQUESTS = "aws_iam_exporter_api_requests_total"


def installations(end: float) -> list[Series]:
    """Several exporters, each with a job of its own, and Prometheus itself."""

    def until_lately(at: float) -> float | None:
        return 1.0 if at < end - 600 else None

    def ten_per_second(at: float) -> float:
        return 10 * (at - end + 7200)

    one, new = {"account_id": "1", "account": "one"}, {"account_id": "2", "account": "new"}
    return [
        series("up", 1, job="prometheus", instance="localhost:9090"),
        *(series("up", 1, job=job) for job in ("stateless", "broken-store", "ok")),
        *(series(q.BUILD_INFO, 1, job=job) for job in ("stateless", "broken-store", "ok")),
        series("up", lambda at: float(at < end - 600), job="down", instance="two:10064"),
        series(q.BUILD_INFO, until_lately, job="down", instance="two:10064"),
        series(q.STORE_UP, 1, job="ok"),
        series(q.STORE_UP, 0, job="broken-store"),
        *(series(q.UP, int(each is one), job="ok", **each) for each in (one, new)),
        series(q.LAST_SUCCESS, end - 60, job="ok", **one),
        series(q.LAST_SUCCESS, 0, job="ok", **new),
        series(q.REFRESH_DURATION, 3, job="ok", **one),
        series(q.KEYS, 4, job="ok", status="Active", **one),
        series(q.RATE_LIMIT, 5, job="ok", **one),
        series(q.RATE_LIMIT, 15, job="ok", **new),
        series("aws_iam_exporter_accounts_configured", 3, job="ok"),
        series(REQUESTS, ten_per_second, job="ok", operation="ListUsers"),
        series("scrape_samples_scraped", 48, job="ok"),
    ]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    # Within the retention time.
    end = float(int(datetime.now(UTC).timestamp()) // 3600 * 3600)
    folder = tmp_path_factory.mktemp("exporters")
    times = [end - 60 * minute for minute in range(60, -1, -1)]
    write_blocks(scrapes(installations(end), times), folder)
    with prometheus(folder, "global: {}") as address:
        yield Client(address, end)


def ask(panel_id: int, ref: str, job: str) -> str:
    return interpolate(expression("exporter", panel_id, ref), "exporter", {"job": job})


def test_alerts_come_first() -> None:
    """The first panel shows the alerts that fire."""
    first = panels("exporter")[0]

    assert (first["title"], first["gridPos"]["y"]) == ("Firing alerts", 0)


def test_only_exporters_are_targets(client: Client) -> None:
    """With all jobs selected, other targets of Prometheus are not counted."""
    assert client.value(ask(1, "up", ".+")) == 3
    assert client.value(ask(1, "down", ".+")) == 1


@pytest.mark.parametrize(
    ("job", "value"),
    [
        pytest.param("ok", 1, id="up"),
        pytest.param("broken-store", 0, id="down"),
        pytest.param("stateless", states.NOT_CONFIGURED.value, id="not configured"),
        pytest.param("down", states.NO_EXPORTER.value, id="no exporter"),
    ],
)
def test_store(client: Client, job: str, value: int) -> None:
    """The store is up, down, or not configured; without an exporter it is none of these."""
    assert client.value(ask(7, "up", job)) == value


def test_accounts_that_were_not_read_yet(client: Client) -> None:
    """An account whose first refresh has not finished has not failed."""
    counted = {
        ref: client.value(ask(2, ref, "ok")) for ref in ("not_read_yet", "no_data", "missing")
    }
    (text,) = (
        mapping["options"]["result"]["text"]
        for panel in panels("exporter")
        if panel["id"] == 13
        for each in panel["fieldConfig"]["overrides"]
        if each["matcher"]["options"] == "Data age"
        for entry in each["properties"]
        if entry["id"] == "mappings"
        for mapping in entry["value"]
        if mapping["options"]["from"] <= _age(client) <= mapping["options"]["to"]
    )

    assert counted == {"not_read_yet": 1, "no_data": 0, "missing": 1}
    assert text == "not read yet"


def _age(client: Client) -> float:
    (new,) = (
        float(each["value"][1])
        for each in client.query(ask(13, "age", "ok"))
        if each["metric"]["account"] == "new"
    )
    return new


def test_no_exporter_is_not_a_number_of_accounts(client: Client) -> None:
    """Without an exporter, nothing is said about accounts but that."""
    refs = ["no_exporter", "not_read_yet", "no_data", "stale", "missing"]
    answers = {ref: client.query(ask(2, ref, "down")) for ref in refs}

    assert [ref for ref in refs if answers[ref]] == ["no_exporter"]


def test_use_of_the_rate_limits(client: Client) -> None:
    """10 requests per second are half of what two accounts with 5 and 15 allow."""
    assert client.value(ask(22, "used", "ok")) == pytest.approx(0.5)


def test_samples_per_key(client: Client) -> None:
    """48 samples for 4 keys are 12 for each."""
    assert client.value(ask(9, "cost", "ok")) == 12
    assert client.value(ask(9, "cost", "stateless")) == states.NO_KEYS.value
