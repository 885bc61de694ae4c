"""Exporters that share a PostgreSQL database: one memory, and what happens while it is away."""

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.builders import PROD, ROLE, TEST
from tests.fake_aws import AccessKey, FakeAws
from tests.postgres import Postgres, postgres
from tests.servers import Exporter, wait_until
from tests.stateful import STORE_FAILS, configuration, page_of, running

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.xdist_group("shared_store")]

STORE_UP = "aws_iam_exporter_store_up"
AWAKENED = "aws_iam_access_key_used_after_idle_seconds"
NEW_SERVICE = "aws_iam_access_key_new_service_timestamp_seconds"
LAST_USED = "aws_iam_access_key_last_used_timestamp_seconds"
RETRIED = 90.0
"""Seconds within which the exporter has tried the store again, on a busy machine."""


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as started:
        yield started


@pytest.fixture
def url(server: Postgres) -> str:
    return server.create_schema()


@pytest.fixture
def aws() -> Iterator[FakeAws]:
    with FakeAws() as fake:
        for id in (PROD, TEST):
            fake.account(id).role(ROLE)
            for number in range(3):
                dormant_key(fake, id, f"user-{number}")
        yield fake


def dormant_key(aws: FakeAws, account: str, name: str) -> AccessKey:
    """A key that was last used 100 days ago."""
    now = datetime.now(UTC)
    user = aws.account(account).add_user(name, created=now - timedelta(days=500))
    key = user.add_key(created=now - timedelta(days=400))
    key.use("s3", "eu-west-1", at=now - timedelta(days=100))
    return key


def keys_of(aws: FakeAws, account: str) -> list[AccessKey]:
    return list(aws.account(account).keys)


def events(server: Postgres, url: str) -> Counter[tuple[str, str]]:
    """Count the stored events by key and kind."""
    schema = url.rpartition("%3D")[2]
    return Counter(
        (str(key), str(kind))
        for key, kind in server.execute("SELECT access_key_id, kind FROM events", schema)
    )


def wait_for_refreshes(aws: FakeAws, count: int = 6) -> None:
    """Wait until each account was refreshed *count* more times, by whichever process."""
    before = {id: aws.count("ListUsers", id) for id in (PROD, TEST)}
    wait_until(
        lambda: all(aws.count("ListUsers", id) > calls + count for id, calls in before.items()),
        "the accounts are refreshed",
    )


def shows(started: Exporter, family: str, key: AccessKey) -> bool:
    return key.id in page_of(started).by_key(family)


def test_two_processes_have_one_memory(
    server: Postgres, aws: FakeAws, tmp_path: Path, url: str
) -> None:
    """Of two replicas, one logs and stores an event, and both show it."""
    text = configuration([PROD, TEST], url)
    with running(aws, tmp_path, text) as one, running(aws, tmp_path, text) as other:
        for started in (one, other):
            started.wait_until_ready()
        keys = [*keys_of(aws, PROD)[:2], *keys_of(aws, TEST)[:1]]
        for key in keys:
            key.use()
            for started in (one, other):
                wait_until(lambda: shows(started, AWAKENED, key), "the event is shown")  # noqa: B023
        wait_for_refreshes(aws)
        pages = [page_of(started) for started in (one, other)]
        for started in (one, other):
            started.end()

    assert events(server, url) == {(key.id, "awakened"): 1 for key in keys}
    assert (one.log + other.log).count("access key awakened") == len(keys)
    assert all(set(page.by_key(AWAKENED)) == {key.id for key in keys} for page in pages)
    assert STORE_FAILS not in one.log + other.log


def test_an_account_moves_to_another_process(
    server: Postgres, aws: FakeAws, tmp_path: Path, url: str
) -> None:
    """An account that another process takes over has its facts and its memory at once."""
    with running(aws, tmp_path, configuration([PROD, TEST], url)) as first:
        first.wait_until_ready()
        first_key, second_key, _ = keys_of(aws, TEST)
        first_key.use()
        wait_until(lambda: shows(first, AWAKENED, first_key), "the event is shown")
    second_key.use()
    with running(aws, tmp_path, configuration([TEST], url)) as second:
        ready, page = second.get("/-/ready"), page_of(second)
        wait_until(lambda: shows(second, AWAKENED, second_key), "the event is shown")
        second.end()

    assert ready == "Ready\n"
    assert first_key.id in page.by_key(AWAKENED)
    assert set(page.by_key(LAST_USED)) == {key.id for key in keys_of(aws, TEST)}
    assert events(server, url) == {(key.id, "awakened"): 1 for key in (first_key, second_key)}
    assert second.log.count("access key awakened") == 1


