"""
Builders shared by all tests: values, accounts of the simulated AWS, and what refreshes them.

Everything has a default, so that a test mentions only what it is about. Refreshers, sessions, APIs
and schedulers are built here and nowhere else in the tests.
"""

import csv
import io
import os
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from unittest.mock import patch

from exporter.aws import (
    AccountRefresher,
    AccountSessions,
    Clients,
    Discovery,
    Endpoints,
    Operation,
    Selection,
)
from exporter.aws.api import AccountApi
from exporter.aws.base_credentials import BaseCredentials
from exporter.aws.clients import RequestObserver
from exporter.aws.rate_limiter import RateLimiter
from exporter.model import (
    NEVER,
    AccessKey,
    Account,
    AccountSnapshot,
    Clock,
    LastUse,
    Partition,
    ReportMode,
    RoleArn,
    RoleSession,
    TagSource,
    Use,
    User,
)
from exporter.refresh import Scheduler
from tests import fake_aws
from tests.fake_aws import FakeAws
from tests.fake_aws.fleet import MONITORING, ROLE

__all__ = ["MONITORING", "ROLE"]  # of the fleet, for the tests

NOON: Final = datetime(2026, 11, 23, 12, tzinfo=UTC)
PROD: Final = "111111111111"
TEST: Final = "222222222222"

Refresh = Callable[[Account, AccountSnapshot], AccountSnapshot]

UNLIMITED: Final = 1e6
"""A rate limit that nothing in a test reaches."""


# -- time --------------------------------------------------------------------------------------


class FakeClock:
    """A clock that starts at NOON and moves only when it is advanced."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self._seconds)

    def monotonic(self) -> float:
        return self._seconds

    def advance(self, **by: float) -> None:
        """Advance both times by a timedelta with the arguments *by*."""
        self._seconds += timedelta(**by).total_seconds()


class FakeStop(threading.Event):
    """
    A stop event on which waiting takes no time.

    Args:
        clock: A clock that waiting advances. None: no clock is advanced.

    Attributes:
        waits: The timeouts of all waits so far, in seconds.
    """

    def __init__(self, clock: FakeClock | None = None) -> None:
        super().__init__()
        self._clock = clock
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        if timeout:
            self.waits.append(timeout)
            if self._clock is not None:
                self._clock.advance(seconds=timeout)
        return self.is_set()


def days_ago(days: float) -> datetime:
    return NOON - timedelta(days=days)


# -- values of the model -----------------------------------------------------------------------


def an_account(id_: str = PROD, name: str = "prod", **fields: Any) -> Account:
    return Account(id_, name, **fields)


def a_role_account(id_: str = PROD, role: str = ROLE, **fields: Any) -> Account:
    """An account that is entered by assuming a role; *external_id* is short for a session's."""
    partition = Partition(fields.get("partition", Partition.AWS))
    if "external_id" in fields:
        fields["role_session"] = RoleSession(external_id=fields.pop("external_id"))
    return an_account(id_, role_arn=RoleArn(partition, id_, role), **fields)


def a_user(name: str = "alice", **fields: Any) -> User:
    return User(**{"name": name, "path": "/", "created": days_ago(500), "keys_at": NOON, **fields})


def a_use(days: float = 1, service: str = "s3", region: str = "eu-west-1") -> LastUse:
    return LastUse(days_ago(days), service, region)


def a_key(id_: str = "AKIAALICEALICEALICE1", user: str = "alice", **fields: Any) -> AccessKey:
    defaults = {
        "status": "Active",
        "created": days_ago(100),
        "last_use": a_use(),
        "as_of": NOON,
    }
    return AccessKey(id_, user, **{**defaults, **fields})


def a_snapshot(*keys: AccessKey, account: Account | None = None, **fields: Any) -> AccountSnapshot:
    """The snapshot of a successful refresh: *keys* and the users they belong to."""
    users = tuple(a_user(name) for name in dict.fromkeys(key.user for key in keys))
    defaults = {
        "users": users,
        "keys": keys,
        "listed_at": NOON,
        "read_at": NOON,
        "finished_at": NOON,
        "seconds": 1.5,
    }
    return replace(AccountSnapshot(account or an_account()), **{**defaults, **fields})


# -- users and keys of the simulated AWS -------------------------------------------------------


