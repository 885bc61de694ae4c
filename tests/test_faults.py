"""
AWS in trouble: the exporter stays up, asks no more often than it should, and mends by itself.

On the fake AWS, and through microburst, a proxy that injects faults, in front of moto.
"""

import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from moto.iam.models import AccessKeyLastUsed, iam_backends
from moto.server import ThreadedMotoServer

from exporter.aws import AccountRefresher
from exporter.aws.api import MAX_ATTEMPTS, MAX_CONSECUTIVE_FAILURES
from exporter.model import Account, AccountSnapshot, LastUse, Reason, ReportMode, Use
from exporter.refresh import Scheduler
from tests import fake_aws
from tests.builders import (
    MONITORING,
    NOON,
    PROD,
    ROLE,
    Clock,
    Refreshes,
    Ticker,
    Waiting,
    a_reader,
    a_role_account,
    an_account,
    environment,
    some_sessions,
    truth,
)
from tests.fake_aws import FakeAws, Fault
from tests.servers import free_port, get, wait_until

QUICK = 0.1
"""Seconds that an answer may keep these tests waiting."""

USERS = 6

TROUBLES: dict[str, tuple[dict[str, Any], Reason]] = {
    "throttling": ({"code": "Throttling"}, Reason.THROTTLED),
    "server errors": ({"code": "ServiceFailure"}, Reason.SERVICE_FAILURE),
    "a gateway's errors": ({"body": "<p>bad gateway</p>", "status": 502}, Reason.SERVICE_FAILURE),
    "resets": ({"reset": True}, Reason.NETWORK),
    "truncated XML": ({"truncate": True}, Reason.MALFORMED),
    "slow answers": ({"latency": 2 * QUICK}, Reason.TIMEOUT),
}

EVERY_TROUBLE = pytest.mark.parametrize("trouble", TROUBLES, indirect=True)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def aws(clock: Clock) -> Iterator[FakeAws]:
    with FakeAws(now=clock) as aws, environment(aws.environment(PROD)):
        yield aws


@pytest.fixture
def prod(aws: FakeAws) -> fake_aws.Account:
    """An account of six users with a key each."""
    account = aws.account(PROD)
    account.report.instant = True
    fill(account)
    return account


def fill(account: fake_aws.Account) -> None:
    for number in range(USERS):
        key = account.add_user(f"user-{number}").add_key()
        key.use("s3", "eu-west-1", at=NOON - timedelta(hours=number))


def patience(trouble: str) -> float:
    """How many seconds an answer may keep us waiting."""
    return QUICK if trouble == "slow answers" else 30.0


@pytest.fixture
def trouble(request: pytest.FixtureRequest) -> str:
    """None, unless the test says which."""
    return str(getattr(request, "param", ""))


@pytest.fixture
def read(aws: FakeAws, prod: fake_aws.Account, clock: Clock, trouble: str) -> Refreshes:
    sessions = some_sessions(aws.url, read_timeout=patience(trouble))
    return Refreshes(aws, a_reader(aws, clock, sessions=sessions), an_account())


def asked(aws: FakeAws) -> set[str]:
    """Which keys' last uses were asked so far."""
    return {
        call.params["AccessKeyId"] for call in aws.log if call.operation == "GetAccessKeyLastUsed"
    }


