"""The answers of a real Prometheus to the dashboards' queries."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from exporter import demo
from tests.grafana.boards import BOARDS, expression, interpolate, targets, variables
from tests.grafana.history import demo_company, history, write_blocks
from tests.grafana.live import Client
from tests.servers import find, prometheus

# With pytest-xdist, only one process must write the history.
pytestmark = [pytest.mark.process, pytest.mark.xdist_group("grafana")]

KEY_LABELS = ("job", "account_id", "account", "user", "access_key_id")

OF_STATES = {"no_exporter", "unknown", "no_key"}
"""Queries that have results in certain states only: see test_states.py."""

EMPTY = {
    ("fleet", 43, "keys"): "all last uses of active keys are known",
    ("account", 12, "exempt"): "none of the account's keys is exempt",
    ("account", 24, "failures"): "the account's refreshes succeed",
    ("key", 12, "superseded"): "the user has one key",
    ("key", 12, "inactive"): "the key is active",
    ("key", 12, "exempt"): "the key is not exempt",
    ("key", 22, "never"): "the key was used",
    ("key", 24, "at"): "nothing happened to the key lately",
    ("key", 24, "after"): "as above",
}
"""Queries without results for the selected subject, and why."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A Prometheus that scraped two replicas of the demo for an hour."""
    folder = tmp_path_factory.mktemp("dashboards")
    find("prometheus")
    # Within the retention time, and on a step of Prometheus's ranges.
    end = float(int(datetime.now(UTC).timestamp()) // 3600 * 3600)
    times = [end - 60 * minute for minute in range(65, -1, -1)]
    write_blocks(history(demo_company(end), times), folder)
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
            if target["refId"] in OF_STATES:
                continue
            if not client.query(expr, instant=target["instant"]):
                empty.add((name, panel["id"], target["refId"]))

        assert sorted(empty) == sorted(EMPTY)

    def test_empty_queries_have_results_for_others(self, client: Client) -> None:
        """A query that is empty for the selected subject is not for one that has the fact."""
        (exempt,) = keys(client, "exempt_until_timestamp_seconds")
        (inactive, *_) = keys(client, "inactive_since_timestamp_seconds")
        (awakened, *_) = keys(client, "used_after_idle_seconds")
        (superseded, *_) = keys(client, "superseded_seconds")
        others = {
            "exempt": exempt,
            "failures": {"account_id": demo.CLOSED},
            "inactive": inactive,
            "at": awakened,
            "after": awakened,
            "superseded": superseded,
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


TEAMS = [".*", "web", "platform"]


class TestCounts:
    @pytest.mark.parametrize(
        ("panel_id", "ref", "expected"),
        [
            (1, "no_data", 1),
            (1, "stale", 0),
            (2, "count", 2),
            (3, "count", 4),
            (4, "count", 2),
            (5, "count", 12),
            (6, "count", 1),
            (7, "number0", 4),
            (9, "number0", 28),
            (9, "number2", 1),
            (15, "count", 2),
        ],
    )
    def test_replicas_are_counted_once(
        self, client: Client, panel_id: int, ref: str, expected: int
    ) -> None:
        """With two replicas, each key and account is counted once."""
        assert count(client, "fleet", panel_id, ref) == expected

    def test_coverage(self, client: Client) -> None:
        """A count has a label that says what it covers."""
        (series,) = client.query(interpolate(expression("fleet", 3, "count"), "fleet"))

        assert series["metric"]["coverage"] == "in 3 of 4 accounts"

    @pytest.mark.parametrize("panel_id", [2, 3, 4, 5, 6, 15])
    def test_without_data_there_is_no_number(self, client: Client, panel_id: int) -> None:
        """If no account has data, a count is absent instead of 0."""
        expr = expression("fleet", panel_id, "count").replace("$account_id", demo.CLOSED)

        assert not client.query(interpolate(expr, "fleet"))

    def test_team_is_optional(self, client: Client) -> None:
        """All teams include users without a team, and selecting a team narrows the count."""
        everyone = count(client, "fleet", 5)
        batch = count(client, "fleet", 5, team="batch")

        assert (batch, everyone > batch) == (4, True)

    @pytest.mark.parametrize(
        ("numbers", "listed", "teams"),
        [
            pytest.param(
                [(3, "count"), (4, "count")], (41, "idle"), TEAMS, id="unused and never used"
            ),
            pytest.param([(5, "count")], (42, "age"), TEAMS, id="not rotated"),
            pytest.param([(2, "count")], (40, "length"), TEAMS, id="deletable"),
            pytest.param([(15, "count")], (44, "keys"), [".*"], id="two active keys"),
            pytest.param([(6, "count")], (48, "keys"), [".*"], id="root"),
            pytest.param([(9, "number1")], (47, "inactive"), [".*"], id="inactive"),
            pytest.param([(9, "number2")], (46, "until"), [".*", "data"], id="exempt"),
            pytest.param([(9, "number4")], (45, "created"), [".*"], id="new"),
        ],
    )
    def test_numbers_lead_to_their_lists(
        self,
        client: Client,
        numbers: list[tuple[int, str]],
        listed: tuple[int, str],
        teams: list[str],
    ) -> None:
        """A list has as many rows as the numbers that lead to it say, for every team they know."""
        for team in teams:
            rows = client.query(interpolate(expression("fleet", *listed), "fleet", {"team": team}))
            total = sum(count(client, "fleet", *number, team=team) for number in numbers)
            assert total == len(rows), team

    def test_list_of_unknown_uses(self, client: Client) -> None:
        """Keys whose last use is unknown are listed, if they are active."""
        assert not client.query(interpolate(expression("fleet", 43, "keys"), "fleet"))
        assert count(client, "fleet", 9, "number3") == 0

    @pytest.mark.parametrize(
        ("fleet_id", "account_id"),
        [
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
        """The account dashboard counts the same keys as the fleet dashboard."""
        of_fleet = count(client, "fleet", fleet_id, account_id=account)

        assert count(client, "account", account_id, account_id=account) == of_fleet


class TestShares:
    @pytest.mark.parametrize(
        ("unused_days", "rotate_days", "never_used_days"),
        [("90", "90", "30"), ("45", "90", "30"), ("90", "30", "90"), ("30", "365", "7")],
    )
    def test_without_finding_is_a_lower_bound(
        self, client: Client, unused_days: str, rotate_days: str, never_used_days: str
    ) -> None:
        """The share is at most that of the keys in none of the lists; equal with usual limits."""
        limits = {
            "unused_days": unused_days,
            "rotate_days": rotate_days,
            "never_used_days": never_used_days,
        }
        found = {
            series["metric"]["access_key_id"]
            for panel_id, ref in ((41, "idle"), (42, "age"))
            for series in client.query(
                interpolate(expression("fleet", panel_id, ref), "fleet", limits)
            )
        }
        every = count(client, "fleet", 20, "active")
        share = count(client, "fleet", 16, "share", **limits)

        assert share <= 1 - len(found) / every + 1e-9
        if int(unused_days) >= int(rotate_days):
            assert share == pytest.approx(1 - len(found) / every)


class TestEvents:
    def test_every_event_is_a_row(self, client: Client) -> None:
        """The rows say what, when and after how long, and lead to the key."""
        rows = {
            (series["metric"].get("user"), series["metric"]["what"]): series["metric"]
            for series in client.query(interpolate(expression("fleet", 17, "at"), "fleet"))
        }
        user = "ses-smtp-user.20240101"
        after = client.query(interpolate(expression("fleet", 17, "after"), "fleet"))
        lengths = [series for series in after if series["metric"]["user"] == user]

        assert {what for name, what in rows if name == user} == {
            "awakened",
            "new service: ses",
            "new region: eu-west-1",
        }
        assert ("root user", "account root: password") in rows
        assert rows[user, "awakened"]["access_key_id"]
        assert len(lengths) == 1
        assert float(lengths[0]["value"][1]) > 30

    def test_values_belong_to_the_same_rows(self, client: Client) -> None:
        """Grafana joins the times and the lengths of events: their labels are equal."""
        labels = [
            {
                tuple(sorted(series["metric"].items()))
                for series in client.query(interpolate(expression("fleet", 17, ref), "fleet"))
            }
            for ref in ("at", "after")
        ]

        assert labels[1]
        assert labels[1] <= labels[0]
