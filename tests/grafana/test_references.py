"""What the dashboards refer to exists: metrics, limits, dashboards, variables, runbooks."""

import json
import re

from exporter.metrics import FAMILIES, Counts
from grafana import links
from tests.grafana.boards import (
    BOARDS,
    ROOT,
    RULES,
    panels,
    targets,
    urls,
    variables,
)

OTHER_METRICS = {
    *("up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_series_added", "ALERTS"),
    *("process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"),
    *("process_max_fds", "process_start_time_seconds"),
}
"""Metrics of Prometheus, and of every exporter."""


def metrics(expr: str) -> set[str]:
    """The names of the metrics that *expr* selects."""
    bare = re.sub(r'"[^"]*"', "", expr)
    bare = re.sub(r"(by|on|without|ignoring|group_left|group_right) \([^)]*\)", "", bare)
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]", "", bare)
    return {
        word
        for word in re.findall(r"[a-zA-Z_:][\w:]*(?!\s*\()\b", bare)
        if word.startswith(("aws_iam", "process_", "scrape_", "ALERTS", "python_")) or word == "up"
    }


def known_metrics() -> set[str]:
    names = {family.name for family in FAMILIES}
    histograms = {family.name for family in FAMILIES if family.kind == "histogram"}
    parts = {name + part for name in histograms for part in ("_bucket", "_sum", "_count")}
    return names | parts | OTHER_METRICS


def test_metrics_exist() -> None:
    """Every metric is a family of the exporter, or Prometheus's own."""
    known = known_metrics()
    for name, panel, target in targets():
        selected = metrics(target["expr"])
        assert selected <= known, f"{name}: {panel['title']}"
        assert selected or "vector(" in target["expr"], f"{name}: {panel['title']}"


def test_limits_are_counted() -> None:
    """By default the exporter counts keys for every limit that can be selected, and for day 0."""
    counted = {str(days) for days in Counts().days}
    choices = {
        choice
        for name in BOARDS
        for variable in variables(name).values()
        if variable["name"].endswith("_days")
        for choice in variable["query"].split(",")
    }

    assert {"0", "45", "90"} <= counted
    assert choices <= counted


class TestLinks:
    def test_targets_exist(self) -> None:
        """Links refer to the dashboards, with variables that they have, or to runbooks."""
        by_uid = {board["uid"]: set(variables(name)) for name, board in BOARDS.items()}
        alerts = {file.stem for file in RULES.parent.glob("runbooks/*.md")}
        assert alerts
        for name in BOARDS:
            for url in urls(name):
                if url.startswith(links.RUNBOOKS):
                    alert = url.removeprefix(links.RUNBOOKS + "/").removesuffix(".md")
                    assert alert in alerts or alert.startswith("${__data"), url
                elif url.startswith("/d/"):
                    uid, _, query = url.removeprefix("/d/").partition("?")
                    assert set(re.findall(r"var-(\w+)=", query)) <= by_uid[uid], url
                    passed_on = set(re.findall(r"\$\{(\w+):queryparam\}", query))
                    assert passed_on <= set(variables(name)), f"{name}: {url}"
                else:
                    assert url.startswith(links.REPOSITORY), url

    def test_fields_exist(self) -> None:
        """A link in a table names fields that the table keeps."""
        for name in BOARDS:
            for panel in panels(name):
                if panel["type"] != "table":
                    continue
                organize = panel["transformations"][-1]["options"]
                fields = re.findall(r"__data\.fields\.(\w+)", json.dumps(panel["fieldConfig"]))
                for field in fields:
                    assert field in organize["indexByName"], f"{name}: {panel['title']}"
                    assert field not in organize["excludeByName"]

    def test_no_link_contains_a_user_name(self) -> None:
        """Grafana decodes links twice: margaret+aws would become margaret aws."""
        for name in BOARDS:
            for url in urls(name):
                if not url.startswith("/d/"):
                    continue
                fields = set(re.findall(r"__data\.fields\.(\w+)", url))
                assert fields <= {"account_id", "access_key_id", "tag_team"}, f"{name}: {url}"
                assert not re.search(r"var-user=|\{user\b", url), f"{name}: {url}"

    def test_all_is_not_passed_on(self) -> None:
        """A variable with one value is only set from one with one value, never from "All"."""
        single = {
            board["uid"]: {
                variable["name"]
                for variable in variables(name).values()
                if variable["type"] == "query" and not variable.get("includeAll")
            }
            for name, board in BOARDS.items()
        }
        for name, board in BOARDS.items():
            assert not any(link["includeVars"] for link in board["links"]), name
            for url in urls(name):
                if url.startswith("/d/"):
                    uid, _, query = url.removeprefix("/d/").partition("?")
                    passed_on = set(re.findall(r"\$\{(\w+):queryparam\}", query))
                    assert passed_on & single[uid] <= single[board["uid"]], f"{name}: {url}"

    def test_dashboards_link_to_each_other(self) -> None:
        """The top of each dashboard links to the other three and keeps the time range."""
        for name, board in BOARDS.items():
            boards = [link for link in board["links"] if link["url"].startswith("/d/")]
            found = {re.split(r"[/?]", link["url"])[2] for link in boards}
            assert found == {other["uid"] for other in BOARDS.values()} - {board["uid"]}, name
            assert all(link["keepTime"] and link["type"] == "link" for link in boards), name

    def test_alerts_link_to_existing_dashboards(self) -> None:
        """The dashboards and variables in the alerts' links exist."""
        by_uid = {board["uid"]: set(variables(name)) for name, board in BOARDS.items()}
        found = set()
        for file in RULES.glob("*.yaml"):
            for uid, query in re.findall(r"/d/([\w-]+)(\S*(?: \S+)*)", file.read_text()):
                names = set(re.findall(r"var-(\w+)=", query))
                assert names <= by_uid[uid], f"{file.name}: {uid} {names}"
                found.add((uid, *sorted(names)))

        assert ("aws-iam-keys-key", "access_key_id", "account_id", "user") in found
        assert ("aws-iam-keys-account", "account_id") in found
        assert ("aws-iam-keys-exporter",) in found


def test_readme_pictures_exist() -> None:
    """grafana/README.md shows pictures that are in the repository."""
    folder = ROOT / "grafana"
    pictures = re.findall(r"\((pictures/\S+)\)", (folder / "README.md").read_text())

    assert pictures
    assert all((folder / picture).exists() for picture in pictures)
