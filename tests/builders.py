"""What the tests of reading have in common: a clock, a reader without waits, readings in a row."""

import csv
import io
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from unittest.mock import patch

import botocore.session
from hypothesis import settings

from exporter.aws import AccountRefresher, AccountSessions, Clients, Endpoints
from exporter.model import (
    NEVER,
    Account,
    AccountSnapshot,
    LastUse,
    Partition,
    ReportMode,
    RoleArn,
    TagSource,
    Use,
)
from tests import fake_aws
from tests.fake_aws import FakeAws

PROD: Final = "111111111111"
TEST: Final = "222222222222"
MONITORING: Final = "999999999999"
NOON: Final = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ROLE: Final = "aws-iam-key-exporter"

settings.register_profile(
    "short", derandomize=True, max_examples=40, stateful_step_count=50, deadline=None, database=None
)
settings.register_profile("long", max_examples=1000, stateful_step_count=80, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or "short")

# AccountSnapshot AWS's model of IAM takes 40 ms; once will do for a thousand tests.
botocore.session.create_loader = lru_cache(botocore.session.create_loader)

AT_ONCE: Final = 1e6
"""A pace that never makes anybody wait."""


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = NOON

    def __call__(self) -> datetime:
        return self.time

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return (self.time - NOON).total_seconds()

    def advance(self, **by: float) -> None:
        self.time += timedelta(**by)


class Half(random.Random):
    def random(self) -> float:
        return 0.5


class RealClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class Sleepless(threading.Event):
    """
    The event that ends all waiting, which waits for nothing.

    Attributes:
        waits: The seconds for which it was asked to wait.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        if timeout:
            self.waits.append(timeout)
        return self.is_set()


class Ticker:
    """A clock of seconds that waiting moves."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.stopped = False

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds)

    def wait(self, seconds: float) -> bool:
        self.seconds += seconds
        return self.stopped


class Waiting(threading.Event):
    """The event that ends all waiting, on a clock that waiting moves."""

    def __init__(self, ticker: Ticker) -> None:
        super().__init__()
        self._ticker = ticker

    def wait(self, timeout: float | None = None) -> bool:
        return self._ticker.wait(timeout or 0.0)


def an_account(id: str = PROD, **facts: Any) -> Account:
    return Account(**{"id": id, "name": "prod", **facts})


def a_role_account(id: str = PROD, role: str = ROLE, **facts: Any) -> Account:
    """An account that is entered by a role."""
    partition = facts.get("partition", "aws")
    return an_account(id, role_arn=RoleArn(Partition(partition), id, role), **facts)


def some_sessions(
    url: str,
    *,
    read_timeout: float = 30.0,
    workers: int = 4,
    observe: Any = lambda *_: None,
    clock: Any = None,
    **options: Any,
) -> AccountSessions:
    """Sessions that find AWS at *url*, pace nothing and never wait."""
    chosen: dict[str, Any] = {
        "requests_per_second": AT_ONCE,
        "burst": int(AT_ONCE),
        "stop": Sleepless(),
        "clock": clock or RealClock(),
        **options,
    }
    endpoints = Endpoints(
        region="us-east-1", urls={"iam": url, "sts": url}, read_timeout=read_timeout
    )
    clients = Clients(endpoints, workers=workers, observe=observe, clock=chosen["clock"])
    return AccountSessions(clients, **chosen)


def a_reader(aws: FakeAws, clock: Callable[[], datetime], **options: Any) -> AccountRefresher:
    """
    A reader of *aws*, which rolls no dice.

    Args:
        options: Attributes of the reader; by default new sessions are made.
    """
    chosen: dict[str, Any] = {
        "sessions": options.get("sessions") or some_sessions(aws.url, clock=clock),
        "report_mode": ReportMode.GUIDE,
        "deadline": 3600.0,
        "include_user": lambda name: True,
        "tag_source": TagSource.OFF,
        "keep_tag": lambda name: True,
        "tags_interval": timedelta(hours=1),
        "clock": clock,
        "rng": Half(),
        **options,
    }
    return AccountRefresher(**chosen)


class Refreshes:
    """
    The readings of one account, each going by the one before.

    Attributes:
        latest: What is known.
        asked: The calls of the latest reading that concern this account, by operation.
    """

    def __init__(self, aws: FakeAws, reader: AccountRefresher, account: Account) -> None:
        self._aws = aws
        self._account = account
        self.reader = reader
        self.latest = AccountSnapshot(account)
        self.asked: Counter[str] = Counter()

    def __call__(self) -> AccountSnapshot:
        """Read once more."""
        before = self._calls()
        self.latest = self.reader.refresh(self._account, self.latest)
        self.asked = self._calls() - before
        for operation in ("AssumeRole", "GetCallerIdentity"):
            del self.asked[operation]
        return self.latest

    def _calls(self) -> Counter[str]:
        return Counter(
            {
                operation: calls
                for (account_id, operation), calls in self._aws.calls.items()
                if account_id == self._account.id
            }
        )

    @property
    def uses(self) -> dict[str, Use]:
        """What is known of the keys' last use, by id."""
        return {key.id: key.last_use for key in self.latest.keys}


def told(key: fake_aws.AccessKey) -> Use:
    """What AWS tells of the last use of *key*."""
    return LastUse(*key.last_use) if key.last_use else NEVER


def truth(account: fake_aws.Account) -> dict[str, Use]:
    """What AWS tells of the last use of every key of *account*, by id."""
    return {key.id: told(key) for key in account.keys}


def with_swapped_slots(report: bytes) -> bytes:
    """A credential report with what is in the first slot in the second, and the other way."""
    lines = list(csv.reader(io.StringIO(report.decode())))
    first, second = (
        [place for place, name in enumerate(lines[0]) if name.startswith(f"access_key_{slot}_")]
        for slot in (1, 2)
    )
    for line in lines[1:]:
        if len(line) == len(lines[0]):  # else a comma was not quoted
            for one, other in zip(first, second, strict=True):
                line[one], line[other] = line[other], line[one]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue().encode()


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Let these be all the variables that tell of AWS."""
    others = {name: text for name, text in os.environ.items() if not name.startswith("AWS_")}
    nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    with patch.dict(os.environ, {**others, **nowhere, **variables}, clear=True):
        yield


@contextmanager
def meanwhile(
    aws: FakeAws, operation: str, happens: Callable[[], object], **parameters: str
) -> Iterator[None]:
    """Let something happen once, right before the first answer to *operation* with *parameters*."""
    pending = [happens]

    def callback(asked: str, account_id: str, given: Mapping[str, Any]) -> None:
        if asked == operation and parameters.items() <= given.items() and pending:
            pending.pop()()

    remove = aws.on_call(callback)
    try:
        yield
        assert not pending, f"{operation} was not asked"
    finally:
        remove()
