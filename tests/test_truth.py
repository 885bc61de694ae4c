"""
Whatever happens to an account, and whatever fails, what is known of it is true.

Random histories of an account are applied to the simulated AWS and to a plain record of its past.
After each refresh the snapshot is compared with that record. HYPOTHESIS_PROFILE=long plays more and
longer histories.

What "true" means where a refresh relies on a credential report that was generated at the time G:
for users that existed at G, keys that were created, deleted, activated or deactivated after G may
be reported as they were at any time since G. Everything else is as of the refresh itself: the list
of users, the keys of users created since G, and the last use of every key reported as active. In
values mode the users, and the last uses of keys that existed at G, are also as of G or later. A
report does not distinguish Inactive from Expired. The last use of an inactive key is read when it
is deactivated, and at least once a day otherwise.
"""

from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil
from typing import Any, Generic, TypeVar

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

from exporter.aws.progress import FINAL_RECHECK
from exporter.aws.report_source import MAX_REPORT_AGE, REPORT_RETRY
from exporter.model import (
    ACTIVE,
    NEVER,
    UNKNOWN,
    AccessKey,
    AccountSnapshot,
    LastUse,
    ReportMode,
    Use,
    latest,
)
from tests import fake_aws
from tests.builders import (
    PROD,
    FakeClock,
    MonitoredAccount,
    environment,
    with_swapped_slots,
)
from tests.fake_aws import FakeAws, Fault
from tests.fake_aws.refusal import Refusal

T = TypeVar("T")

PARTS = 4
"""The histories of a report mode are split into so many tests, which can run in parallel."""

STALE_AFTER = timedelta(days=2)
NAMES = ("alice", "Bob", "carol,c", "dan@example.com")
PATHS = ("/", "/staff/", "/a,b/")
USES = (("s3", "eu-west-1"), ("s3", "N/A"), ("ec2", "us-east-1"))
OPERATIONS = (
    None,
    "GenerateCredentialReport",
    "GetAccessKeyLastUsed",
    "GetAccountSummary",
    "GetCallerIdentity",
    "GetCredentialReport",
    "ListAccessKeys",
    "ListUsers",
)
FAULT_KINDS: tuple[dict[str, Any], ...] = (
    {"code": "Throttling"},
    {"code": "ServiceFailure"},
    {"code": "AccessDenied"},
    {"code": "ExpiredToken"},
    {"code": "InvalidInput"},
    {"code": "Strange", "status": 503},
    {"reset": True},
    {"truncate": True},
    {"body": "<html>sign in to the hotel's network</html>"},
)
MINUTES = (1, 15, 15, 15, 60, 239, 250, 250, 400, 25 * 60, 49 * 60)
PICK = st.integers(0, 9)
FAULTS = st.builds(
    lambda fault, **facts: {**fault, **facts},
    st.sampled_from(FAULT_KINDS),
    operation=st.sampled_from(OPERATIONS),
    times=st.sampled_from([1, 5, 7, None, None]),
    after=st.integers(0, 3),
    user=st.sampled_from([None, None, None, None, *NAMES]),
)


class Past(Generic[T]):
    """The values that something had, and since when."""

    def __init__(self, at: datetime, first: T) -> None:
        self.entries = [(at, first)]

    def set(self, at: datetime, value: T) -> None:
        self.entries.append((at, value))

    @property
    def now(self) -> T:
        return self.entries[-1][1]

    def at(self, since: datetime, until: datetime) -> list[T]:
        """All values from *since* until *until*, both included, and the one right before."""
        before = [value for at, value in self.entries if at < since]
        return before[-1:] + [value for at, value in self.entries if since <= at <= until]


@dataclass(eq=False)
class TrueUser:
    name: str
    created: datetime
    path: Past[str]
    deleted: datetime | None = None

    def exists(self, at: datetime) -> bool:
        return self.created <= at and (self.deleted is None or at <= self.deleted)


@dataclass(eq=False)
class TrueKey:
    id: str
    user: TrueUser
    created: datetime
    status: Past[str]
    use: Past[Use]
    deleted: datetime | None = None

    def exists(self, at: datetime) -> bool:
        return self.created <= at and (self.deleted is None or at <= self.deleted)

    def exists_throughout(self, since: datetime, until: datetime) -> bool:
        return self.created <= since and (self.deleted is None or until < self.deleted)


