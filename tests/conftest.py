"""The environment of every test, and the simulated AWS."""

import os
import subprocess
from collections.abc import Iterator
from functools import lru_cache
from typing import NoReturn

import botocore.session
import pytest
from hypothesis import settings

from tests.builders import FakeClock
from tests.fake_aws import FakeAws
from tests.servers import Release

settings.register_profile(
    "short", derandomize=True, max_examples=40, stateful_step_count=50, deadline=None, database=None
)
# For `make test-slow`: the same histories each time, so that CI fails for a change, not by chance.
settings.register_profile(
    "long", derandomize=True, max_examples=200, stateful_step_count=80, deadline=None, database=None
)
# For a search by hand: other histories each time.
settings.register_profile("search", max_examples=1000, stateful_step_count=80, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or "short")

# Loading AWS's model of IAM takes 40 ms: once per process is enough.
botocore.session.create_loader = lru_cache(botocore.session.create_loader)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide this machine's AWS configuration and the exporter's variables from every test."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "AWS_IAM_KEY_EXPORTER_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def aws(clock: FakeClock) -> Iterator[FakeAws]:
    with FakeAws(now=clock.now) as aws:
        yield aws


@pytest.fixture(scope="session", params=Release)
def release(request: pytest.FixtureRequest) -> Release:
    """Run the test with each release of Prometheus and Alertmanager."""
    return Release(request.param)


@pytest.fixture(autouse=True)
def _only_marked_tests_start_programs(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fail a test that starts a program and is not marked so: it would slow down `make unit`."""

    def refuse(*_: object, **__: object) -> NoReturn:
        pytest.fail("a test that starts a program is marked: pytest.mark.process")

    if not {"process", "slow"} & {mark.name for mark in request.node.iter_markers()}:
        monkeypatch.setattr(subprocess, "Popen", refuse)
