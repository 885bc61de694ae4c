"""Reloading with an organization, and in one of several processes that share the accounts."""

import threading
from collections.abc import Iterator

import pytest

from exporter.cli.application import Application
from exporter.cli.wiring import SystemClock
from exporter.metrics import SelfMetrics
from exporter.sharding import Shard
from tests.builders import environment
from tests.fake_aws import FakeAws, Fault
from tests.fake_aws.fleet import MONITORING, ROLE, fill
from tests.servers import wait_until
from tests.test_reload import ONE, ORGANIZATION, TWO, configuration, running

pytestmark = pytest.mark.slow


@pytest.fixture
def aws() -> Iterator[FakeAws]:
    """Two accounts in the organization of a third, whose credentials can read them."""
    with FakeAws() as fake, environment({}):
        fill(fake, accounts=2, keys=1)
        with environment(fake.environment(MONITORING)):
            yield fake


def organization(interval: str) -> str:
    accounts = f"include: {{accounts: ['{TWO}']}}"
    return f"organization: {{role_name: {ROLE}, {accounts}, interval: {interval}}}\n"


def test_a_shorter_interval_of_discovery_takes_effect_at_once(aws: FakeAws) -> None:
    """The organization is not asked only when the interval that was configured before ends."""
    with running(configuration(more=organization("24h"))) as exporter:
        calls = aws.count("ListAccounts")
        exporter.change(configuration(more=organization("1s")))

        wait_until(lambda: aws.count("ListAccounts") >= calls + 2, "the organization is asked", 10)
        assert "aws_iam_exporter_discovery_up 1.0\n" in exporter.page


def test_a_known_id_is_not_asked_for_again(aws: FakeAws) -> None:
    """A reload does not depend on AWS for accounts that it does not change."""
    own = "accounts: [{name: own}]\n"
    with running(configuration(more=own + ORGANIZATION % TWO)) as exporter:
        wait_until(lambda: exporter.accounts() == {MONITORING: 1, TWO: 1}, "both are read")
        aws.fault(Fault(operation="GetCallerIdentity", code="ServiceUnavailable"))
        calls = aws.count("GetCallerIdentity")
        exporter.change(configuration(more=own + ORGANIZATION % TWO, collection="workers: 2"))

        assert aws.count("GetCallerIdentity") == calls
        assert exporter.accounts() == {MONITORING: 1, TWO: 1}


def test_accounts_that_are_to_be_discovered_stay(aws: FakeAws) -> None:
    """Whoever replaces a list of accounts by an organization loses nothing of them meanwhile."""
    with running(configuration(ONE, TWO)) as exporter:
        aws.fault(Fault(operation="ListAccounts", latency=0.5))
        calls = aws.count("ListUsers", TWO)
        exporter.change(configuration(more=ORGANIZATION % TWO))
        during = exporter.accounts()
        wait_until(lambda: exporter.accounts() == {TWO: 1}, "the accounts are discovered")

        assert during == {ONE: 1, TWO: 1}
        assert 'account="account-0002"' in exporter.page
        assert aws.count("ListUsers", TWO) == calls


def test_no_account_ends_while_those_of_the_organization_are_unknown(aws: FakeAws) -> None:
    """What is stored may be of an account that another process has found already."""
    aws.fault(Fault(operation="ListAccounts", code="ServiceUnavailable"))
    with running(configuration(ONE)) as exporter:
        exporter.change(configuration(ONE, more=ORGANIZATION % TWO))
        exporter.change(configuration(ONE, more=ORGANIZATION % TWO, collection="workers: 2"))

        assert exporter.application.recorder._kept is None


def test_a_shard_without_accounts_is_ready() -> None:
    """A process has nothing to wait for if other shards read all accounts."""
    (other,) = (Shard(ordinal, 2) for ordinal in range(2) if not Shard(ordinal, 2).has(ONE))
    with environment({}), running(configuration(ONE), other) as exporter:
        assert exporter.accounts() == {}
        assert "aws_iam_exporter_accounts_configured 1.0\n" in exporter.page


def test_a_shard_is_not_ready_before_accounts_are_discovered(aws: FakeAws) -> None:
    """Without a list of accounts, a process does not know yet that it reads none."""
    aws.fault(Fault(operation="ListAccounts", latency=0.5))
    with running(configuration(more=ORGANIZATION % TWO), Shard()) as exporter:
        assert exporter.accounts() == {TWO: 1}


def test_a_shard_is_not_ready_before_it_is_started() -> None:
    """That a process reads no account is known when it has looked at the accounts."""
    application = Application(
        configuration(ONE),
        stop=threading.Event(),
        clock=SystemClock(),
        self_metrics=SelfMetrics(version="1.2.3"),
    )

    assert not application.is_ready()
