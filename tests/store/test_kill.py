"""A process that is killed while it writes loses at most the save under way."""

import random
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.store import StoreError, read_events
from tests.builders import PROD
from tests.store.values import a_memory, save
from tests.store.writer import a_store, memory_of

pytestmark = [pytest.mark.process, pytest.mark.slow]


def _start(path: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.store.writer", str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _run_and_kill(path: Path, lines: int) -> dict[str, int]:
    """Kill a writer after some *lines* of output; the latest revisions that it reported."""
    with _start(path) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "loaded\n"
        printed = [writer.stdout.readline() for _ in range(lines)]
        writer.kill()
        printed += writer.stdout
    reported = [line.split() for line in printed if line.endswith("\n")]
    return {account_id: int(revision) for account_id, revision in reported}


def _check(path: Path, reported: dict[str, int]) -> None:
    with closing(a_store(path)) as store:
        loaded = {one.snapshot.account.id: one for one in store.load()}
    for account_id, revision in reported.items():
        assert revision <= loaded[account_id].revision <= revision + 1
    for account_id, one in loaded.items():
        expected = memory_of(account_id, one.revision)
        assert replace(one.memory, events=()) == replace(expected, events=())
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    stored = Counter(row.account_id for row in read_events(path))
    assert stored == {account_id: one.revision for account_id, one in loaded.items()}


@pytest.mark.parametrize("kills", [5, pytest.param(30, marks=pytest.mark.slow)])
def test_kills_at_random_moments(tmp_path: Path, kills: int) -> None:
    """After each of many kills, everything that was reported as saved is there, and true."""
    path = tmp_path / "state.db"
    rng = random.Random(kills)
    for _ in range(kills):
        reported = _run_and_kill(path, rng.randrange(40))

        _check(path, reported)


def test_a_second_process(tmp_path: Path) -> None:
    """A second process on one file says so and does not write, until the first has ended."""
    path = tmp_path / "state.db"
    with closing(a_store(path)) as second:
        with _start(path) as first:
            assert first.stdout is not None
            assert first.stdout.readline() == "loaded\n"

            with pytest.raises(StoreError, match="in use by another process"):
                save(second, a_memory())

            assert first.stdout.readline()
            first.kill()

        save(second, a_memory())

        assert PROD in {one.snapshot.account.id for one in second.load()}


def test_reading_events_meanwhile(tmp_path: Path) -> None:
    """Another process reads the events while the first one writes."""
    path = tmp_path / "state.db"
    with _start(path) as writer:
        assert writer.stdout is not None
        for _ in range(10):
            assert writer.stdout.readline()

        events = read_events(path)

        for _ in range(10):
            assert writer.stdout.readline()
        writer.kill()
    assert len(events) >= 9
