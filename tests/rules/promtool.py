"""
Evaluate scenarios with promtool, all of a test session in one batch.

Each scenario is evaluated by both releases of promtool: by the installed one in `make test`, by the
newer one in `make test-slow`.

The time that promtool takes depends on the number of rules and evaluations, and hardly on that of
series. Scenarios therefore share one Prometheus where possible, each with a job name of its own.
"""

import inspect
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from tests.rules.files import EARLY, FILES, PROMETHEUS
from tests.rules.scenarios import JOB, STEP, Scenario, Value, samples
from tests.servers import Release, find

SUCCESS = ""

Build = Callable[..., Scenario]

_BUILDS: dict[Callable[..., None], Build] = {}
"""Functions that build a scenario, by the test that @scenario made of them."""

_RELEASES = [Release.INSTALLED, pytest.param(Release.NEWER, marks=pytest.mark.slow)]

_FAILURES = pytest.StashKey[dict[Release, dict[str, str]]]()


def scenario(build: Build) -> Callable[..., None]:
    """
    Turn a function that returns a Scenario into a test that promtool accepts the scenario.

    The first of these tests to run evaluates the scenarios of all selected tests. Each test then
    fails with promtool's output about its own scenario.
    """

    @wraps(build)
    def test(request: pytest.FixtureRequest, release: Release, **_arguments: object) -> None:
        promtool = find("promtool", release)
        failures = request.session.stash.setdefault(_FAILURES, {})
        if release not in failures:
            failures[release] = evaluate(_selected(request.session, release), promtool)
        failure = failures[release][request.node.nodeid]
        if failure != SUCCESS:
            pytest.fail(failure, pytrace=False)

    # pytest also parametrizes the test by the parameters of *build*.
    own = (
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        for name in ("request", "release")
    )
    parameters = [*own, *inspect.signature(build).parameters.values()]
    test.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    _BUILDS[test] = build
    return pytest.mark.parametrize("release", _RELEASES)(test)


def _selected(session: pytest.Session, release: Release) -> dict[str, Scenario]:
    """Build the scenarios of the session's tests with *release*, by node id."""
    scenarios = {}
    for item in session.items:
        if isinstance(item, pytest.Function) and item.function in _BUILDS:
            arguments = dict(item.callspec.params)
            if arguments.pop("release") is release:
                scenarios[item.nodeid] = _BUILDS[item.function](**arguments)
    return scenarios


def evaluate(scenarios: Mapping[str, Scenario], promtool: str) -> dict[str, str]:
    """
    Evaluate scenarios, by name, with the program *promtool*.

    Returns:
        promtool's output if a scenario failed, otherwise SUCCESS, by the scenario's name.
    """
    shared: dict[tuple[int, str, bool], list[str]] = {}
    alone = []
    for name, of in scenarios.items():
        if of.can_share:
            shared.setdefault((of.step, of.command, of.early), []).append(name)
        else:
            alone.append([name])
    failures = _evaluate([*shared.values(), *alone], scenarios, promtool)
    for names in shared.values():
        if failures[names[0]] != SUCCESS and len(names) > 1:
            # Find out which fail on their own. If none does, a rule does not separate the jobs.
            of_each = _evaluate([[name] for name in names], scenarios, promtool)
            if any(failure != SUCCESS for failure in of_each.values()):
                failures |= of_each
    return failures


def _evaluate(
    groups: Sequence[list[str]], scenarios: Mapping[str, Scenario], promtool: str
) -> dict[str, str]:
    """Evaluate groups of scenarios in parallel: those of one group in the same Prometheus."""
    with (
        tempfile.TemporaryDirectory() as folder,
        ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool,
    ):
        # The most expensive first, so that all processors are busy until the end.
        groups = sorted(groups, key=lambda names: -max(scenarios[n].evaluations for n in names))
        runs = [
            pool.submit(
                _run, Path(folder, str(number)), [scenarios[name] for name in names], promtool
            )
            for number, names in enumerate(groups)
        ]
        return {
            name: run.result() for names, run in zip(groups, runs, strict=True) for name in names
        }


def _run(folder: Path, scenarios: Sequence[Scenario], promtool: str) -> str:
    """Run *promtool* on *scenarios*, all in one Prometheus; return its output, or SUCCESS."""
    folder.mkdir()
    file = folder / "test.yaml"
    command = scenarios[0].command
    files = (*FILES, EARLY) if scenarios[0].early else FILES
    if command:
        copies = [folder / of.relative_to(PROMETHEUS) for of in files]
        for source, copy in zip(files, copies, strict=True):
            copy.parent.mkdir(exist_ok=True)
            shutil.copy(source, copy)
        subprocess.run(["bash", "-c", command], check=True, cwd=folder)
        files = tuple(copies)
    file.write_text(json.dumps(_test_file(scenarios, files)), encoding="utf-8")
    run = subprocess.run(
        [promtool, "test", "rules", file],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return SUCCESS if run.returncode == 0 else run.stdout


def _test_file(scenarios: Sequence[Scenario], rules: Sequence[Path]) -> dict[str, Any]:
    """Return the content of a promtool test file, for scenarios of the same step and *rules*."""
    step = scenarios[0].step
    end = max(of.end for of in scenarios)
    # AwsIamExporterDown watches this job, whatever the others are called.
    inputs = {f'up{{job="{JOB}",instance="a"}}': _notation(1, end, step)}
    tests: list[dict[str, Any]] = []
    for number, of in enumerate(scenarios):
        job = f"scenario-{number}" if len(scenarios) > 1 else JOB
        for name, value in of.series.items():
            renamed = name.replace(f'job="{JOB}"', f'job="{job}"')
            inputs[renamed] = _notation(value, of.end, step)
        tests += _expectations(of, job)
    return {
        "rule_files": [str(file) for file in rules],
        "evaluation_interval": f"{step}s",
        "tests": [
            {
                "interval": f"{step}s",
                "input_series": [
                    {"series": name, "values": values} for name, values in inputs.items()
                ],
                "promql_expr_test": tests,
            }
        ],
    }


def _expectations(of: Scenario, job: str) -> Iterator[dict[str, Any]]:
    """Yield the alerts of *job* at each time, and any that belong to no scenario's job."""
    labels = ("alertname", *of.by)
    jobs = f',job=~"{job}|{JOB}|"' if job != JOB else ""
    firing = f'ALERTS{{alertstate="firing"{jobs}}}'
    for at, names in of.firing.items():
        expected = []
        for name in dict.fromkeys(names):
            pairs = zip(labels, name.split(), strict=False)  # an alert may lack a label
            text = ",".join(f"{label}={json.dumps(value)}" for label, value in pairs)
            expected.append({"labels": f"{{{text}}}", "value": 1.0})
        yield {
            "expr": f"count by ({', '.join(labels)}) ({firing})",
            "eval_time": f"{at}s",
            "exp_samples": expected,
        }


def _notation(value: Value, end: int, step: int) -> str:
    """Return a sample every *step* up to *end*, in promtool's notation for series."""
    return " ".join(
        "_" if current is None else f"{current:.10g}"
        for at, current in samples(value, end + STEP)
        if at <= end and at % step == 0
    )