class TestStorm:
    @EVERY_TROUBLE
    def test_from_the_first_reading_on(self, aws: FakeAws, read: Refreshes, trouble: str) -> None:
        """In a storm from the start few questions are asked, and nothing is known."""
        fault, reason = TROUBLES[trouble]
        aws.fault(Fault(**fault))
        read()

        assert read.latest.failure is reason
        assert (read.latest.users, read.latest.keys) == ((), ())
        assert aws.count() == MAX_ATTEMPTS  # of signing in

    @EVERY_TROUBLE
    def test_of_iam_alone(self, aws: FakeAws, clock: Clock, read: Refreshes, trouble: str) -> None:
        """A storm costs so many attempts per question, and ends the reading at the first list."""
        fault, reason = TROUBLES[trouble]
        read()
        known = read.uses
        for operation in ("GenerateCredentialReport", "ListUsers"):
            aws.fault(Fault(operation=operation, **fault))
        clock.advance(hours=5)
        read()

        assert read.latest.failure is reason
        assert read.uses == known
        assert read.asked == {"GenerateCredentialReport": MAX_ATTEMPTS, "ListUsers": MAX_ATTEMPTS}

    @EVERY_TROUBLE
    def test_in_the_middle(self, aws: FakeAws, clock: Clock, read: Refreshes, trouble: str) -> None:
        """A storm in the middle of a reading ends it after a few questions, and loses nothing."""
        fault, reason = TROUBLES[trouble]
        read()
        known = read.uses
        aws.fault(Fault(operation="GetAccessKeyLastUsed", **fault))
        clock.advance(minutes=15)
        read()

        assert read.latest.failure is reason
        assert (read.uses, read.latest.read_at) == (known, NOON)
        assert read.asked["GetAccessKeyLastUsed"] == MAX_CONSECUTIVE_FAILURES * MAX_ATTEMPTS

    @EVERY_TROUBLE
    def test_passes(
        self, aws: FakeAws, prod: fake_aws.Account, clock: Clock, read: Refreshes, trouble: str
    ) -> None:
        """After a storm the next reading is whole, without any help."""
        fault, _ = TROUBLES[trouble]
        aws.fault(Fault(**fault))
        read()
        aws.clear_faults()
        clock.advance(minutes=15)
        read()

        assert read.latest.up
        assert read.uses == truth(prod)

    @EVERY_TROUBLE
    def test_that_hits_only_a_few(
        self, aws: FakeAws, prod: fake_aws.Account, read: Refreshes, trouble: str
    ) -> None:
        """A gust that passes within the attempts fails nothing."""
        fault, _ = TROUBLES[trouble]
        for after in (1, 4, 7):
            aws.fault(Fault(operation="GetAccessKeyLastUsed", after=after, times=2, **fault))
        read()

        assert read.latest.up
        assert read.uses == truth(prod)

    def test_goes_on_elsewhere(
        self, aws: FakeAws, prod: fake_aws.Account, clock: Clock, read: Refreshes
    ) -> None:
        """After a reading that ended early the next one does not begin with the same users."""
        keys = list(prod.keys)
        for key in keys[:3]:
            aws.fault(Fault(key=key.id, code="ServiceFailure"))
        read()
        first = asked(aws)
        clock.advance(minutes=15)
        read()

        assert first == {key.id for key in keys[:3]}
        assert asked(aws) >= {key.id for key in keys[3:]}


class TestBudget:
    def test_throttled_account(self, aws: FakeAws, prod: fake_aws.Account, clock: Clock) -> None:
        """Faster than AWS allows, the account is still read whole, and seldom refused."""
        for number in range(100):
            prod.add_user(f"more-{number:03}").add_key()
        ticker = Ticker()
        prod.throttle(rate=4.0, burst=5, seconds=ticker)
        sessions = some_sessions(
            aws.url, requests_per_second=20.0, burst=10, clock=ticker, stop=Waiting(ticker)
        )
        reader = a_reader(aws, clock, sessions=sessions, report_mode=ReportMode.OFF)
        snapshot = reader.read(an_account(), AccountSnapshot(an_account()))

        calls = 1 + 2 * (USERS + 100) + 1
        assert snapshot.up
        assert 0 < snapshot.throttles <= calls / 4

    def test_storm_slows_us_down(self, aws: FakeAws, prod: fake_aws.Account, clock: Clock) -> None:
        """After a storm of throttling the account is asked slowly, and then faster again."""
        ticker = Ticker()
        sessions = some_sessions(
            aws.url, requests_per_second=5.0, burst=10, clock=ticker, stop=Waiting(ticker)
        )
        read = Refreshes(aws, a_reader(aws, clock, sessions=sessions), an_account())
        read()
        aws.fault(Fault(operation="GetAccessKeyLastUsed", code="Throttling"))
        read()
        pace = sessions.door(an_account()).pace
        slow = pace.rate
        ticker.seconds += 300

        assert read.latest.throttles == MAX_CONSECUTIVE_FAILURES * MAX_ATTEMPTS
        assert slow < 1
        assert pace.rate == 5.0


