"""
The PrometheusRule: the shipped alerts, as the values change them.

Without changes it has exactly the shipped rules, so that what tests/test_alerts.py proves about
these holds for it too.
"""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm.charts import GOOD, Rendered, render, with_values
from tests.helm.values import CHART
from tests.rules.alerts_table import limits
from tests.rules.files import ALERTS, EARLY, FILES
from tests.rules.files import alerts as alerts_of
from tests.servers import Release, find

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("helm")]

STRANGE = next(file for file in GOOD if file.stem == "strange")
WITH_RULES = [CHART / "examples" / "kube-prometheus-stack.yaml", STRANGE]


def groups(rendered: Rendered) -> dict[str, Any]:
    (rule,) = rendered.of("PrometheusRule")
    return {group["name"]: group for group in rule["spec"]["groups"]}


def alerts(rendered: Rendered) -> dict[str, Any]:
    of_groups = [rule for group in groups(rendered).values() for rule in group["rules"]]
    return {rule["alert"]: rule for rule in of_groups if "alert" in rule}


def with_rules(folder: Path, text: str) -> Rendered:
    return with_values(folder, f"prometheusRule:\n  enabled: true\n  {text}\n")


def test_the_default_is_what_is_shipped(tmp_path: Path) -> None:
    """Groups, intervals and rules are those of deploy/prometheus/rules, down to each letter."""
    rendered = with_rules(tmp_path, "grafanaUrl: http://127.0.0.1:3000")

    shipped = [yaml.safe_load(file.read_text(encoding="utf-8"))["groups"] for file in FILES]
    assert groups(rendered) == {group["name"]: group for of in shipped for group in of}


def test_every_alert_can_be_switched_off(tmp_path: Path) -> None:
    """Without any alert, there is no object; null is like off."""
    first, *others = ALERTS
    off = ", ".join(f"{name}: {{enabled: false}}" for name in others)
    rendered = with_rules(tmp_path, f"alerts: {{{first}: null, {off}}}")

    assert rendered.of("PrometheusRule") == []


WITH_LIMITS = [name for name, rule in ALERTS.items() if limits(rule)]


def test_limits(tmp_path: Path) -> None:
    """Each limit can be changed. Nothing else changes, as with the command of the README."""
    changed, values, new_limits = {}, [], {}
    for number, name in enumerate(WITH_LIMITS):
        new = [f"{1000 + number}.5{digit}" for digit, _ in enumerate(limits(ALERTS[name]), 1)]
        limit = new[0] if len(new) == 1 else f"[{', '.join(new)}]"
        new_limits[name] = limit
        values.append(f"{name}: {{enabled: true, limit: {limit}}}")
        expr = ALERTS[name]["expr"]
        for (old, unit), value in zip(limits(ALERTS[name]), new, strict=True):
            line = re.compile(
                rf"(> (?:on \([\w, ]+\) )?){re.escape(old)}(?=[^#\n]*  # {re.escape(unit)})"
            )
            expr, count = line.subn(rf"\g<1>{value}", expr)
            assert count == 1
        changed[name] = expr
    for name in alerts_of(EARLY):
        end = re.compile(r"(<= )\d+(?=  # the limit of (\w+)$)", re.MULTILINE)
        changed[name], count = end.subn(
            lambda match: match[1] + str(new_limits[match[2]]), changed[name]
        )
        assert count == 1

    rendered = alerts(with_rules(tmp_path, f"alerts: {{{', '.join(values)}}}"))

    for name, rule in ALERTS.items():
        assert rendered[name]["expr"] == changed.get(name, rule["expr"])


def test_large_and_small_limits() -> None:
    """Numbers are written so that PromQL reads the same."""
    rendered = alerts(render(STRANGE))

    assert [number for number, _ in limits(rendered["AwsIamAccessKeyUnused"])] == ["1000000"]
    assert "\n> 0.000001  # of the requests" in rendered["AwsIamExporterApiErrors"]["expr"]


def test_settings_of_an_alert() -> None:
    """Severity, times, labels and annotations of one alert, and of all."""
    rendered = alerts(render(STRANGE))

    unused = rendered["AwsIamAccessKeyUnused"]
    assert unused["labels"] == {"severity": "warning", "cluster": "01", "page": "no"}
    assert unused["for"] == "5m"
    assert "keep_firing_for" not in unused
    assert unused["annotations"]["note"] == '{{ $labels.account }} "quoted"'
    errors = rendered["AwsIamExporterApiErrors"]
    assert errors["labels"]["severity"] == "info"
    assert errors["annotations"]["summary"] == "own"
    assert "AwsIamExporterDown" not in rendered


def test_links(tmp_path: Path) -> None:
    """Alerts link to Grafana where it is, if that is known, and to runbooks."""
    name = "AwsIamExporterStoreDown"
    rule = alerts(render(STRANGE))[name]
    assert rule["annotations"]["dashboard_url"].startswith("https://example.com/grafana/d/aws-iam")
    assert rule["annotations"]["runbook_url"] == f"https://example.com/runbooks/{name}.md"

    for rule in alerts(with_rules(tmp_path, "labels: {}")).values():
        assert "dashboard_url" not in rule["annotations"]
        assert (
            rule["annotations"]["runbook_url"]
            == ALERTS[rule["alert"]]["annotations"]["runbook_url"]
        )


@pytest.mark.parametrize("file", WITH_RULES, ids=lambda file: file.stem)
def test_promtool(file: Path, tmp_path: Path, release: Release) -> None:
    """Prometheus accepts the rules."""
    (rule,) = render(file).of("PrometheusRule")
    rules = tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump(rule["spec"]), encoding="utf-8")

    command = [find("promtool", release), "check", "rules", str(rules)]
    run = subprocess.run(command, check=False, capture_output=True, text=True)

    assert run.returncode == 0, run.stderr
