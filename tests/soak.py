"""
Two weeks of a company of 1000 accounts, in minutes: does anything grow?

    python -m tests.soak [--accounts=1000] [--minutes=10] [--refreshes=20]

The exporter runs as users run it, in a process of its own, except that its clock, and that of the
simulated AWS, run so fast that two weeks pass. Schedules, deadlines and rate limits are in real
time: in the two weeks, each account is refreshed as often as `--refreshes` says. Meanwhile keys are
used, created, renamed and deleted, accounts come and go, and every fault that the simulated AWS
knows happens, several at a time.

Memory, threads, descriptors and the size of the store are printed for the start, the middle and the
end. The exit code is 1 if one of them has grown since the middle, or if the exporter logged an
unexpected error. The store may grow with its rows: it keeps every place where a key was used for as
long as the key exists.
"""

import argparse
import asyncio
import heapq
import itertools
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from exporter import server
from exporter.cli import app
from exporter.cli.flags import parse_flags
from exporter.cli.logs import configure_logging
from exporter.cli.redaction import Redactor
from exporter.cli.wiring import key_id_formatter
from exporter.config import load
from tests.fake_aws import Account, FakeAws, Fault, User
from tests.fake_aws.fleet import MONITORING, ROLE, USES, fill
from tests.fake_aws.refusal import STATUS_OF_CODE
from tests.servers import get, wait_until

SIMULATED: Final = timedelta(days=14)
KEYS: Final = 3
"""Keys of each account, about."""

UNEXPECTED: Final = ("Traceback", "level=error", "unexpected error")
"""What the log must not have."""

PHASES: Final = {"start": (0.15, 0.25), "middle": (0.5, 0.6), "end": (0.9, 1.0)}
"""Parts of the time over which the median is taken. At first, everything is created."""

SLACK: Final = 0.1
"""By which part the end may exceed the middle."""


class Clock:
    """A clock whose wall time runs faster than its monotonic time, alike in every process."""

    def __init__(self, began: float, speed: float) -> None:
        self._began = began
        self._speed = speed

    def now(self) -> datetime:
        elapsed = (time.monotonic() - self._began) * self._speed
        return datetime(2026, 11, 1, tzinfo=UTC) + timedelta(seconds=elapsed)

    def monotonic(self) -> float:
        return time.monotonic()


# The exporter.


def serve(file: str, began: str, speed: str) -> None:
    """Run the exporter with a fast clock; prints its port."""
    config = load(Path(file))
    (bound,) = server.bind("127.0.0.1:0")
    print(bound.getsockname()[1], flush=True)
    asyncio.run(
        app.run(
            config,
            app.Source(lambda: load(Path(file)), {}),
            [bound],
            [],
            flags=parse_flags([f"--config.file={file}"], {}),
            redactor=Redactor(key_id_formatter(config), config.secrets()),
            handler=configure_logging("info", "logfmt", str),
            clock=Clock(float(began), float(speed)),
        )
    )


def configuration(options: argparse.Namespace, state: Path) -> dict[str, Any]:
    seconds = 60 * options.minutes
    interval = seconds / options.refreshes
    speed = SIMULATED.total_seconds() / seconds
    return {
        "collection": {
            "interval": f"{interval:.0f}s",
            "deadline": "20s",
            "workers": 16,
            "requests_per_second": 50,
            "burst": 50,
            "user_tags": "per_user",
            "user_tags_interval": f"{3 * interval:.0f}s",
            "passwords": True,
            "stale_after": f"{max(7 * 86400 / speed, 2 * interval, 30):.0f}s",
        },
        "organization": {"role_name": ROLE, "interval": f"{interval:.0f}s"},
        "labels": {"user_tags": ["team"]},
        "counts": {"by_tags": ["team"]},
        # So that the events of the first days are deleted before the middle.
        "state": {"path": str(state), "keep_events": "2d"},
        "changes": {"shown_for": "1d", "learning": "1d", "min_idle": "12h"},
    }


# What happens.


