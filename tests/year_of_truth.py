"""
Precision and recall of the alerts over a simulated year of a company's access keys.

The company is generated with a fixed seed: regular use, absences, rotation, forgotten keys, leaks,
exemptions; and what disturbs monitoring: roles that break for days, outages of the exporter of up
to two weeks, keys whose last use is unknown. An hourly refresh goes through the exporter's memory,
which continues from its store after each outage, and through its metrics. Prometheus evaluates the
shipped expressions over what was exported, and each alert is compared with the ground truth.

    python -m tests.year_of_truth
"""

import json
import random
import re
import subprocess
import tempfile
import urllib.parse
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from exporter import memory
from exporter.metrics import MetricsStore, RenderOptions
from exporter.metrics.families import SNAPSHOT_FAMILIES
from exporter.model import (
    NEVER,
    UNKNOWN,
    AccessKey,
    Account,
    AccountMemory,
    AccountSnapshot,
    Event,
    LastUse,
    ReadError,
    Reason,
    Root,
    User,
)
from exporter.store import Store
from tests.builders import NOON, FakeClock
from tests.rules.files import rules
from tests.rules.scenarios import DAY, HOUR
from tests.servers import find, free_port, get, wait_until

STEP = HOUR
"""Seconds between refreshes, and between samples."""

MONTH = 30 * DAY

BEGIN = 1_700_006_400
END = BEGIN + 365 * DAY
TIMES = range(BEGIN, END, STEP)

Subject = tuple[str, str]
"""What an alert is about: (account, key or root credential), with the region or service if new."""


# -- ground truth ------------------------------------------------------------------------------


@dataclass(slots=True)
class Key:
    """
    The history of a key. Times are in seconds since 1970.

    Attributes:
        uses: (time, service, region), in order of time.
        deactivated: None: never.
        unknown_until: Until then its last use could not be read.
    """

    account: str
    user: str
    id: str
    created: int
    uses: list[tuple[int, str, str]] = field(default_factory=list)
    deactivated: int | None = None
    deleted: int = END + DAY
    exempt_until: int | None = None
    unknown_until: int = 0

    def exists(self, at: int) -> bool:
        return self.created <= at < self.deleted

    def active(self, at: int) -> bool:
        return self.exists(at) and (self.deactivated is None or at < self.deactivated)

    def exempt(self, at: int) -> bool:
        return self.exempt_until is not None and at < self.exempt_until

    def last_use(self, at: int) -> tuple[int, str, str] | None:
        number = bisect_right(self.uses, at, key=lambda use: use[0])
        return self.uses[number - 1] if number else None


@dataclass(slots=True)
class Company:
    """
    The keys of a company, and when they could not be monitored.

    Attributes:
        failures: (start, end) during which an account's role is broken, by account.
        outages: (start, end) during which nothing is scraped.
        root_uses: When the root user signed in, by account.
    """

    keys: list[Key]
    failures: dict[str, list[tuple[int, int]]]
    outages: list[tuple[int, int]]
    root_uses: dict[str, list[int]]

    def is_scraped(self, at: int) -> bool:
        return not any(start <= at < end for start, end in self.outages)

    def is_refreshed(self, account: str, at: int) -> bool:
        """Return whether a successful refresh of *account* is scraped *at* this time."""
        return self.is_scraped(at) and not any(a <= at < b for a, b in self.failures[account])

    def previous_refresh(self, account: str, at: int) -> int:
        """Return the time of the last successful refresh before *at*; BEGIN if there is none."""
        earlier = reversed(TIMES[: bisect_left(TIMES, at)])
        return next((time for time in earlier if self.is_refreshed(account, time)), BEGIN)

    def next_refresh(self, account: str, at: int) -> int:
        """Return the time of the first successful refresh from *at* on; END if there is none."""
        later = TIMES[bisect_left(TIMES, at) :]
        return next((time for time in later if self.is_refreshed(account, time)), END)

    def reported_at(self, key: "Key", number: int, which: int) -> int | None:
        """
        Return when a refresh first had a use of *key* in the place of its use *number*.

        Args:
            which: 1: the service counts, 2: the region.

        Returns:
            None if AWS never reported one: it reports the latest use only.
        """
        place = key.uses[number][which]
        for use in key.uses[number:]:
            seen = self.next_refresh(key.account, use[0])
            reported = key.last_use(seen)
            if use[which] == place and reported is not None and reported[which] == place:
                return seen if seen < END and key.exists(seen) else None
        return None


