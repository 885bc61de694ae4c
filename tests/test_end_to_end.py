"""End to end: the demo as a user starts it, scraped by a real Prometheus."""

import json
import subprocess
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.metrics import FAMILIES
from tests.servers import Exporter, exporter, find, get, prometheus, wait_until

SCRAPING = Path(__file__).parent.parent / "deploy" / "prometheus" / "prometheus.yml"
KEYS = "aws_iam_access_key_active"

# With pytest-xdist, only one process must start the servers.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.process,
    pytest.mark.xdist_group("end_to_end"),
]


class Stack:
    """A running exporter and the Prometheus that scrapes it."""

    def __init__(self, running: Exporter, address: str) -> None:
        self.exporter = running
        self.address = address

    def query(self, promql: str) -> list[dict[str, Any]]:
        url = f"http://{self.address}/api/v1/query?query={urllib.parse.quote(promql)}"
        return list(json.loads(get(url))["data"]["result"])

    def value(self, promql: str) -> float:
        (sample,) = self.query(promql)
        return float(sample["value"][1])


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    find("prometheus")
    with exporter("--demo") as running:
        running.wait_until_ready()
        # The scrape configuration that we ship, with another address and a shorter interval.
        configuration = yaml.safe_load(SCRAPING.read_text())
        (job,) = configuration["scrape_configs"]
        job |= {"scrape_interval": "1s", "scrape_timeout": "1s"}
        # Conflicting target labels, such as those set by the Prometheus Operator.
        labels = {"service": "monitoring", "region": "here"}
        job["static_configs"] = [{"targets": [running.address], "labels": labels}]
        configuration.pop("rule_files", None)
        configuration.pop("alerting", None)
        folder = tmp_path_factory.mktemp("prometheus")
        with prometheus(folder, yaml.safe_dump(configuration)) as address:
            stack = Stack(running, address)
            wait_until(lambda: stack.query(KEYS), "the keys are scraped")
            yield stack


def test_the_target_is_up(stack: Stack) -> None:
    """Prometheus scrapes the exporter successfully."""
    assert stack.value("up") == 1


def test_each_used_key_has_one_age(stack: Stack) -> None:
    """Each key that was used has exactly one age."""
    used = stack.value("count(aws_iam_access_key_never_used == 0)")

    assert stack.value("count(aws_iam_access_key_last_used_age_seconds)") == used > 0


def test_never_used_keys_have_no_age(stack: Stack) -> None:
    """A key that was never used has never_used 1, and neither an age nor a timestamp."""
    never = "aws_iam_access_key_never_used == 1"
    on = "on (account_id, user, access_key_id)"

    assert stack.value(f"count({never})") >= 4
    assert stack.query(f"{never} and {on} aws_iam_access_key_last_used_age_seconds") == []
    assert stack.query(f"{never} and {on} aws_iam_access_key_last_used_timestamp_seconds") == []


def test_only_the_account_without_a_role_is_down(stack: Stack) -> None:
    """account_up is 0 only for the account whose role cannot be assumed."""
    down = stack.query("aws_iam_exporter_account_up == 0")

    assert [sample["metric"]["account"] for sample in down] == ["no-role"]


def test_service_and_region_keep_their_names(stack: Stack) -> None:
    """No label was renamed because of a conflicting target label."""
    series = json.loads(get(f"http://{stack.address}/api/v1/labels"))["data"]

    assert [name for name in series if name.startswith("exported_")] == []
    assert {"service", "region"} <= set(series)


def test_ages_agree_with_timestamps(stack: Stack) -> None:
    """The age at a scrape and the timestamp of the last use agree."""
    difference = (
        "max(abs(timestamp(aws_iam_access_key_last_used_age_seconds)"
        " - aws_iam_access_key_last_used_age_seconds"
        " - on (account_id, user, access_key_id) group_left ()"
        " aws_iam_access_key_last_used_timestamp_seconds))"
    )

    assert stack.value(difference) < 2


def test_keys_are_used_while_the_demo_runs(stack: Stack) -> None:
    """While the demo runs, keys are used."""
    name = "max(aws_iam_access_key_last_used_timestamp_seconds)"
    before = stack.value(name)

    wait_until(lambda: stack.value(name) > before, "a key is used", 60)


def test_the_demo_has_every_kind_of_key(stack: Stack) -> None:
    """The demo has each kind of key, and a user name in two accounts."""
    day = 86400
    age = "aws_iam_access_key_last_used_age_seconds"
    kinds = {
        "used within hours": f"{age} < 2 * 3600",
        "idle for 200 days": f"{age} >= 200 * {day}",
        "inactive": f"{KEYS} == 0",
        "two keys of a user": f"count by (account_id, user) ({KEYS}) == 2",
        "one name in two accounts": f"count by (user) (count by (account_id, user) ({KEYS})) == 2",
        "exempt": "aws_iam_access_key_exempt_until_timestamp_seconds",
        "odd names": 'aws_iam_access_key_active{user=~".*[+=,.@_].*"}',
        "under a path": 'aws_iam_access_key_info{path="/ci/legacy/"}',
        "with a team": 'aws_iam_access_key_info{tag_team="web"}',
        "users without keys": 'aws_iam_account_users{account="people"} > 9',
        "a root key": "aws_iam_account_root_access_keys > 0",
        "young and never used": (
            "aws_iam_access_key_never_used == 1 and on (account_id, user, access_key_id)"
            f" time() - aws_iam_access_key_created_timestamp_seconds < 7 * {day}"
        ),
    }

    assert [kind for kind, promql in kinds.items() if not stack.query(promql)] == []


def test_every_family_is_exported(stack: Stack) -> None:
    """Every metric family is exported, with its type."""
    page = stack.exporter.get("/metrics")

    assert [f.name for f in FAMILIES if f"# TYPE {f.name} {f.kind}\n" not in page] == []


def test_promtool_reports_nothing(stack: Stack) -> None:
    """promtool reports no problem with the metrics."""
    result = subprocess.run(
        [find("promtool"), "check", "metrics"],
        check=False,
        input=stack.exporter.get("/metrics"),
        capture_output=True,
        text=True,
    )

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
