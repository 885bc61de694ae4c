"""The workflows of the public CI."""

import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.iam.programs import environment
from tests.test_development import PHONY, ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
WRITES = {("release.yml", "publish"): {"attestations", "contents", "id-token"}}
"""The jobs that may write, and what."""


def jobs() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the workflow, the name and the content of each job."""
    for path in WORKFLOWS:
        for name, job in yaml.safe_load(path.read_text())["jobs"].items():
            yield path.name, name, job


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name of the job and the content of each step."""
    for _, name, job in jobs():
        for step in job.get("steps", []):
            yield name, step


def test_permissions_are_minimal() -> None:
    """Workflows have no permissions; jobs may read the contents, and one may write."""
    assert WORKFLOWS
    for path in WORKFLOWS:
        assert yaml.safe_load(path.read_text())["permissions"] == {}
    for workflow, name, job in jobs():
        granted = job["permissions"]
        written = {scope for scope, access in granted.items() if access == "write"}
        assert written == WRITES.get((workflow, name), set())
        assert {scope for scope in granted if scope not in written} <= {"contents"}


def test_what_may_write_runs_no_code_of_ours() -> None:
    """A job that may write neither checks out the repository nor runs anything but gh."""
    names = {job for _, job in WRITES}
    writing = [step for job, step in steps() if job in names]

    assert writing
    assert not any("checkout" in step.get("uses", "") for step in writing)
    assert [step["run"].split()[0] for step in writing if "run" in step] == ["gh"]


def test_releases_are_tested_and_built_before() -> None:
    """What publishes a release waits until CI has succeeded and its files are built."""
    needs = {(path, name): job.get("needs") for path, name, job in jobs()}

    assert needs["release.yml", "publish"] == ["test", "build"]


def test_actions_are_github_s_own_and_pinned() -> None:
    """Every action is GitHub's own, at a commit; a comment names its version."""
    text = "".join(path.read_text() for path in WORKFLOWS)
    used = re.findall(r"uses: (.+)", text)

    for action in used:
        assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40} # v[\d.]+|\$/\.github/.*", action)
    assert [step["with"] for _, step in steps() if "checkout" in step.get("uses", "")] == [
        {"persist-credentials": False}
    ] * text.count("actions/checkout@")


def test_steps_run_what_developers_run() -> None:
    """Steps run make targets and scripts that exist."""
    commands = " ".join(step["run"] for _, step in steps() if "run" in step)
    lines = [step["run"].split() for _, step in steps() if "run" in step]
    targets = {target for line in lines if line[0] == "make" for target in line[1:]}
    scripts = set(re.findall(r"\.ci/[\w-]+", commands))

    assert {"dist", "sbom", "audit"} <= targets
    assert targets <= set(PHONY)
    assert {".ci/run", ".ci/release-notes"} <= scripts
    assert all((ROOT / script).stat().st_mode & 0o111 for script in scripts)


def test_nothing_of_an_event_gets_into_a_shell() -> None:
    """No script contains an expression, whose value a pull request could choose."""
    assert not any("${{" in step.get("run", "") for _, step in steps())


def test_ci_runs_every_week() -> None:
    """CI runs for pull requests, for main, for releases, and every week."""
    text = (ROOT / ".github/workflows/ci.yml").read_text()
    triggers = yaml.safe_load(text)[True]  # YAML 1.1 reads `on` as true

    assert triggers.keys() == {"push", "pull_request", "schedule", "workflow_call"}
    assert re.fullmatch(r"\d+ \d+ \* \* \d", triggers["schedule"][0]["cron"])


@pytest.mark.process
def test_zizmor_finds_nothing() -> None:
    """zizmor, which knows what goes wrong in workflows, reports nothing."""
    result = subprocess.run(
        [environment("zizmor") / "zizmor", "--offline", "--no-progress", "--quiet", ROOT],
        check=False,
        capture_output=True,
        text=True,
    )

    assert result.returncode == 0, result.stdout
