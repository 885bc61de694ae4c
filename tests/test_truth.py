"""
Whatever happens to an account, and whatever goes wrong, what is known of it is true.

Random histories of an account are played to the fake AWS and to a plain chronicle of it, and after
each reading what is known is held against the chronicle. HYPOTHESIS_PROFILE=long plays for long.

What "true" means where the credential report guides the reading, is of the time G and was read
since: of users that there were at G, keys that were made, deleted or flipped after G may be told as
they were at any time from G on. All else is as of the reading itself: which users there are, the
keys of users made since G, and the last use of every key that is told to be active. With values
from the report the users and the last uses of keys that there were at G are also as of G or later.
A report does not tell Inactive from Expired. A key that cannot be used is asked when it stops being
active, and else once a day at least.
"""

from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from exporter.aws.account_refresh import FINAL_RECHECK
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
    Clock,
    Refreshes,
    a_reader,
    an_account,
    environment,
    with_swapped_slots,
)
from tests.fake_aws import FakeAws, Fault
from tests.fake_aws.refusal import Refusal

T = TypeVar("T")

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
TROUBLES: tuple[dict[str, Any], ...] = (
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
    lambda trouble, **facts: {**trouble, **facts},
    st.sampled_from(TROUBLES),
    operation=st.sampled_from(OPERATIONS),
    times=st.sampled_from([1, 5, 7, None, None]),
    after=st.integers(0, 3),
    user=st.sampled_from([None, None, None, None, *NAMES]),
)


class Past(Generic[T]):
    """What something was from when on."""

    def __init__(self, at: datetime, first: T) -> None:
        self.entries = [(at, first)]

    def becomes(self, at: datetime, value: T) -> None:
        self.entries.append((at, value))

    @property
    def now(self) -> T:
        return self.entries[-1][1]

    def at(self, since: datetime, until: datetime) -> list[T]:
        """What it was at any time of a span; what became so at *since* was not so before."""
        before = [value for at, value in self.entries if at < since]
        return before[-1:] + [value for at, value in self.entries if since <= at <= until]


@dataclass(eq=False)
class TrueUser:
    name: str
    made: datetime
    path: Past[str]
    gone: datetime | None = None

    def there(self, at: datetime) -> bool:
        return self.made <= at and (self.gone is None or at <= self.gone)


@dataclass(eq=False)
class TrueKey:
    id: str
    user: TrueUser
    made: datetime
    status: Past[str]
    use: Past[Use]
    gone: datetime | None = None

    def there(self, at: datetime) -> bool:
        return self.made <= at and (self.gone is None or at <= self.gone)

    def there_throughout(self, since: datetime, until: datetime) -> bool:
        return self.made <= since and (self.gone is None or until < self.gone)


@dataclass
class Chronicle:
    """Everything that ever was in the account."""

    users: list[TrueUser] = field(default_factory=list)
    keys: dict[str, TrueKey] = field(default_factory=dict)

    @property
    def users_now(self) -> list[TrueUser]:
        return [user for user in self.users if user.gone is None]

    @property
    def keys_now(self) -> list[TrueKey]:
        return [key for key in self.keys.values() if key.gone is None]

    def keys_of(self, user: TrueUser) -> list[TrueKey]:
        return [key for key in self.keys.values() if key.user is user]