class Company:
    """Changes accounts, and disturbs what reads them, at random."""

    def __init__(self, aws: FakeAws, clock: Clock, rng: random.Random) -> None:
        self._aws = aws
        self._clock = clock
        self._rng = rng
        self._ids = [id_ for id_ in aws.accounts if id_ != MONITORING]
        self._numbers = itertools.count()
        self._undo: list[tuple[float, int, Callable[[], None]]] = []
        self.counts: dict[str, int] = {}
        self._changes: tuple[Callable[[], None], ...] = (
            *[self.use] * 10,
            self.create_or_delete,
            self.create_or_delete,
            self.toggle,
            self.rename,
            self.tag,
            self.use_root,
        )
        self._disturbances: tuple[Callable[[], Callable[[], None]], ...] = (
            *[self.fault] * 6,
            self.deny,
            self.remove_role,
            self.throttle,
            self.revoke,
            self.close,
            self.leave,
        )

    def step(self) -> None:
        """Let some things happen, and end some disturbances."""
        rng, now = self._rng, time.monotonic()
        while self._undo and self._undo[0][0] <= now:
            heapq.heappop(self._undo)[2]()
        for change in rng.choices(self._changes, k=8):
            self._count(change.__name__)
            change()
        if len(self._undo) < max(10, len(self._ids) // 20):
            disturb = rng.choice(self._disturbances)
            self._count(disturb.__name__)
            heapq.heappush(self._undo, (now + rng.uniform(1, 30), next(self._numbers), disturb()))

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    def _account(self) -> Account:
        return self._aws.account(self._rng.choice(self._ids))

    def _user(self) -> User | None:
        users = list(self._account().users.values())
        return self._rng.choice(users) if users else None

    # -- changes -------------------------------------------------------------------------------

    def use(self) -> None:
        user = self._user()
        for key in list(user.keys) if user else ():
            key.use(*self._rng.choice(USES))

    def create_or_delete(self) -> None:
        account = self._account()
        users = list(account.users.values())
        if len(users) > KEYS or (len(users) == KEYS and self._rng.random() < 0.5):
            self._rng.choice(users).delete()
        else:
            account.add_user(f"new-{next(self._numbers)}").add_key()

    def toggle(self) -> None:
        user = self._user()
        for key in list(user.keys) if user else ():
            key.status = "Inactive" if key.active else "Active"

    def rename(self) -> None:
        user = self._user()
        if user is not None:
            user.rename(f"renamed-{next(self._numbers)}")

    def tag(self) -> None:
        user = self._user()
        if user is not None:
            user.tags["team"] = self._rng.choice(("red", "green", "blue"))

    def use_root(self) -> None:
        self._account().root_password_last_used = self._clock.now()

    # -- disturbances: each returns what ends it -----------------------------------------------

    def fault(self) -> Callable[[], None]:
        rng = self._rng
        kinds: list[dict[str, Any]] = [
            {"code": rng.choice([*STATUS_OF_CODE, "Throttling", "ValidationError"])},
            {"code": "Throttling", "headers": {"x-amz-retry-after": "200"}},
            {"latency": rng.uniform(0.1, 3)},
            {"reset": True},
            {"truncate": True},
            {"body": rng.choice(["", "<html>", "<a>" * 1000, "\x00", "{}"])},
            {"body": b"\xff\xfe", "status": 502},
        ]
        operations = (None, "ListUsers", "ListAccessKeys", "GetAccessKeyLastUsed", "AssumeRole",
                      "ListAccounts", "ListUserTags", "GetCredentialReport")  # fmt: skip
        operation = rng.choice(operations)
        # Without an account, a few calls of any: else nothing would ever succeed.
        one = rng.random() < 0.7 and operation != "ListAccounts"
        account = self._account().id if one else None
        times = rng.choice((1, 3, None)) if one else rng.randrange(1, 20)
        fault = Fault(operation=operation, account=account, times=times, **rng.choice(kinds))
        self._aws.fault(fault)
        return lambda: self._aws.remove_fault(fault)

    def deny(self) -> Callable[[], None]:
        account = self._account()
        action = self._rng.choice(
            ("iam:*", "iam:ListUsers", "iam:ListAccessKeys", "iam:GetAccessKeyLastUsed")
        )
        account.deny(action)
        return lambda: account.allow(action)

    def remove_role(self) -> Callable[[], None]:
        account = self._account()
        account.roles.pop(ROLE, None)
        return lambda: (account.role(ROLE), None)[1]

    def throttle(self) -> Callable[[], None]:
        account = self._account()
        account.throttle(rate=0.5, burst=2, seconds=time.monotonic)
        return lambda: (account.throttle(None), None)[1]

    def revoke(self) -> Callable[[], None]:
        self._aws.revoke(self._account().id)
        return lambda: None

    def close(self) -> Callable[[], None]:
        member = self._aws.organization().members.get(self._account().id)
        if member is None:
            return lambda: None
        member.state = "SUSPENDED"

        def reopen() -> None:
            member.state = "ACTIVE"

        return reopen

    def leave(self) -> Callable[[], None]:
        id_ = self._account().id
        members = self._aws.organization().members
        left = members.get(id_)
        self._aws.organization().members = {k: m for k, m in members.items() if k != id_}

        def join() -> None:
            if left is not None:
                members = self._aws.organization().members
                self._aws.organization().members = {**members, id_: left}

        return join


# What is measured.


@dataclass(frozen=True, slots=True)
class Measured:
    """
    The exporter at one time.

    Attributes:
        at: The part of the time that has passed.
        memory: Resident, in MiB.
        store: The file and its write-ahead log, in MiB.
        rows: Those of the store, in thousands.
        page: The size of a scrape in MiB.
    """

    at: float
    memory: float
    threads: float
    descriptors: float
    store: float
    rows: float
    page: float


QUANTITIES: Final = {"memory": 10.0, "threads": 4.0, "descriptors": 10.0, "store": 1.0}
"""What must not grow, and by how much it may in any case."""

TABLES: Final = ("accounts", "users", "keys", "uses", "events")


def measure(pid: int, state: Path, at: float, page: float) -> Measured:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    files = [*state.parent.glob(f"{state.name}*")]
    return Measured(
        at=at,
        memory=int(status["VmRSS"][0]) / 1024,
        threads=int(status["Threads"][0]),
        descriptors=len([*Path(f"/proc/{pid}/fd").iterdir()]),
        store=sum(file.stat().st_size for file in files) / 2**20,
        rows=rows_of(state) / 1000,
        page=page,
    )


def rows_of(state: Path) -> int:
    """Return the number of rows of the store. 0: it does not exist yet."""
    try:
        with closing(sqlite3.connect(f"file:{state}?mode=ro", uri=True)) as connection:
            counts = " + ".join(f"(SELECT count(*) FROM {table})" for table in TABLES)  # noqa: S608 (not from elsewhere)
            (rows,) = connection.execute(f"SELECT {counts}").fetchone()
            return int(rows)
    except sqlite3.OperationalError:
        return 0


def scrape(port: int, number: int) -> float:
    """Scrape in one of the formats; the size in MiB. Too many requests, or none, fail."""
    kinds: tuple[dict[str, str], ...] = (
        {},
        {"Accept-Encoding": "gzip"},
        {"Accept": "application/openmetrics-text;version=1.0.0"},
    )
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers=kinds[number % 3])
    with urllib.request.urlopen(request, timeout=60) as response:
        return len(response.read()) / 2**20


