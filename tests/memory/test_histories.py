"""
Whatever happens to an account, every event really happened, none is missing, and none comes twice.

Random histories of months are applied to the simulated AWS and to a chronicle. The account is read
by the real refresher, from time to time: by one process, by two that share what they remember, or
by two that go on apart and are merged. Each event is compared with the chronicle, and with what the
oracle finds provable (see there). HYPOTHESIS_PROFILE=long plays more and longer histories.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from math import ceil
from types import SimpleNamespace
from typing import Any, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from exporter.memory import Options, merge, remember
from exporter.model import (
    NEVER,
    AccountMemory,
    AccountSnapshot,
    Event,
    EventKind,
    LastUse,
    ReportMode,
)
from exporter.store.rows import account_row, snapshot_of
from tests import fake_aws
from tests.builders import PROD, FakeClock, MonitoredAccount, an_account, environment
from tests.fake_aws import FakeAws, Fault
from tests.memory.chronicle import Chronicle, Past, TrueKey, TrueUser
from tests.memory.oracle import KINDS, LISTING_DELAY, Oracle, Required

NAMES: Final = ("alice", "Bob", "carol,c", "dan@example.com", "eve")
FILTERED: Final = ("robot", "robot-2")
"""Names that a filter may exclude. Users are not renamed from these, nor to these."""

USES: Final = (
    ("s3", "eu-west-1"),
    ("s3", "N/A"),
    ("ec2", "us-east-1"),
    ("iam", "us-east-1"),
    ("sts", "ap-south-1"),
    ("N/A", "N/A"),
)
PARTS: Final = 4
"""What a test plays of the examples of a profile: there are many of them."""

STATUSES: Final = ("Active", "Inactive", "Expired")
MINUTES: Final = (1, 15, 15, 60, 239, 400, 24 * 60, 3 * 24 * 60, 8 * 24 * 60, 40 * 24 * 60)
OPERATIONS: Final = (
    None,
    "GenerateCredentialReport",
    "GetAccessKeyLastUsed",
    "GetAccountSummary",
    "GetCallerIdentity",
    "GetCredentialReport",
    "ListAccessKeys",
    "ListUsers",
)
FAULT_KINDS: Final[tuple[dict[str, Any], ...]] = (
    {"code": "Throttling"},
    {"code": "ServiceFailure"},
    {"code": "AccessDenied"},
    {"truncate": True},
    {"body": "<html>sign in to the hotel's network</html>"},
)
PICK = st.integers(0, 9)
FAULTS = st.builds(
    lambda fault, **facts: {**fault, **facts},
    st.sampled_from(FAULT_KINDS),
    operation=st.sampled_from(OPERATIONS),
    times=st.sampled_from([1, 7, None, None]),
    after=st.integers(0, 3),
    user=st.sampled_from([None, None, *NAMES]),
)

MIN_IDLE: Final = timedelta(days=7)
LEARNING: Final = timedelta(days=2)
SHOWN_FOR: Final = timedelta(days=1)
STALE_AFTER: Final = timedelta(days=7)
ONCE: Final = frozenset(
    {EventKind.CREATED, EventKind.DELETED, EventKind.FIRST_USED, EventKind.AWAKENED}
)
"""The kinds of which there is no second event, even if all memory is lost in between."""


class OurClock(FakeClock):
    """
    A clock that may be wrong, beside AWS's, which is right.

    Attributes:
        wrong_by: How far the wall clock is ahead. The monotonic time is right.
    """

    def __init__(self, right: FakeClock) -> None:
        super().__init__()
        self._right = right
        self.wrong_by = timedelta(0)

    def now(self) -> datetime:
        return self._right.now() + self.wrong_by

    def monotonic(self) -> float:
        return self._right.monotonic()

    def advance(self, **by: float) -> None:
        self._right.advance(**by)


class Observer:
    """
    A process that refreshes the account.

    Attributes:
        monitored: The account as this process reads it.
    """

    def __init__(self, aws: FakeAws, clock: OurClock, mode: ReportMode, options: Options) -> None:
        self.monitored = MonitoredAccount(
            aws,
            clock,
            report_mode=mode,
            include_user=options.includes,
            deadline=3600.0,
        )


class Histories(RuleBasedStateMachine):
    """
    The history of one account, and of those who read it.

    The clock is at half seconds, AWS's times are whole seconds, and no two things happen in the
    same second.
    """

    modes: tuple[ReportMode, ...]
    apart = False
    jumps = False

    def __init__(self) -> None:
        super().__init__()
        self.exits = ExitStack()
        self.right = FakeClock()
        self.right.advance(milliseconds=500)
        self.clock = OurClock(self.right)
        self.aws = self.exits.enter_context(FakeAws(now=self.right.now))
        self.exits.enter_context(environment(self.aws.environment(PROD)))
        self.account = self.aws.account(PROD)
        self.account.report.instant = True
        self.past = Chronicle()
        self.options = Options(
            shown_for=SHOWN_FOR, min_idle=MIN_IDLE, learning=LEARNING, includes=lambda name: True
        )
        self.observers = [Observer(self.aws, self.clock, mode, self.options) for mode in self.modes]
        self.true_times: dict[datetime, datetime] = {}
        self.once: set[tuple[str, ...]] = set()
        self.begin_to_watch()

    def teardown(self) -> None:
        self.exits.close()

    def begin_to_watch(self) -> None:
        """Forget everything, as a process does that starts without a store."""
        count = len(self.observers)
        self.memories = [AccountMemory()]
        self.oracles = [Oracle(self.options, clock_was_wrong=self.clock_is_wrong)]
        self.events: dict[tuple[str, str, str], Event] = {}
        self.split = False
        for number in range(count):
            self.observers[number].monitored.latest = AccountSnapshot(an_account())

    @property
    def clock_is_wrong(self) -> bool:
        return abs(self.clock.wrong_by) > timedelta(seconds=1)

    def tick(self) -> datetime:
        self.right.advance(seconds=1)
        return self.right.now()

    # What happens in the account.

    @initialize(users=st.integers(1, 3), keys=st.integers(0, 1), root_keys=st.integers(0, 1))
    def begin(self, users: int, keys: int, root_keys: int) -> None:
        for name in NAMES[:users]:
            self.create_user(name)
            for _ in range(keys + 1):
                self.create_key(len(self.past.users) - 1)
        for _ in range(root_keys):
            self.create_root_key("Inactive")
        self.right.advance(days=1)

    @rule(name=st.sampled_from(NAMES + FILTERED))
    def create_user(self, name: str) -> None:
        """A user is created, under a name that may have been another's."""
        if self.account.find_user(name) is None:
            now = self.tick()
            fake = self.account.add_user(name)
            self.past.users.append(TrueUser(fake.id, Past(now, name), fake.created))

    @precondition(lambda self: self.past.users_now)
    @rule(pick=PICK)
    def create_key(self, pick: int) -> None:
        user = self.past.users_now[pick % len(self.past.users_now)]
        if len(self.past.keys_of(user)) < 3:
            now = self.tick()
            fake = self.fake_user(user).add_key()
            self.past.keys[fake.id] = TrueKey(fake.id, user, fake.created, Past(now, "Active"))

    @precondition(lambda self: self.past.active_keys)
    @rule(pick=PICK, use=st.sampled_from(USES))
    def use_key(self, pick: int, use: tuple[str, str]) -> None:
        key = self.past.active_keys[pick % len(self.past.active_keys)]
        self.tick()
        fake = self.fake_key(key)
        fake.use(*use)
        assert fake.last_use is not None
        key.uses.append(LastUse(*fake.last_use))

    @precondition(lambda self: self.past.keys_now)
    @rule(pick=PICK, status=st.sampled_from(STATUSES))
    def set_status(self, pick: int, status: Any) -> None:
        key = self.past.keys_now[pick % len(self.past.keys_now)]
        if self.apart and status == "Expired":
            status = "Inactive"  # of which "expired" is another change: see the oracle
        now = self.tick()
        self.fake_key(key).status = status
        key.status.set(now, status)

    @precondition(lambda self: self.past.keys_now)
    @rule(pick=PICK, with_user=st.sampled_from([False, False, True]))
    def delete(self, pick: int, with_user: bool) -> None:
        """A key is deleted, alone or with its user."""
        key = self.past.keys_now[pick % len(self.past.keys_now)]
        if with_user:
            self.delete_user(key.user)
        else:
            key.deleted = self.tick()
            self.fake_key(key).delete()

    def delete_user(self, user: TrueUser) -> None:
        now = self.tick()
        self.fake_user(user).delete()
        for key in self.past.keys_of(user):
            key.deleted = now
        user.deleted = now

    @precondition(lambda self: self.past.users_now)
    @rule(pick=PICK, name=st.sampled_from(NAMES))
    def rename_user(self, pick: int, name: str) -> None:
        user = self.past.users_now[pick % len(self.past.users_now)]
        if user.names.now in NAMES and self.account.find_user(name) is None:
            now = self.tick()
            self.fake_user(user).rename(name)
            user.names.set(now, name)

    @precondition(lambda self: self.past.users_now)
    @rule(pick=PICK, keys=st.integers(0, 2))
    def recreate_user(self, pick: int, keys: int) -> None:
        """A user is deleted, and another one created under the same name."""
        user = self.past.users_now[pick % len(self.past.users_now)]
        self.delete_user(user)
        self.create_user(user.names.now)
        for _ in range(keys):
            self.create_key(len(self.past.users_now) - 1)

    @rule(credential=st.sampled_from(["password", "access_key"]))
    def use_root(self, credential: str) -> None:
        active = [key for key in self.account.root_keys if key.active]
        if credential == "access_key" and not active:
            return
        now = self.tick().replace(microsecond=0)
        self.past.root_uses[credential].append(now)
        if credential == "password":
            self.account.root_password_last_used = now
        else:
            active[0].use()

    @rule(status=st.sampled_from(["Active", "Active", "Inactive"]))
    def create_root_key(self, status: Any) -> None:
        if len(self.account.root_keys) < 2:
            self.past.root_keys.append(self.tick())
            self.account.add_root_key(status=status)

    @rule()
    def delete_root_key(self) -> None:
        if self.account.root_keys:
            self.tick()
            self.account.root_keys[0].delete()

    @rule()
    def another_caller_requests_a_report(self) -> None:
        self.tick()
        self.account.report.generate()

    # What happens to those who watch it.

    @rule(days=st.sampled_from([1, 5, 14, 60]), keep=st.sampled_from([True, True, False]))
    def outage(self, days: int, keep: bool) -> None:
        """The exporter is down for days, and starts with or without what it remembered."""
        self.right.advance(days=days)
        self.restart(keep)

    @rule(keep=st.sampled_from([True, True, True, False]))
    def restart(self, keep: bool) -> None:
        if not keep:
            self.begin_to_watch()
            return
        for number, observer in enumerate(self.observers):
            memory = self.memories[number if self.split else 0]
            observer.monitored.latest = restored(
                observer.monitored.latest, memory, self.right.now()
            )

    @rule(excluded=st.sampled_from([(), FILTERED, FILTERED[:1]]))
    def filter_changes(self, excluded: tuple[str, ...]) -> None:
        self.options = replace(self.options, includes=lambda name: name not in excluded)
        for oracle in self.oracles:
            oracle.options = self.options
        for observer in self.observers:
            observer.monitored.reconfigure(include_user=self.options.includes)

    @precondition(lambda self: len(self.observers) == 1)
    @rule(mode=st.sampled_from(list(ReportMode)))
    def report_mode_changes(self, mode: ReportMode) -> None:
        self.observers[0].monitored.reconfigure(report_mode=mode)

    @precondition(lambda self: self.jumps)
    @rule(minutes=st.sampled_from([0, 0, 3, -3, 20, -20, 24 * 60, -24 * 60, 40 * 24 * 60]))
    def our_clock_jumps(self, minutes: int) -> None:
        # So that no two times are the same. A clock that is right again is exactly right.
        jitter = timedelta(microseconds=len(self.true_times) if minutes else 0)
        self.clock.wrong_by = timedelta(minutes=minutes) + jitter
        for oracle in self.oracles:
            oracle.clock_was_wrong |= self.clock_is_wrong

    @precondition(lambda self: self.apart and not self.split)
    @rule()
    def go_on_apart(self) -> None:
        """The database that the processes share goes away."""
        self.memories = [self.memories[0] for _ in self.observers]
        self.oracles = [self.oracles[0].copy() for _ in self.observers]
        self.split = True

    @precondition(lambda self: self.split)
    @rule()
    def come_together(self) -> None:
        """The database is back, and what both remember is merged."""
        one, other = self.memories
        merged = merge(one, other)
        assert merged == merge(other, one)
        assert merged == merge(merged, one) == merge(other, merged)
        recent = {event.identity for event in (*one.events, *other.events)}
        assert sorted(event.identity for event in merged.events) == sorted(recent)
        self.memories = [merged]
        self.oracles = [self.oracles[0].merged(self.oracles[1])]
        self.split = False

    # Refreshes.

    @rule(minutes=st.sampled_from(MINUTES), observer=PICK)
    def refresh(self, minutes: int, observer: int) -> None:
        self.right.advance(minutes=minutes)
        self.refresh_and_check(observer)

    @rule(
        minutes=st.sampled_from(MINUTES),
        observer=PICK,
        faults=st.lists(FAULTS, min_size=1, max_size=2),
    )
    def refresh_with_faults(
        self, minutes: int, observer: int, faults: list[dict[str, Any]]
    ) -> None:
        self.right.advance(minutes=minutes)
        for fault in faults:
            self.aws.fault(Fault(**fault))
        self.refresh_and_check(observer)
        self.aws.clear_faults()

    @rule(
        minutes=st.sampled_from(MINUTES),
        observer=PICK,
        action=st.sampled_from(["*", "iam:List*", "iam:*AccessKey*", "iam:*Report"]),
    )
    def refresh_without_a_permission(self, minutes: int, observer: int, action: str) -> None:
        self.right.advance(minutes=minutes)
        self.account.deny(action)
        self.refresh_and_check(observer)
        self.account.allow(action)

    # A wrong clock and a refresh that takes longer than the error: the next refresh notices.
    @precondition(lambda self: not self.jumps)
    @rule(observer=PICK, after=st.integers(0, 12))
    def refresh_that_exceeds_its_deadline(self, observer: int, after: int) -> None:
        with self.before_call(after, lambda: self.right.advance(hours=2)):
            self.refresh_and_check(observer)

    @precondition(lambda self: self.past.users_now)
    @rule(
        observer=PICK,
        pick=PICK,
        after=st.integers(0, 8),
        action=st.sampled_from(["recreate_user", "delete_user"]),
    )
    def refresh_while_users_change(self, observer: int, pick: int, after: int, action: str) -> None:
        def change() -> None:
            if action == "delete_user":
                self.delete_user(self.past.users_now[pick % len(self.past.users_now)])
            else:
                self.recreate_user(pick, 1)

        with self.before_call(after, change):
            self.refresh_and_check(observer)

    # Sequences that random choice alone would rarely produce.

    @precondition(lambda self: self.past.active_keys)
    @rule(
        pick=PICK,
        observer=PICK,
        days=st.lists(st.sampled_from([0, 1, 4, 8, 20]), min_size=1, max_size=3),
        uses=st.lists(st.sampled_from(USES), min_size=1, max_size=2),
    )
    def watch_a_key(
        self, pick: int, observer: int, days: list[int], uses: list[tuple[str, str]]
    ) -> None:
        """A key is idle for days in which somebody looks, and then used, and used again."""
        for count in days:
            self.refresh_and_check(observer)
            self.right.advance(days=count)
        for use in uses:
            self.use_key(pick, use)
        self.refresh_and_check(observer)

    @precondition(lambda self: self.past.keys_now)
    @rule(pick=PICK, observer=PICK, statuses=st.lists(st.sampled_from(STATUSES), max_size=3))
    def watch_a_status(self, pick: int, observer: int, statuses: list[str]) -> None:
        """The status of a key changes, and somebody looks each time."""
        self.refresh_and_check(observer)
        for status in statuses:
            self.set_status(pick, status)
            self.right.advance(minutes=15)
            self.refresh_and_check(observer)

    @rule(observer=PICK, credential=st.sampled_from(["password", "access_key"]))
    def watch_root(self, observer: int, credential: str) -> None:
        """Root is used between two reports."""
        self.refresh_and_check(observer)
        self.use_root(credential)
        self.right.advance(hours=5)
        self.refresh_and_check(observer)

    @precondition(lambda self: self.apart and not self.split and self.past.active_keys)
    @rule(pick=PICK, uses=st.lists(st.sampled_from(USES), min_size=1, max_size=2))
    def watch_a_key_apart(self, pick: int, uses: list[tuple[str, str]]) -> None:
        """Two processes notice the same."""
        self.refresh_and_check(0)
        self.go_on_apart()
        for use in uses:
            self.right.advance(days=8)
            self.use_key(pick, use)
            self.refresh_and_check(0)
        self.set_status(pick, "Inactive")
        self.right.advance(hours=7)
        self.refresh_and_check(1)
        self.refresh_and_check(0)
        self.come_together()

    @contextmanager
    def before_call(self, after: int, action: Callable[[], object]) -> Iterator[None]:
        """Run *action* before AWS answers the call after the first *after* ones."""
        left = [after]

        def callback(*_: object) -> None:
            left[0] -= 1
            if left[0] == -1:
                action()

        remove = self.aws.on_call(callback)
        try:
            yield
        finally:
            remove()

    def refresh_and_check(self, pick: int) -> None:
        number = pick % len(self.observers)
        observer, place = self.observers[number], number if self.split else 0
        began = self.tick()
        self.true_times[self.clock.now()] = began
        snapshot = replace(observer.monitored.refresh(), finished_at=self.clock.now())
        limit = self.clock.now() - STALE_AFTER
        observer.monitored.latest = snapshot.without_stale_facts(lambda at: at < limit)

        memory, events = remember(self.memories[place], snapshot, self.options)
        again, none = remember(memory, snapshot, self.options)
        assert none == (), "the same snapshot makes no events again"
        assert again.keys == memory.keys
        self.memories[place] = memory

        oracle = self.oracles[place]
        before = oracle.copy()
        required = oracle.look(self.past, snapshot, self.right.now(), self.true)
        for event in events:
            assert event.noticed_at == snapshot.finished_at
            self.check_event(event, before, oracle)
            self.check_first(event)
        missing = required - {_required(event) for event in events}
        if self.apart:  # the other one may have noticed it before
            missing -= {_required(event) for event in self.events.values()}
        assert not missing
        recent = {event.identity for event in memory.events}
        assert {event.identity for event in events} <= recent

    def true(self, at: datetime) -> datetime:
        """Convert a time that our clock may have taken to what it really was."""
        return self.true_times.get(at, at)

    @invariant()
    def nothing_is_broken(self) -> None:
        assert self.aws.bugs == []

    # What is true of events.

    def check_first(self, event: Event) -> None:
        """No event comes twice, unless both processes have noticed it while they were apart."""
        if event.identity in self.events:
            assert self.apart, f"twice: {event}"
            return
        self.events[event.identity] = event
        if event.kind in ONCE:
            once = event.kind, event.access_key_id, event.occurrence
            assert once not in self.once, f"twice: {event}"
            self.once.add(once)
        if event.kind in KINDS.values():
            count = sum(
                other.kind in KINDS.values() and other.access_key_id == event.access_key_id
                for other in self.events.values()
            )
            assert count <= self.past.keys[event.access_key_id].status.changes

    def check_event(self, event: Event, before: Oracle, after: Oracle) -> None:
        if event.kind in (EventKind.ROOT_USED, EventKind.ROOT_KEY_CREATED):
            self.check_root_event(event, before)
            return
        key = self.past.keys[event.access_key_id]
        assert event.user in key.user.names.values
        assert event.access_key_id in (after if event.kind is EventKind.CREATED else before).keys
        if event.kind is EventKind.CREATED:
            first = before.first_listed
            assert first is not None, "a baseline makes no events"
            # AWS reports whole seconds.
            wrong = timedelta(days=50) if before.clock_was_wrong else timedelta(seconds=2)
            tolerance = LISTING_DELAY + wrong
            assert key.created > first - tolerance
            assert event.at == key.created
        elif event.kind is EventKind.DELETED:
            assert key.deleted is not None
            assert key.deleted <= self.right.now()
            assert self.true(event.at) <= self.right.now()
        elif event.kind in KINDS.values():
            at = self.true(event.at)
            seen = before.keys[key.id]
            found = {KINDS[status] for status in key.status.between(at, self.right.now())}
            assert event.kind in found
            assert event.kind is not KINDS[seen.status]
        else:
            self.check_use(event, key, before)

    def check_use(self, event: Event, key: TrueKey, before: Oracle) -> None:
        seen = before.keys[key.id]
        assert LastUse(event.at, event.service, event.region) in key.uses
        if event.kind is EventKind.FIRST_USED:
            assert seen.use is NEVER
            assert event.seconds == (event.at - key.created).total_seconds()
            return
        assert isinstance(seen.use, LastUse)
        if event.kind is EventKind.AWAKENED:
            assert event.occurrence == seen.use.at.isoformat()
            assert event.seconds is not None
            assert seen.confirmed is not None
            idle, observed = timedelta(seconds=event.seconds), seen.confirmed - seen.use.at
            following = min(use.at for use in key.uses if use.at > seen.use.at)
            assert MIN_IDLE <= idle <= event.at - seen.use.at
            assert idle <= following - seen.use.at or before.clock_was_wrong
            assert idle <= observed or before.clock_was_wrong
            assert idle == min(observed, event.at - seen.use.at) or before.clock_was_wrong
            return
        assert seen.watched is not None
        learned = self.right.now() - seen.watched >= LEARNING
        assert learned or before.clock_was_wrong
        if event.kind is EventKind.NEW_SERVICE:
            assert event.service not in {*seen.services, "N/A"}
        else:
            assert event.region not in {*seen.regions, "N/A"}

    def check_root_event(self, event: Event, before: Oracle) -> None:
        assert event.user == event.access_key_id == ""
        if event.kind is EventKind.ROOT_USED:
            assert event.at in self.past.root_uses[event.credential]
        else:
            assert before.root_as_of is not None
            since, until = before.root_as_of, self.true(event.at)
            assert any(since < created <= until for created in self.past.root_keys)
        kind = EventKind.ROOT_KEY_CREATED
        events = [other for other in self.events.values() if other.kind is kind]
        assert len(events) <= len(self.past.root_keys)

    # The same things in the simulated AWS.

    def fake_user(self, user: TrueUser) -> fake_aws.User:
        return self.account.users[user.names.now]

    def fake_key(self, key: TrueKey) -> fake_aws.AccessKey:
        return next(fake for fake in self.account.keys if fake.id == key.id)


