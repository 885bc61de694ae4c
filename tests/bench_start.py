"""
The start of an exporter that has 100,000 keys in 1000 accounts stored, and what storing costs.

    python -m tests.bench_start

From exec to the end of the first full scrape, beside `python -c 'import boto3, tornado, pydantic'`
in the same run; the end by SIGTERM in the middle of such a start; and the CPU time that remembering
and storing add to the refresh of a large account. Nothing is asserted.
"""

import http.client
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

from exporter.cli.recorder import Recorder
from exporter.cli.wiring import SystemClock
from exporter.memory import Options
from exporter.model import Account, AccountSnapshot, ReportMode, RoleArn
from exporter.store import Store
from tests.bench_scrapes import resident_memory
from tests.builders import a_key, a_snapshot, a_use, a_user, refresh_of, some_sessions
from tests.fake_aws import FakeAws
from tests.fake_aws.fleet import MONITORING, ROLE, USES, fill
from tests.servers import free_port
from tests.stateful import configuration

KEYS: Final = 100_000
ACCOUNTS: Final = 1000
LIMIT: Final = 10.0
"""How many times as long as the imports the start may take."""

RUNS: Final = 3
LARGE: Final = 5000
"""The keys of the account whose refresh is measured."""

IMPORTS: Final = [sys.executable, "-c", "import boto3, tornado, pydantic"]


def main() -> None:
    logging.disable()  # the events of the accounts that are generated
    with TemporaryDirectory() as folder:
        state = Path(folder) / "state.db"
        accounts = [f"{100_000_000_000 + number}" for number in range(1, ACCOUNTS + 1)]
        with _recorder(state) as recorder:
            _fill(recorder, accounts)
        file = Path(folder) / "config.yaml"
        file.write_text(configuration(accounts, state, collection={"interval": "1d"}))
        imports = [_seconds_of_imports() for _ in range(RUNS)]
        starts = [_start(file) for _ in range(RUNS)]
        ends = [_end_during_start(file, share * starts[0].seconds) for share in (0.3, 0.5, 0.7)]
        size = state.stat().st_size
    imported, started = median(imports), median(start.seconds for start in starts)
    cpu = median(start.cpu for start in starts)
    page, memory = starts[0].page, starts[0].memory
    ratio = started / imported
    verdict = "met" if ratio <= LIMIT else "MISSED"
    print(f"\nstart with {KEYS:,} keys in {ACCOUNTS:,} accounts stored ({size >> 20} MiB)\n")
    print(f"import boto3, tornado, pydantic    {imported:6.2f} s")
    print(f"from exec to the first full scrape {started:6.2f} s   {ratio:.1f} times")
    print(f"of which CPU time                  {cpu:6.2f} s")
    print(f"limit of {LIMIT:g} times: {verdict}; a page of {page >> 20} MiB, {memory:.0f} MiB")
    print(f"SIGTERM during the start: the end after at most {max(ends):.2f} s")
    _print_cost_of_recording()


