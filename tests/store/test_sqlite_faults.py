"""Files that cannot be used never stop the exporter, and nothing in them is deleted."""

import os
import sqlite3
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from exporter.store import Store, StoreError, read_events
from tests.store.conftest import OpenStore
from tests.store.values import a_key_memory, a_memory, an_event, save

NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "state.db"


@pytest.fixture
def store(open_store: OpenStore, path: Path) -> Store:
    return open_store(path)


def _fill(store: Store) -> None:
    """Save what takes several pages of the file, and close it."""
    save(store, a_memory(*(a_key_memory(f"AKIA{number}") for number in range(500))))
    store.close()


def _message(call: Callable[[], object]) -> str:
    with pytest.raises(StoreError) as caught:
        call()
    return str(caught.value)


class TestFiles:
    def test_mode(self, store: Store, path: Path) -> None:
        """The file and those beside it are readable by their owner alone, and so is the folder."""
        save(store, a_memory())

        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}

        assert modes == dict.fromkeys(
            ("state.db", "state.db-wal", "state.db-shm", "state.db.lock"), 0o600
        )
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    def test_write_ahead_log(self, store: Store, path: Path) -> None:
        """The file is in WAL mode, so that readers and the writer do not block each other."""
        save(store, a_memory())

        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    @pytest.mark.parametrize("name", ["a?b#c%20d.db", "ümlaut.db", ":memory:", "file:x"])
    def test_names(self, open_store: OpenStore, tmp_path: Path, name: str) -> None:
        """Every name of a file is taken as it is."""
        save(open_store(tmp_path / name), a_memory())

        assert (tmp_path / name).stat().st_size > 0

    def test_a_second_store(self, store: Store, open_store: OpenStore, path: Path) -> None:
        """A file is used by one store at a time; a second one says so and works afterwards."""
        save(store, a_memory())
        second = open_store(path)

        message = _message(second.load)
        store.close()

        assert "is in use by another process" in message
        assert len(second.load()) == 1


class TestCorrupt:
    @pytest.mark.parametrize("content", [b"hello\n" * 1000, b"SQLite format 3\0" + bytes(5000)])
    def test_not_a_database(self, store: Store, path: Path, content: bytes) -> None:
        """A file of another kind is set aside under another name, and a new one begins."""
        path.parent.mkdir()
        path.write_bytes(content)

        message = _message(store.load)

        aside = path.with_name("state.db.corrupt-20261123T120000Z")
        assert aside.read_bytes() == content
        assert aside.name in message
        assert save(store, a_memory()).revision == 1
        assert len(store.load()) == 1

    @pytest.mark.parametrize("kept", [0.3, 0.9])
    def test_truncated(self, store: Store, path: Path, kept: float) -> None:
        """A truncated file is set aside."""
        _fill(store)
        os.truncate(path, int(path.stat().st_size * kept))

        message = _message(store.load)

        assert "is corrupt" in message
        assert store.load() == []

    def test_zero_length(self, store: Store, path: Path) -> None:
        """An empty file is a new store."""
        path.parent.mkdir()
        path.touch()

        assert store.load() == []
        assert save(store, a_memory()).revision == 1

    def test_bytes_in_the_middle(self, store: Store, path: Path) -> None:
        """A file with a page of other bytes in its middle is set aside, with its parts."""
        _fill(store)
        _overwrite(path)

        assert "is corrupt" in _message(store.load)
        assert store.load() == []
        assert len(list(path.parent.glob("state.db.corrupt-*"))) == 1

    def test_while_it_is_used(self, store: Store, path: Path) -> None:
        """A file that a save finds corrupt is set aside too, and the next save is complete."""
        _fill(store)
        (before,) = store.load()
        store.close()
        _overwrite(path)
        memory = a_memory(a_key_memory("AKIA1"))

        message = _message(lambda: save(store, memory, revision=before.revision))
        saved = save(store, memory, revision=before.revision)

        assert "is corrupt" in message
        assert saved.revision == 1
        assert store.load()[0].memory.keys == memory.keys

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE keys SET created_at = 'yesterday'",
            "UPDATE keys SET last_use = 'sometimes'",
            "UPDATE accounts SET bookmarks = '[]'",
            "UPDATE accounts SET failure = 'bad_luck'",
            "UPDATE users SET tags = '{'",
            "UPDATE keys SET user_name = CAST(x'ff' AS TEXT)",
            "DELETE FROM schema_version",
        ],
    )
    def test_values_that_cannot_be_read(self, store: Store, path: Path, change: str) -> None:
        """A file with values that the exporter cannot have written is set aside."""
        save(store, a_memory(a_key_memory()))
        store.close()
        _execute(path, change)

        assert "is corrupt" in _message(store.load)
        assert store.load() == []

    def test_twice_within_a_second(self, store: Store, path: Path) -> None:
        """A second corrupt file does not replace the first one."""
        path.parent.mkdir()
        for content in ("one" * 999, "two" * 999):
            store.close()
            path.write_text(content)
            _message(store.load)

        assert sorted(file.name for file in path.parent.glob("*.corrupt*")) == [
            "state.db.corrupt-20261123T120000Z",
            "state.db.corrupt-20261123T120000Z-2",
        ]