@contextmanager
def exporter(
    aws: FakeAws, folder: Path, options: argparse.Namespace, began: float, speed: float
) -> Iterator[tuple[int, int]]:
    """Run the exporter; its process ID and port."""
    file = folder / "config.yaml"
    file.write_text(json.dumps(configuration(options, folder / "state.db")))
    command = [sys.executable, "-m", "tests.soak", "serve", str(file), str(began), str(speed)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command,
            env={**os.environ, **aws.environment(MONITORING)},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline())
            wait_until(lambda: get(f"http://127.0.0.1:{port}/-/healthy"), "it serves", 60)
            yield process.pid, port
            assert process.poll() is None, "the exporter has ended"
        finally:
            process.terminate()
            process.wait(20)


def soak(options: argparse.Namespace, folder: Path) -> bool:
    """Run; print the results and return whether all is well."""
    seconds = 60 * options.minutes
    speed = SIMULATED.total_seconds() / seconds
    began = time.monotonic()
    clock = Clock(began, speed)
    found: list[Measured] = []
    with FakeAws(now=clock.now, log_size=100) as aws:
        fill(aws, accounts=options.accounts, keys=KEYS)
        company = Company(aws, clock, random.Random(options.seed))
        with exporter(aws, folder, options, began, speed) as (pid, port):
            end = time.monotonic() + seconds
            scraped, page = 0, 0.0
            while (left := end - time.monotonic()) > 0:
                company.step()
                at = 1 - left / seconds
                if at * 200 > scraped:
                    number, scraped = scraped, int(at * 200) + 1
                    size = scrape(port, number)
                    page = size if number % 3 != 1 else page
                    found.append(measure(pid, folder / "state.db", at, page))
                time.sleep(0.1)
        calls, errors = aws.count(), sum(aws.errors.values())
    print(f"{options.accounts} accounts, {KEYS * options.accounts} keys: {SIMULATED.days} days in")
    print(f"{options.minutes:g} minutes, {calls:,} calls, of which {errors:,} failed")
    print(", ".join(f"{name} {count}" for name, count in sorted(company.counts.items())))
    grown = print_phases(found)
    log = (folder / "log").read_text()
    unexpected = [line for line in log.splitlines() if any(word in line for word in UNEXPECTED)]
    print(f"\nlog: {log.count(chr(10)):,} lines, {len(unexpected)} of them unexpected")
    print("\n".join(unexpected[:10]))
    return not grown and not unexpected


def print_phases(found: list[Measured]) -> list[str]:
    """Print the quantities by phase; those that have grown."""
    grown = []
    print(f"\n{'':12}" + "".join(f"{phase:>10}" for phase in PHASES))
    medians = {
        name: [
            statistics.median(getattr(each, name) for each in found if begin <= each.at <= end)
            for begin, end in PHASES.values()
        ]
        for name in (*QUANTITIES, "rows", "page")
    }
    for name, values in medians.items():
        _, middle, end = values
        limit = QUANTITIES.get(name)
        if name == "store":
            _, rows_in_the_middle, rows_at_the_end = medians["rows"]
            middle *= max(1.0, rows_at_the_end / rows_in_the_middle)
        has_grown = limit is not None and end > middle + max(limit, SLACK * middle)
        grown += [name] if has_grown else []
        print(f"{name:12}" + "".join(f"{value:10.1f}" for value in values), end="")
        print("  GROWN" if has_grown else "")
    return grown


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=10, help="in real time")
    parser.add_argument("--refreshes", type=int, default=20, help="of each account")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        return 0 if soak(options, Path(folder)) else 1


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", file, began, speed]:
            serve(file, began, speed)
        case _:
            sys.exit(main())
