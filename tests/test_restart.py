"""The exporter is restarted, or killed at any moment: what it serves afterwards, and remembers."""

import random
import sqlite3
import threading
import time
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests import fake_aws
from tests.builders import MONITORING, PROD, ROLE, TEST
from tests.fake_aws import AccessKey, FakeAws, Fault
from tests.servers import wait_until
from tests.stateful import (
    QUICK,
    STORE_FAILS,
    Page,
    configuration,
    events_in,
    page_of,
    rows_of,
    running,
)

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.xdist_group("restart")]

SLOW = {**QUICK, "interval": "15m"}
LAST_USED = "aws_iam_access_key_last_used_timestamp_seconds"
CONFIRMED = "aws_iam_access_key_confirmed_timestamp_seconds"
UP = "aws_iam_exporter_account_up"
LAST_SUCCESS = "aws_iam_exporter_account_last_success_timestamp_seconds"


@pytest.fixture
def aws() -> Iterator[FakeAws]:
    with FakeAws() as fake:
        yield fake


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def ago(**by: float) -> datetime:
    return datetime.now(UTC) - timedelta(**by)


def a_dormant_key(account: fake_aws.Account, user: str = "alice") -> AccessKey:
    """A key that was last used 100 days ago."""
    account.role(ROLE)
    key = account.add_user(user, created=ago(days=500)).add_key(created=ago(days=400))
    key.use("s3", "eu-west-1", at=ago(days=100))
    return key


# -- a restart ---------------------------------------------------------------------------------


def test_facts_are_served_at_once(aws: FakeAws, tmp_path: Path, state: Path) -> None:
    """
    After a restart, the first page has what the last one had, and the exporter is ready.

    Accounts that were read less than an interval ago are not read again, those that are configured
    without an id among them. An account that is down stays down with its reason, and is retried.
    """
    a_dormant_key(aws.account(PROD))
    a_dormant_key(aws.account(TEST), "bob")
    a_dormant_key(aws.account(MONITORING), "carol")
    aws.account(TEST).deny("iam:GetAccessKeyLastUsed")
    text = configuration([PROD, TEST], state, collection=SLOW, others=[{}])
    with running(aws, tmp_path, text) as first:
        first.wait_until_ready()
        before = page_of(first)
        first.end()
    aws.reset_calls()
    # The account that is down is not refreshed until the page was read.
    slow = aws.fault(Fault(operation="AssumeRole", account=TEST, latency=20))

    with running(aws, tmp_path, text) as second:
        ready = second.get("/-/ready")
        landing = second.get("/")
        after = page_of(second)
        wait_until(lambda: aws.count("AssumeRole", TEST), "the account that is down is retried")
        aws.remove_fault(slow)
        calls = {account for account, operation in aws.calls if operation != "GetCallerIdentity"}

    assert ready == "Ready\n"
    assert before.by_account(UP) == {PROD: 1, TEST: 0, MONITORING: 1}
    assert "access_denied: " in landing
    assert set(before.facts) == set(after.facts)
    assert before.by_account(UP) == after.by_account(UP)
    assert before.by_account(LAST_SUCCESS) == after.by_account(LAST_SUCCESS)
    assert calls == {TEST}


def test_ages_go_on(aws: FakeAws, tmp_path: Path, state: Path) -> None:
    """After a restart, the age of a use counts from the use."""
    key = a_dormant_key(aws.account(PROD))
    text = configuration([PROD], state, collection=SLOW)
    with running(aws, tmp_path, text) as first:
        first.wait_until_ready()
    with running(aws, tmp_path, text) as second:
        page = page_of(second)

    age = page.by_key("aws_iam_access_key_last_used_age_seconds")[key.id]
    assert 100 * 86400 <= age < 100 * 86400 + 60


def test_what_happened_while_it_was_stopped_is_noticed_once(
    aws: FakeAws, tmp_path: Path, state: Path
) -> None:
    """A key that is used while the exporter does not run has awakened, once."""
    key = a_dormant_key(aws.account(PROD))
    text = configuration([PROD], state)
    with running(aws, tmp_path, text) as first:
        first.wait_until_ready()
    key.use()
    logs = ""
    for _ in range(2):
        aws.reset_calls()
        with running(aws, tmp_path, text) as again:
            wait_until(lambda: aws.count("ListUsers", PROD) > 1, "the account is refreshed")
            idle = page_of(again).by_key("aws_iam_access_key_used_after_idle_seconds")
            again.end()
            logs += again.log

    assert [row["kind"] for row in rows_of(state)] == ["awakened"]
    assert logs.count("access key awakened") == 1
    assert idle == {key.id: pytest.approx(100 * 86400, abs=60)}


