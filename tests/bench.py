"""
The cost of a refresh, in calls, time, CPU and memory, compared with a plain boto3 loop.

And then what `tests.bench_scrapes` measures, memory and liveness while many clients scrape, and
`tests.bench_start`, the start with a large store.

    python -m tests.bench

The simulated AWS and each way to read an account run in separate processes. The rate is not
limited: what counts is the number of calls, which determines how long a refresh takes at a rate
that AWS allows, and the CPU time per call. Nothing is asserted about the results.
"""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import boto3

from exporter.aws import AccountSessions, Clients, Endpoints
from exporter.cli.wiring import SystemClock
from exporter.model import Account, AccountSnapshot, ReportMode, RoleArn
from exporter.refresh import Scheduler
from tests import bench_scrapes, bench_start
from tests.builders import refresh_of
from tests.fake_aws import FakeAws
from tests.fake_aws.fleet import MONITORING, ROLE, USES, fill

LARGE: Final = "123456789012"
USERS, KEYS = 5000, 6000
USERS_WITH_KEYS = 4000
FLEET, FLEET_KEYS = 50, 100
WORKERS = 32
RATE = 5.0
"""Calls per second that AWS allows one account."""

CPU_LIMIT = 1.0
"""Milliseconds of CPU time that a call may take."""


@dataclass(frozen=True)
class Cost:
    """
    The cost of one refresh.

    Attributes:
        seconds: Wall time.
        cpu: CPU time of the process in seconds.
        memory: Resident memory of the process at the end, in MiB.
    """

    what: str
    calls: int
    seconds: float
    cpu: float
    memory: float


class Meter:
    """Measures the requests of a process, and their cost."""

    def __init__(self) -> None:
        self.calls = 0
        self._began = self._now()

    def observe(self, operation: str, seconds: float, code: str) -> None:
        self.calls += 1

    def cost(self, what: str) -> Cost:
        """The cost since the last call."""
        seconds, cpu = self._now()
        cost = Cost(what, self.calls, seconds - self._began[0], cpu - self._began[1], _memory())
        self.calls, self._began = 0, self._now()
        return cost

    def _now(self) -> tuple[float, float]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return time.perf_counter(), used.ru_utime + used.ru_stime


def _memory() -> float:
    with Path("/proc/self/status").open(encoding="ascii") as lines:
        kilobytes = next(line.split()[1] for line in lines if line.startswith("VmRSS"))
    return int(kilobytes) / 1024


# AWS.


def serve() -> None:
    """Serve one large account and a fleet of small ones, until killed."""
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with FakeAws(log_size=1) as aws:
        _fill_large(aws)
        fill(aws, accounts=FLEET, keys=FLEET_KEYS)
        print(json.dumps([aws.environment(LARGE), aws.environment(MONITORING)]), flush=True)
        signal.sigwait(ends)


def _fill_large(aws: FakeAws) -> None:
    """One key in ten is inactive, one in ten was never used, one user in five has no key."""
    rng = random.Random(1)
    account = aws.account(LARGE)
    for number in range(USERS):
        user = account.add_user(f"user-{number:04}", created=account.created - timedelta(days=900))
        keys = 2 if number < KEYS - USERS_WITH_KEYS else int(number < USERS_WITH_KEYS)
        for age in range(keys):
            key = user.add_key(created=user.created + timedelta(days=age))
            if rng.random() < 0.9:
                ago = timedelta(minutes=rng.randrange(400 * 24 * 60))
                key.use(*rng.choice(USES), at=account.created - ago)
            if rng.random() < 0.1:
                key.status = "Inactive"


# Ways to read an account.


def plain(meter: Meter) -> Iterator[Cost]:
    """A plain loop with boto3's defaults."""
    iam: Any = boto3.client("iam")
    iam.meta.events.register("before-call.iam", lambda **_: meter.observe("", 0, ""))
    found = []
    for page in iam.get_paginator("list_users").paginate():
        for user in page["Users"]:
            for keys in iam.get_paginator("list_access_keys").paginate(UserName=user["UserName"]):
                for key in keys["AccessKeyMetadata"]:
                    id = key["AccessKeyId"]
                    used = iam.get_access_key_last_used(AccessKeyId=id)["AccessKeyLastUsed"]
                    found.append((user, key, used))
    assert len(found) == KEYS
    yield meter.cost("plain boto3 loop, every time")


def guided(report_mode: ReportMode) -> Callable[[Meter], Iterator[Cost]]:
    def read(meter: Meter) -> Iterator[Cost]:
        clock = ShiftedClock()
        refresh = refresh_of(_sessions(meter), clock, report_mode=report_mode)
        account = Account("", "large")
        refreshes = {"first": timedelta(), "next": timedelta(minutes=15)}
        if report_mode is not ReportMode.OFF:
            refreshes["with a new report"] = timedelta(hours=5)
        snapshot = AccountSnapshot(account)
        for name, elapsed in refreshes.items():
            clock.shift = elapsed
            snapshot = refresh(account, snapshot)
            assert snapshot.up, snapshot.error
            assert (len(snapshot.users), len(snapshot.keys)) == (USERS, KEYS)
            yield meter.cost(f"{report_mode}, {name}")

    return read


