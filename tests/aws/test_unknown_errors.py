"""An error that is neither AWS's nor botocore's is a bug: it is never swallowed."""

import logging
from typing import Any

import pytest

from exporter.aws import Operation
from exporter.model import Account, AccountSnapshot, Reason
from tests import fake_aws
from tests.builders import (
    FakeClock,
    a_scheduler,
    add_key,
    an_account,
    refresh_of,
    request_once,
    some_sessions,
)
from tests.fake_aws import FakeAws
from tests.servers import wait_until


def fail_to_sign(**_: Any) -> None:
    raise AttributeError("a typo of ours")


def test_a_bug_below_botocore_is_reported(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug while botocore signs is logged with class and traceback; the data is kept."""
    add_key(prod)
    sessions = some_sessions(aws.url, clock)
    request_once(sessions, clock, Operation.LIST_USERS)  # so that there is a client
    published: list[AccountSnapshot] = []

    def publish(_: Account, snapshot: AccountSnapshot) -> None:
        published.append(snapshot)

    def failed() -> bool:
        clock.advance(seconds=0.02)
        return published[-1].failure is not None

    scheduler = a_scheduler(
        [an_account()], refresh_of(sessions, clock), publish, clock, interval=0.01
    )
    with caplog.at_level(logging.INFO, logger="exporter"):
        scheduler.start()
        wait_until(lambda: published[-1].up, "refreshed")
        client = sessions.clients._client("iam", "us-east-1")
        client.meta.events.register("before-sign.iam", fail_to_sign)
        wait_until(failed, "failed")
        scheduler.stop()
    crash = next(record for record in caplog.records if record.exc_info)

    assert crash.getMessage() == "refresh crashed"
    assert crash.exc_info is not None
    assert crash.exc_info[0] is AttributeError
    assert published[-1].failure is Reason.UNEXPECTED
    assert published[-1].error == "AttributeError: see the log"
    assert "a typo of ours" in str(crash.exc_info[1])
    assert len(published[-1].keys) == 1