@dataclass
class Record:
    """All users and keys that the account ever had."""

    users: list[TrueUser] = field(default_factory=list)
    keys: dict[str, TrueKey] = field(default_factory=dict)

    @property
    def users_now(self) -> list[TrueUser]:
        return [user for user in self.users if user.deleted is None]

    @property
    def keys_now(self) -> list[TrueKey]:
        return [key for key in self.keys.values() if key.deleted is None]

    def keys_of(self, user: TrueUser) -> list[TrueKey]:
        return [key for key in self.keys.values() if key.user is user]


class Histories(RuleBasedStateMachine):
    """
    The history of one account, and its refreshes.

    The clock is at half seconds, AWS's times are whole seconds, and no two events happen in the
    same second: of a report and an event it is always known which came first.
    """

    report_mode: ReportMode

    def __init__(self) -> None:
        super().__init__()
        self.exits = ExitStack()
        self.clock = FakeClock()
        self.clock.advance(milliseconds=500)
        self.aws = self.exits.enter_context(FakeAws(now=self.clock.now))
        self.exits.enter_context(environment(self.aws.environment(PROD)))
        self.account = self.aws.account(PROD)
        self.account.report.instant = True
        self.monitored = MonitoredAccount(self.aws, self.clock, report_mode=self.report_mode)
        self.past = Record()
        self.swapped = False
        self.aws.on_call(self.swap)

    def teardown(self) -> None:
        self.exits.close()

    def tick(self) -> datetime:
        self.clock.advance(seconds=1)
        return self.clock.now()

    # What happens in the account.

    @initialize(users=st.integers(1, 4), keys=st.integers(1, 2))
    def begin(self, users: int, keys: int) -> None:
        for name in NAMES[:users]:
            self.create_user(name, "/")
            for _ in range(keys):
                self.create_key(len(self.past.users) - 1, twins=False)
        self.clock.advance(days=1)

    @rule(name=st.sampled_from(NAMES), path=st.sampled_from(PATHS))
    def create_user(self, name: str, path: str) -> None:
        """A user is created, under a name that may have been another's."""
        if self.account.find_user(name) is None:
            now = self.tick()
            self.account.add_user(name, path)
            self.past.users.append(TrueUser(name, now, Past(now, path)))

    @precondition(lambda self: self.past.users_now)
    @rule(pick=PICK, twins=st.booleans())
    def create_key(self, pick: int, twins: bool) -> None:
        """A key is created, or two in the same second."""
        user = self.past.users_now[pick % len(self.past.users_now)]
        now = self.tick()
        for _ in range(1 + twins):
            if sum(key.deleted is None for key in self.past.keys_of(user)) < 3:
                id = self.fake_user(user).add_key().id
                key = TrueKey(id, user, now, Past(now, ACTIVE), Past(now, NEVER))
                self.past.keys[id] = key

    @precondition(lambda self: any(key.status.now == ACTIVE for key in self.past.keys_now))
    @rule(pick=PICK, use=st.sampled_from(USES))
    def use_key(self, pick: int, use: tuple[str, str]) -> None:
        active = [key for key in self.past.keys_now if key.status.now == ACTIVE]
        self.use(active[pick % len(active)], use)

    @precondition(lambda self: self.past.keys_now)
    @rule(pick=PICK, status=st.sampled_from(["Active", "Inactive", "Expired"]))
    def set_status(self, pick: int, status: Any) -> None:
        self.change_status(self.past.keys_now[pick % len(self.past.keys_now)], status)

    @precondition(lambda self: self.past.keys_now)
    @rule(pick=PICK)
    def delete_key(self, pick: int) -> None:
        key = self.past.keys_now[pick % len(self.past.keys_now)]
        self.tick()
        self.delete(key)

    @precondition(lambda self: self.past.users_now)
    @rule(pick=PICK)
    def delete_user(self, pick: int) -> None:
        user = self.past.users_now[pick % len(self.past.users_now)]
        self.tick()
        self.delete(user)

    @precondition(lambda self: self.past.users_now)
    @rule(pick=PICK, path=st.sampled_from(PATHS))
    def move_user(self, pick: int, path: str) -> None:
        user = self.past.users_now[pick % len(self.past.users_now)]
        now = self.tick()
        self.fake_user(user).move(path)
        user.path.set(now, path)

    # Sequences of events that random choice alone would rarely produce.

    @precondition(lambda self: self.past.users_now)
    @rule(pick=PICK, keys=st.integers(0, 2))
    def recreate_user(self, pick: int, keys: int) -> None:
        """A user is deleted, and another one created under the same name."""
        user = self.past.users_now[pick % len(self.past.users_now)]
        self.delete_user(pick)
        self.create_user(user.name, "/")
        for _ in range(keys):
            self.create_key(len(self.past.users_now) - 1, twins=False)

    @precondition(lambda self: self.past.keys_now)
    @rule(pick=PICK)
    def rotate_key(self, pick: int) -> None:
        """A key is replaced by a new one."""
        key = self.past.keys_now[pick % len(self.past.keys_now)]
        self.tick()
        self.delete(key)
        self.create_key(self.past.users_now.index(key.user), twins=False)

    @precondition(lambda self: self.past.keys_now)
    @rule(pick=PICK, use=st.sampled_from(USES), deactivate=st.booleans())
    def reactivate_and_use(self, pick: int, use: tuple[str, str], deactivate: bool) -> None:
        """A key is activated and used, and possibly deactivated at once."""
        key = self.past.keys_now[pick % len(self.past.keys_now)]
        self.change_status(key, "Active")
        self.use(key, use)
        if deactivate:
            self.change_status(key, "Inactive")

    # What AWS does, and other callers.

    @rule(delay=st.sampled_from([0, 1, 3, 100]))
    def reports_take_long(self, delay: int) -> None:
        self.account.report.instant, self.account.report.delay = delay == 0, delay

    @rule(quoted=st.booleans())
    def another_caller_requests_a_report(self, quoted: bool) -> None:
        self.tick()
        self.account.report.quoted = quoted
        self.account.report.generate()

    @rule(swapped=st.booleans())
    def slots_are_swapped(self, swapped: bool) -> None:
        self.swapped = swapped

    @rule(size=st.sampled_from([1, 2, 1000]))
    def page_size_changes(self, size: int) -> None:
        self.aws.max_page = size

    # Refreshes.

    @rule(minutes=st.sampled_from(MINUTES))
    def refresh(self, minutes: int) -> None:
        """When nothing fails, a refresh succeeds."""
        self.clock.advance(minutes=minutes)
        assert self.refresh_and_check().up

    @rule(minutes=st.sampled_from(MINUTES), faults=st.lists(FAULTS, min_size=1, max_size=3))
    def refresh_with_faults(self, minutes: int, faults: list[dict[str, Any]]) -> None:
        self.clock.advance(minutes=minutes)
        for fault in faults:
            self.aws.fault(Fault(**fault))
        self.refresh_and_check()
        self.aws.clear_faults()

    @precondition(lambda self: self.past.keys_now)
    @rule(pick=PICK, fault=st.sampled_from(FAULT_KINDS))
    def refresh_with_a_fault_of_one_key(self, pick: int, fault: dict[str, Any]) -> None:
        key = self.past.keys_now[pick % len(self.past.keys_now)]
        self.aws.fault(Fault(operation="GetAccessKeyLastUsed", key=key.id, **fault))
        self.refresh_and_check()
        self.aws.clear_faults()

    @rule(
        minutes=st.sampled_from(MINUTES),
        action=st.sampled_from(["*", "iam:List*", "iam:*AccessKey*", "iam:GetAcc*", "iam:*Report"]),
    )
    def refresh_without_a_permission(self, minutes: int, action: str) -> None:
        self.clock.advance(minutes=minutes)
        self.account.deny(action)
        snapshot = self.refresh_and_check()
        assert snapshot.up or action != "iam:*Report"
        self.account.allow(action)

    @rule(burst=st.integers(0, 20))
    def refresh_while_others_use_up_the_rate_limit(self, burst: int) -> None:
        """No time passes during a refresh: *burst* calls are answered, all others are throttled."""
        self.account.throttle(rate=0.001, burst=burst)
        self.refresh_and_check()
        self.account.throttle(rate=None)

    @precondition(lambda self: self.past.keys_now)
    @rule(pick=PICK, delete_user=st.booleans(), after=st.integers(0, 8))
    def refresh_with_a_deletion(self, pick: int, delete_user: bool, after: int) -> None:
        """A deletion during a refresh is not a failure."""
        key = self.past.keys_now[pick % len(self.past.keys_now)]
        left = [after]

        def callback(*_: object) -> None:
            left[0] -= 1
            if left[0] == -1:
                self.delete(key.user if delete_user else key)

        remove = self.aws.on_call(callback)
        try:
            assert self.refresh_and_check().up
        finally:
            remove()

    def refresh_and_check(self) -> AccountSnapshot:
        began = self.tick()
        before = self.monitored.latest
        snapshot = self.monitored.refresh()
        check_always(self.past, before, snapshot, began)
        if snapshot.failure is None:
            check_success(self.past, before, snapshot, began, self.report_mode)
        else:
            check_failure(before, snapshot)
        check_lost(self.past, before, snapshot, began)
        self.monitored.latest = snapshot.without_stale_facts(lambda at: at < began - STALE_AFTER)
        check_stale(snapshot, self.monitored.latest, began - STALE_AFTER)
        return snapshot

    @invariant()
    def nothing_is_broken(self) -> None:
        assert self.aws.bugs == []

    # Events, in the simulated AWS and in the record.

    def fake_user(self, user: TrueUser) -> fake_aws.User:
        return self.account.users[user.name]

    def fake_key(self, key: TrueKey) -> fake_aws.AccessKey:
        return next(fake for fake in self.account.keys if fake.id == key.id)

    def use(self, key: TrueKey, use: tuple[str, str]) -> None:
        now = self.tick()
        self.fake_key(key).use(*use)
        key.use.set(now, LastUse(now.replace(microsecond=0), *use))

    def change_status(self, key: TrueKey, status: Any) -> None:
        now = self.tick()
        self.fake_key(key).status = status
        key.status.set(now, status)

    def swap(self, operation: str, *_: object) -> None:
        """Serve reports with the two keys of every user swapped."""
        report = self.account.report
        if operation == "GetCredentialReport" and not report.denied:
            report.content = None
            with suppress(Refusal):
                content = report.get()[0]
                report.content = with_swapped_slots(content) if self.swapped else None

    def delete(self, thing: TrueKey | TrueUser) -> None:
        now = self.clock.now()
        if isinstance(thing, TrueKey):
            self.fake_key(thing).delete()
        else:
            self.fake_user(thing).delete()
            for key in self.past.keys_of(thing):
                key.deleted = key.deleted or now
        thing.deleted = now


