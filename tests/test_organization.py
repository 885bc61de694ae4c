"""An organization whose accounts come, go and change while the exporter reads them."""

import gc
import json
import logging
import random
import re
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from exporter.cli.application import Application
from exporter.config.load import parse
from exporter.metrics import Format, SelfMetrics
from exporter.model import Account
from exporter.sharding import Shard
from tests.builders import (
    MONITORING,
    NOON,
    PROD,
    ROLE,
    TEST,
    FakeClock,
    before_answer,
    environment,
)
from tests.fake_aws import FakeAws, Fault
from tests.fake_aws.organizations import Member, Organization, Unit
from tests.servers import exporter, wait_until
from tests.stateful import Page

ACCOUNT_UP: Final = "aws_iam_exporter_account_up"
INTERVAL: Final = timedelta(minutes=30)


# -- the exporter ------------------------------------------------------------------------------


class Stop(threading.Event):
    """A stop event on which only the overseer really waits; for all others it takes no time."""

    def wait(self, timeout: float | None = None) -> bool:
        if threading.current_thread().name == "overseer":
            return super().wait(timeout)
        return self.is_set()


class Running:
    """
    The exporter as the program builds it. It discovers accounts when a test says so.

    Args:
        state: Where it keeps its state. None: nowhere.
        sections: More of the configuration, whose section `organization` they replace in part.
    """

    def __init__(
        self,
        clock: FakeClock,
        url: str,
        state: Path | None = None,
        *,
        organization: Mapping[str, Any] | None = None,
        collection: Mapping[str, Any] | None = None,
        shard: Shard = Shard(),  # noqa: B008 (immutable)
        **sections: Any,
    ) -> None:
        urls = dict.fromkeys(("iam", "sts", "organizations"), url)
        config = parse(
            json.dumps(
                {
                    "aws": {"region": "us-east-1", "endpoint_urls": urls},
                    "organization": {"role_name": ROLE, **(organization or {})},
                    "collection": {
                        "interval": "30m",
                        "workers": 8,
                        "requests_per_second": 1_000_000,
                        "burst": 1_000_000,
                        "credential_report": "off",
                        **(collection or {}),
                    },
                    **({"state": {"path": str(state)}} if state else {}),
                    **sections,
                }
            ),
            "config.yaml",
            {},
        )
        self._clock = clock
        self._stop = Stop()
        self._self_metrics = SelfMetrics(version="test", process=False)
        self.application = Application(
            config, stop=self._stop, clock=clock, self_metrics=self._self_metrics, shard=shard
        )

    def start(self) -> None:
        self.application.restore()
        self.application.scheduler.start()

    def discover(self) -> bool:
        """Discover accounts once."""
        accounts = self.application.accounts
        assert accounts._discovery is not None
        return accounts.discover(accounts._discovery)

    def wait_until_idle(self) -> None:
        """Wait until no account is due or being refreshed."""
        with self.application.scheduler._due:
            self.application.scheduler._due.notify_all()  # the clock may have moved
        wait_until(self._is_idle, "all accounts that are due are refreshed", 100)

    def pass_time(self, **by: float) -> None:
        """Advance the clock and wait until all accounts that are due are refreshed."""
        self._clock.advance(**by)
        self.wait_until_idle()

    def end(self) -> None:
        """End as the program does; the store can be opened again."""
        self.application.scheduler.stop()
        store = self.application.recorder._store
        if store is not None:
            store.close()

    @property
    def page(self) -> Page:
        return Page(self.application.exposition.render(Format.TEXT).decode())

    @property
    def account_ids(self) -> list[str]:
        """The ids of the accounts that are read, sorted. Empty: not known yet."""
        snapshots = self.application.scheduler.snapshots()
        return sorted(snapshot.account.id for snapshot, _ in snapshots)

    @property
    def discovery_up(self) -> float | None:
        return self.page.value("aws_iam_exporter_discovery_up")

    def up(self) -> dict[str, float]:
        """The accounts on the page, with whether they are up, by id."""
        samples = self.page.samples(ACCOUNT_UP)
        by_id = {labels["account_id"]: value for labels, value in samples}
        assert len(samples) == len(by_id), "an account is there twice"
        return by_id

    def names(self) -> dict[str, str]:
        """The label `account` of every account on the page, by id."""
        samples = self.page.samples(ACCOUNT_UP)
        return {labels["account_id"]: labels["account"] for labels, _ in samples}

    def _is_idle(self) -> bool:
        return all(seconds for _, seconds in self.application.scheduler.snapshots())


