"""Processes that share the accounts, and a database, while their number changes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from exporter.sharding import Shard
from tests.builders import MONITORING, ROLE
from tests.fake_aws import AccessKey, FakeAws
from tests.postgres import Postgres, postgres
from tests.servers import Exporter, exporter, wait_until
from tests.stateful import STORE_FAILS, Page, configuration, page_of

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.xdist_group("shared_store")]

AWAKENED = "aws_iam_access_key_used_after_idle_seconds"
INACTIVE_SINCE = "aws_iam_access_key_inactive_since_timestamp_seconds"
UP = "aws_iam_exporter_account_up"

ACCOUNTS = [f"{number:012}" for number in range(111111111111, 111111111123)]
DORMANT = 3
"""Keys of each account that were last used 100 days ago; one more is inactive."""

COLLECTION = {
    "interval": "1s",
    "requests_per_second": 1000,
    "burst": 1000,
    "credential_report": "off",
}
SECONDS = 120.0
"""How long a busy machine may take."""


@pytest.fixture
def aws() -> Iterator[FakeAws]:
    with FakeAws() as fake:
        now = datetime.now(UTC)
        for id_ in ACCOUNTS:
            account = fake.account(id_)
            account.role(ROLE)
            for number in range(DORMANT + 1):
                user = account.add_user(f"user-{number}", created=now - timedelta(days=500))
                key = user.add_key(created=now - timedelta(days=400))
                key.use("s3", "eu-west-1", at=now - timedelta(days=100))
            key.status = "Inactive"
        yield fake


class Fleet:
    """Exporters that share the accounts."""

    def __init__(self, aws: FakeAws, file: Path, stack: ExitStack) -> None:
        self._aws = aws
        self._file = file
        self._stack = stack
        self._running: list[Exporter] = []
        self._ended: list[Exporter] = []

    def start(self, ordinal: int, total: int) -> None:
        """Start a process, in the place of the one that has its ordinal."""
        flags = (f"--config.file={self._file}", f"--shard={ordinal}", f"--total-shards={total}")
        environment = self._aws.environment(MONITORING)
        started = self._stack.enter_context(exporter(*flags, environment=environment))
        self._running[ordinal : ordinal + 1] = [started]
        started.wait_until_ready()

    def end(self, ordinal: int) -> None:
        if ordinal < len(self._running):
            ended = self._running[ordinal]
            ended.end()
            self._ended.append(ended)

    def resize(self, total: int, during: Sequence[AccessKey]) -> None:
        """Replace one process after the other; *during* are used after the first."""
        for ordinal in range(max(total, len(self._running))):
            self.end(ordinal)
            if ordinal < total:
                self.start(ordinal, total)
            if ordinal == 0:
                for key in during:
                    key.use()
        del self._running[total:]

    def pages(self) -> list[Page]:
        return [page_of(each) for each in self._running]

    def by_key(self, family: str) -> dict[str, float]:
        return {key: value for page in self.pages() for key, value in page.by_key(family).items()}

    @property
    def log(self) -> str:
        return "".join(each.log for each in (*self._ended, *self._running))


def dormant(aws: FakeAws, number: int) -> list[AccessKey]:
    """One dormant key of each account."""
    return [list(aws.account(id_).keys)[number] for id_ in ACCOUNTS]


def stored_events(server: Postgres, url: str) -> Counter[tuple[str, str]]:
    rows = server.execute("SELECT access_key_id, kind FROM events", url.rpartition("%3D")[2])
    return Counter((str(key), str(kind)) for key, kind in rows)


def wait_for_events(fleet: Fleet, keys: Sequence[AccessKey]) -> None:
    ids = {key.id for key in keys}
    wait_until(lambda: ids <= set(fleet.by_key(AWAKENED)), "the events are shown", SECONDS)


def test_a_change_of_the_number_of_shards_loses_no_memory(aws: FakeAws, tmp_path: Path) -> None:
    """
    Three processes on one PostgreSQL become two, and then four, one after the other.

    What was remembered before is shown after, by whichever process reads the account now. A key
    that is used in the meantime is noticed: it is logged and stored once.
    """
    first, second, third = (dormant(aws, number) for number in range(DORMANT))
    inactive = dormant(aws, DORMANT)
    with postgres() as server, ExitStack() as stack:
        url = server.create_schema()
        file = tmp_path / "config.yaml"
        file.write_text(configuration(ACCOUNTS, url, collection=COLLECTION))
        fleet = Fleet(aws, file, stack)
        fleet.resize(3, during=())
        for key in first:
            key.use()
        wait_for_events(fleet, first)
        since = fleet.by_key(INACTIVE_SINCE)

        fleet.resize(2, during=second)
        wait_for_events(fleet, [*first, *second])
        fleet.resize(4, during=third)
        wait_for_events(fleet, [*first, *second, *third])

        pages = fleet.pages()
        assert stored_events(server, url) == {
            (key.id, "awakened"): 1 for key in (*first, *second, *third)
        }
        assert fleet.log.count("access key awakened") == DORMANT * len(ACCOUNTS)
        assert fleet.by_key(INACTIVE_SINCE) == since
        assert set(since) == {key.id for key in inactive}
        for ordinal, page in enumerate(pages):
            shard = Shard(ordinal, 4)
            assert set(page.by_account(UP)) == {id_ for id_ in ACCOUNTS if shard.has(id_)}
        assert STORE_FAILS not in fleet.log
