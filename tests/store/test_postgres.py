"""Processes that share a PostgreSQL database have one memory, and survive without it."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from exporter.model import AccountMemory, Event
from exporter.store import Store, StoreError, read_events
from tests.builders import a_snapshot
from tests.postgres import PASSWORD, Postgres, postgres
from tests.servers import free_port
from tests.store.conftest import REAL, OpenStore
from tests.store.values import a_key_memory, a_memory, an_event, save


def _message(store: Store) -> str:
    with pytest.raises(StoreError) as caught:
        store.load()
    assert PASSWORD not in str(caught.value)
    return str(caught.value)


class TestShared:
    pytestmark = REAL

    @pytest.fixture
    def url(self, cluster: Postgres) -> str:
        return cluster.create_schema()

    def test_two_processes_that_alternate(self, open_store: OpenStore, url: str) -> None:
        """Of two processes that refresh one account, each is given what the other remembered."""
        stores = [open_store(url), open_store(url)]
        revisions = [0, 0]
        given: list[AccountMemory | None] = []
        saved: list[AccountMemory] = []
        for number in range(6):
            memory = a_memory(a_key_memory(status_changes=number))
            this = number % 2

            def remember(
                stored: AccountMemory | None, new: AccountMemory = memory
            ) -> tuple[AccountMemory, list[Event]]:
                given.append(stored)
                return new, []

            revisions[this] = stores[this].save(a_snapshot(), revisions[this], remember).revision
            saved.append(memory)

        assert given == [None, *saved[:-1]]

    def test_two_processes_at_the_same_time(self, open_store: OpenStore, url: str) -> None:
        """No event is stored twice, and none is lost, whoever notices it first."""
        stores = [open_store(url), open_store(url)]
        start = threading.Barrier(2)
        rounds = [[an_event(occurrence=str(10 * one + n)) for n in range(10)] for one in range(20)]

        def run(store: Store) -> list[Event]:
            inserted: list[Event] = []
            revision = 0
            start.wait()
            for events in rounds:

                def remember(
                    stored: AccountMemory | None, new: list[Event] = events
                ) -> tuple[AccountMemory, list[Event]]:
                    keys = [] if stored is None else list(stored.keys.values())
                    number = max((key.status_changes for key in keys), default=0) + 1
                    return a_memory(a_key_memory(status_changes=number)), new

                saved = store.save(a_snapshot(), revision, remember)
                revision = saved.revision
                inserted += saved.events
            return inserted

        with ThreadPoolExecutor(2) as pool:
            inserted = [event for events in pool.map(run, stores) for event in events]

        expected = [event for events in rounds for event in events]
        assert sorted(inserted, key=lambda event: int(event.occurrence)) == expected
        assert len(read_events(url)) == len(expected)
        assert stores[0].load()[0].revision == 40

    def test_loading_while_another_process_saves(self, open_store: OpenStore, url: str) -> None:
        """What is loaded is the memory of the revision that is loaded."""
        writer, reader = open_store(url), open_store(url)

        def write() -> None:
            revision = 0
            while revision < 100:
                memory = a_memory(a_key_memory(status_changes=revision + 1))
                revision = save(writer, memory, revision=revision).revision

        with ThreadPoolExecutor(1) as pool:
            written = pool.submit(write)
            loaded = []
            while not written.done():
                loaded += reader.load()
            written.result()

        assert loaded
        for one in loaded:
            assert [key.status_changes for key in one.memory.keys.values()] == [one.revision]

    def test_two_processes_start_at_the_same_time(self, open_store: OpenStore, url: str) -> None:
        """The tables are created once."""
        with ThreadPoolExecutor(4) as pool:
            stored = list(pool.map(Store.load, [open_store(url) for _ in range(4)]))

        assert stored == [[]] * 4

    def test_a_newer_version(self, open_store: OpenStore, cluster: Postgres, url: str) -> None:
        """A database of a newer version is not written to."""
        store = open_store(url)
        store.load()
        cluster.execute("UPDATE schema_version SET version = 2", _schema(url))

        assert "written by a newer version" in _message(open_store(url))

    def test_another_program(self, open_store: OpenStore, cluster: Postgres, url: str) -> None:
        """A database that has tables of these names already is not written to."""
        cluster.execute("CREATE TABLE events (what text)", _schema(url))

        assert "has tables of another program" in _message(open_store(url))

    def test_a_wrong_password(self, open_store: OpenStore, url: str) -> None:
        """A message never has a password in it."""
        wrong = url.replace(PASSWORD, "hunter2")

        with pytest.raises(StoreError, match="password authentication failed") as caught:
            open_store(wrong).load()

        assert "hunter2" not in str(caught.value)

    def test_a_pooled_connection_is_checked(
        self, open_store: OpenStore, cluster: Postgres, url: str
    ) -> None:
        """A connection that was closed meanwhile is replaced without an error."""
        store = open_store(url)
        saved = save(store, a_memory())
        cluster.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )

        assert save(store, a_memory(), revision=saved.revision).revision == 2

    def test_reading_before_the_first_save(self, url: str) -> None:
        """Reading the events of a database without tables is an error, and creates none."""
        with pytest.raises(StoreError, match="has no tables of the exporter yet"):
            read_events(url)

    def test_a_locked_row(
        self,
        open_store: OpenStore,
        cluster: Postgres,
        url: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A row that another transaction has locked for too long is reported."""
        import psycopg  # noqa: PLC0415  an extra

        store = open_store(url)
        saved = save(store, a_memory())
        settings = "SET LOCAL lock_timeout = '50ms'"
        monkeypatch.setattr("exporter.store.postgres.SETTINGS", settings)
        with closing(psycopg.connect(url)) as other:
            other.execute("SELECT 1 FROM accounts FOR UPDATE")

            with pytest.raises(StoreError, match="lock timeout"):
                save(store, a_memory(), revision=saved.revision)

        assert save(store, a_memory(), revision=saved.revision).revision == 2


