"""
How long one round of the alert rules takes in Prometheus, with keys of which a fifth have findings.

    python -m tests.bench_rules [KEYS] [--rules DIRECTORY] [--newer]

The unit is the time of `count(aws_iam_access_key_info)`, asked in the same run while no rules are
loaded. Each time is the shortest of several, since other programs on the machine only add to it.
"""

import argparse
import json
import random
import re
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from exporter.metrics import Exposition, Format, MetricsStore, RenderOptions, SelfMetrics
from exporter.model import (
    NEVER,
    AccessKey,
    AccountMemory,
    AccountSnapshot,
    Event,
    EventKind,
    KeyMemory,
    LastUse,
    User,
)
from tests.builders import a_snapshot, a_user, an_account
from tests.rules.files import RULES
from tests.servers import Release, get, prometheus, wait_until

LIMIT = 20
"""How many times the count one round of all rules may take."""

KEYS: Final = 100_000
OF_ACCOUNT = 200
ROUNDS = 6
TRIES = 7
COUNT = "count(aws_iam_access_key_info)"

CONFIGURATION = """
global: {{scrape_interval: 30s, scrape_timeout: 30s, evaluation_interval: 10s}}
rule_files: ["{rules}/*.yaml"]
scrape_configs:
  - job_name: aws-iam-key-exporter
    static_configs: [{{targets: ["{target}"]}}]
"""


# The keys.


