"""Evaluate scenarios with promtool: all of a test session in one batch, as it starts slowly."""

import inspect
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from pathlib import Path

import pytest

from tests.rules.scenarios import Scenario
from tests.servers import find

PROCESSES = min(4, os.cpu_count() or 1)

Build = Callable[..., Scenario]

_BUILDS: dict[Callable[..., None], Build] = {}
"""What @scenario decorates, by the test that it makes of it."""

_OUTCOMES = pytest.StashKey[dict[str, str]]()


def scenario(build: Build) -> Callable[..., None]:
    """
    Turn a function that returns a Scenario into a test that the scenario holds.

    The first of these tests evaluates the scenarios of all that were selected. Each then fails with
    promtool's output about its own.
    """

    @wraps(build)
    def test(request: pytest.FixtureRequest, **_arguments: object) -> None:
        find("promtool")
        stash = request.session.stash
        if _OUTCOMES not in stash:
            stash[_OUTCOMES] = evaluate(_selected(request.session))
        outcome = stash[_OUTCOMES][request.node.nodeid]
        if outcome != "SUCCESS":
            pytest.fail(outcome, pytrace=False)

    # For pytest the test has the parameters of *build*, to be parametrized by.
    signature = inspect.signature(build)
    first = inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [first, *signature.parameters.values()]
    test.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    _BUILDS[test] = build
    return test


def _selected(session: pytest.Session) -> dict[str, Scenario]:
    """Build the scenario of each test of the session that has one, by its node id."""
    return {
        item.nodeid: _BUILDS[item.function](
            **(item.callspec.params if hasattr(item, "callspec") else {})
        )
        for item in session.items
        if isinstance(item, pytest.Function) and item.function in _BUILDS
    }


def evaluate(scenarios: Mapping[str, Scenario]) -> dict[str, str]:
    """
    Evaluate *scenarios* with a few processes of promtool in parallel.

    Returns:
        By the scenario's name, "SUCCESS" or what promtool says is wrong.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for number, (name, of) in enumerate(scenarios.items()):
            thresholds = Path(folder, f"thresholds-{number}.yaml")
            thresholds.write_text(of.thresholds or "", encoding="utf-8")
            files[name] = Path(folder, f"{number}.yaml")
            content = json.dumps(of.test_file(str(thresholds)))
            files[name].write_text(content, encoding="utf-8")
        # Dealt out from the most expensive on, so that all processes end at about the same time.
        by_cost = sorted(scenarios, key=lambda name: -scenarios[name].evaluations)
        shares = [[files[name] for name in by_cost[n::PROCESSES]] for n in range(PROCESSES)]
        outcomes: dict[str, str] = {}
        with ThreadPoolExecutor(PROCESSES) as pool:
            for of_share in pool.map(_run, filter(None, shares)):
                outcomes |= of_share
    return {name: outcomes.get(str(file), "promtool has no result") for name, file in files.items()}


def _run(files: list[Path]) -> dict[str, str]:
    """Run promtool once, and return its outcome by file."""
    run = subprocess.run(
        [find("promtool"), "test", "rules", *files],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    _, *parts = re.split(r"^Unit Testing:  (.+)\n", run.stdout, flags=re.M)
    return {file: text.strip() for file, text in zip(parts[::2], parts[1::2], strict=True)}