def company(keys: int = 120, accounts: int = 5) -> Company:
    """Generate a company with about this many *keys* at any time."""
    rng = random.Random(20260401)
    names = [f"{number:012}" for number in range(1, accounts + 1)]
    generated: list[Key] = []
    lives = [
        *[_machine] * 6,
        *[_person] * 5,
        *[_rotated] * 4,
        *[_forgotten] * 2,
        *[_leaked] * 2,
        *[_rare] * 2,
        *[_unused] * 2,
        _not_deleted,
        _exempt,
    ]
    for number in range(keys):
        life = lives[number % len(lives)]
        account = names[number % accounts]
        for key in life(rng, f"{life.__name__[1:]}-{number}"):
            key.account, key.id = account, f"AKIA{len(generated):04}"
            key.uses = sorted(use for use in key.uses if key.active(use[0]) and use[0] < END)
            generated.append(key)
    failures = {name: _spans(rng, 3, 6 * DAY) for name in names}
    roots = {name: sorted(_moments(rng, 2)) for name in names}
    longest = BEGIN + 260 * DAY, BEGIN + 274 * DAY
    return Company(generated, failures, [*_spans(rng, 4, 14 * DAY), longest], roots)


def _moments(rng: random.Random, count: int) -> list[int]:
    return [BEGIN + rng.randrange(10 * DAY, 350 * DAY) for _ in range(count)]


def _spans(rng: random.Random, count: int, longest: int) -> list[tuple[int, int]]:
    return [(at, at + rng.randrange(STEP, longest)) for at in _moments(rng, count)]


def _life(
    rng: random.Random,
    start: int,
    end: int,
    every: float,
    places: Iterable[tuple[str, str]] = (("s3", "eu-west-1"),),
) -> list[tuple[int, str, str]]:
    """Return random uses from *start* to *end*, *every* so many seconds on average."""
    choice = list(places)
    uses, at = [], float(start)
    while at < end:
        uses.append((int(at), *rng.choice(choice)))
        at += rng.expovariate(1 / every) + 15 * 60
    return uses


def _key(user: str, created: int, **facts: Any) -> Key:
    return Key("", user, "", created, **facts)


def _before_begin(rng: random.Random, least: int, most: int) -> int:
    return BEGIN - rng.randrange(least, most)


def _machine(rng: random.Random, user: str) -> Iterator[Key]:
    """A key is in constant use; some start to be used for another service."""
    created = _before_begin(rng, 10 * DAY, 900 * DAY)
    uses = _life(rng, created, END, 5 * HOUR, [("s3", "eu-west-1"), ("sqs", "eu-west-1")])
    if rng.random() < 0.4:
        new = BEGIN + rng.randrange(40 * DAY, 300 * DAY)
        uses += _life(rng, new, END, 5 * HOUR, [("dynamodb", "eu-west-1")])
    yield _key(user, created, uses=uses[-3000:])


def _person(rng: random.Random, user: str) -> Iterator[Key]:
    """A person works for some weeks, then is away for up to two months, and so on."""
    created = at = _before_begin(rng, 10 * DAY, 300 * DAY)
    uses = []
    while at < END:
        end = at + rng.randrange(20 * DAY, 90 * DAY)
        uses += _life(rng, at, end, DAY, [("ec2", "us-east-1")])
        at = end + rng.randrange(5 * DAY, 60 * DAY)
    yield _key(user, created, uses=uses)


def _rotated(rng: random.Random, user: str) -> Iterator[Key]:
    """A key is rotated every two or three months; sometimes the old one is forgotten."""
    at = _before_begin(rng, DAY, 80 * DAY)
    while at < END:
        end = at + rng.randrange(60 * DAY, 85 * DAY)
        key = _key(user, at, uses=_life(rng, at + HOUR, end + DAY, 8 * HOUR))
        if rng.random() < 0.75:
            key.deactivated = end + 7 * DAY
            key.deleted = end + 20 * DAY
        else:
            key.deleted = end + 150 * DAY
        yield key
        at = end


def _forgotten(rng: random.Random, user: str) -> Iterator[Key]:
    """A key is no longer used from some day on; half of them are noticed and removed."""
    created = _before_begin(rng, 100 * DAY, 900 * DAY)
    end = BEGIN + rng.randrange(-80 * DAY, 200 * DAY)
    key = _key(user, created, uses=_life(rng, max(created, end - 200 * DAY), end, DAY))
    if rng.random() < 0.5:
        key.deactivated = end + rng.randrange(95 * DAY, 140 * DAY)
        key.deleted = key.deactivated + rng.randrange(15 * DAY, 200 * DAY)
    yield key