def _overwrite(path: Path) -> None:
    """Overwrite three quarters of the file, behind its first pages."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 4)
        file.write(b"\xa5" * (size * 3 // 4))


def _execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


class TestMoved:
    """Files that are deleted or replaced while they are open."""

    @pytest.mark.parametrize("pattern", ["state.db", "state.db*"])
    def test_deleted(self, store: Store, open_store: OpenStore, path: Path, pattern: str) -> None:
        """The next save writes everything to a new file, which no other process can use."""
        first = save(store, a_memory(a_key_memory("AKIA1")))
        for file in path.parent.glob(pattern):
            file.unlink()
        memory = a_memory(a_key_memory("AKIA1"), a_key_memory("AKIA2"))

        save(store, memory, [an_event()], revision=first.revision)
        other = _message(open_store(path).load)
        store.close()

        assert "in use by another process" in other
        assert [stored.memory.keys for stored in open_store(path).load()] == [memory.keys]
        assert [row.event for row in read_events(path)] == [an_event()]

    def test_replaced(self, store: Store, open_store: OpenStore, path: Path) -> None:
        """A file that takes the place of the open one is the store from then on."""
        backup = path.parent / "backup.db"
        with closing(open_store(backup)) as other:
            save(other, a_memory(a_key_memory("AKIA1")))
        save(store, a_memory(a_key_memory("AKIA2")))
        for part in ("-wal", "-shm"):
            Path(f"{path}{part}").unlink()
        backup.rename(path)

        (stored,) = store.load()

        assert list(stored.memory.keys) == ["AKIA1"]


class TestUnusable:
    def test_a_directory(self, store: Store, path: Path) -> None:
        """A directory at the path is reported, and stays."""
        path.mkdir(parents=True)

        assert "is a directory" in _message(store.load)
        assert path.is_dir()

    def test_a_file_in_place_of_the_directory(self, store: Store, path: Path) -> None:
        """A path below a file is reported."""
        path.parent.write_text("")

        assert "cannot be used" in _message(store.load)

    def test_a_newer_version(self, store: Store, path: Path) -> None:
        """A file of a newer version is not touched."""
        _fill(store)
        _execute(path, "UPDATE schema_version SET version = 2")
        _execute(path, "PRAGMA wal_checkpoint(TRUNCATE)")
        before = path.read_bytes()

        messages = {_message(store.load), _message(lambda: save(store, a_memory()))}
        store.close()

        assert len(messages) == 1
        assert "newer version of the exporter (schema 2; this one knows 1)" in messages.pop()
        assert path.read_bytes() == before

    def test_another_program(self, store: Store, path: Path) -> None:
        """A database of another program is not touched."""
        path.parent.mkdir()
        _execute(path, "CREATE TABLE users (name TEXT)")
        before = path.read_bytes()

        message = _message(store.load)
        store.close()

        assert "tables of another program" in message
        assert path.read_bytes() == before

    def test_locked(self, store: Store, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """While another program writes to the file, it is reported; it works again afterwards."""
        monkeypatch.setattr("exporter.store.sqlite.BUSY_SECONDS", 0.05)
        _fill(store)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")

            message = _message(store.load)

        assert "another program is writing to it" in message
        assert len(store.load()) == 1

    def test_a_table_that_was_dropped(self, store: Store, path: Path) -> None:
        """A table that somebody dropped is reported."""
        _fill(store)
        _execute(path, "DROP TABLE uses")

        assert "no such table: uses" in _message(store.load)


@contextmanager
def _as_nobody() -> Iterator[None]:
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that everybody may write to, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
class TestPermissions:
    @pytest.mark.parametrize(("owner", "mode"), [(NOBODY, 0o400), (0, 0o600), (0, 0o644)])
    def test_a_file(self, open_store: OpenStore, shared: Path, owner: int, mode: int) -> None:
        """A file that is read-only, or another user's, is reported; it works when that changes."""
        path = shared / "state.db"
        with closing(open_store(path)) as root:
            save(root, a_memory())
        Path(f"{path}.lock").unlink()
        os.chown(path, owner, owner)
        path.chmod(mode)
        with _as_nobody(), closing(open_store(path)) as store:
            message = _message(lambda: save(store, a_memory()))
            os.seteuid(0)
            os.chown(path, NOBODY, NOBODY)
            path.chmod(0o600)
            os.seteuid(NOBODY)

            saved = save(store, a_memory())

        assert "cannot be used (Permission denied): check its owner and mode" in message
        assert saved.revision == 2

    def test_a_directory(self, open_store: OpenStore, shared: Path) -> None:
        """A directory in which nothing can be created is reported."""
        shared.chmod(0o755)
        with _as_nobody(), closing(open_store(shared / "new" / "state.db")) as store:
            message = _message(store.load)

        assert "cannot be used (Permission denied)" in message

    def test_reading(self, open_store: OpenStore, shared: Path) -> None:
        """Reading the events below a directory that is another user's is reported."""
        path = shared / "state" / "state.db"
        with closing(open_store(path)) as root:
            save(root, a_memory())
        with _as_nobody():
            message = _message(lambda: read_events(path))

        assert "cannot be used (Permission denied): check its owner and mode" in message