def add_key(
    account: fake_aws.Account, user: str = "alice", *, used: datetime | None = NOON, **fields: Any
) -> fake_aws.AccessKey:
    """Create a key, by default a day ago, and its user if there is none. *used* None: never."""
    owner = account.find_user(user) or account.add_user(user)
    key = owner.add_key(**{"created": days_ago(1), **fields})
    if used is not None:
        key.use("s3", "eu-west-1", at=used)
    return key


def add_users(account: fake_aws.Account, count: int, *, keys: int = 0) -> None:
    """Create user-0000 and so on, the first *keys* of them with a used key each."""
    for number in range(count):
        user = account.add_user(f"user-{number:04}")
        if number < keys:
            user.add_key().use("ec2", "us-east-1", at=days_ago(number))


def last_use_of(key: fake_aws.AccessKey) -> Use:
    """The last use that AWS reports for *key*."""
    return LastUse(*key.last_use) if key.last_use else NEVER


def last_uses_of(account: fake_aws.Account) -> dict[str, Use]:
    """The last use that AWS reports for every key of *account*, by id."""
    return {key.id: last_use_of(key) for key in account.keys}


def with_swapped_slots(report: bytes) -> bytes:
    """A credential report in which every user's first and second key have changed places."""
    lines = list(csv.reader(io.StringIO(report.decode())))
    first, second = (
        [place for place, name in enumerate(lines[0]) if name.startswith(f"access_key_{slot}_")]
        for slot in (1, 2)
    )
    for line in lines[1:]:
        if len(line) == len(lines[0]):  # else it has an unquoted comma
            for one, other in zip(first, second, strict=True):
                line[one], line[other] = line[other], line[one]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue().encode()


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set the environment variables *variables*, and no others of AWS."""
    others = {name: text for name, text in os.environ.items() if not name.startswith("AWS_")}
    nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    with patch.dict(os.environ, {**others, **nowhere, **variables}, clear=True):
        yield


@contextmanager
def before_answer(
    aws: FakeAws, operation: str, action: Callable[[], object], **parameters: str
) -> Iterator[None]:
    """Run *action* once, right before AWS answers the first *operation* with *parameters*."""
    pending = [action]

    def callback(called: str, _: str, given: Mapping[str, Any]) -> None:
        if called == operation and parameters.items() <= given.items() and pending:
            pending.pop()()

    remove = aws.on_call(callback)
    try:
        yield
        assert not pending, f"{operation} was not called"
    finally:
        remove()


# -- what refreshes accounts -------------------------------------------------------------------


def some_sessions(
    url: str,
    clock: Clock,
    *,
    read_timeout: float = 30.0,
    workers: int = 4,
    observe: RequestObserver = lambda *_: None,
    count_error: Callable[[str, str], None] = lambda *_: None,
    **options: Any,
) -> AccountSessions:
    """Sessions that find AWS at *url*, do not limit the rate, and whose waits take no time."""
    endpoints = Endpoints(
        region="us-east-1",
        urls=dict.fromkeys(("iam", "sts", "organizations"), url),
        read_timeout=read_timeout,
    )
    clients = Clients(
        endpoints, workers=workers, observe=observe, count_error=count_error, clock=clock
    )
    defaults: dict[str, Any] = {
        "requests_per_second": UNLIMITED,
        "burst": int(UNLIMITED),
        "stop": FakeStop(),
    }
    return AccountSessions(clients, clock=clock, **{**defaults, **options})


def an_api(
    sessions: AccountSessions, account: Account, clock: Clock, *, deadline: float = 3600.0
) -> AccountApi:
    return AccountApi(
        sessions.clients,
        sessions.get(account),
        seconds=deadline,
        clock=clock,
        rng=FixedRandom(0.5),
    )


def a_rate_limiter(clock: Clock, stop: threading.Event, *, rate: float, burst: int) -> RateLimiter:
    return RateLimiter(rate, burst, wait=stop.wait, clock=clock)


def rate_limiter_of(sessions: AccountSessions, account: Account) -> RateLimiter:
    return sessions.get(account).rate_limiter


def request_once(sessions: AccountSessions, clock: Clock, operation: Operation) -> None:
    """Make a request to IAM with the base credentials of the environment, without retries."""
    current, region = BaseCredentials(None, "us-east-1", clock).get(an_account())
    sessions.clients.request(
        operation, {}, credentials=current.credentials, region=region, seconds=60.0
    )


def a_refresher(
    clock: Clock, sessions: AccountSessions, *, rng: random.Random | None = None, **options: Any
) -> AccountRefresher:
    """
    A refresher whose random numbers are all 0.5 unless *rng* is given.

    Args:
        options: More arguments of the refresher.
    """
    defaults: dict[str, Any] = {
        "interval": 900.0,
        "deadline": 3600.0,
        "report_mode": ReportMode.GUIDE,
        "include_user": lambda name: True,
        "tag_source": TagSource.OFF,
        "keep_tag": lambda name: True,
        "tags_interval": timedelta(hours=1),
        "rng": rng or FixedRandom(0.5),
    }
    return AccountRefresher(sessions=sessions, clock=clock, **{**defaults, **options})


def a_discovery(sessions: AccountSessions, clock: Clock, **options: Any) -> Discovery:
    """A discovery with the base credentials, of every account, to be read with ROLE."""
    defaults: dict[str, Any] = {
        "role_name": ROLE,
        "role_session": RoleSession(),
        "caller": Account("", "organization"),
        "include": Selection(),
        "exclude": Selection(),
        "account_tags": (),
        "deadline": 3600.0,
        "rng": FixedRandom(0.5),
    }
    return Discovery(sessions=sessions, clock=clock, **{**defaults, **options})


def refresh_of(sessions: AccountSessions, clock: Clock, **options: Any) -> Refresh:
    """The function that refreshes accounts, for a scheduler."""
    return a_refresher(clock, sessions, **options).refresh


class FixedRandom(random.Random):
    """A random number generator that always gives the same number."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self._number = number

    def random(self) -> float:
        return self._number


