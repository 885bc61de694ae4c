"""A store that cannot be used never stops the exporter, and nothing that happens is lost."""

import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.builders import PROD, ROLE, TEST
from tests.fake_aws import AccessKey, FakeAws
from tests.servers import Exporter, exporter, wait_until
from tests.stateful import STORE_FAILS, configuration, page_of, rows_of, running

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.xdist_group("store_faults")]

STORE_UP = "aws_iam_exporter_store_up"
AWAKENED = "aws_iam_access_key_used_after_idle_seconds"
RETRIED = 60.0
"""Seconds within which the exporter has tried the store again, on a busy machine."""


@pytest.fixture
def aws() -> Iterator[FakeAws]:
    with FakeAws() as fake:
        for id in (PROD, TEST):
            fake.account(id).role(ROLE)
            dormant_key(fake, id)
        yield fake


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state" / "state.db"


def dormant_key(aws: FakeAws, account: str) -> AccessKey:
    """A key that was last used 100 days ago."""
    now = datetime.now(UTC)
    account_ = aws.account(account)
    user = account_.find_user("alice") or account_.add_user("alice", created=now - timedelta(500))
    key = user.add_key(created=now - timedelta(days=400))
    key.use("s3", "eu-west-1", at=now - timedelta(days=100))
    return key


def wait_for_refreshes(aws: FakeAws, count: int = 3) -> None:
    """Wait until each account was refreshed *count* more times."""
    before = {id: aws.count("ListUsers", id) for id in (PROD, TEST)}
    wait_until(
        lambda: all(aws.count("ListUsers", id) > calls + count for id, calls in before.items()),
        "the accounts are refreshed",
    )


def check_that_it_goes_on(aws: FakeAws, started: Exporter) -> AccessKey:
    """Check what is served without a store; an event happens meanwhile. Returns its key."""
    started.wait_until_ready()
    wait_until(lambda: page_of(started).value(STORE_UP) == 0, "the store is reported as down")
    key = next(aws.account(PROD).keys)
    key.use()
    wait_until(lambda: key.id in page_of(started).by_key(AWAKENED), "the event is shown")
    wait_for_refreshes(aws)
    page = page_of(started)
    assert page.by_account("aws_iam_exporter_account_up") == {PROD: 1, TEST: 1}
    assert page.value(STORE_UP) == 0
    assert started.log.count(STORE_FAILS) == 1, started.log
    return key


def check_that_it_is_stored(aws: FakeAws, started: Exporter, key: AccessKey) -> None:
    """Check that writing resumes: nothing is lost, and nothing is there or logged twice."""
    wait_until(lambda: page_of(started).value(STORE_UP) == 1, "the store is up", RETRIED)
    wait_for_refreshes(aws)
    assert key.id in page_of(started).by_key(AWAKENED)
    assert started.log.count(STORE_FAILS) == started.log.count("store is available again") == 1
    assert started.log.count("access key awakened") == 1


def awakened(state: Path) -> list[str]:
    return [row["access_key_id"] for row in rows_of(state) if row["kind"] == "awakened"]


# -- at the start ------------------------------------------------------------------------------


def corrupt(state: Path) -> None:
    state.write_bytes(b"SQLite format 3\0" + b"\x5a" * 20_000)