def test_the_database_is_away_at_the_start(
    server: Postgres, aws: FakeAws, tmp_path: Path, url: str
) -> None:
    """An exporter that starts while the database is down serves within seconds."""
    server.stop()
    try:
        with running(aws, tmp_path, configuration([PROD, TEST], url)) as started:
            wait_until(lambda: started.get("/-/ready"), "the accounts are refreshed", 15)
            page = page_of(started)
    finally:
        server.start()

    assert page.value(STORE_UP) == 0
    assert len(page.by_key(LAST_USED)) == 6
    assert started.log.count(STORE_FAILS) == 1
    assert "correct-horse" not in started.log


@pytest.mark.slow
@pytest.mark.parametrize("outage", ["stopped", "frozen"])
def test_the_database_goes_away_and_comes_back(
    server: Postgres, aws: FakeAws, tmp_path: Path, url: str, outage: str
) -> None:
    """
    While the database is away, both processes serve, and notice what happens.

    When it is back, all of that is stored, once, and both show it.
    """
    text = configuration([PROD, TEST], url)
    stop, start = {
        "stopped": (server.stop, server.start),
        "frozen": (server.freeze, server.thaw),
    }[outage]
    with ExitStack() as stack:
        both = [stack.enter_context(running(aws, tmp_path, text)) for _ in range(2)]
        for started in both:
            started.wait_until_ready()
        first, second, third = keys_of(aws, PROD)
        first.use()
        for started in both:
            wait_until(lambda: shows(started, AWAKENED, first), "the event is shown")  # noqa: B023
        stop()
        try:
            for started in both:
                wait_until(lambda: page_of(started).value(STORE_UP) == 0, "down", RETRIED)  # noqa: B023
            second.use()
            for started in both:
                wait_until(lambda: shows(started, AWAKENED, second), "it is noticed", RETRIED)  # noqa: B023
            second.user.delete()
            wait_for_refreshes(aws)
        finally:
            start()
        for started in both:
            wait_until(lambda: page_of(started).value(STORE_UP) == 1, "up again", RETRIED)  # noqa: B023
        third.use()
        for started in both:
            wait_until(lambda: shows(started, AWAKENED, third), "the event is shown")  # noqa: B023
        wait_for_refreshes(aws)
        pages = [page_of(started) for started in both]
        for started in both:
            started.end()

    expected = {(key.id, "awakened"): 1 for key in (first, second, third)}
    assert events(server, url) == {**expected, (second.id, "deleted"): 1}
    for started, page in zip(both, pages, strict=True):
        assert page.by_account("aws_iam_exporter_account_up") == {PROD: 1, TEST: 1}
        assert {first.id, third.id} <= set(page.by_key(AWAKENED))
        assert started.log.count(STORE_FAILS) == 1, started.log
        assert started.log.count("store is available again") == 1
        assert "correct-horse" not in started.log
        logged = [line for line in started.log.splitlines() if "access key awakened" in line]
        assert all(sum(id in line for line in logged) <= 1 for id in (second.id, third.id))


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server to which connections are possible, and that never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def url_of(server: socket.socket) -> str:
    return f"postgresql://exporter:correct-horse@127.0.0.1:{server.getsockname()[1]}/x"


def test_a_database_that_does_not_respond_at_the_start(
    aws: FakeAws, tmp_path: Path, silent: socket.socket
) -> None:
    """The exporter serves in spite of a database that accepts connections and says nothing."""
    with running(aws, tmp_path, configuration([PROD, TEST], url_of(silent))) as started:
        wait_until(lambda: started.get("/-/ready"), "the accounts are refreshed", 20)
        page = page_of(started)

    assert page.value(STORE_UP) == 0
    assert len(page.by_key(LAST_USED)) == 6
    assert "correct-horse" not in started.log


def test_sigterm_while_the_store_is_read(
    aws: FakeAws, tmp_path: Path, silent: socket.socket
) -> None:
    """SIGTERM ends the exporter at once, although it waits for the database."""
    text = configuration([PROD], url_of(silent))
    with running(aws, tmp_path, text) as started, silent.accept()[0]:
        code, seconds = started.end()

    assert code == 0
    assert seconds < 3  # 0.1 s on an idle machine
    assert "listening" not in started.log