def _leaked(rng: random.Random, user: str) -> Iterator[Key]:
    """A key, dormant or in use, is stolen, and the thief tries out what it is good for."""
    created = _before_begin(rng, 150 * DAY, 900 * DAY)
    theft = BEGIN + rng.randrange(20 * DAY, 340 * DAY)
    end = theft - rng.randrange(95 * DAY, 300 * DAY) if rng.random() < 0.7 else END
    uses = _life(rng, max(created, end - 200 * DAY), max(end, created + DAY), 12 * HOUR)
    stolen = [("iam", "us-east-1"), ("ec2", "ap-east-1"), ("s3", "ap-east-1")]
    uses += _life(rng, theft, theft + rng.randrange(HOUR, 5 * DAY), 4 * HOUR, stolen)
    yield _key(user, created, uses=uses)


def _rare(rng: random.Random, user: str) -> Iterator[Key]:
    """A job runs about once a quarter, at intervals slightly below or above 90 days."""
    at = created = _before_begin(rng, 100 * DAY, 300 * DAY)
    uses = []
    while at < END:
        uses.append((at, "s3", "eu-west-1"))
        at += rng.choice([80, 89, 92, 120]) * DAY + rng.randrange(DAY)
    yield _key(user, created, uses=uses)


def _unused(rng: random.Random, user: str) -> Iterator[Key]:
    """A key is created for later; some are eventually used."""
    created = BEGIN + rng.randrange(-20 * DAY, 200 * DAY)
    key = _key(user, created)
    if rng.random() < 0.7:
        first = created + rng.randrange(2 * DAY, 120 * DAY)
        key.uses = _life(rng, first, END, 2 * DAY)
    if rng.random() < 0.3:
        key.unknown_until = created + 50 * DAY
        key.uses = [use for use in key.uses if use[0] < created + 20 * DAY]
    yield key


def _not_deleted(rng: random.Random, user: str) -> Iterator[Key]:
    """A key is deactivated and never deleted."""
    created = _before_begin(rng, 100 * DAY, 300 * DAY)
    end = BEGIN + rng.randrange(-60 * DAY, 200 * DAY)
    yield _key(user, created, uses=_life(rng, created, end, DAY), deactivated=end + DAY)


def _exempt(rng: random.Random, user: str) -> Iterator[Key]:
    """A key for emergencies is exempt until a date, and is used once before it."""
    created = _before_begin(rng, 200 * DAY, 300 * DAY)
    until = BEGIN + rng.randrange(50 * DAY, 300 * DAY)
    uses = [(created + DAY, "iam", "N/A"), (until - 20 * DAY, "iam", "N/A")]
    yield _key(user, created, uses=uses, exempt_until=until)


# -- what is exported --------------------------------------------------------------------------


OPTIONS = memory.Options(
    shown_for=timedelta(days=1), min_idle=timedelta(days=30), learning=timedelta(days=7)
)


def _time(at: int) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _root(company: Company, account: str, at: int) -> Root:
    uses = [time for time in company.root_uses[account] if time <= at]
    return Root(_time(at), 0, _time(uses[-1]) if uses else None, None, _time(at))


def refreshed(company: Company, before: AccountSnapshot, at: int) -> AccountSnapshot:
    """Return the snapshot of a refresh of an account *at* this time."""
    account, now = before.account.id, _time(at)
    if not company.is_refreshed(account, at):
        failed = before.failed(ReadError(Reason.ACCESS_DENIED, "not authorized"))
        return replace(failed, finished_at=now)
    keys = [key for key in company.keys if key.account == account and key.exists(at)]
    created = {key.user: key.created for key in company.keys if key.account == account}
    users = tuple(
        User(name, "/", _time(first - DAY), id=name, keys_at=now, keys_as_of=now)
        for name, first in created.items()
    )
    return replace(
        before,
        users=users,
        keys=tuple(_access_key(key, at) for key in sorted(keys, key=lambda key: key.user)),
        root=_root(company, account, at),
        listed_at=now,
        read_at=now,
        finished_at=now,
        failure=None,
        error="",
    )


def _access_key(key: Key, at: int) -> AccessKey:
    status = "Active" if key.active(at) else "Inactive"
    known, use = at >= key.unknown_until, key.last_use(at)
    return AccessKey(
        key.id,
        key.user,
        status,
        _time(key.created),
        UNKNOWN if not known else NEVER if use is None else LastUse(_time(use[0]), *use[1:]),
        _time(at) if known else None,
    )