def _schema(url: str) -> str:
    return url.rpartition("%3D")[2]


class TestOutage:
    pytestmark = REAL

    @pytest.fixture
    def server(self) -> Iterator[Postgres]:
        """A cluster that the other tests do not use."""
        with postgres() as running:
            yield running

    def test_stopped_and_started(self, open_store: OpenStore, server: Postgres) -> None:
        """While the database is away, each call is an error; afterwards it works as before."""
        store = open_store(server.create_schema())
        saved = save(store, a_memory(a_key_memory()))
        server.stop()
        message = _message(store)
        with pytest.raises(StoreError):
            save(store, a_memory(), revision=saved.revision)
        server.start()

        again = save(store, a_memory(), [an_event()], revision=saved.revision)

        assert f"on {server.address} cannot be used" in message
        assert again.revision == 2
        assert again.events == (an_event(),)

    def test_a_server_that_hangs(
        self, open_store: OpenStore, server: Postgres, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A server that no longer answers is an error, not the end of all refreshes."""
        store = open_store(server.create_schema())
        saved = save(store, a_memory())
        monkeypatch.setattr("exporter.store.postgres.HANG_SECONDS", 0.5)
        server.freeze()

        try:
            with pytest.raises(StoreError):
                save(store, a_memory(), revision=saved.revision)
        finally:
            server.thaw()

        assert save(store, a_memory(), revision=saved.revision).revision == 2


class TestUrl:
    @pytest.mark.parametrize(
        "url",
        [
            "",
            "nonsense:hunter2",
            "mysql://exporter:hunter2@localhost/db",
            "postgresql://exporter:hunter2@localhost:port/db",
        ],
    )
    def test_a_malformed_url(self, open_store: OpenStore, url: str) -> None:
        """A URL that is none of PostgreSQL is an error, which does not quote it."""
        with pytest.raises(StoreError, match="not that of a PostgreSQL database") as caught:
            open_store(url).load()

        assert "hunter2" not in str(caught.value)
        assert caught.value.__cause__ is None

    @pytest.mark.parametrize(
        "query", ["", "?password=hunter2", "?host=127.0.0.1&connect_timeout=2"]
    )
    def test_nobody_answers(self, open_store: OpenStore, query: str) -> None:
        """A database that cannot be reached is an error that names its host and port."""
        pytest.importorskip("psycopg")
        url = f"postgres://exporter:hunter2@127.0.0.1:{free_port()}/keys{query}"

        with pytest.raises(StoreError, match="the database 'keys' on 127") as caught:
            open_store(url).load()

        assert "hunter2" not in str(caught.value)

    def test_without_the_driver(
        self, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without psycopg, the error says what to install."""
        monkeypatch.setitem(__import__("sys").modules, "psycopg", None)

        with pytest.raises(StoreError, match=r"install aws-iam-key-exporter\[postgres\]"):
            open_store("postgresql://localhost/db").load()
