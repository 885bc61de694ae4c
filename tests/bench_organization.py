"""
The cost of an organization of 1000 accounts, compared with one account that has as many keys.

    python -m tests.bench_organization

The exporter runs as a user starts it, the simulated AWS in a process of its own. Each user has one
key. The rate is not limited, so the wall time is that of the slower of the two processes; at the
default of 5 calls per second an account of 80 users takes half a minute. Nothing is asserted.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.fake_aws.fleet import ROLE
from tests.servers import Exporter, exporter, get

ACCOUNTS: Final = 1000
USERS: Final = 80
"""Users of each account."""

MEMORY_LIMIT: Final = 50
"""MiB that many accounts may need more than one with the same keys."""

TIMEOUT: Final = 3600.0
"""Seconds after which a measurement is given up."""


@dataclass(frozen=True, slots=True)
class Cost:
    """
    The cost of the first refresh of everything, and one scrape.

    Attributes:
        seconds: Wall time from the start of the process until everything was refreshed.
        cpu: CPU time of the process until then, in seconds.
        memory: The largest resident memory of the process, in MiB.
        threads: The largest number of threads.
        page: The size of a scrape, in MiB.
    """

    what: str
    calls: int
    seconds: float
    cpu: float
    memory: float
    threads: int
    page: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench_organization")
    parser.add_argument("--accounts", type=int, default=ACCOUNTS)
    parser.add_argument("--users", type=int, default=USERS, help="of each account")
    parser.add_argument("--store", action="store_true", help="keep the state in a file")
    options = parser.parse_args()

    keys = options.accounts * options.users
    many = measure(f"{options.accounts} accounts", options.accounts, options.users, options.store)
    one = measure("one account", 1, keys, options.store)

    print(f"\n{keys:,} keys, {'with' if options.store else 'without'} a store\n")
    print(f"{'':16}     calls       wall   CPU/call   memory  threads    scrape")
    for cost in (many, one):
        print(
            f"{cost.what:16} {cost.calls:9,} {cost.seconds:8.1f} s"
            f" {1000 * cost.cpu / cost.calls:7.2f} ms {cost.memory:4.0f} MiB {cost.threads:8}"
            f" {cost.page:5.0f} MiB"
        )
    more = many.memory - one.memory
    verdict = "met" if more <= MEMORY_LIMIT else "MISSED"
    print(f"\nlimit of {MEMORY_LIMIT} MiB more than one account: {verdict}, {more:+.0f} MiB")


def measure(what: str, accounts: int, keys: int, with_store: bool) -> Cost:
    """Measure an exporter of *accounts* accounts with *keys* keys each."""
    with tempfile.TemporaryDirectory() as folder, _aws(accounts, keys) as environment:
        file = Path(folder) / "config.yaml"
        state = {"state": {"path": f"{folder}/state.db"}} if with_store else {}
        file.write_text(json.dumps({**_configuration(accounts), **state}))
        began = time.monotonic()
        with exporter(f"--config.file={file}", environment=environment) as running:
            _wait_until_ready(running)
            seconds = time.monotonic() - began
            cpu, threads = _cpu(running.process.pid), int(_status(running, "Threads"))
            page = running.get("/metrics")
            assert page.count("\naws_iam_access_key_info{") == accounts * keys
            memory = int(_status(running, "VmHWM")) / 1024
        calls = sum(json.loads(get(f"{environment['AWS_ENDPOINT_URL']}/calls")).values())
    return Cost(what, calls, seconds, cpu, memory, threads, len(page) / 2**20)


def _configuration(accounts: int) -> Mapping[str, Any]:
    collection = {
        "interval": "2h",  # nothing is refreshed twice
        "deadline": "2h",
        "requests_per_second": 1_000_000,
        "burst": 1_000_000,
        "credential_report": "off",
    }
    if accounts > 1:
        return {"collection": collection, "organization": {"role_name": ROLE}}
    role = f"arn:aws:iam::100000000001:role/{ROLE}"
    return {"collection": collection, "accounts": [{"name": "one", "role_arn": role}]}


@contextmanager
def _aws(accounts: int, keys: int) -> Iterator[dict[str, str]]:
    """Run the simulated AWS; the environment for its clients."""
    command = [sys.executable, "-m", "tests.fake_aws", f"--accounts={accounts}", f"--keys={keys}"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    environment = {}
    for line in process.stdout:
        name, _, value = line.strip().partition("=")
        environment[name] = value
        if name == "NO_PROXY":
            break
    try:
        yield environment
    finally:
        process.terminate()
        process.wait(30)


def _wait_until_ready(running: Exporter) -> None:
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        try:
            running.get("/-/ready")
        except OSError:  # 503: not yet
            assert running.process.poll() is None, running.log
            time.sleep(0.5)
        else:
            return
    raise TimeoutError(f"not ready within {TIMEOUT:g} s:\n{running.log[-2000:]}")


def _status(running: Exporter, name: str) -> str:
    """Read a number from /proc/PID/status; memory is in KiB."""
    text = Path(f"/proc/{running.process.pid}/status").read_text(encoding="ascii")
    return next(line.split()[1] for line in text.splitlines() if line.startswith(f"{name}:"))


def _cpu(process: int) -> float:
    """Return the CPU time of a process so far, in seconds."""
    text = Path(f"/proc/{process}/stat").read_text(encoding="ascii")
    user, system = text.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