def page(keys: int) -> bytes:
    """Return what the exporter exposes about a company with so many *keys*."""
    options = RenderOptions(
        tags={"team": "tag_team", "owner": "tag_owner"},
        exempt_until=lambda _account, user, _key: (
            datetime.now(UTC) + timedelta(days=50) if user.path == "/exempt/" else None
        ),
    )
    store = MetricsStore(options)
    for number in range(max(1, keys // OF_ACCOUNT)):
        snapshot, memory = _account(number, min(keys, OF_ACCOUNT))
        store.publish(snapshot.account, snapshot, memory)
    self_metrics = SelfMetrics(version="bench")
    self_metrics.configured(accounts=max(1, keys // OF_ACCOUNT), interval=86400)
    exposition = Exposition(store, self_metrics, _Clock())
    return bytes(exposition.render(Format.TEXT))


class _Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


def _account(number: int, keys: int) -> tuple[AccountSnapshot, AccountMemory]:
    rng = random.Random(number)
    now = datetime.now(UTC)
    users: dict[str, User] = {}
    found = [_key(index, f"AKIA{number:08}{index:08}", rng, now) for index in range(keys)]
    for index, key in enumerate(found):
        tags = (("team", f"team-{index % 12}"), ("owner", f"owner-{index % 97}"))
        path = "/exempt/" if rng.random() < 0.01 else "/"
        users.setdefault(key.user, a_user(key.user, path=path, tags=tags, keys_at=now))
    snapshot = a_snapshot(
        *found,
        account=an_account(f"{number:012}", f"account-{number}"),
        users=tuple(users.values()),
        listed_at=now,
        read_at=now,
        finished_at=now,
    )
    remembered = {
        key.id: KeyMemory(
            key=key, user_id="", status_as_of=now, inactive_since=now - timedelta(days=30)
        )
        for key in found
        if not key.active
    }
    used = found[-1]
    event = Event(
        kind=EventKind.AWAKENED,
        at=now,
        noticed_at=now,
        user=used.user,
        access_key_id=used.id,
        seconds=100 * 86400,
    )
    events = (event,) if number % 10 == 0 else ()
    return snapshot, AccountMemory(keys=remembered, events=events)


def _key(index: int, id_: str, rng: random.Random, now: datetime) -> AccessKey:
    """
    Create a key: most were used within the last days, a fifth have a finding.

    Of 100 keys, 8 are unused and therefore old, 3 were never used, 5 are old, 3 should be deleted,
    and 1 was superseded by the other key of its user.
    """

    def ago(days: float) -> datetime:
        return now - timedelta(days=days)

    share = index % 100
    status, created, use = "Active", ago(rng.uniform(1, 80)), ago(rng.expovariate(0.5))
    if share < 8:
        use = ago(rng.uniform(100, 500))
        created = use - timedelta(days=100)
    elif share < 11:
        created = ago(rng.uniform(31, 85))
    elif share < 16:
        created = ago(rng.uniform(100, 900))
    elif share < 19:
        status, use = "Inactive", ago(rng.uniform(100, 500))
        created = use - timedelta(days=100)
    elif share == 19:
        created, use = ago(80), ago(60)
    last_use = NEVER if 8 <= share < 11 else LastUse(max(use, created), "s3", "eu-west-1")
    user = f"user-{index - 1 if share == 20 else index:05}@example.com"
    return AccessKey(id_, user, status, created, last_use, now)


@contextmanager
def serving(content: bytes) -> Iterator[str]:
    """Serve *content* at every path; the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with suppress(ConnectionError):  # Prometheus is stopped during a scrape
                self.wfile.write(content)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


# Prometheus.


def _ask(address: str, path: str) -> Any:
    return json.loads(get(f"http://{address}/api/v1/{path}", timeout=120))["data"]


def _count(address: str) -> int:
    """Return how many keys Prometheus has."""
    result = _ask(address, f"query?query={urllib.parse.quote(COUNT)}")["result"]
    return int(result[0]["value"][1]) if result else 0


def time_count(address: str, keys: int) -> float:
    """Wait until all *keys* are scraped. Returns the seconds that counting them takes."""
    wait_until(lambda: _count(address) == keys, "every key is scraped", 300)
    seconds = []
    for _ in range(TRIES):
        start = time.perf_counter()
        _count(address)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def time_rules(address: str, keys: int) -> list[tuple[str, str, float, int]]:
    """Return group, name, time in seconds and number of alerts of each rule."""
    wait_until(lambda: _count(address) == keys, "every key is scraped", 300)
    complete = time.time()
    evaluations: dict[tuple[str, str, int], dict[str, tuple[int, float]]] = {}

    def evaluated() -> bool:
        time.sleep(1)
        for group in _ask(address, "rules")["groups"]:
            for number, rule in enumerate(group["rules"]):
                of = evaluations.setdefault((group["name"], rule["name"], number), {})
                at = rule["lastEvaluation"]
                if datetime.fromisoformat(re.sub(r"\.\d+", "", at)).timestamp() > complete:
                    of[at] = -len(rule.get("alerts", ())), rule["evaluationTime"]
        return all(len(of) >= ROUNDS for of in evaluations.values())

    wait_until(evaluated, f"every rule is evaluated {ROUNDS} times", 1800)
    # The most alerts first: what a rule needs may not have been there from the start.
    best = {key: min(of.values()) for key, of in evaluations.items()}
    return [(key[0], key[1], seconds, -alerts) for key, (alerts, seconds) in best.items()]


def copy_rules(source: Path, target: Path) -> None:
    """Copy rule files, with a short interval between evaluations."""
    target.mkdir()
    for file in source.iterdir():
        text = file.read_text(encoding="utf-8")
        (target / file.name).write_text(
            re.sub(r"(?m)^    interval: .+$", "    interval: 10s", text), encoding="utf-8"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure one round of the alert rules.")
    parser.add_argument("keys", nargs="?", type=int, default=KEYS)
    parser.add_argument("--rules", type=Path, default=RULES, help="instead of the shipped ones")
    parser.add_argument("--newer", action="store_true", help="with Prometheus 3")
    options = parser.parse_args()
    release = Release.NEWER if options.newer else Release.INSTALLED
    with tempfile.TemporaryDirectory() as name, serving(page(options.keys)) as target:
        folder = Path(name)
        rules = folder / "rules"
        configuration = CONFIGURATION.format(rules=rules, target=target)
        with prometheus(folder, configuration, release) as address:
            unit = time_count(address, options.keys)
        copy_rules(options.rules, rules)
        with prometheus(folder, configuration, release) as address:
            measured = time_rules(address, options.keys)
            recorded = len(_ask(address, "label/__name__/values?match[]={__name__=~'.*:.*'}"))
    print(
        f"\n{options.keys:,} keys: {COUNT} takes {unit * 1000:.0f} ms, the unit of what follows\n"
    )
    for group, rule, seconds, alerts in sorted(measured, key=lambda row: -row[2]):
        print(f"{seconds / unit:7.2f}  {alerts:6} alerts  {group:20} {rule}")
    total = sum(seconds for _group, _rule, seconds, _alerts in measured)
    verdict = "met" if total <= LIMIT * unit else "MISSED"
    print(f"{total / unit:7.2f}  one round of all rules, limit {LIMIT}: {verdict}")
    print(f"{recorded:7}  recorded metrics")


if __name__ == "__main__":
    main()
