"""The account dashboard: reasons, numbers and the lists behind them."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from exporter import demo
from grafana import account, states
from grafana import queries as q
from tests.grafana.boards import expression, interpolate, panels, variables
from tests.grafana.history import demo_company, history, write_blocks
from tests.grafana.live import Client
from tests.grafana.scrapes import Series, scrapes, series
from tests.servers import prometheus

# With pytest-xdist, only one process must write the history.
pytestmark = [pytest.mark.process, pytest.mark.xdist_group("grafana_account")]

HOUR = 3600.0
ACCOUNTS = [demo.PEOPLE, demo.PIPELINES, demo.SMALL]
COUNTS = {
    7: "active",
    8: "unused",
    9: "never used",
    10: "not rotated",
    11: "deletable",
    3: "unknown",
    27: "exempt",
}
"""The lists of the numbers, by the ID of the panel."""


def of_account(account_id: str, *, up: int, succeeded: float, **failures: object) -> list[Series]:
    """The series of an account: the counter of *failures* by reason."""
    labels = {"account_id": account_id, "account": f"account {account_id}"}
    return [
        series(q.UP, up, **labels),
        series(q.LAST_SUCCESS, succeeded, **labels),
        series(q.REFRESH_DURATION, 3.0, **labels),
        *(
            series(q.FAILURES, value, reason=reason, **labels)  # type: ignore[arg-type]
            for reason, value in failures.items()
        ),
    ]


def failing_accounts(end: float) -> list[Series]:
    def lately(at: float) -> float:
        return max(0.0, (at - (end - 300)) // 60)

    def earlier(at: float) -> float:
        return min(at, end - 2 * HOUR) // 60 - (end - 7 * HOUR) // 60

    def each_quarter(at: float) -> float:
        return at // 900 - (end - 6 * HOUR) // 900

    return [
        series(q.BUILD_INFO, 1),
        *of_account("1", up=0, succeeded=end - HOUR, throttled=lately, access_denied=earlier),
        *of_account("2", up=0, succeeded=0, throttled=0.0, assume_role=3.0),
        *of_account("3", up=1, succeeded=end, throttled=40.0),
        *of_account("4", up=0, succeeded=end - HOUR, throttled=each_quarter, timeout=0.0),
        series(q.UP, 0, account_id="5", account="new"),
        series(q.LAST_SUCCESS, 0, account_id="5", account="new"),
    ]


def known_keys(account_id: str, *, unknown: int | None) -> list[Series]:
    """An account with 7 active keys; *unknown* is None if the keys of some users are unknown."""
    labels = {"account_id": account_id, "account": f"account {account_id}"}
    counts = [
        series(family, 2, days=str(days), **labels)
        for family in (q.COUNT_IDLE, q.COUNT_NEVER_USED, q.COUNT_AGE)
        for days in (0, 30, 90)
    ]
    if unknown is None:
        return counts
    return [
        *counts,
        series(q.COUNT_UNKNOWN, unknown, **labels),
        series(q.KEYS, 7, status="Active", **labels),
    ]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A Prometheus with accounts whose refreshes fail in several ways."""
    end = _end()
    by_hand = [
        *failing_accounts(end),
        *known_keys("3", unknown=0),
        *known_keys("1", unknown=4),
        *known_keys("4", unknown=None),
    ]
    times = [end - 60 * minute for minute in range(6 * 60 + 1, -1, -1)]
    yield from _serve(tmp_path_factory.mktemp("accounts"), scrapes(by_hand, times), end)


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A Prometheus that scraped two replicas of the demo."""
    end = _end()
    lines = history(demo_company(end), [end - 60, end])
    yield from _serve(tmp_path_factory.mktemp("company"), lines, end)


def _end() -> float:
    """Within Prometheus's retention time."""
    return float(int(datetime.now(UTC).timestamp()) // 3600 * 3600)


def _serve(folder: Path, lines: Iterator[str], end: float) -> Iterator[Client]:
    write_blocks(lines, folder)
    with prometheus(folder, "global: {}") as address:
        yield Client(address, end)


def ask(client: Client, panel_id: int, ref: str, account_id: str, **selected: str) -> str:
    expr = expression("account", panel_id, ref)
    return interpolate(expr, "account", {"account_id": account_id, **selected})


class TestFailureReason:
    @pytest.mark.parametrize(
        ("account_id", "reason"),
        [
            pytest.param("1", "throttled", id="the one of the last hour, not the most frequent"),
            pytest.param("2", "not counted yet", id="it did not fail again since the first scrape"),
            pytest.param("3", "none", id="none, since the last refresh succeeded"),
            pytest.param("5", "not read yet", id="no refresh has finished"),
            pytest.param("6", "no such account", id="the account is not exported"),
        ],
    )
    def test_reason(self, client: Client, account_id: str, reason: str) -> None:
        """The reason of the last failure is shown, or why there is none."""
        (found,) = client.query(ask(client, 26, "reason", account_id))

        assert found["metric"]["reason"] == reason

    def test_bars_count_each_failure_once(self, client: Client) -> None:
        """Six hours with a failure every 15 minutes: the bars of 30 minutes add up to 24."""
        expr = ask(client, 24, "failures", "4", __interval="30m")
        (found,) = client.query(expr, instant=False, seconds=5.5 * HOUR, step=1800)

        assert sum(float(value) for _, value in found["values"]) == pytest.approx(24, abs=1)

    def test_no_failure_is_drawn(self, client: Client) -> None:
        """An account without failures has a line at 0, so that it is not taken for unknown."""
        expr = ask(client, 24, "none", "3", __interval="30m")

        assert client.value(expr) == 0


class TestStatus:
    @pytest.mark.parametrize(
        ("account_id", "status"),
        [
            pytest.param("1", 1, id="stale"),
            pytest.param("2", 0, id="no data"),
            pytest.param("3", 2, id="current"),
            pytest.param("5", states.NOT_READ.value, id="not read yet"),
            pytest.param("6", states.NO_ACCOUNT.value, id="no such account"),
        ],
    )
    def test_status(self, client: Client, account_id: str, status: int) -> None:
        """The status tells apart what is wrong with the data."""
        assert client.value(ask(client, 1, "status", account_id)) == status

    def test_data_age_of_an_account_that_never_succeeded(self, client: Client) -> None:
        """It says never."""
        assert client.value(ask(client, 2, "age", "2")) == states.NEVER.value


class TestNumbers:
    @pytest.mark.parametrize(
        ("account_id", "note"),
        [
            pytest.param("3", " ", id="exact"),
            pytest.param("1", "at least (4 unknown)", id="some uses are unknown"),
            pytest.param("4", "at least (some keys unknown)", id="some keys are unknown"),
        ],
    )
    def test_lower_bounds_say_so(self, client: Client, account_id: str, note: str) -> None:
        """A number that may be too low is marked."""
        (found,) = client.query(ask(client, 8, "count", account_id))

        assert (found["value"][1], found["metric"]["note"]) == ("2", note)

    def test_another_team_has_no_keys(self, company: Client) -> None:
        """The number of a team without keys in the account is 0."""
        expr = ask(company, 10, "count", demo.PIPELINES, team="data")

        assert company.value(expr) == 0

    @pytest.mark.parametrize("account_id", ACCOUNTS)
    @pytest.mark.parametrize(("panel_id", "name"), COUNTS.items())
    def test_lists_have_as_many_keys(
        self, company: Client, panel_id: int, name: str, account_id: str
    ) -> None:
        """Each number is the length of the list it leads to."""
        keys = company.query(ask(company, 12, "info", account_id, listed=name))
        number = company.value(ask(company, panel_id, "count", account_id))

        assert len({each["metric"]["access_key_id"] for each in keys}) == number

    def test_users_with_two_active_keys(self, company: Client) -> None:
        """Their list has two keys for each of them."""
        keys = company.query(ask(company, 12, "info", demo.PIPELINES, listed="two active keys"))
        number = company.value(ask(company, 6, "two", demo.PIPELINES))

        assert (len(keys), number) == (2 * number, number)

    def test_numbers_lead_to_their_lists(self) -> None:
        """The links of the numbers choose lists that exist."""
        choices = variables("account")["listed"]["query"].split(",")
        linked = {}
        for panel in panels("account"):
            for link in panel.get("fieldConfig", {}).get("defaults", {}).get("links", ()):
                if "var-listed" in link["url"]:
                    (linked[panel["id"]],) = parse_qs(link["url"])["var-listed"]

        assert linked == {**COUNTS, 6: "two active keys"}
        assert set(linked.values()) <= set(choices)
        assert choices == list(account.lists(""))


class TestTable:
    def test_sorted_by_idle_time_with_keys_that_were_never_used(self, company: Client) -> None:
        """A key that was never used is idle since its creation."""
        (table,) = (panel for panel in panels("account") if panel["id"] == 12)
        idle = company.query(ask(company, 12, "idle", demo.PIPELINES))
        worst = max(idle, key=lambda each: float(each["value"][1]))

        assert table["options"]["sortBy"] == [{"displayName": "Idle (days)", "desc": True}]
        assert worst["metric"]["user"] == "old-jenkins"
        assert float(worst["value"][1]) == pytest.approx(1400, abs=2)

    def test_only_listed_keys_are_shown(self) -> None:
        """The list is chosen by one of the queries: rows that it lacks are dropped."""
        (table,) = (panel for panel in panels("account") if panel["id"] == 12)
        kinds = [each["id"] for each in table["transformations"]]
        (dropped,) = table["transformations"][1]["options"]["filters"]

        assert kinds == ["merge", "filterByValue", "organize"]
        assert (dropped["fieldName"], dropped["config"]["id"]) == ("Value #info", "isNotNull")

    def test_the_access_key_fits(self) -> None:
        """20 wide letters fit in the column of the access key."""
        for panel in panels("account") + panels("key"):
            for each in panel.get("fieldConfig", {}).get("overrides", ()):
                if each["matcher"]["options"] == "Access key":
                    widths = [p["value"] for p in each["properties"] if p["id"] == "custom.width"]
                    assert widths == [215], panel["title"]


def test_no_rate_window_with_a_minimum_step() -> None:
    """$__rate_interval is four times a minimum step: increases would be counted four times."""
    for panel in panels("account") + panels("key") + panels("exporter"):
        for target in panel.get("targets", ()):
            if "increase(" in target["expr"]:
                windows = re.findall(r"increase\([^[]*\[([^]]*)\]", target["expr"])
                assert "$__rate_interval" not in windows, panel["title"]