class MonitoredAccount:
    """
    An account that is refreshed again and again, each time based on the snapshot before.

    Args:
        options: Arguments of the refresher; without *sessions* there are new ones.

    Attributes:
        latest: The snapshot of the latest refresh.
        calls: The calls of the latest refresh by operation, without those that sign in.
    """

    def __init__(
        self, aws: FakeAws, clock: FakeClock, account: Account | None = None, **options: Any
    ) -> None:
        self._aws = aws
        self._clock = clock
        self._account = account or an_account()
        self._options = {"sessions": None, **options}
        self._options["sessions"] = options.get("sessions") or some_sessions(aws.url, clock)
        self._refresher = a_refresher(clock, **self._options)
        self.latest = AccountSnapshot(self._account)
        self.calls: Counter[str] = Counter()

    @property
    def sessions(self) -> AccountSessions:
        """For another account that shares them."""
        sessions: AccountSessions = self._options["sessions"]
        return sessions

    def reconfigure(self, **options: Any) -> None:
        """Replace arguments of the refresher; snapshots and the other arguments stay."""
        self._options |= options
        self._refresher = a_refresher(self._clock, **self._options)

    def refresh(self) -> AccountSnapshot:
        before = self._calls_so_far()
        self.latest = self._refresher.refresh(self._account, self.latest)
        self.calls = self._calls_so_far() - before
        for operation in ("AssumeRole", "GetCallerIdentity"):
            del self.calls[operation]
        return self.latest

    def _calls_so_far(self) -> Counter[str]:
        return Counter(
            {
                operation: calls
                for (account_id, operation), calls in self._aws.calls.items()
                if account_id == self._account.id
            }
        )

    @property
    def last_uses(self) -> dict[str, Use]:
        """The last use of every key in the latest snapshot, by id."""
        return {key.id: key.last_use for key in self.latest.keys}


def a_scheduler(
    accounts: Iterable[Account],
    refresh: Refresh,
    publish: Callable[[Account, AccountSnapshot], None],
    clock: FakeClock,
    restored: Mapping[Account, AccountSnapshot] | None = None,
    **options: Any,
) -> Scheduler:
    """A scheduler of *accounts* that has not been started."""
    defaults: dict[str, Any] = {
        "workers": 4,
        "deadline": 3600.0,
        "stale_after": timedelta(days=7),
        "stop": threading.Event(),
    }
    scheduler = Scheduler(
        refresh,
        publish,
        clock=clock,
        **{**defaults, **options},
    )
    scheduler.set_accounts(accounts, restored or {})
    return scheduler