def fleet(meter: Meter) -> Iterator[Cost]:
    """Many accounts, refreshed by the exporter's threads."""
    names = [f"{100_000_000_000 + number}" for number in range(1, FLEET + 1)]
    accounts = [
        Account(id, id, role_arn=RoleArn.parse(f"arn:aws:iam::{id}:role/{ROLE}")) for id in names
    ]
    left, finished, stop = set(accounts), threading.Event(), threading.Event()

    def publish(account: Account, snapshot: AccountSnapshot) -> None:
        if snapshot.up:
            left.discard(account)
        if not left:
            finished.set()

    scheduler = Scheduler(
        refresh_of(_sessions(meter), SystemClock()),
        publish,
        interval=3600,
        deadline=3600,
        workers=WORKERS,
        stale_after=timedelta(days=7),
        stop=stop,
        clock=SystemClock(),
    )
    scheduler.set_accounts(accounts)
    scheduler.start()
    assert finished.wait(120), "not all accounts were refreshed"
    scheduler.stop()
    yield meter.cost(f"{FLEET} accounts, {WORKERS} threads")


def _sessions(meter: Meter) -> AccountSessions:
    clock = SystemClock()
    clients = Clients(
        Endpoints(),
        workers=WORKERS,
        observe=meter.observe,
        count_error=lambda *_: None,
        clock=clock,
    )
    return AccountSessions(
        clients,
        requests_per_second=1e6,
        burst=1_000_000,
        stop=threading.Event(),
        clock=clock,
    )


class ShiftedClock(SystemClock):
    """The time of this machine, moved by *shift*."""

    def __init__(self) -> None:
        self.shift = timedelta()

    def now(self) -> datetime:
        return super().now() + self.shift


WAYS: dict[str, Callable[[Meter], Iterator[Cost]]] = {
    "plain": plain,
    **{
        str(report_mode): guided(report_mode)
        for report_mode in (ReportMode.OFF, ReportMode.GUIDE, ReportMode.VALUES)
    },
    "fleet": fleet,
}


# The results.


def main() -> None:
    with _aws() as (large, monitoring):
        costs = [
            cost for way in WAYS for cost in _measured(way, monitoring if way == "fleet" else large)
        ]
    naive = costs[0]
    print(f"\none account of {USERS} users and {KEYS} keys, one key in ten inactive\n")
    print(f"{'':32}   calls  of plain  at {RATE:g}/s     wall  CPU/call  of plain  memory")
    for cost in costs:
        print(_row(cost, naive))
    worst = max((cost for cost in costs[1:] if cost.calls > 1000), key=_per_call)
    verdict = "met" if _per_call(worst) <= CPU_LIMIT else "MISSED"
    print(
        f"\nlimit of {CPU_LIMIT} ms of CPU per call: {verdict}, at most {_per_call(worst):.2f} ms"
    )
    bench_scrapes.main()
    bench_start.main()


def _row(cost: Cost, naive: Cost) -> str:
    alike = cost.what.startswith(tuple(map(str, ReportMode))) or cost is naive
    share = f"{cost.calls / naive.calls:8.1%}" if alike else ""
    minutes = f"{cost.calls / RATE / 60:5.1f} min" if alike else ""
    if cost.calls < 1000:  # too few to be precise
        each = ratio = ""
    else:
        each = f"{_per_call(cost):5.2f} ms"
        ratio = f"{_per_call(cost) / _per_call(naive):7.2f}x"
    return (
        f"{cost.what:32} {cost.calls:7,} {share:>9} {minutes:>9} {cost.seconds:6.1f} s"
        f" {each:>9} {ratio:>9} {cost.memory:3.0f} MiB"
    )


def _per_call(cost: Cost) -> float:
    return 1000 * cost.cpu / cost.calls


@contextmanager
def _aws() -> Iterator[list[dict[str, str]]]:
    """Run the simulated AWS; the environments for its clients."""
    command = [sys.executable, "-m", "tests.bench", "serve"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(10)


def _measured(way: str, environment: dict[str, str]) -> list[Cost]:
    others = {name: text for name, text in os.environ.items() if not name.startswith("AWS_")}
    command = [sys.executable, "-m", "tests.bench", way]
    answer = subprocess.run(
        command, env={**others, **environment}, stdout=subprocess.PIPE, text=True, check=True
    )
    return [Cost(**facts) for facts in json.loads(answer.stdout)]


def measure(way: str) -> None:
    print(json.dumps([asdict(cost) for cost in WAYS[way](Meter())]))


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            main()
        case ["serve"]:
            serve()
        case [way]:
            measure(way)
