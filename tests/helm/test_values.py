"""The chart's values: what helm accepts, and what it says about the rest. The generated files."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter import __version__
from tests.helm.charts import BAD, GOOD, helm, problems, render
from tests.helm.generate import outdated
from tests.helm.schema import DETAILS, OPTIONAL
from tests.helm.values import CHART, VALUES, Value, read_values

VALUES_READ = read_values(VALUES.read_text(encoding="utf-8"))

of_helm = [pytest.mark.process, pytest.mark.xdist_group("helm")]


def test_the_generated_files_are_current() -> None:
    """Copies of rules and dashboards, the schema and the tables are what `make generate` writes."""
    assert sorted(outdated()) == []


def test_no_copy_is_left_over() -> None:
    """Each file that the chart has from elsewhere still exists there."""
    copies = {path.relative_to(CHART / "files") for path in (CHART / "files").rglob("*.*")}

    assert copies == {
        Path("rules", f"{name}.yaml") for name in ("early", "exporter", "hygiene", "security")
    } | {Path("dashboards", f"{name}.json") for name in ("account", "exporter", "fleet", "key")}


def test_the_version_is_that_of_the_exporter() -> None:
    """Chart and image are released together."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))

    assert chart["version"] == chart["appVersion"] == __version__
    images = yaml.safe_load(chart["annotations"]["artifacthub.io/images"])
    assert [of["image"].rpartition(":")[2] for of in images] == [__version__]


def test_every_value_has_a_comment() -> None:
    """No value is without a text, except for objects whose parts have one."""
    assert [of.path for of in VALUES_READ if not of.text and not of.has_parts] == []


def test_details_are_about_values() -> None:
    """The schema's details are about values that exist."""
    assert {*DETAILS, *OPTIONAL} <= {value.path for value in VALUES_READ}


def test_comments_are_read() -> None:
    """A comment of several lines, an object without one, and a section."""
    text = "## A\n\n# one\n# two\nx: 1\ny:\n  # three\n  z: {a: 1}\n\n## B\n# - no list\nw: []\n"

    assert read_values(text) == [
        Value("A", ("x",), 1, "one two", has_parts=False),
        Value("A", ("y",), {"z": {"a": 1}}, "", has_parts=True),
        Value("A", ("y", "z"), {"a": 1}, "three", has_parts=False),
        Value("B", ("w",), [], "- no list", has_parts=False),
    ]


class TestHelm:
    """What helm says."""

    pytestmark = of_helm

    @pytest.mark.parametrize("file", GOOD, ids=lambda file: file.stem)
    def test_lint(self, file: Path) -> None:
        """No warning about any of these values."""
        run = helm("lint", "--strict", "--quiet", str(CHART), f"--values={file}")

        assert run.returncode == 0, run.stdout + run.stderr
        assert run.stdout.strip() == ""

    @pytest.mark.parametrize("file", BAD, ids=lambda file: file.stem)
    def test_bad_values(self, file: Path) -> None:
        """Nothing is rendered, and the message says what is wrong."""
        expected = file.with_suffix(".expect.txt").read_text(encoding="utf-8").splitlines()

        assert problems(file) == expected

    def test_null_is_like_nothing(self, tmp_path: Path) -> None:
        """Values that are empty by default can be null, as in a file whose values are removed."""
        empty: dict[str, Any] = {}
        for value in VALUES_READ:
            if not value.default and value.default is not False:
                place = empty
                for key in value.keys[:-1]:
                    place = place.setdefault(key, {})
                place[value.keys[-1]] = None
        enabled = {
            "serviceMonitor": {"enabled": True},
            "prometheusRule": {"enabled": True},
            "dashboards": {"enabled": True, "grafanaOperator": {"enabled": True}},
            "ingress": {"enabled": True},
            "route": {"main": {"enabled": True}},
            "podDisruptionBudget": {"enabled": True},
            "persistence": {"enabled": True},
        }
        nulls, switches = tmp_path / "nulls.yaml", tmp_path / "switches.yaml"
        nulls.write_text(yaml.safe_dump(empty))
        switches.write_text(yaml.safe_dump(enabled))

        assert render(switches, nulls) == render(switches)

    def test_the_package_has_what_it_needs(self, tmp_path: Path) -> None:
        """A packaged chart renders as the directory does."""
        run = helm("package", str(CHART), f"--destination={tmp_path}")
        assert run.returncode == 0, run.stderr
        (package,) = tmp_path.glob("*.tgz")
        example = f"--values={CHART / 'examples' / 'kube-prometheus-stack.yaml'}"

        rendered = helm("template", "x", str(package), example)

        assert rendered.stdout == helm("template", "x", str(CHART), example).stdout
