"""
What Prometheus would have scraped from the exporter, of a company described as of today.

The only module of the dashboards' tests that uses the exporter's classes.
"""

import json
import random
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zlib import crc32

from exporter import aws, demo
from exporter.metrics import Counts, Exposition, Format, MetricsStore, RenderOptions, SelfMetrics
from exporter.model import (
    ACTIVE,
    NEVER,
    UNKNOWN,
    AccessKey,
    Account,
    AccountMemory,
    AccountSnapshot,
    Event,
    EventKind,
    KeyMemory,
    LastUse,
    Reason,
    ReportState,
    Root,
    Use,
    User,
)
from tests.exposition import FakeClock
from tests.servers import find

JOB = "aws-iam-key-exporter"
DAY = 86400.0
INTERVAL = 900
"""Seconds between refreshes."""

UserDescription = tuple[str, str, dict[str, str], Sequence[demo.Key]]
"""Name, path, tags and keys."""


@dataclass(frozen=True, slots=True)
class Company:
    """
    The accounts of a company, whose snapshots can be rendered as of any time.

    Attributes:
        end: Unix time as of which the users' keys are described.
        users: By account. Accounts without users cannot be read.
        stale: Names of accounts whose refreshes have been failing.
        passwords: Whether passwords are exported.
        started: The Unix time before which no refresh had finished.
        uses_known: Whether the exporter may read the last use of keys.
        root_keys: Names of accounts whose root user has an access key.
    """

    end: float
    users: dict[Account, list[UserDescription]]
    stale: frozenset[str] = frozenset()
    passwords: bool = True
    started: float = 0.0
    uses_known: bool = True
    root_keys: frozenset[str] = frozenset({"small"})

    def snapshot(self, account: Account, at: float) -> AccountSnapshot:
        """What was known about *account* at the Unix time *at*."""
        if at < self.started:
            return AccountSnapshot(account)
        refreshes = int(max(0.0, at - self.end + 90 * DAY) // INTERVAL)
        if not self.users[account]:
            return AccountSnapshot(
                account,
                finished_at=_time(at),
                failure=Reason.ASSUME_ROLE,
                seconds=0.2,
                failures={Reason.ASSUME_ROLE: refreshes},
            )
        users, keys = self._users_and_keys(account, at)
        stale = account.name in self.stale
        failures = (
            {Reason.ACCESS_DENIED: refreshes // 2, Reason.THROTTLED: refreshes // 50}
            if stale
            else {}
        )
        return AccountSnapshot(
            account,
            users,
            keys,
            root=Root(_time(at), int(account.name in self.root_keys), _time(self.end - 30 * DAY)),
            report=ReportState(_time(at - at % 14400), usable=not stale),
            listed_at=_time(at),
            read_at=_time(at - 3 * 3600 if stale else at - crc32(account.id.encode()) % INTERVAL),
            finished_at=_time(at),
            failure=Reason.ACCESS_DENIED if stale else None,
            seconds=2 + len(keys) / 5 + (at // INTERVAL) % 3 / 2,
            failures=failures,
            throttles=refreshes // 20 if len(keys) > 15 else 0,
        )

    def memory(self, snapshot: AccountSnapshot, at: float) -> AccountMemory:
        """What was remembered of an account with this *snapshot* at the Unix time *at*."""
        keys = {
            key.id: KeyMemory(
                key=key,
                user_id="",
                status_as_of=_time(at),
                inactive_since=None if key.active else _inactive_since(key, at),
            )
            for key in snapshot.keys
        }
        return AccountMemory(keys=keys, events=tuple(self._events(snapshot, at)))

    def _events(self, snapshot: AccountSnapshot, at: float) -> Iterator[Event]:
        """The events of the last day: of some keys that were used, and of all that are new."""
        for key in snapshot.keys:
            use, seed = key.last_use, crc32(key.id.encode())
            if key.created > _time(at - DAY) > _time(self.end - 80 * DAY):
                yield _event(EventKind.CREATED, key, key.created)
            if not isinstance(use, LastUse) or use.at < _time(at - DAY):
                continue
            if seed % RARE == 0 or key.user in WITH_EVENTS:
                yield _event(EventKind.AWAKENED, key, use.at, seconds=(31 + seed % 400) * DAY)
            if seed % RARE == 1:
                yield _event(EventKind.FIRST_USED, key, use.at, seconds=seed % 90 * DAY)
            if seed % RARE == 2 or key.user in WITH_EVENTS:
                yield _event(EventKind.NEW_SERVICE, key, use.at, service=use.service)
                yield _event(EventKind.NEW_REGION, key, use.at, region=use.region)
        if snapshot.account.name in self.root_keys:
            when = _time(at - 3600)
            yield Event(kind=EventKind.ROOT_USED, at=when, noticed_at=when, credential="password")

    def _users_and_keys(
        self, account: Account, at: float
    ) -> tuple[tuple[User, ...], tuple[AccessKey, ...]]:
        users, keys = [], []
        for name, path, tags, described in self.users[account]:
            created = self.end - DAY * (max((key.age for key in described), default=100.0) + 1)
            if created > at:
                continue
            users.append(
                User(
                    name,
                    path,
                    _time(created),
                    tags=tuple(tags.items()),
                    keys_at=_time(at),
                    password_last_used=_time(at - 2 * DAY) if "/people/" in path else None,
                )
            )
            for number, key in enumerate(described):
                if self.end - key.age * DAY <= at:
                    keys.append(self._key(account, name, number, key, at))
        return tuple(users), tuple(keys)

    def _key(self, account: Account, user: str, number: int, key: demo.Key, at: float) -> AccessKey:
        seed = crc32(f"{account.id}{user}{number}".encode())
        created = self.end - key.age * DAY - number
        return AccessKey(
            _key_id(seed),
            user,
            ACTIVE if key.active else "Inactive",
            _time(created),
            self._use(key, seed, created, at) if self.uses_known else UNKNOWN,
            as_of=_time(at) if self.uses_known else None,
        )

    def _use(self, key: demo.Key, seed: int, created: float, at: float) -> Use:
        if seed % 97 == 0:
            return UNKNOWN
        if key.idle is None:
            return NEVER
        last = self.end - key.idle * DAY
        if key.every is not None:
            last = at - at % max(float(INTERVAL), key.every)
        elif at < last:
            # Before its last use the key was used every day or so, occasionally from elsewhere.
            last = at - (at + seed) % (DAY * (1 + seed % 3))
        if last < created:
            return NEVER
        elsewhere = seed % 3 == 0 and int(last // (5 * DAY)) % 4 == 0
        if elsewhere and key.service != "N/A":
            return LastUse(_time(last), "sts", "us-east-1")
        return LastUse(_time(last), key.service, key.region)


WITH_EVENTS = frozenset({"ses-smtp-user.20240101"})
"""Users whose keys awoke and were used for a new service in a new region."""

RARE = 1500
"""One of so many keys that were used within a day had a certain event."""


def _event(
    kind: EventKind,
    key: AccessKey,
    at: datetime,
    *,
    seconds: float | None = None,
    service: str = "",
    region: str = "",
) -> Event:
    return Event(
        kind=kind,
        at=at,
        noticed_at=at,
        user=key.user,
        access_key_id=key.id,
        seconds=seconds,
        service=service,
        region=region,
    )


def _inactive_since(key: AccessKey, at: float) -> datetime:
    """Half of the time that the key has been idle, or has existed."""
    used = key.last_use
    since = used.at if isinstance(used, LastUse) else key.created
    return since + (_time(at) - since) / 2


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(int(at), UTC)


def _key_id(seed: int) -> str:
    return f"AKIA{random.Random(seed).getrandbits(80):020X}"[:20]


BACKUP_KEY = _key_id(crc32(f"{demo.PIPELINES}backup-20190".encode()))
"""The access key ID of the user backup-2019 of the account pipelines."""


def key_ids(company: Company, account_id: str, user: str) -> list[str]:
    """The access key IDs of a user."""
    (account,) = (each for each in company.users if each.id == account_id)
    return [key.id for key in company.snapshot(account, company.end).keys if key.user == user]


def demo_company(end: float) -> Company:
    """The demo's four accounts, one of which cannot be read."""
    names = {"people": demo.PEOPLE, "pipelines": demo.PIPELINES, "small": demo.SMALL}
    users: dict[Account, list[UserDescription]] = {Account(demo.CLOSED, "no-role"): []}
    for name, number in names.items():
        users[Account(number, name)] = list(demo._users(number))
    return Company(end, users)


def fine_company(end: float) -> Company:
    """Two accounts without findings: every key is new enough and in use."""
    users: dict[Account, list[UserDescription]] = {
        Account(number, name): [
            (f"{name}-{index}", "/", {"team": name}, [demo.Key(40, 0.1, every=3600.0)])
            for index in range(3)
        ]
        for name, number in (("one", demo.PEOPLE), ("two", demo.PIPELINES))
    }
    return Company(end, users, root_keys=frozenset())


def large_company(end: float, accounts: int, keys: int) -> Company:
    """
    *accounts* with *keys* in total, and two teams each.

    One account in fifty cannot be read.
    """
    rng = random.Random(7)
    with_data = sum(number % 50 != 49 for number in range(accounts))
    keys_per_account = -(-keys // with_data)
    users: dict[Account, list[UserDescription]] = {}
    for number in range(accounts):
        name = f"team-{number % 40:02}-{number:04}"
        account = Account(f"{100_000_000_000 + number * 7919}", name)
        left = keys_per_account if number % 50 != 49 else 0
        users[account] = []
        while left > 0:
            described = [_random_key(rng) for _ in range(min(left, 1 + (rng.random() < 0.4)))]
            left -= len(described)
            tags = {
                "team": f"team-{(number + (rng.random() < 0.2)) % 12:02}",
                "owner": f"owner-{number}@example.com",
            }
            users[account].append((f"user-{len(users[account]):04}", "/", tags, described))
    stale = frozenset(f"team-{number % 40:02}-{number:04}" for number in range(3, accounts, 100))
    return Company(end, users, stale=stale, passwords=False)


def _random_key(rng: random.Random) -> demo.Key:
    places = [
        ("s3", "eu-west-1"),
        ("ec2", "us-east-1"),
        ("ecr", "eu-central-1"),
        ("ses", "us-west-2"),
    ]
    age = rng.expovariate(1 / 200) + 0.1
    idle = None if rng.random() < 0.1 else min(age, rng.expovariate(1 / 40))
    service, region = rng.choice(places)
    active = rng.random() < 0.85
    every = 3600.0 if active and idle is not None and idle < 3 else None
    return demo.Key(age, idle, service, region, active, every)


def history(
    company: Company,
    times: Iterable[float],
    *,
    replicas: Sequence[str] = ("one:10064", "two:10064"),
    names: frozenset[str] = frozenset(),
    requests: int = 4,
    job: str = JOB,
    alerts: bool = True,
) -> Iterator[str]:
    """
    Lines of OpenMetrics with timestamps, as scraped at *times*.

    Args:
        replicas: Instances of the exporter.
        names: Families to render. Default: all.
        requests: AWS requests between two scrapes.
        job: The job of Prometheus.
        alerts: Whether some alerts fire.
    """
    operations = tuple(aws.Operation)
    self_metrics = SelfMetrics(version="1.0.0", operations=operations)
    self_metrics.configured(accounts=len(company.users), interval=INTERVAL)
    exempt_until = _time(company.end + 400 * DAY)
    options = RenderOptions(
        tags={"team": "tag_team", "owner": "tag_owner"},
        counts=Counts(by_tags=("team",)),
        passwords=company.passwords,
        exempt_until=lambda account, user, key: (
            exempt_until if "key-exporter:exempt-until" in dict(user.tags) else None
        ),
    )
    store = MetricsStore(options)
    clock = FakeClock()
    exposition = Exposition(store, self_metrics, clock)
    for scrape, at in enumerate(times):
        for account in company.users:
            snapshot = company.snapshot(account, at)
            store.publish(account, snapshot, company.memory(snapshot, at))
        for number in range(scrape * requests, (scrape + 1) * requests):
            operation = operations[number % len(operations)]
            self_metrics.observe(
                operation, 0.02 + number % 7 * 0.03, _error_code(operation, number)
            )
        clock.advance(seconds=at - clock.now().timestamp())
        body = exposition.render(Format.OPENMETRICS, names=names)
        lines = [
            line
            for line in body.decode().splitlines()
            if line[0] != "#" and not line.startswith("process_start")
        ]
        for number, instance in enumerate(replicas):
            labels = f'job="{job}",instance="{instance}"'
            for line in lines:
                yield _with_labels(line, labels, at)
            yield f"up{{{labels}}} 1 {at:.0f}\n"
            yield f"process_start_time_seconds{{{labels}}} {company.end - DAY} {at:.0f}\n"
            yield f"scrape_duration_seconds{{{labels}}} {0.02 + number / 100} {at:.0f}\n"
            yield f"scrape_samples_scraped{{{labels}}} {len(lines)} {at:.0f}\n"
            yield f"scrape_series_added{{{labels}}} {number + 1} {at:.0f}\n"
        if alerts:
            yield from _alerts(at)
    yield "# EOF\n"


def _error_code(operation: str, number: int) -> str:
    if number % 13 == 5:
        return "Throttling"
    return "AccessDenied" if operation == "AssumeRole" and number % 2 else ""


def _with_labels(line: str, labels: str, at: float) -> str:
    series, _, value = line.rpartition(" ")
    name, brace, rest = series.partition("{")
    if not brace:
        return f"{name}{{{labels}}} {value} {at:.0f}\n"
    return f"{name}{{{labels},{rest} {value} {at:.0f}\n"


def _alerts(at: float) -> Iterator[str]:
    key = 'account_id="222222222222",account="pipelines",user="backup-2019"'
    for alert, severity, labels in (
        ("AwsIamAccessKeyUnused", "warning", f'{key},access_key_id="{BACKUP_KEY}"'),
        ("AwsIamAccessKeyNotRotated", "info", f'{key},access_key_id="{BACKUP_KEY}"'),
        ("AwsIamAccessKeyNotRotated", "info", key.replace("backup-2019", "old-jenkins")),
        ("AwsIamRootAccessKeyPresent", "critical", 'account_id="333333333333",account="small"'),
        ("AwsIamExporterAccountDown", "warning", 'account_id="444444444444",account="no-role"'),
    ):
        more = f'alertname="{alert}",alertstate="firing",severity="{severity}",job="{JOB}",{labels}'
        yield f"ALERTS{{{more}}} 1 {at:.0f}\n"


def sample(name: str, labels: dict[str, str], value: str, at: float) -> str:
    """One line of OpenMetrics."""
    inner = ",".join(f"{label}={json.dumps(text)}" for label, text in labels.items())
    return f"{name}{{{inner}}} {value} {at}\n"


def write_blocks(lines: Iterable[str], folder: Path) -> None:
    """Convert OpenMetrics *lines* to Prometheus's data in *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    text = folder / "history.om"
    with text.open("w", encoding="utf-8") as file:
        file.writelines(lines)
    command = [find("promtool"), "tsdb", "create-blocks-from", "openmetrics", "--quiet"]
    subprocess.run(
        [*command, "--max-block-duration=2400h", text, folder / "data"],
        check=True,
        capture_output=True,
    )
    text.unlink()
