"""Outages once more, injected by microburst, a proxy, in front of moto, another simulated AWS."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import boto3
import pytest
from moto.iam.models import AccessKeyLastUsed, iam_backends
from moto.server import ThreadedMotoServer

from exporter.aws.api import MAX_ATTEMPTS, MAX_CONSECUTIVE_FAILURES
from exporter.model import AccountSnapshot, LastUse, Reason, ReportMode, Use
from tests.aws import SHORT_TIMEOUT
from tests.builders import NOON, FakeClock, an_account, environment, refresh_of, some_sessions
from tests.servers import free_port, get, wait_until

# The servers take seconds to start: with pytest-xdist only one process is to start them.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.process,
    pytest.mark.xdist_group("microburst"),
]

MOTO = "123456789012"
"""The account that moto serves unless a role is assumed."""

USERS = 6

OUTAGES: dict[str, tuple[dict[str, Any], Reason]] = {
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
    "slow responses": ({"latency": 2000 * SHORT_TIMEOUT}, Reason.TIMEOUT),
}

EVERY_OUTAGE = pytest.mark.parametrize("outage", OUTAGES, indirect=True)


@dataclass(frozen=True)
class Microburst:
    """A microburst that runs in front of moto."""

    url: str

    def set_rules(self, *rules: dict[str, Any]) -> None:
        """Replace all rules, and forget how often they were applied."""
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
        """How many requests were affected since the rules were set."""
        answer = json.loads(get(f"{self.url}/_microburst/fired?limit=1000"))
        return len(answer["fired"] if isinstance(answer, dict) else answer)


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
def running(moto_url: str) -> Iterator[Microburst]:
    address = ["--host", "127.0.0.1", "--port", str(port := free_port())]
    command = [sys.executable, "-m", "microburst", "--upstream", moto_url, *address]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: get(f"{url}/_microburst/health"), "microburst is ready")
        # The first request to each service takes seconds: microburst loads AWS's models.
        a_client("iam", url).list_users()
        a_client("sts", url).get_caller_identity()
        yield Microburst(url)
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def microburst(running: Microburst) -> Iterator[Microburst]:
    variables = {"AWS_ACCESS_KEY_ID": "AKIAMOTO", "AWS_SECRET_ACCESS_KEY": "secret"}
    with environment(variables):
        running.set_rules()
        yield running


class MotoAccount:
    """The account of moto, read through microburst."""

    def __init__(self, url: str, read_timeout: float) -> None:
        clock = FakeClock()
        sessions = some_sessions(url, clock, read_timeout=read_timeout)
        self._account = an_account(MOTO, name="moto")
        self._refresh = refresh_of(sessions, clock, report_mode=ReportMode.OFF)
        self._latest = AccountSnapshot(self._account)

    def refresh(self) -> AccountSnapshot:
        self._latest = self._refresh(self._account, self._latest)
        return self._latest


@pytest.fixture
def account(microburst: Microburst, read_timeout: float) -> MotoAccount:
    return MotoAccount(microburst.url, read_timeout)


TRUE_USES: dict[str, Use] = {
    f"user-{number}": LastUse(NOON - timedelta(hours=number), "s3", "eu-west-1")
    for number in range(USERS)
}


def uses_by_user(snapshot: AccountSnapshot) -> dict[str, Use]:
    return {key.user: key.last_use for key in snapshot.keys}


@EVERY_OUTAGE
def test_outage(microburst: Microburst, account: MotoAccount, outage: str) -> None:
    """An outage fails a refresh after a limited number of attempts; the data is kept."""
    fault, reason = OUTAGES[outage]
    good = account.refresh()
    microburst.set_rules({"service": "iam", **fault})
    failed = account.refresh()
    attempts = microburst.fired()
    microburst.set_rules()
    recovered = account.refresh()

    assert good.up
    assert (failed.failure, failed.keys, failed.read_at) == (reason, good.keys, good.read_at)
    assert attempts == MAX_ATTEMPTS
    assert recovered.up
    assert uses_by_user(recovered) == TRUE_USES


@EVERY_OUTAGE
def test_outage_during_a_refresh(microburst: Microburst, account: MotoAccount, outage: str) -> None:
    """An outage during a refresh ends it after a few calls, and nothing is lost."""
    fault, reason = OUTAGES[outage]
    account.refresh()
    microburst.set_rules({"service": "iam", "operation": "GetAccessKeyLastUsed", **fault})
    failed = account.refresh()

    assert failed.failure is reason
    assert uses_by_user(failed) == TRUE_USES
    assert microburst.fired() == MAX_CONSECUTIVE_FAILURES * MAX_ATTEMPTS


@EVERY_OUTAGE
def test_intermittent_failures(microburst: Microburst, account: MotoAccount, outage: str) -> None:
    """Although two of every five requests fail, the refresh succeeds completely."""
    fault, _ = OUTAGES[outage]
    microburst.set_rules({"service": "iam", "sequence": {"fail": 2, "pass": 3}, **fault})
    snapshot = account.refresh()

    assert snapshot.up
    assert uses_by_user(snapshot) == TRUE_USES
    assert microburst.fired() > USERS


def test_outage_of_sts(microburst: Microburst, account: MotoAccount) -> None:
    """While STS fails, IAM is not called at all."""
    microburst.set_rules(
        {"service": "sts", "error": {"code": "InternalFailure", "status": 500}},
        {"service": "iam", "error": {"code": "ServiceFailure", "status": 500}},
    )
    snapshot = account.refresh()

    assert snapshot.failure is Reason.SERVICE_FAILURE
    assert microburst.fired() == MAX_ATTEMPTS


def test_one_denied_user(microburst: Microburst, account: MotoAccount) -> None:
    """A denial for one user leaves only that user stale, and is not retried."""
    account.refresh()
    microburst.set_rules(
        {
            "service": "iam",
            "operation": "ListAccessKeys",
            "body": "UserName == 'user-3'",
            "error": {"code": "AccessDenied", "status": 403},
        }
    )
    snapshot = account.refresh()

    assert snapshot.failure is Reason.ACCESS_DENIED
    assert uses_by_user(snapshot) == TRUE_USES
    assert microburst.fired() == 1
