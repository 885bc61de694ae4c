"""The answers of a real Prometheus to the dashboards' queries."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from exporter import demo
from grafana import queries as q
from tests.grafana.boards import (
    BOARDS,
    dashboard_rules,
    expression,
    interpolate,
    recording_rules,
    targets,
    variables,
)
from tests.grafana.history import demo_company, history, write_blocks
from tests.grafana.live import Client, record
from tests.servers import find, prometheus

# With pytest-xdist, only one process must write the history.
pytestmark = [pytest.mark.process, pytest.mark.xdist_group("grafana")]

KEY_LABELS = ("job", "account_id", "account", "user", "access_key_id")

EMPTY = {
    ("account", 24, "failures"): "the account's refreshes succeed",
    ("account", 12, "exempt"): "none of the account's keys is exempt",
    ("fleet", 13, "age"): "the account without data never had any",
    ("key", 7, "exempt"): "the key is not exempt",
    ("key", 8, "password"): "the user has no password",
    ("key", 12, "exempt"): "none of the user's keys is exempt",
}
"""Queries without results for the selected subject, and why."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A Prometheus that scraped two replicas of the demo for an hour, and evaluated the rules."""
    folder = tmp_path_factory.mktemp("dashboards")
    find("prometheus")
    # Within the retention time, and on a step of Prometheus's ranges.
    end = float(int(datetime.now(UTC).timestamp()) // 3600 * 3600)
    times = [end - 60 * minute for minute in range(65, -1, -1)]
    write_blocks(history(demo_company(end), times), folder)
    for totals in (False, True):
        with prometheus(folder, "global: {}") as address:
            record(Client(address, end), folder, totals=totals)
    with prometheus(folder, "global: {}") as address:
        yield Client(address, end)


def keys(client: Client, family: str = "info") -> list[dict[str, str]]:
    names = "account_id, user, access_key_id"
    found = client.query(f"group by ({names}) (aws_iam_access_key_{family})")
    return [series["metric"] for series in found]


def count(client: Client, board: str, panel_id: int, ref: str = "count", **selected: str) -> float:
    return client.value(interpolate(expression(board, panel_id, ref), board, selected))


class TestQueries:
    def test_every_query_has_results(self, client: Client) -> None:
        """Every query is accepted, and has results unless EMPTY says why not."""
        empty = set()
        for name, panel, target in targets():
            expr = interpolate(target["expr"], name)
            if not client.query(expr, instant=target["instant"]):
                empty.add((name, panel["id"], target["refId"]))

        assert empty == set(EMPTY)

    def test_empty_queries_have_results_for_others(self, client: Client) -> None:
        """A query that is empty for the selected subject is not for one that has the fact."""
        (exempt,) = keys(client, "exempt_until_timestamp_seconds")
        others = {
            "exempt": exempt,
            "password": {"account_id": demo.PEOPLE, "user": "ada"},
            "failures": {"account_id": demo.CLOSED},
        }
        for name, panel, target in targets():
            subject = others.get(target["refId"])
            if subject and (name, panel["id"], target["refId"]) in EMPTY:
                expr = interpolate(target["expr"], name, subject)
                assert client.query(expr, instant=target["instant"]), panel["title"]


class TestVariables:
    def test_every_variable_has_values(self, client: Client) -> None:
        """Every variable has something to select."""
        for name in BOARDS:
            for variable in variables(name).values():
                if variable["type"] == "query":
                    query = variable["query"]["query"]
                    assert variable["definition"] == query
                    values = client.variable_values(interpolate(query, name))
                    assert values, f"{name}: {variable['name']}"

    def test_accounts_are_selected_by_name(self, client: Client) -> None:
        """The regular expression extracts name and ID from the text of a series."""
        variable = variables("account")["account_id"]
        expression = variable["regex"].strip("/").replace("(?<", "(?P<")
        found = set()
        for value in client.variable_values(interpolate(variable["query"]["query"], "account")):
            labels = json.loads(value)
            text = "{" + ",".join(f'{name}="{text}"' for name, text in labels.items()) + "} 1 0"
            hit = re.search(expression, text)
            assert hit
            found.add((hit["text"], hit["value"]))

        assert ("pipelines", demo.PIPELINES) in found
        assert ("no-role", demo.CLOSED) in found

    def test_the_key_determines_the_user(self, client: Client) -> None:
        """Links name account and key; the user that is then selected is the key's."""
        order = list(variables("key"))
        assert order.index("account_id") < order.index("access_key_id") < order.index("user")
        query = variables("key")["user"]["query"]["query"]
        users = set()
        for labels in keys(client):
            assert client.variable_values(interpolate(query, "key", labels)) == [labels["user"]]
            users.add(labels["user"])

        assert "margaret+aws@example.com" in users


class TestCounts:
    @pytest.mark.parametrize(
        ("panel_id", "ref", "expected"),
        [
            (1, "no_data", 1),
            (1, "stale", 0),
            (2, "count", 2),
            (3, "count", 4),
            (4, "count", 2),
            (6, "count", 1),
            (7, "count", 4),
            (11, "count", 1),
        ],
    )
    def test_replicas_are_counted_once(
        self, client: Client, panel_id: int, ref: str, expected: int
    ) -> None:
        """With two replicas, each key and account is counted once."""
        assert count(client, "fleet", panel_id, ref) == expected

    def test_coverage(self, client: Client) -> None:
        """A count has labels that say how many accounts it covers."""
        (series,) = client.query(interpolate(expression("fleet", 3, "count"), "fleet"))

        assert series["metric"] == {"seen": "3", "all": "4"}

    @pytest.mark.parametrize("panel_id", [2, 3, 4, 5, 6, 9, 10, 11])
    def test_without_data_there_is_no_number(self, client: Client, panel_id: int) -> None:
        """If no account has data, a count is absent instead of 0."""
        expr = expression("fleet", panel_id, "count").replace("$account_id", demo.CLOSED)

        assert not client.query(interpolate(expr, "fleet"))

    def test_team_is_optional(self, client: Client) -> None:
        """All teams include users without a team, and selecting a team narrows the count."""
        everyone = count(client, "fleet", 9)
        batch = count(client, "fleet", 9, team="batch")

        assert (batch, everyone > batch) == (12, True)

    @pytest.mark.parametrize(
        ("fleet_id", "account_id"),
        [
            pytest.param(9, 7, id="active"),
            pytest.param(3, 8, id="unused"),
            pytest.param(4, 9, id="never used"),
            pytest.param(5, 10, id="not rotated"),
            pytest.param(2, 11, id="deletable"),
        ],
    )
    @pytest.mark.parametrize("account", [demo.PEOPLE, demo.PIPELINES, demo.SMALL])
    def test_account_and_fleet_agree(
        self, client: Client, fleet_id: int, account_id: int, account: str
    ) -> None:
        """The account dashboard counts the same keys as the recording rules."""
        recorded = count(client, "fleet", fleet_id, account_id=account)

        assert count(client, "account", account_id, account_id=account) == recorded


class TestAlerts:
    """
    The recording rules of the alerts know the same facts.

    The dashboards cannot use them: they keep the facts of an account for an hour after it was last
    seen, so that alerts do not flap, while the dashboards say that it has no data.
    """

    def test_idle_since(self, client: Client) -> None:
        """Keys have been idle since the same time in the dashboards and in the alerts."""
        dashboards = by_key(client, q.idle_since())

        assert dashboards
        assert by_key(client, expanded("aws_iam_access_key:idle_since_timestamp_seconds")) == (
            dashboards
        )

    def test_superseded(self, client: Client) -> None:
        """The dashboards list the superseded keys that AwsIamAccessKeySafeToDelete finds."""
        (rule,) = (
            rule for rule in dashboard_rules() if rule.get("labels", {}).get("why") == "superseded"
        )
        listed = by_key(client, rule["expr"])
        superseded = f"({expanded('aws_iam_access_key:superseded_seconds')})"

        assert listed
        assert set(by_key(client, f"{superseded} > {q.SUPERSEDED_DAYS} * {q.DAY}")) == set(listed)


def by_key(client: Client, expr: str) -> dict[tuple[str, ...], str]:
    """The value of each key."""
    return {
        tuple(series["metric"][label] for label in KEY_LABELS): series["value"][1]
        for series in client.query(expr)
    }


def expanded(name: str) -> str:
    """The expression of a recording rule of the alerts, in terms of the exporter's metrics."""
    exprs = {rule["record"]: rule["expr"] for rule in recording_rules("recording.yaml")}
    expr = str(exprs[name])
    return re.sub(
        r"\baws_iam\w*:[\w:]+",
        lambda hit: f"({expanded(hit[0])})" if hit[0] in exprs else hit[0],
        expr,
    )