class Histories(RuleBasedStateMachine):
    """
    One account's history, and its readings.

    The clock shows half seconds and AWS whole ones, and no two things happen in the same second:
    it can always be told which of a report and an event was first.
    """

    report_mode: ReportMode

    def __init__(self) -> None:
        super().__init__()
        self.exits = ExitStack()
        self.clock = Clock()
        self.clock.advance(milliseconds=500)
        self.aws = self.exits.enter_context(FakeAws(now=self.clock))
        self.exits.enter_context(environment(self.aws.environment(PROD)))
        self.account = self.aws.account(PROD)
        self.account.report.instant = True
        self.read = Refreshes(
            self.aws, a_reader(self.aws, self.clock, report_mode=self.report_mode), an_account()
        )
        self.past = Chronicle()
        self.swapped = False
        self.aws.on_call(self.swap)

    def teardown(self) -> None:
        self.exits.close()

    def tick(self) -> datetime:
        self.clock.advance(seconds=1)
        return self.clock.time

    # What happens in the account.

    @initialize(users=st.integers(1, 4), keys=st.integers(1, 2))
    def begin(self, users: int, keys: int) -> None:
        for name in NAMES[:users]:
            self.make_user(name, "/")
            for _ in range(keys):
                self.make_key(len(self.past.users) - 1, twins=False)
        self.clock.advance(days=1)

    @rule(name=st.sampled_from(NAMES), path=st.sampled_from(PATHS))
    def make_user(self, name: str, path: str) -> None:
        """A user is made, or made again, under a name that may have been another's."""
        if self.account.find_user(name) is None:
            now = self.tick()
            self.account.add_user(name, path)
            self.past.users.append(TrueUser(name, now, Past(now, path)))

    @precondition(lambda self: self.past.users_now)
    @rule(pick=PICK, twins=st.booleans())
    def make_key(self, pick: int, twins: bool) -> None:
        """A key is made, or two in the same second."""
        user = self.past.users_now[pick % len(self.past.users_now)]
        now = self.tick()
        for _ in range(1 + twins):
            if sum(key.gone is None for key in self.past.keys_of(user)) < 3:
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
    def flip_key(self, pick: int, status: Any) -> None:
        self.flip(self.past.keys_now[pick % len(self.past.keys_now)], status)

    @precondition(lambda self: self.past.keys_now)
    @rule(pick=PICK)
    def delete_key(self, pick: int) -> None:
        key = self.past.keys_now[pick % len(self.past.keys_now)]
        self.tick()
        self.end(key)

    @precondition(lambda self: self.past.users_now)
    @rule(pick=PICK)
    def delete_user(self, pick: int) -> None:
        user = self.past.users_now[pick % len(self.past.users_now)]
        self.tick()
        self.end(user)

    @precondition(lambda self: self.past.users_now)
    @rule(pick=PICK, path=st.sampled_from(PATHS))
    def move_user(self, pick: int, path: str) -> None:
        user = self.past.users_now[pick % len(self.past.users_now)]
        now = self.tick()
        self.fake_user(user).move(path)
        user.path.becomes(now, path)

    # Stories of which every chapter is needed.

    @precondition(lambda self: self.past.users_now)
    @rule(pick=PICK, keys=st.integers(0, 2))
    def make_user_again(self, pick: int, keys: int) -> None:
        """A user is deleted, and another is made under the same name."""
        user = self.past.users_now[pick % len(self.past.users_now)]
        self.delete_user(pick)
        self.make_user(user.name, "/")
        for _ in range(keys):
            self.make_key(len(self.past.users_now) - 1, twins=False)

    @precondition(lambda self: self.past.keys_now)
    @rule(pick=PICK)
    def rotate_key(self, pick: int) -> None:
        """A key is made in the place of another."""
        key = self.past.keys_now[pick % len(self.past.keys_now)]
        self.tick()
        self.end(key)
        self.make_key(self.past.users_now.index(key.user), twins=False)

    @precondition(lambda self: self.past.keys_now)
    @rule(pick=PICK, use=st.sampled_from(USES), stays=st.booleans())
    def use_once_more(self, pick: int, use: tuple[str, str], stays: bool) -> None:
        """A key is woken and used, and may be put to sleep at once."""
        key = self.past.keys_now[pick % len(self.past.keys_now)]
        self.flip(key, "Active")
        self.use(key, use)
        if not stays:
            self.flip(key, "Inactive")

    # What AWS and others do.

    @rule(delay=st.sampled_from([0, 1, 3, 100]))
    def reports_take_long(self, delay: int) -> None:
        self.account.report.instant, self.account.report.delay = delay == 0, delay

    @rule(quoted=st.booleans())
    def somebody_asks_for_a_report(self, quoted: bool) -> None:
        self.tick()
        self.account.report.quoted = quoted
        self.account.report.generate()

    @rule(swapped=st.booleans())
    def slots_change_places(self, swapped: bool) -> None:
        self.swapped = swapped

    @rule(size=st.sampled_from([1, 2, 1000]))
    def pages_get_shorter(self, size: int) -> None:
        self.aws.max_page = size

    # Readings.

    @rule(minutes=st.sampled_from(MINUTES))
    def snapshot(self, minutes: int) -> None:
        """When nothing goes wrong, a reading succeeds."""
        self.clock.advance(minutes=minutes)
        assert self.read_and_check().up

    @rule(minutes=st.sampled_from(MINUTES), faults=st.lists(FAULTS, min_size=1, max_size=3))
    def reading_with_faults(self, minutes: int, faults: list[dict[str, Any]]) -> None:
        self.clock.advance(minutes=minutes)
        for fault in faults:
            self.aws.fault(Fault(**fault))
        self.read_and_check()
        self.aws.clear_faults()

    @precondition(lambda self: self.past.keys_now)
    @rule(pick=PICK, trouble=st.sampled_from(TROUBLES))
    def reading_with_trouble_about_one_key(self, pick: int, trouble: dict[str, Any]) -> None:
        key = self.past.keys_now[pick % len(self.past.keys_now)]
        self.aws.fault(Fault(operation="GetAccessKeyLastUsed", key=key.id, **trouble))
        self.read_and_check()
        self.aws.clear_faults()

    @rule(
        minutes=st.sampled_from(MINUTES),
        action=st.sampled_from(["*", "iam:List*", "iam:*AccessKey*", "iam:GetAcc*", "iam:*Report"]),
    )
    def reading_without_a_permission(self, minutes: int, action: str) -> None:
        self.clock.advance(minutes=minutes)
        self.account.deny(action)
        snapshot = self.read_and_check()
        assert snapshot.up or action != "iam:*Report"
        self.account.allow(action)

    @rule(burst=st.integers(0, 20))
    def reading_while_others_spend_the_budget(self, burst: int) -> None:
        """The clock stands still during a reading: so many calls, and all others are throttled."""
        self.account.throttle(rate=0.001, burst=burst)
        self.read_and_check()
        self.account.throttle(rate=None)

    @precondition(lambda self: self.past.keys_now)
    @rule(pick=PICK, whole_user=st.booleans(), after=st.integers(0, 8))
    def reading_during_which_something_vanishes(
        self, pick: int, whole_user: bool, after: int
    ) -> None:
        """What vanishes is no failure."""
        key = self.past.keys_now[pick % len(self.past.keys_now)]
        passed = [after]

        def callback(*_: object) -> None:
            passed[0] -= 1
            if passed[0] == -1:
                self.end(key.user if whole_user else key)

        remove = self.aws.on_call(callback)
        try:
            assert self.read_and_check().up
        finally:
            remove()

    def read_and_check(self) -> AccountSnapshot:
        began = self.tick()
        before = self.read.latest
        snapshot = self.read()
        check_any(self.past, before, snapshot, began)
        if snapshot.failure is None:
            check_whole(self.past, before, snapshot, began, self.report_mode)
        else:
            check_failed(before, snapshot)
        check_lost(self.past, before, snapshot, began)
        self.read.latest = snapshot.without_facts_before(began - STALE_AFTER)
        check_stale(snapshot, self.read.latest, began - STALE_AFTER)
        return snapshot

    @invariant()
    def nothing_is_broken(self) -> None:
        assert self.aws.bugs == []

    # The fake's side of what the chronicle holds.

    def fake_user(self, user: TrueUser) -> fake_aws.User:
        return self.account.users[user.name]

    def fake_key(self, key: TrueKey) -> fake_aws.AccessKey:
        return next(fake for fake in self.account.keys if fake.id == key.id)

    def use(self, key: TrueKey, use: tuple[str, str]) -> None:
        now = self.tick()
        self.fake_key(key).use(*use)
        key.use.becomes(now, LastUse(now.replace(microsecond=0), *use))

    def flip(self, key: TrueKey, status: Any) -> None:
        now = self.tick()
        self.fake_key(key).status = status
        key.status.becomes(now, status)

    def swap(self, operation: str, *_: object) -> None:
        """Let a report tell the keys of every user in the other order."""
        report = self.account.report
        if operation == "GetCredentialReport" and not report.denied:
            report.content = None
            with suppress(Refusal):
                content = report.get()[0]
                report.content = with_swapped_slots(content) if self.swapped else None

    def end(self, thing: TrueKey | TrueUser) -> None:
        now = self.clock.time
        if isinstance(thing, TrueKey):
            self.fake_key(thing).delete()
        else:
            self.fake_user(thing).delete()
            for key in self.past.keys_of(thing):
                key.gone = key.gone or now
        thing.gone = now