def _fill(recorder: Recorder, accounts: list[str]) -> None:
    """Store the facts and the memory of all accounts, as if they had just been refreshed."""
    rng = random.Random(1)
    for id in accounts:
        now = datetime.now(UTC)
        names = [f"user-{number:04}" for number in range(KEYS // ACCOUNTS)]
        users = [a_user(name, id=f"AIDA{id}{name}", keys_at=now, keys_as_of=now) for name in names]
        uses = [a_use(rng.random() * 400, *rng.choice(USES)) for _ in names]
        keys = [
            a_key(f"AKIA{id[-8:]}{number:08}", name, last_use=use, as_of=now)
            for number, (name, use) in enumerate(zip(names, uses, strict=True))
        ]
        account = Account(id, f"account-{id}")
        times = {"listed_at": now, "read_at": now, "finished_at": now}
        recorder.record(account, a_snapshot(*keys, account=account, users=tuple(users), **times))


@contextmanager
def _recorder(state: Path) -> Iterator[Recorder]:
    """Record to *state*, which another process can use afterwards."""
    day = timedelta(days=1)
    store = Store(state, keep_events=400 * day, shown_for=day, clock=SystemClock())
    options = Options(shown_for=day, min_idle=30 * day, learning=7 * day)
    yield Recorder(store, options, clock=SystemClock())
    store.close()


def _seconds_of_imports() -> float:
    began = time.perf_counter()
    subprocess.run(IMPORTS, check=True)
    return time.perf_counter() - began


def _command(file: Path, port: int) -> list[str]:
    address = f"--web.listen-address=127.0.0.1:{port}"
    return [sys.executable, "-m", "exporter", f"--config.file={file}", address, "--log.level=error"]


# No account is due, so no call is made.
ENVIRONMENT: Final = {
    **os.environ,
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "x",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
}


@dataclass(frozen=True)
class Start:
    """
    A start of the exporter and its first scrape.

    Attributes:
        seconds: From exec to the end of the scrape.
        cpu: The CPU time of the exporter until then, in seconds.
        page: The size of the page in bytes.
        memory: Its resident memory in MiB.
    """

    seconds: float
    cpu: float
    page: int
    memory: float


def _start(file: Path) -> Start:
    port = free_port()
    began = time.perf_counter()
    process = subprocess.Popen(_command(file, port), env=ENVIRONMENT)
    try:
        page = _scrape(port)
        seconds = time.perf_counter() - began
        assert page.count(b"\naws_iam_access_key_active{") == KEYS
        return Start(seconds, _cpu(process.pid), len(page), resident_memory(process.pid))
    finally:
        process.terminate()
        process.wait(20)


def _cpu(pid: int) -> float:
    """Return the CPU time of a process in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def _scrape(port: int) -> bytes:
    """Read the metrics as soon as somebody listens."""
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        try:
            connection.request("GET", "/metrics")
            return connection.getresponse().read()
        except ConnectionRefusedError:
            time.sleep(0.01)
        finally:
            connection.close()


def _end_during_start(file: Path, seconds: float) -> float:
    """Send SIGTERM after so many seconds; how long the process then takes to end."""
    process = subprocess.Popen(_command(file, free_port()), env=ENVIRONMENT)
    time.sleep(seconds)
    began = time.perf_counter()
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    return time.perf_counter() - began


# -- the cost of recording ---------------------------------------------------------------------


def _print_cost_of_recording() -> None:
    """Print the CPU time of the refresh of a large account, and of remembering and storing it."""
    environment = dict(os.environ)
    with (
        FakeAws() as aws,
        TemporaryDirectory() as folder,
        _recorder(Path(folder) / "state.db") as recorder,
    ):
        fill(aws, accounts=1, keys=LARGE)
        (id,) = aws.accounts.keys() - {MONITORING}
        os.environ.update(aws.environment(MONITORING))
        role = RoleArn.parse(f"arn:aws:iam::{id}:role/{ROLE}")
        account = Account(id, "large", role_arn=role)
        clock = SystemClock()
        sessions = some_sessions(aws.url, clock)
        refresh = refresh_of(sessions, clock, report_mode=ReportMode.OFF)
        before = AccountSnapshot(account)
        print(f"\nCPU time of one refresh of {LARGE:,} keys, without a report\n")
        rng = random.Random(2)
        for name, share in {"first": 0.0, "nothing changed": 0.0, "1 key in 10 used": 0.1}.items():
            for key in aws.account(id).keys:
                if rng.random() < share:
                    key.use()
            calls, began = aws.count(), time.thread_time()
            snapshot = refresh(account, before)
            read = time.thread_time() - began
            snapshot = replace(snapshot, finished_at=datetime.now(UTC))
            calls = aws.count() - calls
            began = time.process_time()
            recorder.record(account, snapshot)
            recorded = time.process_time() - began
            before = snapshot
            print(
                f"{name:18} read {read:6.2f} s ({calls:,} calls)   remembered and stored"
                f" {recorded:5.2f} s, {recorded / read:5.1%}"
            )
    os.environ.clear()
    os.environ.update(environment)


if __name__ == "__main__":
    main()