class TestExporter:
    """The loop that reads all accounts, as the exporter runs it."""

    OTHERS = ("222222222222", "333333333333")

    @pytest.fixture
    def accounts(self, aws: FakeAws) -> list[Account]:
        found = []
        for id in (PROD, *self.OTHERS):
            account = aws.account(id)
            account.report.instant = True
            account.role(ROLE)
            if not account.users:
                fill(account)
            found.append(a_role_account(id, name=f"account-{id}"))
        return found

    @pytest.fixture
    def snapshots(
        self, aws: FakeAws, accounts: list[Account], trouble: str
    ) -> Iterator[dict[str, AccountSnapshot]]:
        """The latest readings by account id, of an exporter that is running."""
        latest: dict[str, AccountSnapshot] = {}
        stop = threading.Event()
        with environment(aws.environment(MONITORING)):
            reader = AccountRefresher(
                some_sessions(aws.url, read_timeout=patience(trouble)), report_mode=ReportMode.OFF
            )
            refresher = Scheduler(
                accounts,
                reader.read,
                lambda account, snapshot: latest.update({account.id: snapshot}),
                interval=0.1,
                workers=2,
                stale_after=timedelta(days=7),
                stop=stop,
                now=lambda: datetime.now(UTC),
            )
            refresher.start()
            try:
                yield latest
            finally:
                refresher.stop()
                wait_until(lambda: not self.workers(), "the threads have ended")

    def workers(self) -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name.startswith("aws_")]

    @EVERY_TROUBLE
    def test_stays_up_and_mends(
        self, aws: FakeAws, snapshots: dict[str, AccountSnapshot], trouble: str
    ) -> None:
        """A storm takes down its own account, for as long as it lasts."""
        fault, reason = TROUBLES[trouble]
        wait_until(lambda: all_up(snapshots, 3), "all accounts are up")
        storm = aws.fault(Fault(account=PROD, operation="ListUsers", **fault))
        wait_until(lambda: snapshots[PROD].failure is reason, "the account is down")
        down = dict(snapshots)
        aws.remove_fault(storm)
        wait_until(lambda: all_up(snapshots, 3), "all accounts are up again")

        assert len(down[PROD].keys) == USERS
        assert all(down[other].up for other in self.OTHERS)
        assert len(self.workers()) == 2


def all_up(snapshots: dict[str, AccountSnapshot], count: int) -> bool:
    return len(snapshots) == count and all(snapshot.up for snapshot in tuple(snapshots.values()))


# Through microburst, in front of moto.

MOTO = "123456789012"
"""The account of moto that nobody asked to be in."""


@dataclass(frozen=True)
class Burst:
    """A microburst that runs in front of moto."""

    url: str

    def rule(self, *rules: dict[str, Any]) -> None:
        """Let these be all the faults."""
        body = json.dumps([{"id": str(number), **rule} for number, rule in enumerate(rules)])
        request = urllib.request.Request(
            f"{self.url}/_microburst/rules",
            body.encode(),
            {"Content-Type": "application/json"},
            method="POST" if rules else "DELETE",
        )
        urllib.request.urlopen(request, timeout=5).close()
        forget = urllib.request.Request(f"{self.url}/_microburst/fired", method="DELETE")
        urllib.request.urlopen(forget, timeout=5).close()

    def fired(self) -> int:
        """How many requests were hit since the faults were set."""
        answer = json.loads(get(f"{self.url}/_microburst/fired?limit=1000"))
        return len(answer["fired"] if isinstance(answer, dict) else answer)


BURSTS: dict[str, tuple[dict[str, Any], Reason]] = {
    "throttling": (
        {"error": {"code": "Throttling", "status": 400, "message": "Rate exceeded"}},
        Reason.THROTTLED,
    ),
    "server errors": (
        {"error": {"code": "ServiceFailure", "status": 500}},
        Reason.SERVICE_FAILURE,
    ),
    "resets": ({"reset": True}, Reason.NETWORK),
    "truncated XML": ({"response": {"truncate_frac": 0.5}}, Reason.MALFORMED),
    "slow answers": ({"latency": 2000 * QUICK}, Reason.TIMEOUT),
}