def _keep(known: AccountMemory, _: AccountMemory | None) -> tuple[AccountMemory, Sequence[Event]]:
    return known, known.events


class Exporter:
    """
    What the exporter does in the year: it refreshes, remembers, stores and renders.

    Args:
        path: Where its state is while it is down.
        families: The names of the metrics that are wanted.
    """

    def __init__(self, company: Company, path: Path, families: frozenset[str]) -> None:
        self._company = company
        self._path = path
        self._exempt = {key.id: key.exempt_until for key in company.keys if key.exempt_until}
        self._families = families
        self._snapshots = {
            account: AccountSnapshot(Account(account, account)) for account in company.failures
        }
        self._memories = dict.fromkeys(company.failures, AccountMemory())
        self._samples = self._new_samples()

    def _new_samples(self) -> MetricsStore:
        options = RenderOptions(exempt_until=lambda account, user, key: self._exempt_until(key))
        return MetricsStore(
            options,
            families=[family for family in SNAPSHOT_FAMILIES if family.name in self._families],
        )

    def _exempt_until(self, key: AccessKey) -> datetime | None:
        until = self._exempt.get(key.id)
        return None if until is None else _time(until)

    def refresh(self, at: int) -> Iterator[str]:
        """Refresh every account, and yield the samples of a scrape."""
        for account, before in self._snapshots.items():
            snapshot = refreshed(self._company, before, at)
            known, _ = memory.remember(self._memories[account], snapshot, OPTIONS)
            self._snapshots[account], self._memories[account] = snapshot, known
            self._samples.publish(snapshot.account, snapshot, known)
        for _, of_family in self._samples.samples():
            for lines in of_family:
                assert isinstance(lines, bytes), "rules use no ages"
                text = lines.decode().replace("{", '{job="j",instance="a",')
                yield text.replace("\n", f" {at}\n")

    def _open(self, at: int) -> Store:
        clock = FakeClock()
        clock.advance(seconds=at - NOON.timestamp())
        shown_for = OPTIONS.shown_for
        return Store(self._path, keep_events=timedelta(days=400), shown_for=shown_for, clock=clock)

    def stop(self, at: int) -> None:
        """Keep nothing but what is stored."""
        store = self._open(at)
        for account, snapshot in self._snapshots.items():
            known = self._memories[account]
            store.save(snapshot, 0, partial(_keep, known))
        store.close()
        self._snapshots, self._memories = {}, {}

    def start(self, at: int) -> None:
        """Continue with what is stored."""
        store = self._open(at)
        for stored in store.load(self._company.failures):
            account = stored.snapshot.account.id
            self._snapshots[account], self._memories[account] = stored.snapshot, stored.memory
        store.close()
        self._samples = self._new_samples()


def expositions(company: Company, path: Path, families: frozenset[str]) -> Iterator[list[str]]:
    """Yield what Prometheus would have scraped, as OpenMetrics, a month at a time."""
    exporter, running, page = Exporter(company, path, families), True, list[str]()
    for at in TIMES:
        if company.is_scraped(at):
            if not running:
                exporter.start(at)
            page += exporter.refresh(at)
        elif running:
            exporter.stop(at)
        running = company.is_scraped(at)
        if (at - BEGIN) % MONTH == MONTH - STEP or at == TIMES[-1]:
            yield [*page, "# EOF\n"]
            page = []


def expressions() -> dict[str, str]:
    """Return the expression of each alert, as shipped, also of those that are optional."""
    return {rule["alert"]: rule["expr"] for rule in rules("alert")}


# -- comparison --------------------------------------------------------------------------------

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Score:
    """
    Counts of spans.

    Attributes:
        true: Spans in which the alert should fire.
        fired: Spans in which it fired.
        found: True spans in which it fired.
        right: Fired spans that match a true one.
    """

    true: int
    fired: int
    found: int
    right: int

    @property
    def recall(self) -> float:
        return self.found / self.true if self.true else 1.0

    @property
    def precision(self) -> float:
        return self.right / self.fired if self.fired else 1.0


def spans(times: Iterable[int], breaks: Callable[[int], bool] = lambda at: True) -> list[Span]:
    """Join consecutive *times* into spans; a gap is bridged unless one of its steps *breaks* it."""
    joined: list[Span] = []
    for at in times:
        if joined and not any(map(breaks, range(joined[-1][1] + STEP, at, STEP))):
            joined[-1] = joined[-1][0], at
        else:
            joined.append((at, at))
    return joined