def test_credentials_of_another_account(aws: FakeAws, tmp_path: Path, state: Path) -> None:
    """
    After a restart with the credentials of another account, no facts are shown as its own.

    Those of the first account are shown as what they are until the other one is read, and nothing
    is an event.
    """
    prod, test = a_dormant_key(aws.account(PROD)), a_dormant_key(aws.account(TEST))
    text = configuration([], state, others=[{}])
    with running(aws, tmp_path, text, credentials=PROD) as first:
        first.wait_until_ready()
    pages = []
    with running(aws, tmp_path, text, credentials=TEST) as second:

        def is_read() -> bool:
            pages.append(page_of(second))
            return test.id in pages[-1].by_key(LAST_USED)

        wait_until(is_read, "the other account is read")
        second.end()

    owners = {
        (labels["account_id"], labels["access_key_id"])
        for page in pages
        for labels, _ in page.samples(LAST_USED)
    }
    assert owners == {(PROD, prod.id), (TEST, test.id)}
    assert set(pages[-1].by_account(UP)) == {TEST}
    assert rows_of(state) == []


def test_credentials_of_another_account_than_configured(
    aws: FakeAws, tmp_path: Path, state: Path
) -> None:
    """After a restart with wrong credentials, the account is down and keeps its own facts."""
    key = a_dormant_key(aws.account(PROD))
    a_dormant_key(aws.account(TEST))
    text = configuration([], state, others=[{"account_id": PROD}])
    with running(aws, tmp_path, text, credentials=PROD) as first:
        first.wait_until_ready()
    with running(aws, tmp_path, text, credentials=TEST) as second:
        wait_until(lambda: page_of(second).value(UP, account_id=PROD) == 0, "the account is down")
        page = page_of(second)

    assert set(page.by_key(LAST_USED)) == {key.id}
    assert "wrong_account" in second.log


def test_an_account_that_was_removed(aws: FakeAws, tmp_path: Path, state: Path) -> None:
    """An account that is no longer configured is gone from the page, and its rows have an end."""
    for id in (PROD, TEST):
        a_dormant_key(aws.account(id))
    with running(aws, tmp_path, configuration([PROD, TEST], state, collection=SLOW)) as first:
        first.wait_until_ready()
    with running(aws, tmp_path, configuration([PROD], state, collection=SLOW)) as second:
        page = page_of(second)

    ended = {row["account_id"]: bool(row["ended_at"]) for row in rows_of(state, "accounts")}
    assert set(page.by_account(UP)) == {PROD}
    assert ended == {PROD: False, TEST: True}


# -- kill -9 -----------------------------------------------------------------------------------