def check_any(
    past: Chronicle, before: AccountSnapshot, snapshot: AccountSnapshot, began: datetime
) -> None:
    """Whatever came of a reading: nothing is invented, newer than the truth, or goes backwards."""
    known = {key.id: key for key in before.keys}
    assert len({key.id for key in snapshot.keys}) == len(snapshot.keys)
    assert {key.user for key in snapshot.keys} <= {user.name for user in snapshot.users}
    assert {user.name for user in snapshot.users} <= {user.name for user in past.users}
    for key in snapshot.keys:
        true = past.keys[key.id]
        assert key.user == true.user.name
        assert key.created == true.made.replace(microsecond=0)
        assert key.status in true.status.at(true.made, began)
        assert (key.as_of is None) == (key.last_use is UNKNOWN)
        if key.as_of is not None:
            assert key.as_of <= began
            assert key.last_use in true.use.at(key.as_of, began)
        if key.id in known:
            assert key.last_use == latest(known[key.id].last_use, key.last_use)
    assert snapshot.up == (snapshot.failure is None)


def check_whole(
    past: Chronicle,
    before: AccountSnapshot,
    snapshot: AccountSnapshot,
    began: datetime,
    report_mode: ReportMode,
) -> None:
    """After a reading that succeeded whole every fact is true, and none is missing."""
    assert snapshot.read_at == snapshot.listed_at == began or report_mode is ReportMode.VALUES
    assert snapshot.read_at == began
    made = report_of(snapshot, report_mode)
    since = began if made is None else made
    assert began - since < MAX_REPORT_AGE + REPORT_RETRY
    check_users(past, snapshot, since if report_mode is ReportMode.VALUES else began, began)
    names = {user.name: user for user in snapshot.users}
    keys = {key.id: key for key in snapshot.keys}
    was_active = {key.id for key in before.keys if key.active}
    for true in past.keys.values():
        list_since = since
        if report_mode is not ReportMode.VALUES and (
            true.user.made > since or is_crowded(past, true.user, since)
        ):
            list_since = began
        if true.there_throughout(list_since, began) and true.user.name in names:
            assert true.id in keys, "a key is missing"
            check_status(true, keys[true.id], list_since, began)
    for key in snapshot.keys:
        check_key(past, key, since, began, report_mode)
        if not key.active and key.id in was_active:
            assert key.last_use in past.keys[key.id].use.at(began, began)


