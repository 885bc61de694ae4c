"""Stores of both kinds: an SQLite file, and a schema of a real PostgreSQL."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from exporter.store import Store
from tests.builders import FakeClock
from tests.postgres import Postgres, postgres

Location = Path | str

REAL = [pytest.mark.process, pytest.mark.xdist_group("postgres")]
"""Marks of the tests that need PostgreSQL, which all use one cluster."""


@pytest.fixture(scope="session")
def cluster() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=REAL)])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """Where nothing is stored yet."""
    if request.param == "sqlite":
        return tmp_path / "state.db"
    return str(request.getfixturevalue("cluster").create_schema())


OpenStore = Callable[..., Store]


@pytest.fixture
def open_store(clock: FakeClock) -> Iterator[OpenStore]:
    """Return a function that opens a store, which is closed after the test."""
    opened = []

    def open_(location: Location, **options: Any) -> Store:
        defaults = {"keep_events": timedelta(days=400), "shown_for": timedelta(days=1)}
        store = Store(location, clock=clock, **{**defaults, **options})
        opened.append(store)
        return store

    yield open_
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore, location: Location) -> Store:
    return open_store(location)