@dataclass
class Chronicle:
    """What really happened: the last uses that each key had, with the times they began."""

    uses: dict[str, list[tuple[float, float | None]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    created: dict[str, float] = field(default_factory=dict)
    deleted: dict[str, float] = field(default_factory=dict)

    def add(self, key: AccessKey) -> None:
        self.created[key.id] = time.time()
        self.note_use(key)

    def note_use(self, key: AccessKey) -> None:
        used = key.last_use.at.timestamp() if key.last_use else None
        self.uses[key.id].append((time.time(), used))

    def uses_at(self, key: str, since: float, until: float) -> set[float | None]:
        """The last uses that AWS reported of a key at some time between two."""
        history = self.uses[key]
        first = max(0, bisect_right(history, since, key=lambda entry: entry[0]) - 1)
        last = bisect_right(history, until, key=lambda entry: entry[0])
        return {use for _, use in history[first:last]}


class Life(threading.Thread):
    """Keys are created, used and deleted, until it is stopped."""

    def __init__(self, aws: FakeAws, accounts: list[str], rng: random.Random) -> None:
        super().__init__(name="life", daemon=True)
        self.chronicle = Chronicle()
        self._aws = aws
        self._rng = rng
        self._stop_event = threading.Event()
        self._users = [
            aws.account(id).add_user(f"user-{number}", created=ago(days=500))
            for id in accounts
            for number in range(4)
        ]
        for user in self._users:
            self._create(user, days=400)

    def run(self) -> None:
        while not self._stop_event.wait(0.01):
            user = self._rng.choice(self._users)
            with user.account.world.lock:
                self._act(user)

    def stop(self) -> None:
        self._stop_event.set()
        self.join()

    def _act(self, user: fake_aws.User) -> None:
        chronicle, chance = self.chronicle, self._rng.random()
        if chance < 0.3 and len(user.keys) < 4:
            self._create(user, days=self._rng.choice((1, 400)))
        elif chance < 0.45 and len(user.keys) > 1:
            key = self._rng.choice(user.keys)
            key.delete()
            chronicle.deleted[key.id] = time.time()
        else:
            key = self._rng.choice(user.keys)
            key.use(self._rng.choice(("s3", "ec2", "iam")))
            chronicle.note_use(key)

    def _create(self, user: fake_aws.User, days: float) -> None:
        with user.account.world.lock:
            key = user.add_key(created=ago(days=days))
            if days > 100:
                key.use(at=ago(days=100))
            self.chronicle.add(key)


def check(page: Page, chronicle: Chronicle) -> None:
    """Every fact on the page was true when it was read."""
    confirmed = page.by_key(CONFIRMED)
    longest = max(page.by_account("aws_iam_exporter_account_refresh_duration_seconds").values())
    never = page.by_key("aws_iam_access_key_never_used")
    used: dict[str, float | None] = {**page.by_key(LAST_USED)}
    used |= {id: None for id, value in never.items() if value == 1}
    assert used.keys() == confirmed.keys()
    for id, use in used.items():
        # A confirmation is in whole seconds: those of the time at which the refresh began.
        until = confirmed[id] + 1 + max(longest, 5)
        assert use in chronicle.uses_at(id, confirmed[id] - 1, until), (id, use)


def check_nothing_is_missing(before: Page, after: Page, chronicle: Chronicle) -> None:
    """What was on one page is on a later one, unless it has changed."""
    assert after.by_account(LAST_SUCCESS).keys() == before.by_account(LAST_SUCCESS).keys()
    for family in (LAST_SUCCESS, UP):
        now = after.by_account(family)
        assert all(now[id] >= then for id, then in before.by_account(family).items()), family
    for family in (LAST_USED, CONFIRMED):
        now = after.by_key(family)
        for id, then in before.by_key(family).items():
            assert id in chronicle.deleted or now[id] >= then, (family, id)


@pytest.mark.parametrize(
    "kills", [pytest.param(10, id="10"), pytest.param(100, id="100", marks=pytest.mark.slow)]
)
@pytest.mark.timeout(1200)
def test_kill_at_any_moment(aws: FakeAws, tmp_path: Path, state: Path, kills: int) -> None:
    """
    The exporter is killed at random moments, while it is busy.

    After each start it is ready at once, its facts were true when they were read, and nothing that
    was published before is missing. In the end, each event is there once.
    """
    rng = random.Random(kills)
    accounts = [f"{111_111_111_111 + number}" for number in range(6)]
    for id in accounts:
        aws.account(id).role(ROLE)
    life = Life(aws, accounts, rng)
    text = configuration([*accounts, TEST], state)  # one account is down
    with running(aws, tmp_path, text) as first:
        first.wait_until_ready()
        wait_until(lambda: sum(page_of(first).by_account(UP).values()) == 6, "the baseline")
        before = page_of(first)
    watched_since = time.time()
    life.start()
    logs = []
    for number in range(kills):
        with running(aws, tmp_path, text) as busy:
            if number % 4 == 3:  # during its start
                time.sleep(rng.uniform(0, 1.5))
            else:
                assert busy.get("/-/ready") == "Ready\n"
                page = page_of(busy)
                check(page, life.chronicle)
                check_nothing_is_missing(before, page, life.chronicle)
                time.sleep(rng.uniform(0, 1))
                before = page_of(busy)
            busy.process.kill()
            busy.process.wait()
            busy._reader.join()
            logs.append(busy.log)
    life.stop()
    with running(aws, tmp_path, text) as last:
        assert last.get("/-/ready") == "Ready\n"
        page = page_of(last)
        check(page, life.chronicle)
        check_nothing_is_missing(before, page, life.chronicle)
        aws.reset_calls()
        wait_until(
            lambda: all(aws.count("ListUsers", id) > 1 for id in accounts), "all are refreshed"
        )
        last.end()
        logs.append(last.log)

    log = "".join(logs)
    assert STORE_FAILS not in log
    assert "Traceback" not in log
    with closing(sqlite3.connect(state)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    check_events(state, log, life.chronicle, watched_since, kills)


def check_events(
    state: Path, log: str, chronicle: Chronicle, watched_since: float, kills: int
) -> None:
    """Each event is stored once, and logged at most once; none that can be proven is missing."""
    rows = rows_of(state)
    happened = Counter((row["access_key_id"], row["kind"], row["at"]) for row in rows)
    assert max(happened.values()) == 1
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        kinds[row["kind"]][row["access_key_id"]] += 1
    # Uses are in whole seconds, so that the next one may be an event of the same text.
    lines = events_in(log)
    assert max(lines.values()) == 1, lines.most_common(3)
    # What is stored and not logged was being noticed when the process was killed.
    assert len(rows) - kills * 8 <= sum(lines.values()) <= len(rows)
    new = {id for id, at in chronicle.created.items() if at > watched_since}
    assert set(kinds["created"]) <= new
    assert {id for id in new if id not in chronicle.deleted} <= set(kinds["created"])
    assert set(kinds["deleted"]) <= set(chronicle.deleted)
    seen = set(kinds["created"]) | (set(chronicle.created) - new)
    assert seen & set(chronicle.deleted) <= set(kinds["deleted"])
    for kind in ("created", "deleted", "awakened", "first_used"):
        assert not kinds[kind] or max(kinds[kind].values()) == 1, kind
    assert min(len(kinds[kind]) for kind in ("created", "deleted", "awakened")) > 0
