"""What panels say if nothing is scraped, or known, or read yet, and if all is fine."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from exporter import demo
from grafana import queries as q
from tests.grafana.boards import BOARDS, panels
from tests.grafana.history import demo_company, fine_company, history, key_ids, write_blocks
from tests.grafana.live import Client
from tests.grafana.readings import reading
from tests.servers import Release, find, prometheus

# With pytest-xdist, only one process must write the history.
pytestmark = [pytest.mark.process, pytest.mark.xdist_group("grafana_states")]

MINUTES = 65

DOWN, UNKNOWN, FIRST, FINE = "down", "unknown", "first-minute", "fine"


@pytest.fixture(scope="module")
def end() -> float:
    """Now."""
    return float(int(datetime.now(UTC).timestamp()) // 3600 * 3600)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, end: float) -> Path:
    """The data of four installations, each with a job of its own."""
    find("prometheus")
    folder = tmp_path_factory.mktemp("states")
    times = [end - 60 * minute for minute in range(MINUTES, -1, -1)]
    demo_now = demo_company(end)
    for job, company, scraped in (
        (DOWN, demo_now, times[:-10]),
        (UNKNOWN, replace(demo_now, uses_known=False), times),
        (FIRST, replace(demo_now, started=end + 1), times[-1:]),
        (FINE, fine_company(end), times),
    ):
        one = ("one:10064",)
        write_blocks(history(company, scraped, replicas=one, job=job, alerts=False), folder)
    return folder


def subject(job: str, end: float) -> dict[str, str]:
    """The variables: an account, a user and a key of the installation."""
    if job == FINE:
        company, account, user = fine_company(end), demo.PIPELINES, "two-0"
    else:
        company, account, user = demo_company(end), demo.PIPELINES, "deploy"
    (key, *_) = key_ids(company, account, user)
    return {"job": job, "account_id": account, "user": user, "access_key_id": key}


Place = tuple[str, int]
"""A dashboard, and the ID of a panel."""

NOT_OF_NOW = {
    ("fleet", 14): "alerts are Prometheus's own: AwsIamExporterDown fires",
    ("account", 21): "as above",
    ("key", 31): "as above",
    ("exporter", 40): "as above",
    ("exporter", 4): "counts the last day, most of which the exporter was there",
    ("exporter", 5): "as above",
}
"""Panels that need not say that there is no exporter, and why."""

WITHOUT_USES = {
    ("fleet", 21): "no account has data",
    ("fleet", 22): "a line is missing; the trend beside it says how many keys are unknown",
}
"""Panels about uses that need not say that these are unknown, and why."""

REALLY_NONE = {
    ("fleet", 1): "it is known that no account is stale, and that every exporter is scraped",
    ("fleet", 21): "no account has data",
    ("exporter", 1): "no target is down",
    ("exporter", 2): "each account is counted as not read yet",
    ("exporter", 10): "no account is up",
}
"""Panels that may say 0 or none in the first minute, and why."""

ABOUT_USES = (
    *(q.LAST_USED, q.LAST_USED_AGE, q.NEVER_USED, q.SUPERSEDED),
    *(q.COUNT_IDLE, q.COUNT_NEVER_USED, q.COUNT_SUPERSEDED, q.COUNT_USED_IN),
)


Said = dict[str, dict[Place, list[str]]]
"""What every panel says, by installation."""


@pytest.fixture(scope="module")
def said(folder: Path, end: float) -> Said:
    """What every panel says with the installed Prometheus."""
    return _ask(folder, end)


def _ask(folder: Path, end: float, release: Release = Release.INSTALLED) -> Said:
    with prometheus(folder, "global: {}", release) as address:
        # Between two samples: only Prometheus 2 has one that is at the very beginning of a range.
        client = Client(address, end + 30)
        return {job: _said(client, job) for job in (DOWN, UNKNOWN, FIRST, FINE)}


def _said(client: Client, job: str) -> dict[Place, list[str]]:
    found = {}
    for board, panel in _panels():
        selected = subject(job, client.end)
        if board in {"fleet", "account"}:
            del selected["user"]
        if board == "fleet":
            del selected["account_id"]
        found[board, panel["id"]] = reading(client, board, panel, selected)
    return found


def _panels() -> Iterator[tuple[str, dict[str, Any]]]:
    for board in BOARDS:
        yield from ((board, panel) for panel in panels(board) if panel.get("targets"))


PLACES = [
    pytest.param(board, panel, id=f"{board}-{panel['id']}-{panel['title'].replace(' ', '-')}")
    for board, panel in _panels()
]


@pytest.mark.parametrize(("board", "panel"), PLACES)
class TestPanels:
    def test_no_exporter(self, said: Said, board: str, panel: dict[str, Any]) -> None:
        """While no exporter is scraped, each panel says so."""
        place = board, panel["id"]
        if place not in NOT_OF_NOW:
            texts = said[DOWN][place]
            assert any("no exporter" in text for text in texts), texts
            for text in texts:
                assert not re.search(r"\b(none|nothing|never|no success yet)$", text), text

    def test_unknown_uses(self, said: Said, board: str, panel: dict[str, Any]) -> None:
        """While no last use can be read, each panel that depends on it says unknown."""
        place = board, panel["id"]
        exprs = " ".join(target["expr"] for target in panel["targets"])
        if place not in WITHOUT_USES and any(f"{family}{{" in exprs for family in ABOUT_USES):
            texts = said[UNKNOWN][place]
            assert any("unknown" in text for text in texts), texts

    def test_first_minute(self, said: Said, board: str, panel: dict[str, Any]) -> None:
        """Before the first refresh has finished, nothing is none or 0."""
        place = board, panel["id"]
        if place not in REALLY_NONE:
            for text in said[FIRST][place]:
                assert not re.fullmatch(r"(.*: )?(0|none|nothing|never|never used)", text), text

    def test_all_fine(self, said: Said, board: str, panel: dict[str, Any]) -> None:
        """If all is fine and known, no panel says unknown, or that there is no exporter."""
        for text in said[FINE][board, panel["id"]]:
            assert not re.search(r"unknown(?!: 0)|no exporter", text), text


def _words(texts: list[str]) -> list[str]:
    """The texts without their numbers, except 0."""
    return sorted(re.sub(r"\b(?!0\b(?!\.))[\d.]+(e[-+]\d+)?", "n", text) for text in texts)


@pytest.mark.slow
def test_newer_prometheus(folder: Path, end: float, said: Said) -> None:
    """With Prometheus 3 panels say the same, though it extrapolates increases differently."""
    newer = _ask(folder, end, Release.NEWER)

    for job, panels_said in said.items():
        for place, texts in panels_said.items():
            assert _words(newer[job][place]) == _words(texts), (job, place)


def test_no_exporter_is_red() -> None:
    """The fleet dashboard says in red that there is no exporter."""
    for panel in panels("fleet"):
        if panel["type"] == "stat":
            mappings = panel["fieldConfig"]["defaults"]["mappings"]
            results = [each["options"]["result"] for each in mappings if each["type"] == "range"]
            texts = {result["text"]: result["color"] for result in results}
            assert texts["no exporter"] == "red", panel["title"]