Run = Callable[..., Running]


@pytest.fixture
def run(aws: FakeAws, clock: FakeClock, tmp_path: Path) -> Iterator[Run]:
    """Build exporters that keep their state in one file and call from the management account."""
    exporters: list[Running] = []

    def run(*, stored: bool = True, **sections: Any) -> Running:
        state = tmp_path / "state.db" if stored else None
        exporters.append(Running(clock, aws.url, state, **sections))
        exporters[-1].start()
        return exporters[-1]

    with environment(aws.environment(MONITORING)):
        yield run
        for one in exporters:
            one.end()


@pytest.fixture
def organization(aws: FakeAws) -> Organization:
    """An organization whose management account is the one that calls."""
    aws.account(MONITORING).role(ROLE)
    return aws.organization(MONITORING)


def join(aws: FakeAws, id_: str, name: str = "", parent: Unit | None = None, **more: Any) -> Member:
    """Let an account with the role, and one key, join the organization."""
    account = aws.account(id_)
    account.role(ROLE)
    if not account.users:
        account.add_user("alice").add_key().use("s3", "eu-west-1", at=NOON)
    return aws.organization().add_account(id_, name or f"account-{id_}", parent, **more)


def ended_in(state: Path) -> dict[str, bool]:
    """Whether each account in the store has an end date, by id."""
    with closing(sqlite3.connect(f"{state.as_uri()}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT account_id, ended_at IS NOT NULL FROM accounts")
        return {id_: bool(ended) for id_, ended in rows}


# -- accounts that come, go and change ---------------------------------------------------------


def test_accounts_come_and_go(aws: FakeAws, organization: Organization, run: Run) -> None:
    """What joins is read after the next discovery, what is closed no longer is."""
    first = join(aws, PROD)
    exporter = run()
    assert exporter.discover()
    exporter.pass_time(minutes=2)
    before = exporter.up()
    first.state = "CLOSED"
    join(aws, TEST)

    assert exporter.discover()
    exporter.pass_time(minutes=2)

    assert before == {MONITORING: 1, PROD: 1}
    assert exporter.up() == {MONITORING: 1, TEST: 1}


def test_a_renamed_account(
    aws: FakeAws, organization: Organization, run: Run, tmp_path: Path
) -> None:
    """A new name replaces the label `account`. Facts and memory stay, and nothing has happened."""
    member = join(aws, PROD, "old")
    exporter = run()
    exporter.discover()
    exporter.pass_time(minutes=2)
    facts = [line for line in exporter.page.facts if PROD in line]
    member.name = "new"

    exporter.discover()
    at_once = [line for line in exporter.page.facts if PROD in line]
    exporter.pass_time(minutes=46)

    assert at_once == [line.replace('account="old"', 'account="new"') for line in facts]
    assert exporter.names()[PROD] == "new"
    assert exporter.up()[PROD] == 1
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (0,)


def test_accounts_of_the_same_name(aws: FakeAws, organization: Organization, run: Run) -> None:
    """Names need not be unique in an organization: the series differ by the account's id."""
    for id_ in (PROD, TEST):
        join(aws, id_, "twin")
    exporter = run()

    exporter.discover()
    exporter.pass_time(minutes=2)

    page = exporter.page.text.splitlines()
    series = [line.rsplit(maxsplit=1)[0] for line in page if not line.startswith("#")]
    assert exporter.names() == {MONITORING: "management", PROD: "twin", TEST: "twin"}
    assert exporter.up() == {MONITORING: 1, PROD: 1, TEST: 1}
    assert [one for one, count in Counter(series).items() if count > 1] == []


def test_accounts_swap_their_names(aws: FakeAws, organization: Organization, run: Run) -> None:
    """If two accounts swap their names, each keeps its own facts."""
    one, other = join(aws, PROD, "one"), join(aws, TEST, "other")
    exporter = run()
    exporter.discover()
    exporter.pass_time(minutes=2)
    before = exporter.page.by_key("aws_iam_access_key_created_timestamp_seconds")
    one.name, other.name = other.name, one.name

    exporter.discover()
    exporter.pass_time(minutes=46)

    assert exporter.names() == {MONITORING: "management", PROD: "other", TEST: "one"}
    assert exporter.up() == {MONITORING: 1, PROD: 1, TEST: 1}
    assert exporter.page.by_key("aws_iam_access_key_created_timestamp_seconds") == before


def test_renamed_while_it_is_refreshed(aws: FakeAws, organization: Organization, run: Run) -> None:
    """An account that is renamed right while its role is assumed is still read."""
    member = join(aws, PROD, "old")
    exporter = run()

    def rename() -> None:
        member.name = "new"
        assert exporter.discover()

    with before_answer(aws, "AssumeRole", rename):
        exporter.discover()
        exporter.pass_time(minutes=2)
    exporter.pass_time(minutes=46)

    assert exporter.names()[PROD] == "new"
    assert exporter.up()[PROD] == 1
    assert {account.name for account in sessions_of(exporter)} == {"management", "new"}


def test_closed_while_it_is_refreshed(aws: FakeAws, organization: Organization, run: Run) -> None:
    """Of an account that is closed right while its role is assumed, nothing is kept."""
    member = join(aws, PROD)
    exporter = run()

    def close() -> None:
        member.state = "CLOSED"
        assert exporter.discover()

    with before_answer(aws, "AssumeRole", close):
        exporter.discover()
        exporter.pass_time(minutes=2)
    wait_until(lambda: len(sessions_of(exporter)) == 1, "its session is released")
    exporter.pass_time(minutes=46)

    assert exporter.up() == {MONITORING: 1}
    assert sizes(exporter) == dict.fromkeys(sizes(exporter), 1) | {"reported exemptions": 0}


# -- failures ----------------------------------------------------------------------------------


@contextmanager
def failing(aws: FakeAws, code: str | None = None, *, reset: bool = False) -> Iterator[None]:
    fault = aws.fault(Fault(operation="ListAccounts", code=code, reset=reset))
    yield
    aws.remove_fault(fault)


@contextmanager
def without_accounts(organization: Organization) -> Iterator[None]:
    members, organization.members = organization.members, {}
    yield
    organization.members = members


@contextmanager
def without_states(organization: Organization) -> Iterator[None]:
    organization.with_state = organization.with_status = False
    yield
    organization.with_state = organization.with_status = True


@contextmanager
def suspended(organization: Organization) -> Iterator[None]:
    states = {member: member.state for member in organization.members.values()}
    for member in states:
        member.state = "SUSPENDED"
    yield
    for member, state in states.items():
        member.state = state


FAILURES: Final[Mapping[str, Callable[[FakeAws], Any]]] = {
    "throttled": lambda aws: failing(aws, "TooManyRequestsException"),
    "denied": lambda aws: failing(aws, "AccessDeniedException"),
    "away": lambda aws: failing(aws, reset=True),
    "empty": lambda aws: without_accounts(aws.organization()),
    "neither State nor Status": lambda aws: without_states(aws.organization()),
    "all suspended": lambda aws: suspended(aws.organization()),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failed_discovery(
    aws: FakeAws, organization: Organization, run: Run, tmp_path: Path, failure: str
) -> None:
    """If discovery fails, the accounts known so far are refreshed, until it works again."""
    join(aws, PROD)
    exporter = run()
    exporter.discover()
    exporter.pass_time(minutes=2)
    up = [exporter.discovery_up]

    with FAILURES[failure](aws):
        assert not exporter.discover()
        up.append(exporter.discovery_up)
        aws.reset_calls()
        exporter.pass_time(minutes=46)
        called = {account for account, _ in aws.calls}
        during = exporter.up()
    join(aws, TEST)
    assert exporter.discover()
    exporter.pass_time(minutes=2)
    up.append(exporter.discovery_up)

    assert up == [1, 0, 1]
    assert during == {MONITORING: 1, PROD: 1}
    assert called == {MONITORING, PROD}
    assert exporter.up() == {MONITORING: 1, PROD: 1, TEST: 1}
    assert not any(ended_in(tmp_path / "state.db").values())


# -- restarts ----------------------------------------------------------------------------------


def test_a_restart_while_organizations_is_away(
    aws: FakeAws, organization: Organization, run: Run, tmp_path: Path
) -> None:
    """After a restart, discovered accounts are read although they cannot be discovered."""
    join(aws, PROD, tags={"team": "web"})
    closed = join(aws, TEST)
    sections = {"labels": {"account_tags": ["team"]}}
    first = run(**sections)
    first.discover()
    first.pass_time(minutes=2)
    closed.state = "PENDING_CLOSURE"
    first.discover()
    before = first.page.facts
    first.end()

    with failing(aws, reset=True):
        second = run(**sections)
        after, discovery_up = second.page.facts, second.discovery_up
        found = second.discover()
        aws.reset_calls()
        second.pass_time(minutes=46)

    assert sorted(after) == sorted(before)
    assert (found, discovery_up) == (False, 0)
    assert {account for account, _ in aws.calls} == {MONITORING, PROD}
    assert second.up() == {MONITORING: 1, PROD: 1}
    assert ended_in(tmp_path / "state.db") == {MONITORING: False, PROD: False, TEST: True}


def test_an_account_that_returns(
    aws: FakeAws, organization: Organization, run: Run, tmp_path: Path
) -> None:
    """A suspended account that is reinstated has no end date, and what is stored of it goes on."""
    member = join(aws, PROD)
    exporter = run()
    exporter.discover()
    exporter.pass_time(minutes=2)
    created = aws.account(PROD).users["alice"].keys[0]
    for state in ("SUSPENDED", "ACTIVE"):
        member.state = state
        exporter.discover()
        exporter.pass_time(minutes=46)

    assert ended_in(tmp_path / "state.db") == {MONITORING: False, PROD: False}
    assert list(exporter.page.by_key("aws_iam_access_key_created_timestamp_seconds")) == [
        created.id
    ]
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (0,)


def test_an_account_that_is_closed_while_the_store_is_away(
    aws: FakeAws, organization: Organization, run: Run, tmp_path: Path
) -> None:
    """It gets its end date when the store is available again, although it is written then."""
    member = join(aws, PROD)
    exporter = run()
    exporter.discover()
    exporter.pass_time(minutes=2)
    with closing(sqlite3.connect(tmp_path / "state.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        exporter.pass_time(minutes=46)
        member.state = "CLOSED"
        exporter.discover()
    before = ended_in(tmp_path / "state.db")

    exporter.application.recorder.retry()

    assert before == {MONITORING: False, PROD: False}
    assert ended_in(tmp_path / "state.db") == {MONITORING: False, PROD: True}
    assert sizes(exporter)["records"] == 1


# -- configured accounts -----------------------------------------------------------------------


def test_a_configured_account_overrides(aws: FakeAws, organization: Organization, run: Run) -> None:
    """A member that is configured is read once: with its own role, and under its own name."""
    join(aws, PROD, "from the organization")
    aws.account(PROD).remove_role(ROLE)
    aws.account(PROD).role("own")
    exporter = run(accounts=[{"name": "own", "role_arn": f"arn:aws:iam::{PROD}:role/own"}])

    exporter.discover()
    exporter.pass_time(minutes=2)

    assert exporter.names() == {MONITORING: "management", PROD: "own"}
    assert exporter.up() == {MONITORING: 1, PROD: 1}


def test_a_configured_account_keeps_its_name(
    aws: FakeAws, organization: Organization, run: Run
) -> None:
    """A configured account without a name has the organization's from the first page on."""
    join(aws, PROD, "shop", tags={"team": "web"})
    sections = {
        "accounts": [{"role_arn": f"arn:aws:iam::{PROD}:role/{ROLE}"}],
        "labels": {"account_tags": ["team"]},
    }
    first = run(**sections)
    first.discover()
    first.pass_time(minutes=2)
    before = first.page.facts
    first.end()

    assert run(**sections).page.facts == before
    assert any(f'account_id="{PROD}",account="shop"' in line for line in before)


@pytest.mark.parametrize("name", [None, "own"])
@pytest.mark.parametrize("discovered", ["before", "after"])
def test_credentials_without_an_id(
    aws: FakeAws,
    organization: Organization,
    run: Run,
    tmp_path: Path,
    name: str | None,
    discovered: str,
) -> None:
    """
    The account of the default credentials is read once, although it is discovered as well.

    That is so whether or not it was refreshed before the first discovery, and after a restart. In
    the store it does not end.
    """
    join(aws, PROD)
    default = {"name": name} if name else {}
    exporter = run(accounts=[default])
    if discovered == "after":
        exporter.pass_time(minutes=2)
    exporter.discover()
    exporter.pass_time(minutes=2)
    exporter.discover()
    exporter.pass_time(minutes=46)
    exporter.discover()
    first = exporter.up(), exporter.names()[MONITORING]
    ended = ended_in(tmp_path / "state.db")
    exporter.end()
    again = run(accounts=[default])
    restored = again.up()
    again.discover()
    again.pass_time(minutes=46)

    assert first == ({MONITORING: 1, PROD: 1}, name or MONITORING)
    assert ended == {MONITORING: False, PROD: False}
    assert restored == again.up() == {MONITORING: 1, PROD: 1}


def test_credentials_that_cannot_be_identified(
    aws: FakeAws, organization: Organization, run: Run, tmp_path: Path
) -> None:
    """As long as any stored account may be the one that is configured without id, none ends."""
    member = join(aws, PROD)
    exporter = run(accounts=[{"profile": "missing"}])
    exporter.discover()
    exporter.pass_time(minutes=2)
    member.state = "CLOSED"
    assert exporter.discover()

    assert exporter.up() == {MONITORING: 1, "": 0}
    assert ended_in(tmp_path / "state.db") == {MONITORING: False, PROD: False}


def test_shards_of_an_organization(aws: FakeAws, organization: Organization, run: Run) -> None:
    """Each account is read by one shard, one that is configured without its id among them."""
    ids = [f"{300_000_000_000 + number}" for number in range(20)]
    for id_ in ids:
        join(aws, id_)
    shards = [run(stored=False, shard=Shard(ordinal, 3), accounts=[{}]) for ordinal in range(3)]
    for shard in shards:
        shard.discover()
        shard.pass_time(minutes=2)

    assert sorted(id_ for shard in shards for id_ in shard.up()) == [*ids, MONITORING]
    assert all(up == 1 for shard in shards for up in shard.up().values())
    assert all(shard.up() for shard in shards)


# -- a company ---------------------------------------------------------------------------------


@dataclass
class Company:
    """
    An organization of 1000 accounts in 40 units, which changes all the time.

    Attributes:
        allowed: Whether the exporter may assume its role, by account id; what never changes.
        gone: Accounts that left the organization, or were closed, and may return.
    """

    aws: FakeAws
    rng: random.Random
    units: list[Unit] = field(default_factory=list)
    allowed: dict[str, bool] = field(default_factory=dict)
    gone: list[Member] = field(default_factory=list)

    def __post_init__(self) -> None:
        organization = self.aws.organization()
        parents = [organization.root]
        for number in range(40):
            # Five levels below the root, as AWS allows.
            open_to_units = [one for one in parents if one.path.count("/") <= 6]
            unit = organization.unit(f"unit-{number}", self.rng.choice(open_to_units))
            parents.append(unit)
        self.units = parents[1:]
        for _ in range(999):
            self.found()

    @property
    def members(self) -> list[Member]:
        return [one for one in self.aws.organization().members.values() if one.id != MONITORING]

    def found(self) -> None:
        """Create an account, in which the role may be missing."""
        id_ = f"{100_000_000_000 + len(self.allowed):012}"
        rng = self.rng
        self.allowed[id_] = rng.random() < 0.95
        member = self.aws.organization().add_account(
            id_,
            f"{rng.choice(['shop', 'data', 'sandbox', 'billing'])}-{rng.randrange(300)}",
            rng.choice(self.units),
            state="SUSPENDED" if rng.random() < 0.05 else "ACTIVE",
            tags={"env": rng.choice(["prod", "prod", "staging", "test"]), "team": "web"},
        )
        account = self.aws.account(id_)
        if self.allowed[id_]:
            account.role(ROLE)
        if rng.random() < 0.1:
            account.add_user("alice").add_key().use("s3", "eu-west-1", at=NOON)
        if rng.random() < 0.05:
            member.tags["monitoring"] = "off"

    def go_on(self) -> None:
        """Let a few accounts appear, move, change, close, leave and return."""
        for _ in range(self.rng.randrange(6)):
            self.found()
        for member in self.rng.sample(self.members, 12):
            self._change(member)
        if self.gone and self.rng.random() < 0.7:
            member = self.gone.pop(self.rng.randrange(len(self.gone)))
            member.state = "ACTIVE"
            self.aws.organization().members[member.id] = member

    def _change(self, member: Member) -> None:
        organization, rng = self.aws.organization(), self.rng
        match rng.randrange(7):
            case 0:
                member.parent = rng.choice(self.units)
            case 1:
                member.name = f"{rng.choice(['shop', 'sandbox'])}-{rng.randrange(300)}"
            case 2:
                member.tags["env"] = rng.choice(["prod", "test"])
            case 3:
                member.tags["monitoring"] = rng.choice(["off", "on"])
            case 4:
                member.state = rng.choice(["SUSPENDED", "PENDING_CLOSURE", "CLOSED"])
                self.gone.append(member)
            case 5:
                organization.members.pop(member.id)
                self.gone.append(member)
            case 6:
                member.parent = organization.root


def ancestors(unit: Unit) -> set[str]:
    return {unit.id} | (ancestors(unit.parent) if unit.parent else set())


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("with_paths", [True, False])
def test_a_company(
    aws: FakeAws,
    organization: Organization,
    clock: FakeClock,
    run: Run,
    tmp_path: Path,
    with_paths: bool,
) -> None:
    """
    Over two hours, exactly the accounts of 1000 that are chosen are read, at every step.

    Accounts appear, move, are renamed, close, leave and return meanwhile, some deny the role, and
    some discoveries fail. One account is configured as well, one is configured without an id, one
    is not part of the organization.
    """
    company = Company(aws, random.Random(11))
    # Deprecated fields only: then units have to be walked.
    organization.with_state, organization.with_status = with_paths, True
    top = [unit for unit in company.units if unit.parent is organization.root]
    included = {top[0].id, top[1].id, *(unit.id for unit in company.units[20:])}
    excluded = {company.units[25].id, company.units[7].id}
    ids = {member.id for member in company.rng.sample(company.members, 5)}
    overridden = next(one for one in company.members if company.allowed[one.id])
    stranger = "888888888888"
    for id_ in (overridden.id, stranger):
        aws.account(id_).role("own")

    def is_chosen(member: Member) -> bool:
        return (
            member.state == "ACTIVE"
            and bool(ancestors(member.parent) & included)
            and not ancestors(member.parent) & excluded
            and re.match("sandbox-1", member.name) is None
            and member.id not in ids
            and member.tags.get("env") in {"prod", "staging"}
            and member.tags.get("monitoring") != "off"
        )

    exporter = run(
        organization={
            "include": {"ous": sorted(included), "tags": {"env": ["prod", "stag.*"]}},
            "exclude": {
                "ous": sorted(excluded),
                "names": ["sandbox-1.*"],
                "accounts": sorted(ids),
                "tags": {"monitoring": "off"},
            },
        },
        accounts=[
            {},
            {"name": "overridden", "role_arn": f"arn:aws:iam::{overridden.id}:role/own"},
            {"name": "stranger", "role_arn": f"arn:aws:iam::{stranger}:role/own"},
        ],
    )
    static = {MONITORING, overridden.id, stranger}
    failures = dict(zip((3, 8, 9, 10, 15, 21), FAILURES, strict=True))
    since: dict[str, float] = {}
    names: dict[str, str] = {}
    for step in range(25):
        if step in failures:
            with FAILURES[failures[step]](aws):
                assert not exporter.discover()
            assert exporter.discovery_up == 0
        else:
            # The refreshes that are due are under way while accounts change and are discovered.
            company.go_on()
            assert exporter.discover()
            assert exporter.discovery_up == 1
            members = {one.id: one for one in company.members if is_chosen(one)}
            expected = static | members.keys()
            names = {id_: member.name for id_, member in members.items()} | {
                MONITORING: MONITORING,
                overridden.id: "overridden",
                stranger: "stranger",
            }
            since = {id_: since.get(id_, clock.monotonic()) for id_ in expected}
        exporter.pass_time(minutes=2)
        snapshots = [snapshot for snapshot, _ in exporter.application.scheduler.snapshots()]

        assert exporter.account_ids == sorted(expected), f"step {step}"
        assert exporter.names() == names
        up = exporter.up()
        assert up.keys() == expected
        assert all(up[id_] == company.allowed.get(id_, True) for id_ in expected - static)
        assert all(up[id_] for id_ in static)
        ended = ended_in(tmp_path / "state.db")
        assert {id_ for id_, has_ended in ended.items() if not has_ended} == expected
        # Each is refreshed once in an interval, from when it was found on.
        for snapshot in snapshots:
            waited = clock.monotonic() - since[snapshot.account.id]
            assert snapshot.finished_at is not None
            age = (clock.now() - snapshot.finished_at).total_seconds()
            assert age <= min(waited, 1.5 * INTERVAL.total_seconds())
        # Nobody else is.
        aws.reset_calls()
        exporter.pass_time(minutes=3)
        assert {account for account, _ in aws.calls} <= expected
        assert sessions_of(exporter).keys() <= {snapshot.account for snapshot in snapshots} | {
            Account("", "")
        }
    assert 300 < len(expected) < 900
    # Three sessions of an hour, or fewer.
    assert clock.monotonic() == timedelta(minutes=125).total_seconds()


# -- what is kept ------------------------------------------------------------------------------


def sessions_of(exporter: Running) -> dict[Account, Any]:
    sessions: dict[Account, Any] = exporter.application._sessions._sessions
    return dict(sessions)


def sizes(exporter: Running) -> dict[str, int]:
    """For how many accounts each part of the exporter keeps something."""
    application = exporter.application
    scheduler, recorder = application.scheduler, application.recorder
    sessions = application._sessions
    (rendering,) = application._renderings
    store = recorder._store
    return {
        "entries": len(scheduler._entries),
        "queue": len(scheduler._queue),
        "sessions": len(sessions._sessions),
        "owners": len(sessions._owners),
        "base credentials": len(sessions._bases),
        "samples": len(rendering.samples._accounts),
        "reported exemptions": len(rendering._exemptions._reported),
        "rounds": len(application.rounds._latest),
        "records": len(recorder._records),
        **({"stored": len(store._written)} if store else {}),
    }


PACKAGES: Final = {"exporter", "boto3", "botocore", "urllib3", "sqlalchemy", "prometheus_client"}


def living() -> Counter[str]:
    """Count the objects of the exporter, and of the packages that it uses, by type."""
    gc.collect()
    types = Counter(map(type, gc.get_objects()))
    counts: Counter[str] = Counter()
    for one, count in types.items():
        if str(one.__module__).partition(".")[0] in PACKAGES:
            counts[f"{one.__module__}.{one.__qualname__}"] += count
    return counts


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_nothing_is_kept_of_accounts_that_left(
    aws: FakeAws, organization: Organization, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    """However many accounts have come and gone, no more objects exist than for those there are."""
    caplog.set_level(logging.ERROR)
    live, generations = 200, 50
    exporter = run(collection={"user_tags": "per_user"}, exemptions={"tag": "exempt-until"})
    counts: list[Counter[str]] = []
    kept: list[dict[str, int]] = []
    number = 0
    for generation in range(generations):
        for id_ in [id_ for id_ in organization.members if id_ != MONITORING]:
            del organization.members[id_]
        for _ in range(live):
            number += 1
            id_ = f"{200_000_000_000 + number}"
            join(aws, id_, f"generation {generation}")
            aws.account(id_).users["alice"].tags["exempt-until"] = "no date"
        assert exporter.discover()
        exporter.pass_time(minutes=10)
        kept.append(sizes(exporter))
        if generation in (4, 9, generations - 1):
            counts.append(living())

    assert number == 10_000
    expected = {**dict.fromkeys(kept[0], live + 1), "base credentials": 1}
    assert kept == [{**expected, "reported exemptions": live}] * generations
    more = {
        name: (counts[0][name], counts[-1][name])
        for name in counts[-1]
        # What is created now and then, such as a connection or a log record, is no leak.
        if counts[-1][name] > counts[0][name] + 20
    }
    assert more == {}


# -- as a user starts it -------------------------------------------------------------------------


@pytest.mark.process
def test_the_program_follows_the_organization(tmp_path: Path) -> None:
    """The exporter finds accounts and their tags, and what changes, without a restart."""
    configuration = {
        "organization": {"role_name": ROLE, "interval": "1s"},
        "labels": {"account_tags": ["cost-center"]},
    }
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps(configuration))
    with FakeAws() as aws:
        aws.organization(MONITORING)
        prod = join(aws, PROD, "prod", tags={"cost-center": "42", "secret": "plan"})
        variables = aws.environment(MONITORING)
        with exporter(f"--config.file={file}", environment=variables) as running:

            def infos() -> list[dict[str, str]]:
                samples = Page(running.get("/metrics")).samples("aws_iam_account_info")
                labels = [labels for labels, _ in samples]
                return [each for each in labels if each["account_id"] != MONITORING]

            info = {"partition": "aws", "source": "organization"}
            first = {"account_id": PROD, "account": "prod", **info}
            second = {"account_id": TEST, "account": "test", **info}
            wait_until(lambda: infos() == [{**first, "tag_cost_center": "42"}], "prod is found")
            join(aws, TEST, "test", tags={"cost-center": "7"})
            prod.state = "SUSPENDED"
            wait_until(lambda: infos() == [{**second, "tag_cost_center": "7"}], "test is found")
            discovery_up = Page(running.get("/metrics")).value("aws_iam_exporter_discovery_up")

    assert discovery_up == 1