def truncated(state: Path) -> None:
    with closing(sqlite3.connect(state)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with state.open("r+b") as file:
        file.truncate(state.stat().st_size // 2 + 100)


def of_another_program(state: Path) -> None:
    state.unlink()
    with closing(sqlite3.connect(state)) as connection:
        connection.execute("CREATE TABLE keys (id)")


def of_a_newer_version(state: Path) -> None:
    with closing(sqlite3.connect(state)) as connection:
        connection.execute("UPDATE schema_version SET version = 99")
        connection.commit()


def a_directory(state: Path) -> None:
    state.unlink()
    state.mkdir()


@pytest.fixture
def used_state(aws: FakeAws, tmp_path: Path, state: Path) -> Path:
    """The state of an exporter that has run."""
    with running(aws, tmp_path, configuration([PROD, TEST], state)) as started:
        started.wait_until_ready()
        started.end()
    return state


@pytest.mark.parametrize("damage", [of_another_program, of_a_newer_version, a_directory])
def test_a_state_that_cannot_be_used(
    aws: FakeAws, tmp_path: Path, used_state: Path, damage: Callable[[Path], None]
) -> None:
    """A file that is not the exporter's is not touched, and everything works without it."""
    damage(used_state)
    before = None if used_state.is_dir() else used_state.read_bytes()
    with running(aws, tmp_path, configuration([PROD, TEST], used_state)) as started:
        check_that_it_goes_on(aws, started)

    assert used_state.is_dir() or used_state.read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("damage", [corrupt, truncated])
def test_a_corrupt_state(
    aws: FakeAws, tmp_path: Path, used_state: Path, damage: Callable[[Path], None]
) -> None:
    """A corrupt file is set aside, not deleted, and a new one begins."""
    damage(used_state)
    before = used_state.read_bytes()
    with running(aws, tmp_path, configuration([PROD, TEST], used_state)) as started:
        key = check_that_it_goes_on(aws, started)
        check_that_it_is_stored(aws, started, key)

    (aside,) = used_state.parent.glob("state.db.corrupt-*Z")
    assert aside.read_bytes() == before
    assert aside.name in started.log
    assert awakened(used_state) == [key.id]


@pytest.mark.slow
def test_a_second_process(aws: FakeAws, tmp_path: Path, state: Path) -> None:
    """A second process on the same file says so, runs without it, and takes over in the end."""
    text = configuration([PROD, TEST], state)
    with running(aws, tmp_path, text) as first:
        first.wait_until_ready()
        with running(aws, tmp_path, text) as second:
            key = check_that_it_goes_on(aws, second)
            assert page_of(first).value(STORE_UP) == 1
            first.end()
            wait_until(lambda: page_of(second).value(STORE_UP) == 1, "it takes over", RETRIED)
            wait_for_refreshes(aws)

    assert "in use by another process" in second.log
    assert STORE_FAILS not in first.log
    assert awakened(state) == [key.id]


# -- while it runs -----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_locked_state(aws: FakeAws, tmp_path: Path, state: Path) -> None:
    """While another program has the file locked, the exporter goes on, and stores afterwards."""
    with running(aws, tmp_path, configuration([PROD, TEST], state)) as started:
        started.wait_until_ready()
        with closing(sqlite3.connect(state, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            key = check_that_it_goes_on(aws, started)
        check_that_it_is_stored(aws, started, key)

    assert "another program is writing" in started.log
    assert awakened(state) == [key.id]


@pytest.mark.slow
def test_a_state_that_becomes_corrupt(aws: FakeAws, tmp_path: Path, state: Path) -> None:
    """If the file is overwritten while the exporter runs, a new one has all that is known."""
    with running(aws, tmp_path, configuration([PROD, TEST], state)) as started:
        started.wait_until_ready()
        with closing(sqlite3.connect(state)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        corrupt(state)
        wait_until(lambda: STORE_FAILS in started.log, "the file is read again")
        key = check_that_it_goes_on(aws, started)
        check_that_it_is_stored(aws, started, key)

    assert awakened(state) == [key.id]
    assert {row["account_id"] for row in rows_of(state, "keys")} == {PROD, TEST}


@contextmanager
def mounted(size: str, folder: Path, aws: FakeAws, text: str) -> Iterator[tuple[Exporter, Path]]:
    """Run the exporter with a small file system at *folder*; it, and the path from here."""
    command = ["unshare", "--user", "--map-root-user", "--mount"]
    probe = subprocess.run(
        [*command, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=False, capture_output=True
    )
    if shutil.which("unshare") is None or probe.returncode:
        pytest.skip("mounting a file system is not permitted here")
    file = folder.parent / "config.yaml"
    file.write_text(text)
    folder.mkdir()
    script = f'mount -t tmpfs -o size={size} tmpfs {folder} && exec "$0" "$@"'
    wrapper = (*command, "sh", "-c", script)
    started = exporter(
        f"--config.file={file}", environment=aws.environment("999999999999"), wrapper=wrapper
    )
    with started as process:
        yield process, Path(f"/proc/{process.process.pid}/root{folder}")


@pytest.mark.slow
def test_a_full_disk(aws: FakeAws, tmp_path: Path, state: Path) -> None:
    """With a full disk, the exporter goes on, and stores everything when there is space again."""
    text = configuration([PROD, TEST], state)
    with mounted("2m", state.parent, aws, text) as (started, folder):
        started.wait_until_ready()
        fill(folder / "other")
        key = check_that_it_goes_on(aws, started)
        (folder / "other").unlink()
        check_that_it_is_stored(aws, started, key)
        rows = rows_of_process(folder / state.name, tmp_path)

    assert rows == [key.id]


def fill(file: Path) -> None:
    """Write to *file* until its disk is full."""
    with file.open("wb", buffering=0) as output:
        try:
            while True:
                output.write(b"x" * 4096)
        except OSError:
            pass


def rows_of_process(state: Path, tmp_path: Path) -> list[str]:
    """Read the state of a process in another mount namespace, with its write-ahead log."""
    for part in ("", "-wal"):
        shutil.copy(f"{state}{part}", tmp_path / f"copy.db{part}")
    return awakened(tmp_path / "copy.db")
