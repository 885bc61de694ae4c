"""The key dashboard: uses at once, and why a fact is missing."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from grafana import queries as q
from grafana import states
from tests.grafana.boards import expression, interpolate, variables
from tests.grafana.history import write_blocks
from tests.grafana.live import Client
from tests.grafana.scrapes import Series, scrapes, series
from tests.servers import prometheus

# With pytest-xdist, only one process must write the history.
pytestmark = [pytest.mark.process, pytest.mark.xdist_group("grafana_key")]

DAY = 86400.0
ACCOUNT = {"account_id": "1", "account": "prod"}
ACTIVE = "aws_iam_access_key_active"


def labels(name: str) -> dict[str, str]:
    """The labels of the only key of a user."""
    return {**ACCOUNT, "user": f"user-{name}", "access_key_id": f"AKIA{name.upper():X>16}"}


def keys(end: float) -> list[Series]:
    def woke(at: float) -> float:
        return end - 240 if at >= end - 180 else end - 300 * DAY

    def used_hourly(at: float) -> float:
        return at // 3600 * 3600

    awakened, busy, never = labels("awakened"), labels("busy"), labels("never")
    unknown, inactive = labels("unknown"), labels("inactive")
    used = [awakened, busy, inactive]
    return [
        series(q.BUILD_INFO, 1),
        series(q.UP, 1, **ACCOUNT),
        series(q.REFRESH_DURATION, 3, **ACCOUNT),
        series(q.KEYS, 4, status="Active", **ACCOUNT),
        *(
            series(q.CREATED, end - 400 * DAY, **each)
            for each in (awakened, busy, never, unknown, inactive)
        ),
        *(series(ACTIVE, int(each is not inactive), **each) for each in (*used, never, unknown)),
        *(series(q.NEVER_USED, 0, **each) for each in used),
        *(series(q.CONFIRMED, end - 60, **each) for each in (*used, never)),
        series(q.NEVER_USED, 1, **never),
        series(q.LAST_USED, woke, **awakened),
        series(q.LAST_USED, used_hourly, **busy),
        series(q.LAST_USED, end - 200 * DAY, **inactive),
        series(q.LAST_USED_AGE, 240, service="s3", region="eu-west-1", **awakened),
        series(q.INACTIVE_SINCE, end - 20 * DAY, **inactive),
        series(q.USED_AFTER_IDLE, 299 * DAY, **awakened),
        series(q.NEW_REGION, end - 240, region="eu-west-1", **awakened),
        series(q.UP, 0, account_id="2", account="broken"),
        series(q.REFRESH_DURATION, 3, account_id="2", account="broken"),
    ]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A Prometheus that has scraped some keys for a day."""
    # Within the retention time.
    end = float(int(datetime.now(UTC).timestamp()) // 3600 * 3600)
    folder = tmp_path_factory.mktemp("keys")
    times = [end - 60 * minute for minute in range(24 * 60, -1, -1)]
    write_blocks(scrapes(keys(end), times), folder)
    with prometheus(folder, "global: {}") as address:
        yield Client(address, end)


def ask(panel_id: int, ref: str, name: str, **selected: str) -> str:
    chosen = {**labels(name), **selected}
    return interpolate(expression("key", panel_id, ref), "key", chosen)


class TestUses:
    def test_a_use_is_shown_at_once(self, client: Client) -> None:
        """A use of 4 minutes ago is a point, however long the time range is."""
        (found,) = client.query(ask(21, "now", "awakened"))

        assert found["metric"] == {"use": "latest use"}
        assert float(found["value"][1]) == 1000 * (client.end - 240)

    def test_idle_time_drops_at_once(self, client: Client) -> None:
        """The line of the idle time has a last point of now."""
        assert client.value(ask(20, "now", "awakened")) == pytest.approx(240 / DAY)

    def test_each_use_is_one_point(self, client: Client) -> None:
        """A key that is used every hour has a point every hour, at the time of the use."""
        expr = ask(21, "uses", "busy", __interval="15m")
        (found,) = client.query(expr, instant=False, seconds=6 * 3600, step=900)
        times = [float(value) for _, value in found["values"]]

        assert times == [1000 * (client.end - 3600 * hour) for hour in range(6, -1, -1)]

    @pytest.mark.parametrize(
        ("name", "text"), [("never", "never used"), ("unknown", "unknown"), ("busy", "latest use")]
    )
    def test_why_there_is_no_use(self, client: Client, name: str, text: str) -> None:
        """A key without a use says why."""
        (found,) = client.query(ask(21, "now", name))

        assert found["metric"]["use"] == text


class TestFacts:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            pytest.param("awakened", 0, id="used"),
            pytest.param("never", 1, id="never used"),
            pytest.param("unknown", 2, id="unknown"),
            pytest.param("deleted", states.NO_KEY.value, id="no such key"),
        ],
    )
    def test_usage(self, client: Client, name: str, value: int) -> None:
        """Never used, unknown and deleted are different."""
        assert client.value(ask(2, "usage", name)) == value

    def test_a_key_of_an_account_without_data_may_exist(self, client: Client) -> None:
        """While the keys of the account are unknown, nobody says that the key does not exist."""
        assert not client.query(ask(1, "active", "deleted", account_id="2"))

    def test_inactive_since(self, client: Client) -> None:
        """The time since when the key was seen inactive."""
        assert client.value(ask(7, "inactive", "inactive")) == 1000 * (client.end - 20 * DAY)
        assert client.value(ask(7, "inactive", "busy")) == states.ACTIVE.value

    def test_as_of(self, client: Client) -> None:
        """The time at which AWS last reported the last use."""
        assert client.value(ask(5, "confirmed", "never")) == 1000 * (client.end - 60)
        assert client.value(ask(5, "confirmed", "unknown")) == states.UNKNOWN.value

    def test_passwords_that_are_not_exported(self, client: Client) -> None:
        """Whether the user has signed in is not known if no passwords are exported."""
        assert client.value(ask(7, "password", "busy")) == states.NOT_EXPORTED.value

    def test_events(self, client: Client) -> None:
        """What happened in the last day, and after how many days."""
        at = client.query(ask(24, "at", "awakened"))
        (after,) = client.query(ask(24, "after", "awakened"))

        assert {each["metric"]["what"] for each in at} == {"awakened", "new region: eu-west-1"}
        assert float(after["value"][1]) == pytest.approx(299)

    def test_events_of_unknown_uses(self, client: Client) -> None:
        """Nothing is not said of a key whose uses are unknown."""
        (found,) = client.query(ask(24, "unknown", "unknown"))

        assert found["metric"]["what"] == "last uses unknown"


def test_the_commands_always_name_a_region(client: Client) -> None:
    """The region of the last use, or one in which global services are logged."""
    query = variables("key")["last_region"]["query"]["query"]
    (used,) = client.variable_values(interpolate(query, "key", labels("awakened")))
    (never,) = client.variable_values(interpolate(query, "key", labels("never")))

    assert ("eu-west-1" in used, "us-east-1" in never) == (True, True)