def check_always(
    past: Record, before: AccountSnapshot, snapshot: AccountSnapshot, began: datetime
) -> None:
    """After any refresh nothing is invented, newer than the truth, or goes backwards."""
    known = {key.id: key for key in before.keys}
    assert len({key.id for key in snapshot.keys}) == len(snapshot.keys)
    assert {key.user for key in snapshot.keys} <= {user.name for user in snapshot.users}
    assert {user.name for user in snapshot.users} <= {user.name for user in past.users}
    for key in snapshot.keys:
        true = past.keys[key.id]
        assert key.user == true.user.name
        assert key.created == true.created.replace(microsecond=0)
        assert key.status in true.status.at(true.created, began)
        assert (key.as_of is None) == (key.last_use is UNKNOWN)
        if key.as_of is not None:
            assert key.as_of <= began
            assert key.last_use in true.use.at(key.as_of, began)
        if key.id in known:
            assert key.last_use == latest(known[key.id].last_use, key.last_use)
    assert snapshot.up == (snapshot.failure is None)


def check_success(
    past: Record,
    before: AccountSnapshot,
    snapshot: AccountSnapshot,
    began: datetime,
    report_mode: ReportMode,
) -> None:
    """After a successful refresh everything is true, and nothing is missing."""
    assert snapshot.read_at == snapshot.listed_at == began
    generated = report_of(snapshot, report_mode)
    since = began if generated is None else generated
    assert began - since < MAX_REPORT_AGE + REPORT_RETRY
    check_users(past, snapshot, began)
    keys = {key.id: key for key in snapshot.keys}
    was_active = {key.id for key in before.keys if key.active}
    for true in past.keys.values():
        list_since = since
        if true.user.created > since or exceeds_report(past, true.user, since):
            list_since = began
        if true.exists_throughout(list_since, began) and not true.user.deleted:
            assert true.id in keys, "a key is missing"
            check_status(true, keys[true.id], list_since, began)
    for key in snapshot.keys:
        check_key(past, key, since, began, report_mode)
        true = past.keys[key.id]
        if not key.active and key.id in was_active and not true.user.deleted:
            assert key.last_use in true.use.at(began, began)