def report_of(snapshot: AccountSnapshot, report_mode: ReportMode) -> datetime | None:
    """When the report was made that a reading could go by. None: it asked user by user."""
    report = snapshot.report
    return (
        report.generated if report_mode is not ReportMode.OFF and report and report.usable else None
    )


def is_crowded(past: Chronicle, user: TrueUser, at: datetime) -> bool:
    """Whether a user has more keys than a report tells, and says so."""
    return sum(key.there(at) for key in past.keys_of(user)) > 2


def check_users(
    past: Chronicle, snapshot: AccountSnapshot, since: datetime, began: datetime
) -> None:
    """Exactly the users are told that there were at one time of the span from *since* on."""
    paths = {user.name: user.path for user in snapshot.users}
    for user in past.users:
        if user.made <= since and (user.gone is None or user.gone > began):
            assert paths[user.name] in user.path.at(since, since)
    for told in snapshot.users:
        possible = [user for user in past.users if user.name == told.name and user.there(since)]
        assert told.created in {user.made.replace(microsecond=0) for user in possible}


def check_key(
    past: Chronicle, key: AccessKey, since: datetime, began: datetime, report_mode: ReportMode
) -> None:
    """A key that is told is there, and its last use is as fresh as it has to be."""
    true = past.keys[key.id]
    assert key.last_use is not UNKNOWN
    assert key.as_of is not None
    assert report_mode is ReportMode.VALUES or true.user.there(began)
    listed = began if report_mode is not ReportMode.VALUES and true.user.made > since else since
    if key.active:
        by_report = report_mode is ReportMode.VALUES and true.made <= since
        oldest = since if by_report else began
        assert true.gone is None or oldest <= true.gone, "a key is told that was gone"
    else:
        oldest = max(key.as_of, began - FINAL_RECHECK)
    assert key.last_use in true.use.at(oldest, began)
    check_status(true, key, listed, began)
    assert true.gone is None or listed <= true.gone, "a key is told that was gone"


