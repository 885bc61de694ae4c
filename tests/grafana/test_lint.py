"""
The rules of grafana/dashboard-linter, with two exceptions.

- instance: replicas report the same facts and are aggregated; only exporter.json has the variable.
- job: ALERTS need not have the label; vector() has no selector.
"""

import re

import pytest

from grafana import queries as q
from tests.grafana.boards import BOARDS, panels, targets, variables

UNITS = {
    *("none", "locale", "s", "short", "bytes", "reqps", "percentunit"),
    *("dateTimeAsIso", "dateTimeFromNow", "dateTimeAsIsoNoDateIfToday"),
}


@pytest.mark.parametrize("name", BOARDS)
def test_variables(name: str) -> None:
    """The data source and the job can be selected; values follow the time range."""
    by_name = variables(name)

    source, job = by_name["datasource"], by_name["job"]
    assert (source["type"], source["label"]) == ("datasource", "Data source")
    assert (job["type"], job["multi"], job["allValue"]) == ("query", True, ".+")
    assert job["label"] == "Job"
    for variable in by_name.values():
        if variable["type"] == "query":
            assert variable["refresh"] == 2, variable["name"]
            assert variable["datasource"]["uid"] == "${datasource}"
    assert BOARDS[name]["editable"] is False


@pytest.mark.parametrize("name", BOARDS)
def test_panels(name: str) -> None:
    """A panel has queries, a description, a unit, and a neutral text for missing values."""
    for panel in panels(name):
        if panel["type"] == "row":
            continue
        title = panel["title"]
        assert title
        assert panel["description"], title
        assert panel["pluginVersion"], title
        if panel["type"] == "text":
            continue
        assert panel["datasource"]["uid"] == "${datasource}", title
        assert panel["targets"], title
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"] in UNITS, title
        assert defaults["noValue"], title
        base = defaults["thresholds"]["steps"][0]
        assert base == {"value": None, "color": "text"}, f"{title}: a missing value has a color"


def test_queries() -> None:
    """Rates follow the scrape interval, counters are rated, and every selector has the job."""
    for name, panel, target in targets():
        expr, where = target["expr"], f"{name}: {panel['title']}"
        assert target["datasource"]["uid"] == "${datasource}", where
        for window in re.findall(r"\brate\([^[]*\[([^]]*)\]", expr):
            assert window == "$__rate_interval", where
        for window in re.findall(r"\b(?:increase|changes)\([^[]*\[([^]]*)\]", expr):
            # It is four times the minimum step: each event would be counted four times.
            assert window != "$__rate_interval", where
        # Otherwise what is gone comes back to life. Which targets are exporters is no value.
        assert set(re.findall(r"last_over_time\((\w+)", expr)) <= {q.BUILD_INFO}, where
        for hit in re.finditer(r"\w+_total\{", expr):
            assert re.search(r"(rate|increase|changes)\($", expr[: hit.start()]), where
        for selector in re.findall(r"\w\{([^}]*)\}", expr.replace("${", "")):
            assert "alertname" in selector or 'job=~"$job"' in selector, where


def test_replicas_are_not_counted_twice() -> None:
    """What is counted or summed is aggregated by key or account first."""
    for name, panel, target in targets():
        expr = target["expr"]
        for hit in re.finditer(r"(?:sum|count)\((aws_iam_a\w+)\{", expr):
            around = f"0 * count({hit[1]}" in expr or "counted" in expr
            assert around, f"{name}: {panel['title']}"


def test_keys_are_never_cut() -> None:
    """A column of access keys is wide enough for 20 wide letters, on a screen of any width."""
    for name in BOARDS:
        for panel in panels(name):
            for override in panel.get("fieldConfig", {}).get("overrides", ()):
                if override["matcher"]["options"] == "Access key":
                    widths = {
                        each["id"]: each["value"]
                        for each in override["properties"]
                        if each["id"] in {"custom.width", "custom.minWidth"}
                    }
                    assert max(widths.values()) >= 215, f"{name}: {panel['title']}"


def test_annotations_have_the_job() -> None:
    """What is marked in charts is of the chosen jobs."""
    for board in BOARDS.values():
        assert board["annotations"]["list"]
        for annotation in board["annotations"]["list"]:
            for selector in re.findall(r"\w\{([^}]*)\}", annotation["target"]["expr"]):
                assert 'job=~"$job"' in selector