def report_of(snapshot: AccountSnapshot, report_mode: ReportMode) -> datetime | None:
    """When the report that a refresh relied on was generated. None: it relied on none."""
    report = snapshot.report
    return (
        report.generated if report_mode is not ReportMode.OFF and report and report.usable else None
    )


def exceeds_report(past: Record, user: TrueUser, at: datetime) -> bool:
    """Whether a user has more keys than a report covers."""
    return sum(key.exists(at) for key in past.keys_of(user)) > 2


def check_users(past: Record, snapshot: AccountSnapshot, began: datetime) -> None:
    """The users are exactly those that existed when the refresh began."""
    paths = {user.name: user.path for user in snapshot.users}
    for user in past.users:
        if user.created <= began and (user.deleted is None or user.deleted > began):
            assert paths[user.name] in user.path.at(began, began)
    for found in snapshot.users:
        possible = [user for user in past.users if user.name == found.name and user.exists(began)]
        assert found.created in {user.created.replace(microsecond=0) for user in possible}


def check_key(
    past: Record, key: AccessKey, since: datetime, began: datetime, report_mode: ReportMode
) -> None:
    """A reported key exists, and its last use is as fresh as it has to be."""
    true = past.keys[key.id]
    assert true.user.exists(began)
    if true.user.deleted:  # during this refresh: what was known stays until the users are listed
        return
    assert key.last_use is not UNKNOWN
    assert key.as_of is not None
    listed = began if true.user.created > since else since
    if key.active:
        by_report = report_mode is ReportMode.VALUES and true.created <= since
        oldest = since if by_report else began
        assert true.deleted is None or oldest <= true.deleted, "a deleted key is reported"
    else:
        oldest = max(key.as_of, began - FINAL_RECHECK)
    assert key.last_use in true.use.at(oldest, began)
    check_status(true, key, listed, began)
    assert true.deleted is None or listed <= true.deleted, "a deleted key is reported"