def check_status(true: TrueKey, key: AccessKey, since: datetime, began: datetime) -> None:
    """A status is as it was at a time of the span; a report tells active and not active apart."""
    possible = true.status.at(since, began)
    if since == began:
        assert key.status in possible
    else:
        assert key.active in [status == ACTIVE for status in possible]


def check_failed(before: AccountSnapshot, snapshot: AccountSnapshot) -> None:
    """After a reading that failed no fact is lost, but those of what has vanished."""
    assert snapshot.read_at == before.read_at
    assert sum(snapshot.failures.values()) == sum(before.failures.values()) + 1
    assert snapshot.error


def check_lost(
    past: Chronicle, before: AccountSnapshot, snapshot: AccountSnapshot, began: datetime
) -> None:
    """What was known and is not known any more has vanished."""
    known = {key.id: key for key in snapshot.keys}
    users = {user.name: user for user in before.users}
    for key in before.keys:
        true = past.keys[key.id]
        if users[key.user].created != true.user.made.replace(microsecond=0):
            continue  # told of a former user of that name, by an old report; that user is gone
        if key.id not in known:
            assert true.gone is not None
            assert true.gone <= began
        elif key.last_use is not UNKNOWN:
            assert known[key.id].last_use is not UNKNOWN


def check_stale(snapshot: AccountSnapshot, after: AccountSnapshot, limit: datetime) -> None:
    """Of the facts exactly those are dropped that were confirmed too long ago."""
    if snapshot.listed_at is not None and snapshot.listed_at < limit:
        assert (after.users, after.keys) == ((), ())
        return
    listed = {user.name for user in snapshot.users if user.keys_at and user.keys_at >= limit}
    kept = [key for key in snapshot.keys if key.user in listed]
    for key, left in zip(kept, after.keys, strict=True):
        dropped = not key.final and key.as_of is not None and key.as_of < limit
        assert left.last_use is (UNKNOWN if dropped else key.last_use)


def machine(mode: ReportMode) -> Any:
    """The test case of one mode."""
    case = type(f"Histories_{mode}", (Histories,), {"report_mode": mode}).TestCase  # type: ignore[attr-defined]
    # A history that fails is shortened, which takes its time.
    case.pytestmark = [pytest.mark.timeout(900)]
    return case


TestGuide = machine(ReportMode.GUIDE)
TestOff = machine(ReportMode.OFF)
TestValues = machine(ReportMode.VALUES)