def score(true: dict[Subject, list[Span]], fired: dict[Subject, list[Span]]) -> Score:
    """Compare spans by subject: two match if they overlap, and each matches at most one other."""
    found = right = 0
    for subject, expected in true.items():
        found += sum(
            any(_overlap(span, other) for other in fired.get(subject, [])) for span in expected
        )
    for subject, alerts in fired.items():
        rest = list(true.get(subject, []))
        for span in alerts:
            match = next((other for other in rest if _overlap(span, other)), None)
            if match is not None:
                rest.remove(match)
                right += 1
    return Score(sum(map(len, true.values())), sum(map(len, fired.values())), found, right)


def _overlap(one: Span, other: Span) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


State = Callable[[Key, int], bool]


def _unused_since(days: int, until: int = END) -> State:
    def holds(key: Key, at: int) -> bool:
        use = key.last_use(at)
        return use is not None and days * DAY < at - use[0] <= until * DAY

    return holds


def states(company: Company) -> dict[str, dict[Subject, list[Span]]]:
    """Return when each hygiene alert should fire, by alert: where a refresh could notice it."""
    by_user: dict[tuple[str, str], list[Key]] = {}
    for key in company.keys:
        by_user.setdefault((key.account, key.user), []).append(key)

    def is_safe(key: Key, at: int) -> bool:
        use = key.last_use(at)
        since = use[0] if use else key.created
        active = (other for other in by_user[key.account, key.user] if other.active(at))
        uses = [use[0] for use in (other.last_use(at) for other in active) if use is not None]
        return max(uses, default=since) - since > 30 * DAY

    def is_not_deleted(key: Key, at: int) -> bool:
        assert key.deactivated is not None
        use = key.last_use(at)
        idle_since = use[0] if use else key.created
        seen = company.next_refresh(key.account, max(key.deactivated, BEGIN))
        return at - idle_since > 90 * DAY and at - seen > 14 * DAY

    active: dict[str, State] = {
        "AwsIamAccessKeyIdle": _unused_since(60, 90),
        "AwsIamAccessKeyUnused": _unused_since(90),
        "AwsIamAccessKeyNeverUsed": lambda key, at: (
            key.last_use(at) is None and at - key.created > 30 * DAY
        ),
        "AwsIamAccessKeyRotationDue": lambda key, at: 80 * DAY < at - key.created <= 90 * DAY,
        "AwsIamAccessKeyNotRotated": lambda key, at: at - key.created > 90 * DAY,
        "AwsIamAccessKeySafeToDelete": is_safe,
    }
    truth: dict[str, dict[Subject, list[Span]]] = {
        name: {} for name in (*active, "AwsIamAccessKeyInactiveNotDeleted")
    }
    for key in company.keys:
        held: dict[str, list[int]] = {name: [] for name in truth}
        for at in TIMES:
            if not key.exists(at) or key.exempt(at) or at < key.unknown_until:
                continue
            if key.active(at):
                for name, holds in active.items():
                    if holds(key, at):
                        held[name].append(at)
            elif is_not_deleted(key, at):
                held["AwsIamAccessKeyInactiveNotDeleted"].append(at)
        for name, times in held.items():
            seen = [
                (start, company.next_refresh(key.account, end + 1))
                for start, end in spans(times)
                if company.next_refresh(key.account, start) <= end
            ]
            if seen:
                truth[name][key.account, key.id] = seen
    return truth