def restored(before: AccountSnapshot, memory: AccountMemory, now: datetime) -> AccountSnapshot:
    """The snapshot with which a process goes on after a restart: as the store has it, not stale."""
    row = SimpleNamespace(**account_row(before, memory, revision=1, configured_as=""))
    return snapshot_of(row, memory).without_stale_facts(lambda at: now - at > STALE_AFTER)


def _required(event: Event) -> Required:
    """An event, in the oracle's words."""
    detail = {
        EventKind.AWAKENED: event.occurrence,
        EventKind.NEW_SERVICE: event.service,
        EventKind.NEW_REGION: event.region,
        EventKind.ROOT_USED: event.credential,
    }
    return event.kind, event.access_key_id, detail.get(event.kind, "")


def play(name: str, **attributes: Any) -> None:
    """Play histories. Derandomized, Hypothesis derives them from the *name*."""
    machine: Any = type(f"Histories_{name}", (Histories,), attributes)
    examples = ceil(settings().max_examples / PARTS) + 1
    run_state_machine_as_test(machine, settings=settings(max_examples=examples))


@pytest.mark.history
@pytest.mark.timeout(900)  # shrinking a failing history takes its time
@pytest.mark.parametrize("mode", list(ReportMode))
def test_one_process(mode: ReportMode) -> None:
    """One process notices everything that is provable, once, and nothing else."""
    play(f"one_{mode}", modes=(mode,))


@pytest.mark.history
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mode", [ReportMode.OFF, ReportMode.GUIDE])
def test_clock_jumps(mode: ReportMode) -> None:
    """A clock that is wrong for some time invents no event and repeats none."""
    play(f"jumps_{mode}", modes=(mode,), jumps=True)


@pytest.mark.history
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mode", [ReportMode.OFF, ReportMode.GUIDE, ReportMode.VALUES])
def test_two_processes_with_one_memory(mode: ReportMode) -> None:
    """Two processes that share what they remember notice each event once, even by old reports."""
    play(f"two_{mode}", modes=(ReportMode.OFF, mode))


@pytest.mark.history
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mode", [ReportMode.AUTO, ReportMode.GUIDE])
def test_two_processes_that_are_merged(mode: ReportMode) -> None:
    """What two processes have noticed apart is neither lost nor noticed again by both."""
    play(f"apart_{mode}", modes=(ReportMode.AUTO, mode), apart=True)