@pytest.mark.process
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system")
class TestFullDisk:
    @pytest.fixture
    def disk(self, tmp_path: Path) -> Iterator[Path]:
        """A file system of 1 MB."""
        folder = tmp_path / "disk"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
        if subprocess.run(command, check=False, capture_output=True).returncode != 0:
            pytest.skip("file systems cannot be mounted here")
        try:
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)

    def test_while_it_is_used(self, open_store: OpenStore, disk: Path) -> None:
        """A save that does not fit is reported and changes nothing; with more space it works."""
        store = open_store(disk / "state.db")
        memory = a_memory(a_key_memory())
        saved = save(store, memory)
        ballast = disk / "ballast"
        _fill_disk(ballast)
        large = a_memory(*(a_key_memory(f"AKIA{number}") for number in range(500)))

        message = _message(lambda: save(store, large, revision=saved.revision))
        ballast.unlink()
        before = store.load()[0].memory
        again = save(store, large, revision=saved.revision)

        assert "disk" in message
        assert before == memory
        assert again.revision == 2

    def test_from_the_start(self, open_store: OpenStore, disk: Path) -> None:
        """A full disk at the start is reported; the store is created when there is space."""
        ballast = disk / "ballast"
        _fill_disk(ballast)
        store = open_store(disk / "state.db")

        message = _message(store.load)
        ballast.unlink()

        assert "disk" in message
        assert store.load() == []
        assert save(store, a_memory()).revision == 1


def _fill_disk(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


class TestReading:
    def test_a_missing_file(self, path: Path) -> None:
        """Reading the events of a file that does not exist is an error and does not create it."""
        assert "does not exist" in _message(lambda: read_events(path))
        assert not path.parent.exists()

    def test_a_directory(self, path: Path) -> None:
        """Reading the events of a directory is an error that says what is wrong."""
        path.mkdir(parents=True)

        assert "is a directory" in _message(lambda: read_events(path))

    def test_a_corrupt_file(self, path: Path) -> None:
        """Reading the events of a corrupt file is an error and does not set it aside."""
        path.parent.mkdir()
        path.write_text("hello" * 1000)

        assert "file is not a database" in _message(lambda: read_events(path))
        assert path.read_text() == "hello" * 1000

    def test_an_empty_file(self, path: Path) -> None:
        """Reading the events of a file without tables is an error."""
        path.parent.mkdir()
        path.touch()

        assert "has no tables" in _message(lambda: read_events(path))

    def test_while_it_is_used(self, store: Store, path: Path) -> None:
        """The events are read while the store is open, and after it was closed."""
        save(store, a_memory(), [an_event()])
        during = read_events(path)
        store.close()

        assert [row.event for row in during] == [an_event()]
        assert read_events(path) == during