def events(company: Company) -> dict[str, dict[Subject, list[Span]]]:
    """
    Return events by security alert: from when they happened to a day after they were noticed.

    A key was idle for as long as refreshes have proven, and its first use is the first one that AWS
    reported to a refresh. A new service or region counts if AWS ever reported a use of it.
    """
    truth: dict[str, dict[Subject, list[Span]]] = {
        f"AwsIam{name}": {}
        for name in (
            *("AccessKeyAwakened", "AccessKeyFirstUse", "AccessKeyCreated"),
            *("AccessKeyNewRegion", "AccessKeyNewService", "RootUsed"),
        )
    }

    def add(name: str, account: str, subject: str, at: int, reported_at: int | None = None) -> None:
        seen = company.next_refresh(account, at) if reported_at is None else reported_at
        if seen < END:
            span = at, seen + DAY
            truth[f"AwsIam{name}"].setdefault((account, subject), []).append(span)

    for key in company.keys:
        if key.created > BEGIN and key.exists(company.next_refresh(key.account, key.created)):
            add("AccessKeyCreated", key.account, key.id, key.created)
        for number, (at, *place) in enumerate(key.uses):
            seen = company.next_refresh(key.account, at)
            if at < BEGIN + STEP or not key.exists(seen):
                continue
            if number == 0:
                reported = key.last_use(seen)
                was_known = company.previous_refresh(key.account, at) >= key.created
                assert reported is not None
                if reported[0] - key.created > 30 * DAY and at >= key.unknown_until and was_known:
                    add("AccessKeyFirstUse", key.account, key.id, at)
                continue
            idle_since = key.uses[number - 1][0]
            if company.previous_refresh(key.account, at) - idle_since > 90 * DAY:
                add("AccessKeyAwakened", key.account, key.id, at)
            watched = bisect_left(key.uses, BEGIN, key=lambda use: use[0])
            before = key.uses[max(0, min(watched, number) - 1) : number]
            since = company.next_refresh(key.account, max(key.created, BEGIN, key.unknown_until))
            for name, which in (("AccessKeyNewService", 1), ("AccessKeyNewRegion", 2)):
                if key.uses[number][which] in {use[which] for use in before}:
                    continue
                reported_at = company.reported_at(key, number, which)
                if reported_at is not None and reported_at - since >= 7 * DAY:
                    add(name, key.account, f"{key.id} {place[which - 1]}", at, reported_at)
    for account, times in company.root_uses.items():
        for at in times:
            add("RootUsed", account, "password", at)
    return truth


# -- evaluation --------------------------------------------------------------------------------


def query(address: str, expression: str, company: Company) -> dict[Subject, list[Span]]:
    """Return when *expression* held in the year, by subject."""
    parameters = {"query": expression, "start": BEGIN, "end": END - STEP, "step": STEP}
    url = f"http://{address}/api/v1/query_range?{urllib.parse.urlencode(parameters)}"
    held: dict[Subject, list[Span]] = {}
    for sample in json.loads(get(url, timeout=120))["data"]["result"]:
        labels = sample["metric"]
        rest = ("access_key_id", "credential", "service", "region")
        what = " ".join(labels[name] for name in rest if name in labels)
        times = [int(at) for at, _ in sample["values"]]
        held[labels["account_id"], what] = spans(times, company.is_scraped)
    return held


def evaluate(folder: Path) -> dict[str, Score]:
    """Generate the year in *folder*, evaluate the alerts over it, and return a score for each."""
    generated = company()
    by_alert = expressions()
    families = frozenset(re.findall(r"\baws_iam_[a-z_]+", " ".join(by_alert.values())))
    page = folder / "month.om"
    command = [find("promtool"), "tsdb", "create-blocks-from", "openmetrics"]
    command += ["--max-block-duration=768h", str(page), str(folder / "data")]
    for lines in expositions(generated, folder / "state.db", families):
        page.write_text("".join(lines), encoding="utf-8")
        subprocess.run(command, check=True, capture_output=True)
    page.unlink()
    with _prometheus(folder) as address:
        truth = states(generated) | events(generated)
        with ThreadPoolExecutor(2) as pool:
            fired = pool.map(lambda name: query(address, by_alert[name], generated), truth)
            return {name: score(truth[name], of) for name, of in zip(truth, fired, strict=True)}


@contextmanager
def _prometheus(folder: Path) -> Iterator[str]:
    """Run a Prometheus that keeps the year, with a lookback of one step; yield its address."""
    (folder / "prometheus.yml").touch()
    address = f"127.0.0.1:{free_port()}"
    command = [
        find("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=100y",
        f"--query.lookback-delta={STEP - 1}s",
        f"--web.listen-address={address}",
        "--log.level=error",
    ]
    with subprocess.Popen(command) as process:
        try:
            wait_until(lambda: get(f"http://{address}/-/ready"), "Prometheus is ready", 60)
            yield address
        finally:
            process.terminate()


def table(scores: dict[str, Score]) -> str:
    rows = ["| alert | true | fired | precision | recall |", "|---|---|---|---|---|"]
    for name, of in scores.items():
        ratios = f"{of.precision:.3f} | {of.recall:.3f}"
        rows.append(f"| `{name}` | {of.true} | {of.fired} | {ratios} |")
    return "\n".join(rows)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        print(table(evaluate(Path(temporary))))