def a_client(service: Any, url: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=url,
        aws_access_key_id="x",
        aws_secret_access_key="x",
        region_name="us-east-1",
    )


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    """The address of a moto with six users, each of whom has a used key."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    iam = a_client("iam", url)
    backend = iam_backends[MOTO]["aws"]
    for number in range(USERS):
        iam.create_user(UserName=f"user-{number}")
        id = iam.create_access_key(UserName=f"user-{number}")["AccessKey"]["AccessKeyId"]
        used = AccessKeyLastUsed(NOON - timedelta(hours=number), "s3", "eu-west-1")
        backend.access_keys[id].last_used = used
    yield url
    server.stop()


@pytest.fixture(scope="module")
def microburst(moto_url: str) -> Iterator[Burst]:
    address = ["--host", "127.0.0.1", "--port", str(port := free_port())]
    command = [sys.executable, "-m", "microburst", "--upstream", moto_url, *address]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: get(f"{url}/_microburst/health"), "microburst is ready")
        # The first request of each service takes seconds: it reads AWS's models.
        a_client("iam", url).list_users()
        a_client("sts", url).get_caller_identity()
        yield Burst(url)
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def burst(microburst: Burst) -> Iterator[Burst]:
    variables = {"AWS_ACCESS_KEY_ID": "AKIAMOTO", "AWS_SECRET_ACCESS_KEY": "secret"}
    with environment(variables):
        microburst.rule()
        yield microburst


Read = Callable[[AccountSnapshot | None], AccountSnapshot]


@pytest.fixture
def ask(burst: Burst, trouble: str) -> Read:
    """Reads the account of moto through microburst, going by what was known before."""
    sessions = some_sessions(burst.url, read_timeout=patience(trouble))
    account = an_account(MOTO, name="moto")
    reader = AccountRefresher(sessions, report_mode=ReportMode.OFF)
    return lambda before: reader.read(account, before or AccountSnapshot(account))


def true_uses() -> dict[str, Use]:
    return {
        f"user-{number}": LastUse(NOON - timedelta(hours=number), "s3", "eu-west-1")
        for number in range(USERS)
    }


def uses(snapshot: AccountSnapshot) -> dict[str, Use]:
    return {key.user: key.last_use for key in snapshot.keys}


class TestThroughMicroburst:
    EVERY_BURST = pytest.mark.parametrize("trouble", BURSTS, indirect=True)

    @EVERY_BURST
    def test_storm(self, burst: Burst, ask: Read, trouble: str) -> None:
        """A storm fails the reading after so many attempts; the facts stay, and it passes."""
        fault, reason = BURSTS[trouble]
        good = ask(None)
        burst.rule({"service": "iam", **fault})
        failed = ask(good)
        attempts = burst.fired()
        burst.rule()
        mended = ask(failed)

        assert good.up
        assert (failed.failure, failed.keys, failed.read_at) == (reason, good.keys, good.read_at)
        assert attempts == MAX_ATTEMPTS
        assert mended.up
        assert uses(mended) == true_uses()

    @EVERY_BURST
    def test_storm_in_the_middle(self, burst: Burst, ask: Read, trouble: str) -> None:
        """A storm in the middle of a reading ends it after a few questions, and loses nothing."""
        fault, reason = BURSTS[trouble]
        good = ask(None)
        burst.rule({"service": "iam", "operation": "GetAccessKeyLastUsed", **fault})
        failed = ask(good)

        assert failed.failure is reason
        assert uses(failed) == true_uses()
        assert burst.fired() == MAX_CONSECUTIVE_FAILURES * MAX_ATTEMPTS

    @EVERY_BURST
    def test_gusts(self, burst: Burst, ask: Read, trouble: str) -> None:
        """Of five requests two fail, again and again: the reading is whole all the same."""
        fault, _ = BURSTS[trouble]
        burst.rule({"service": "iam", "sequence": {"fail": 2, "pass": 3}, **fault})
        snapshot = ask(None)

        assert snapshot.up
        assert uses(snapshot) == true_uses()
        assert burst.fired() > USERS

    def test_storm_at_sign_in(self, burst: Burst, ask: Read) -> None:
        """While STS fails, IAM is not asked at all."""
        burst.rule(
            {"service": "sts", "error": {"code": "InternalFailure", "status": 500}},
            {"service": "iam", "error": {"code": "ServiceFailure", "status": 500}},
        )
        snapshot = ask(None)

        assert snapshot.failure is Reason.SERVICE_FAILURE
        assert burst.fired() == MAX_ATTEMPTS

    def test_denied_user(self, burst: Burst, ask: Read) -> None:
        """A denial for one user costs that one's freshness, and is asked once."""
        good = ask(None)
        burst.rule(
            {
                "service": "iam",
                "operation": "ListAccessKeys",
                "body": "UserName == 'user-3'",
                "error": {"code": "AccessDenied", "status": 403},
            }
        )
        snapshot = ask(good)

        assert snapshot.failure is Reason.ACCESS_DENIED
        assert uses(snapshot) == true_uses()
        assert burst.fired() == 1