def check_status(true: TrueKey, key: AccessKey, since: datetime, began: datetime) -> None:
    """The status is one that the key had since *since*; reports only know active or not."""
    possible = true.status.at(since, began)
    if since == began:
        assert key.status in possible
    else:
        assert key.active in [status == ACTIVE for status in possible]


def check_failure(before: AccountSnapshot, snapshot: AccountSnapshot) -> None:
    """A failed refresh is counted, and keeps the time of the last success."""
    assert snapshot.read_at == before.read_at
    assert sum(snapshot.failures.values()) == sum(before.failures.values()) + 1
    assert snapshot.error


def check_lost(
    past: Record, before: AccountSnapshot, snapshot: AccountSnapshot, began: datetime
) -> None:
    """Only what was deleted is no longer known."""
    known = {key.id: key for key in snapshot.keys}
    users = {user.name: user for user in before.users}
    for key in before.keys:
        true = past.keys[key.id]
        if users[key.user].created != true.user.created.replace(microsecond=0):
            continue  # an old report attributed it to a former user of that name, now deleted
        if key.id not in known:
            assert true.deleted is not None
            assert true.deleted <= began
        elif key.last_use is not UNKNOWN:
            assert known[key.id].last_use is not UNKNOWN


def check_stale(snapshot: AccountSnapshot, after: AccountSnapshot, limit: datetime) -> None:
    """Exactly those data are dropped that were confirmed too long ago."""
    if snapshot.listed_at is not None and snapshot.listed_at < limit:
        assert (after.users, after.keys) == ((), ())
        return
    listed = {user.name for user in snapshot.users if user.keys_at and user.keys_at >= limit}
    kept = [key for key in snapshot.keys if key.user in listed]
    for key, left in zip(kept, after.keys, strict=True):
        dropped = not key.final and key.as_of is not None and key.as_of < limit
        assert left.last_use is (UNKNOWN if dropped else key.last_use)


@pytest.mark.history
@pytest.mark.timeout(900)  # shrinking a failing history takes its time
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("report_mode", list(ReportMode))
def test_histories(report_mode: ReportMode, part: int) -> None:
    """After every refresh of any history the snapshot is true."""
    # Derandomized, Hypothesis derives the histories from the name of the class.
    name = f"Histories_{report_mode}_{part}"
    machine: Any = type(name, (Histories,), {"report_mode": report_mode})
    # One more, since each part begins with the same, simplest history.
    examples = ceil(settings().max_examples / PARTS) + 1
    run_state_machine_as_test(machine, settings=settings(max_examples=examples))
