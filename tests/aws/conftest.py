"""The simulated AWS with one account, and what refreshes it."""

from collections.abc import Iterator
from typing import Any

import pytest

from exporter.model import Account
from tests import fake_aws
from tests.aws import SHORT_TIMEOUT, Monitor
from tests.aws.malformed import Watched
from tests.builders import PROD, FakeClock, MonitoredAccount, environment
from tests.fake_aws import FakeAws


@pytest.fixture
def aws(aws: FakeAws) -> Iterator[FakeAws]:
    """The simulated AWS, called from PROD, whose credential report is generated at once."""
    aws.account(PROD).report.instant = True
    with environment(aws.environment(PROD)):
        yield aws


@pytest.fixture
def prod(aws: FakeAws) -> fake_aws.Account:
    return aws.account(PROD)


@pytest.fixture
def monitor(aws: FakeAws, clock: FakeClock) -> Monitor:
    def monitor(account: Account | None = None, **options: Any) -> MonitoredAccount:
        return MonitoredAccount(aws, clock, account, **options)

    return monitor


@pytest.fixture
def outage(request: pytest.FixtureRequest) -> str:
    """The outage that the test is about, if it is parametrized with one."""
    return str(getattr(request, "param", ""))


@pytest.fixture
def read_timeout(outage: str) -> float:
    return SHORT_TIMEOUT if outage == "slow responses" else 30.0


@pytest.fixture
def watched(aws: FakeAws, clock: FakeClock, monitor: Monitor) -> Watched:
    return Watched(aws, clock, monitor)
