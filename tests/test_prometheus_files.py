"""Prometheus, Alertmanager and vmalert accept the files that are shipped for them."""

import os
import re
import subprocess

import pytest

from tests.rules.files import EARLY, PROMETHEUS, RULES
from tests.servers import Release, find

pytestmark = pytest.mark.process


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(argument) for argument in command],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def major_version(release: Release) -> str:
    output = run(find("promtool", release), "--version").stdout
    (version,) = re.findall(r"^promtool, version (\d+)\.", output)
    return str(version)


def test_both_major_versions_are_tested() -> None:
    """The newer release is a Prometheus 3; in CI, the installed one is a Prometheus 2."""
    assert major_version(Release.NEWER) == "3"
    if os.environ.get("REQUIRE_REAL_SERVERS") == "1":
        assert major_version(Release.INSTALLED) == "2"


def test_prometheus_accepts_the_rules(release: Release) -> None:
    """promtool can load every rule file, and its linter finds nothing."""
    check = run(
        find("promtool", release), "check", "rules", "--lint=all", "--lint-fatal", *RULES.iterdir()
    )

    assert check.returncode == 0, check.stdout


def test_prometheus_accepts_the_configuration(release: Release) -> None:
    """promtool can load the configuration with the rules, and its linter finds nothing."""
    file = PROMETHEUS / "prometheus.yml"

    check = run(find("promtool", release), "check", "config", "--lint=all", "--lint-fatal", file)

    assert check.returncode == 0, check.stdout
    assert f"{len(list(RULES.iterdir()))} rule files found" in check.stdout


def test_alertmanager_accepts_the_configuration(release: Release) -> None:
    """amtool can load the routes."""
    check = run(find("amtool", release), "check-config", PROMETHEUS / "alertmanager.yml")

    assert check.returncode == 0, check.stdout


def test_vmalert_accepts_the_rules() -> None:
    """VictoriaMetrics' vmalert can load every rule file, with its expressions and templates."""
    check = run(
        find("vmalert", Release.NEWER), "-dryRun", f"-rule={RULES}/*.yaml", f"-rule={EARLY}"
    )

    assert check.returncode == 0, check.stdout
    read = re.findall(r"finished reading (\d+) files", check.stdout)
    assert read == [str(len(list(RULES.iterdir()))), "1"]
