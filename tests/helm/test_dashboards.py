"""The dashboards, for the sidecar of Grafana and for the Grafana Operator."""

import json

import pytest

from tests.helm.charts import GOOD, render
from tests.helm.generate import DASHBOARDS
from tests.helm.values import CHART

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("helm")]

SHIPPED = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in DASHBOARDS}


def test_the_sidecar_gets_what_is_shipped() -> None:
    """One ConfigMap with the label of the sidecar for each dashboard, as it is."""
    rendered = render(CHART / "examples" / "kube-prometheus-stack.yaml")
    found = {}
    for manifest in rendered.of("ConfigMap"):
        if manifest["metadata"]["labels"].get("grafana_dashboard") == "1":
            assert manifest["metadata"]["annotations"] == {"grafana_folder": "AWS IAM access keys"}
            ((name, text),) = manifest["data"].items()
            found[name.removeprefix("aws-iam-keys-").removesuffix(".json")] = json.loads(text)

    assert found == SHIPPED


def test_the_operator_gets_what_is_shipped() -> None:
    """One GrafanaDashboard for each dashboard, as it is, and no ConfigMap."""
    rendered = render(CHART / "examples" / "proxy.yaml")
    found = {}
    for manifest in rendered.of("GrafanaDashboard"):
        board = json.loads(manifest["spec"]["json"])
        found[board["uid"].removeprefix("aws-iam-keys-")] = board
        assert manifest["spec"]["instanceSelector"] == {"matchLabels": {"dashboards": "grafana"}}

    assert found == SHIPPED
    assert [of["metadata"]["name"].split("-")[-1] for of in rendered.of("ConfigMap")] == ["config"]


def test_text_of_the_values() -> None:
    """The name of a folder can have any characters."""
    strange = render(next(file for file in GOOD if file.stem == "strange"))
    (first, *_) = strange.of("GrafanaDashboard")

    assert first["spec"]["folder"] == 'A: "b" & <c>'
