"""The recorder: events are noticed, logged and stored once, whatever the store does."""

import logging
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from exporter.cli.logs import configure_logging
from exporter.cli.recorder import MESSAGES, WARNINGS, Recorder
from exporter.cli.redaction import redactor
from exporter.key_ids import KeyIdFormatter
from exporter.memory import Options
from exporter.model import (
    NEVER,
    AccessKey,
    Account,
    AccountMemory,
    AccountSnapshot,
    EventKind,
    KeyIdFormat,
    LastUse,
    Partition,
    ReadError,
    Reason,
    Root,
)
from exporter.store import Remember, Saved, Store, Stored, StoreError, read_events
from tests.builders import PROD, TEST, FakeClock
from tests.facts import NOON, a_key, a_snapshot, a_use, a_user, an_account
from tests.test_logs import restored as restored_logging

DAY = 24 * 60.0
OLD_USE = a_use(100, "s3", "eu-west-1")
OPTIONS = Options(
    shown_for=timedelta(days=1), min_idle=timedelta(days=30), learning=timedelta(days=7)
)


class UnreliableStore(Store):
    """
    A store on a real file.

    Attributes:
        error: Why it cannot be used. None: it can.
        refuses: The ids of accounts that cannot be saved.
        waits_for: Set when it responds. None: it responds.
        tries: The ids of the accounts that were to be saved, in order.
    """

    def __init__(self, path: Path, clock: FakeClock) -> None:
        year = timedelta(days=365)
        super().__init__(path, keep_events=year, shown_for=OPTIONS.shown_for, clock=clock)
        self.error: str | None = None
        self.refuses: set[str] = set()
        self.waits_for: threading.Event | None = None
        self.tries: list[str] = []

    def load(self, account_ids: Collection[str] | None = None) -> list[Stored]:
        self._fail()
        return super().load(account_ids)

    def end_accounts(self, keep: Collection[str], at: datetime) -> None:
        self._fail()
        super().end_accounts(keep, at)

    def save(
        self,
        snapshot: AccountSnapshot,
        revision: int,
        remember: Remember,
        *,
        configured_as: str = "",
    ) -> Saved:
        self.tries.append(snapshot.account.id)
        if snapshot.account.id in self.refuses:
            raise StoreError("no")
        self._fail()
        return super().save(snapshot, revision, remember, configured_as=configured_as)

    def _fail(self) -> None:
        if self.waits_for is not None:
            self.waits_for.wait(30)
        if self.error is not None:
            raise StoreError(self.error)


class Setting:
    """
    A store, and recorders that use it one after the other or at the same time.

    Attributes:
        ups: What the latest recorder reported about the store.
    """

    def __init__(self, path: Path, clock: FakeClock) -> None:
        self.path = path
        self.clock = clock
        self.store = UnreliableStore(path, clock)
        self.ups: list[bool] = []

    def recorder(self, *accounts: Account, **options: Any) -> Recorder:
        """A recorder that was started with *accounts*, by default PROD."""
        recorder = self.without_start(**options)
        recorder.restore(accounts or (an_account(),))
        return recorder

    def without_start(self, **options: Any) -> Recorder:
        self.ups = []
        defaults: dict[str, Any] = {"store": self.store, "report_store": self.ups.append}
        return Recorder(options=OPTIONS, clock=self.clock, **{**defaults, **options})

    def restart(self) -> None:
        """Close the store and open it again, as another process does."""
        self.store.close()
        self.store = UnreliableStore(self.path, self.clock)

    def read(
        self, *keys: AccessKey, account: Account | None = None, **fields: Any
    ) -> AccountSnapshot:
        """The snapshot of a refresh that reads *keys* of alice now."""
        now = self.clock.now()
        return a_snapshot(
            *(replace(key, as_of=now) for key in keys),
            account=account,
            **{
                "users": (a_user("alice", keys_at=now, keys_as_of=now),),
                "listed_at": now,
                "read_at": now,
                "finished_at": now,
                **fields,
            },
        )

    @property
    def stored(self) -> list[tuple[str, EventKind]]:
        """The account and kind of every stored event."""
        return [(row.account_id, row.event.kind) for row in read_events(self.path)]


@pytest.fixture
def setting(tmp_path: Path, clock: FakeClock) -> Setting:
    return Setting(tmp_path / "state.db", clock)


@pytest.fixture(autouse=True)
def _all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def events_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The messages about events so far."""
    return [text for text in caplog.messages if text in MESSAGES.values()]


def kinds(memory: AccountMemory) -> list[EventKind]:
    return [event.kind for event in memory.events]


def record(recorder: Recorder, snapshot: AccountSnapshot) -> None:
    recorder.record(snapshot.account, snapshot)


def used_now(setting: Setting, service: str = "s3", region: str = "eu-west-1") -> AccessKey:
    return a_key(last_use=LastUse(setting.clock.now(), service, region))


def awaken(setting: Setting, recorder: Recorder, account: Account | None = None) -> AccountSnapshot:
    """Record that a key was used, after the baseline in which it had long been idle."""
    record(recorder, setting.read(a_key(last_use=OLD_USE), account=account))
    setting.clock.advance(minutes=15)
    snapshot = setting.read(used_now(setting), account=account)
    record(recorder, snapshot)
    return snapshot


# -- what is logged ----------------------------------------------------------------------------

ROOT = Root(NOON, 0, None, None, NOON)


def later(**fields: Any) -> Root:
    now = NOON + timedelta(minutes=10 * DAY)
    return replace(ROOT, **{"as_of": now, "uses_as_of": now, **fields})


OTHER = "AKIAALICEALICEALICE2"
USED = {"user": "alice", "access_key_id": a_key().id, "service": "s3", "region": "eu-west-1"}
USE_AT = NOON + timedelta(days=9)
USE = LastUse(USE_AT, "s3", "eu-west-1")
AT_USE = {"at": "2026-12-02T12:00:00+00:00"}
KEY = {"user": "alice", "access_key_id": a_key().id}
AT_REFRESH = {"at": "2026-12-03T12:00:00+00:00"}

HISTORIES: dict[EventKind, tuple[Any, Any, Any]] = {
    EventKind.CREATED: (
        (),
        (a_key(created=USE_AT, last_use=NEVER),),
        {**KEY, **AT_USE},
    ),
    EventKind.DELETED: ((a_key(),), (), {**KEY, **AT_REFRESH}),
    EventKind.ACTIVATED: (
        (a_key(status="Inactive"),),
        (a_key(),),
        {**KEY, **AT_REFRESH},
    ),
    EventKind.DEACTIVATED: (
        (a_key(),),
        (a_key(status="Inactive"),),
        {**KEY, **AT_REFRESH},
    ),
    EventKind.EXPIRED: ((a_key(),), (a_key(status="Expired"),), {**KEY, **AT_REFRESH}),
    EventKind.FIRST_USED: (
        (a_key(last_use=NEVER),),
        (a_key(last_use=USE),),
        {**USED, **AT_USE, "age_seconds": 109 * 86400},
    ),
    EventKind.AWAKENED: (
        (a_key(last_use=OLD_USE),),
        (a_key(last_use=USE),),
        {**USED, **AT_USE, "idle_seconds": 100 * 86400},
    ),
    EventKind.NEW_SERVICE: (
        (a_key(),),
        (a_key(last_use=replace(USE, service="ec2")),),
        {**USED, **AT_USE, "service": "ec2"},
    ),
    EventKind.NEW_REGION: (
        (a_key(),),
        (a_key(last_use=replace(USE, region="us-east-1")),),
        {**USED, **AT_USE, "region": "us-east-1"},
    ),
    EventKind.ROOT_USED: (
        (ROOT,),
        (later(password_last_used=USE_AT),),
        {**AT_USE, "credential": "password"},
    ),
    EventKind.ROOT_KEY_CREATED: ((ROOT,), (later(access_keys=1),), AT_REFRESH),
}
"""For each kind of event: what two refreshes read, and the fields of the message."""


def record_history(setting: Setting, recorder: Recorder, kind: EventKind) -> None:
    for read in HISTORIES[kind][:2]:
        keys = [each for each in read if isinstance(each, AccessKey)]
        roots = [each for each in read if isinstance(each, Root)]
        record(recorder, setting.read(*keys, root=roots[0] if roots else None))
        setting.clock.advance(days=10)


@pytest.mark.parametrize("kind", EventKind)
def test_each_event_is_logged(
    setting: Setting, caplog: pytest.LogCaptureFixture, kind: EventKind
) -> None:
    """An event is one message, with the account and the facts that its kind has, and a level."""
    recorder = setting.recorder()
    caplog.clear()

    record_history(setting, recorder, kind)

    (line,) = caplog.records
    nothing = logging.LogRecord("", 0, "", 0, "", (), None)
    fields = {name: value for name, value in vars(line).items() if name not in vars(nothing)}
    assert line.getMessage() == MESSAGES[kind]
    assert line.levelno == (logging.WARNING if kind in WARNINGS else logging.INFO)
    assert fields.pop("message") == MESSAGES[kind]
    assert fields == {"account": "prod", **HISTORIES[kind][2]}


def test_what_has_a_warning() -> None:
    """Uses of keys that were not in use, and whatever root does, are warnings."""
    assert sorted(WARNINGS) == ["awakened", "first_used", "root_key_created", "root_used"]


@pytest.mark.parametrize("format_", KeyIdFormat)
def test_key_ids_in_messages(
    setting: Setting, capfd: pytest.CaptureFixture[str], format_: KeyIdFormat
) -> None:
    """Key ids are logged as the configuration says."""
    key_ids = KeyIdFormatter(format_, "a secret of 16 characters")
    with restored_logging():
        handler = configure_logging("info", "logfmt", redactor(key_ids, []))
        awaken(setting, setting.recorder())
        handler.flush()

    (line,) = [line for line in capfd.readouterr().err.splitlines() if "awakened" in line]
    shown = key_ids.redact(a_key().id)
    assert f" access_key_id={shown} " in line
    assert (a_key().id in line) is (format_ is KeyIdFormat.FULL)


def test_events_are_logged_in_order(setting: Setting, caplog: pytest.LogCaptureFixture) -> None:
    """Events that one refresh noticed are logged in the order in which they happened."""
    recorder = setting.recorder()
    keys = [a_key(last_use=OLD_USE), a_key(OTHER, last_use=OLD_USE)]
    record(recorder, setting.read(*keys))
    setting.clock.advance(days=10)
    caplog.clear()

    uses = [replace(USE, at=USE_AT - timedelta(hours=hours)) for hours in (1, 2)]
    used = [replace(key, last_use=use) for key, use in zip(keys, uses, strict=True)]
    record(recorder, setting.read(*used))

    assert [vars(line)["access_key_id"] for line in caplog.records] == [OTHER, a_key().id]


# -- without a store ---------------------------------------------------------------------------


def test_without_a_store(setting: Setting, caplog: pytest.LogCaptureFixture) -> None:
    """Without a store, events are noticed too; one message says that nothing is kept."""
    recorder = setting.without_start(store=None)
    recorder.restore([an_account()])
    snapshot = awaken(setting, recorder)
    recorder.retry()

    assert kinds(recorder.memory(snapshot)) == [EventKind.AWAKENED]
    assert [text.partition(":")[0] for text in caplog.messages] == [
        "nothing is stored",
        "access key awakened",
    ]
    assert setting.ups == []


def test_an_account_that_is_not_identified_yet(setting: Setting) -> None:
    """A refresh that failed before the account's id was known is not remembered."""
    account = Account("", "")
    recorder = setting.recorder(account)
    failed = replace(AccountSnapshot(account), finished_at=NOON)
    recorder.record(account, failed.failed(ReadError(Reason.CREDENTIALS, "none")))

    assert setting.store.tries == []
    assert recorder.memory(failed) == AccountMemory()


def test_events_are_shown_for_a_while(setting: Setting) -> None:
    """An event is part of the memory for `shown_for`, by the time at which it is asked."""
    recorder = setting.recorder()
    snapshot = awaken(setting, recorder)
    shown = kinds(recorder.memory(snapshot))
    setting.clock.advance(days=1)

    assert shown == [EventKind.AWAKENED]
    assert kinds(recorder.memory(snapshot)) == []


# -- a restart ---------------------------------------------------------------------------------


def test_what_is_stored_is_restored(setting: Setting, caplog: pytest.LogCaptureFixture) -> None:
    """After a restart, the account has its facts and memory, and nothing is noticed twice."""
    snapshot = awaken(setting, setting.recorder())
    setting.restart()
    recorder = setting.without_start()

    restored = recorder.restore([snapshot.account])
    record(recorder, setting.read(used_now(setting)))

    assert restored[snapshot.account].keys == snapshot.keys
    assert kinds(recorder.memory(snapshot)) == [EventKind.AWAKENED]
    assert events_of(caplog) == ["access key awakened"]
    assert setting.stored == [(PROD, EventKind.AWAKENED)]


def test_a_failure_is_restored(setting: Setting) -> None:
    """After a restart, an account that is down is down for the same reason."""
    failed = setting.read(a_key()).failed(ReadError(Reason.ACCESS_DENIED, "no"))
    record(setting.recorder(), failed)
    setting.restart()

    restored = setting.without_start().restore([failed.account])[failed.account]

    assert (restored.up, restored.failure, restored.error) == (False, Reason.ACCESS_DENIED, "no")


def test_users_who_are_excluded_by_now_are_not_restored(setting: Setting) -> None:
    """Users whom the configuration excludes since the restart, and their keys, are not shown."""
    account = an_account()
    bob = replace(a_user("bob"), keys_at=NOON, keys_as_of=NOON)
    alice = a_user("alice", keys_at=NOON, keys_as_of=NOON)
    keys = (a_key(), a_key(OTHER, "bob"))
    record(setting.recorder(), setting.read(*keys, users=(alice, bob)))
    setting.restart()

    options = replace(OPTIONS, includes=lambda name: name != "alice")
    recorder = Recorder(setting.store, options, clock=setting.clock)
    restored = recorder.restore([account])[account]

    assert [user.name for user in restored.users] == ["bob"]
    assert [key.id for key in restored.keys] == [OTHER]


def test_an_account_without_an_id_is_restored(setting: Setting) -> None:
    """An account that is configured without its id is recognised, in its partition."""
    configured = Account("", "mine", profile="audit")
    identified = replace(configured, id=PROD, partition=Partition.CHINA)
    recorder = setting.recorder(configured)
    recorder.record(configured, setting.read(a_key(), account=identified))
    setting.restart()

    restored = setting.without_start().restore([configured])

    assert restored[configured].account == identified


def test_the_latest_account_of_the_same_credentials_is_restored(setting: Setting) -> None:
    """If credentials have belonged to several accounts, the one that was read last is restored."""
    configured = Account("", "mine")
    recorder = setting.recorder(configured)
    for id in (TEST, PROD, TEST, PROD):
        snapshot = setting.read(a_key(), account=replace(configured, id=id))
        recorder.record(configured, snapshot)
        setting.clock.advance(minutes=15)
    setting.restart()

    restored = setting.without_start().restore([configured])

    assert restored[configured].account.id == PROD


def test_an_id_that_is_configured_elsewhere_is_not_restored_twice(setting: Setting) -> None:
    """An account that was read by its name, and is now configured by its id, is one account."""
    unnamed, named = Account("", "mine"), an_account()
    recorder = setting.recorder(unnamed)
    recorder.record(unnamed, setting.read(a_key(), account=replace(unnamed, id=PROD)))
    setting.restart()

    assert set(setting.without_start().restore([unnamed, named])) == {named}


def test_accounts_that_are_not_configured_end(setting: Setting) -> None:
    """Accounts that are no longer configured are not loaded any more."""
    recorder = setting.recorder()
    for account in (an_account(), an_account(TEST, "test")):
        record(recorder, setting.read(a_key(), account=account))

    setting.recorder(an_account())

    assert [each.snapshot.account.id for each in setting.store.load()] == [PROD]


def test_no_account_ends_while_one_is_unknown(setting: Setting) -> None:
    """While the id of a configured account is unknown, no account is taken for removed."""
    record(setting.recorder(), setting.read(a_key()))

    setting.recorder(Account("", "mine"))

    assert [each.snapshot.account.id for each in setting.store.load()] == [PROD]


def test_facts_are_restored_if_accounts_cannot_be_ended(setting: Setting) -> None:
    """With a full disk, what is stored is served nevertheless."""
    snapshot = setting.read(a_key())
    record(setting.recorder(), snapshot)

    class Full(UnreliableStore):
        def end_accounts(self, keep: Collection[str], at: datetime) -> None:
            raise StoreError("disk is full")

    setting.store.close()
    setting.store = Full(setting.path, setting.clock)
    recorder = setting.without_start()

    assert recorder.restore([snapshot.account])[snapshot.account].keys == snapshot.keys
    assert setting.ups == [False]


# -- the store is away -------------------------------------------------------------------------


def test_events_are_noticed_while_the_store_is_away(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    """While the store is away, events are logged and shown; they are stored when it is back."""
    recorder = setting.recorder()
    record(recorder, setting.read(a_key(last_use=OLD_USE)))
    setting.store.error = "gone"
    snapshot = awaken(setting, recorder)
    logged, shown = events_of(caplog), kinds(recorder.memory(snapshot))
    recorder.retry()
    stored_meanwhile = setting.stored
    setting.store.error = None
    recorder.retry()
    record(recorder, setting.read(used_now(setting)))

    assert logged == ["access key awakened"] == events_of(caplog)
    assert shown == [EventKind.AWAKENED] == kinds(recorder.memory(snapshot))
    assert stored_meanwhile == []
    assert setting.stored == [(PROD, EventKind.AWAKENED)]


def test_several_refreshes_while_the_store_is_away(setting: Setting) -> None:
    """All that was noticed meanwhile is stored, also what later refreshes have overtaken."""
    recorder = setting.recorder()
    record(recorder, setting.read(a_key(last_use=OLD_USE)))
    setting.store.error = "gone"
    for status in ("Active", "Inactive", "Active"):
        setting.clock.advance(minutes=15)
        record(recorder, setting.read(replace(used_now(setting), status=status)))
    setting.store.error = None
    recorder.retry()

    kinds_of_events = ["awakened", "deactivated", "activated"]
    assert setting.stored == [(PROD, kind) for kind in kinds_of_events]


def test_one_message_while_the_store_is_away(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    """An outage of the store is one message, and its end is another."""
    recorder = setting.recorder()
    caplog.clear()
    setting.store.error = "gone"
    for minutes in range(5):
        for id in (PROD, TEST):
            record(recorder, setting.read(a_key(), account=an_account(id)))
        setting.clock.advance(minutes=minutes)
        recorder.retry()
    setting.store.error = None
    recorder.retry()
    recorder.retry()

    assert [text.partition(":")[0] for text in caplog.messages] == [
        "cannot use the store",
        "store is available again",
    ]
    assert vars(caplog.records[0])["error"] == "gone"
    assert setting.ups == [True, *[False] * 6, True]


def test_refreshes_do_not_try_a_store_that_is_away(setting: Setting) -> None:
    """While the store is away, refreshes do not wait for it."""
    recorder = setting.recorder()
    setting.store.error = "gone"
    for _ in range(5):
        record(recorder, setting.read(a_key()))

    assert setting.store.tries == [PROD]


def test_the_store_is_away_at_the_start(setting: Setting, caplog: pytest.LogCaptureFixture) -> None:
    """If the store is away at the start, what it remembers is compared when it is back."""
    record(setting.recorder(), setting.read(a_key(last_use=OLD_USE)))
    setting.clock.advance(days=1)
    setting.restart()
    setting.store.error = "gone"
    recorder = setting.recorder()
    snapshot = setting.read(used_now(setting))
    record(recorder, snapshot)
    noticed = events_of(caplog)
    setting.store.error = None
    recorder.retry()

    assert noticed == []  # it looks like a baseline
    assert events_of(caplog) == ["access key awakened"]
    assert kinds(recorder.memory(snapshot)) == [EventKind.AWAKENED]
    assert setting.stored == [(PROD, EventKind.AWAKENED)]


def test_the_store_is_back_before_anything_was_read(setting: Setting) -> None:
    """A store that was away at the start is up again, even if there is nothing to write."""
    setting.store.error = "gone"
    recorder = setting.recorder()
    setting.store.error = None
    recorder.retry()

    assert setting.ups == [False, True]


def test_an_account_that_cannot_be_written(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    """What is wrong with one account does not keep the others from being written."""
    accounts = [an_account(id, f"name-{id}") for id in (PROD, TEST, "333333333333")]
    recorder = setting.recorder(*accounts)
    setting.store.refuses = {PROD}
    for _ in range(3):
        for account in accounts:
            record(recorder, setting.read(a_key(), account=account))
        recorder.retry()
    saved = {each.snapshot.account.id for each in setting.store.load()}
    ups = list(setting.ups)
    setting.store.refuses = set()
    recorder.retry()

    assert saved == {TEST, "333333333333"}
    assert ups == [True, False, False, False, False]
    assert len(caplog.messages) == 2
    assert setting.ups[-1]
    assert len(setting.store.load()) == 3


def test_another_process_goes_on_while_the_store_is_away(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    """What two processes noticed apart is stored once, and both remember all of it."""
    ours, theirs = setting.recorder(), setting.recorder()
    for recorder in (ours, theirs):
        record(recorder, setting.read(a_key(last_use=OLD_USE), a_key(OTHER)))
    setting.clock.advance(minutes=15)
    setting.store.error = "gone"
    record(ours, setting.read(used_now(setting), a_key(OTHER)))
    setting.store.error = None
    setting.clock.advance(minutes=15)
    last = setting.read(used_now(setting), a_key(OTHER, status="Inactive"))
    record(theirs, last)
    ours.retry()
    record(ours, last)

    both = [EventKind.AWAKENED, EventKind.DEACTIVATED]
    assert setting.stored == [(PROD, kind) for kind in both]
    assert kinds(ours.memory(last)) == kinds(theirs.memory(last)) == both
    assert events_of(caplog).count("access key deactivated") == 1


def test_an_event_that_another_process_noticed(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    """Of two processes that notice the same event, one logs it, and both show it."""
    ours, theirs = setting.recorder(), setting.recorder()
    awaken(setting, ours)
    snapshot = setting.read(used_now(setting))
    record(theirs, snapshot)

    assert events_of(caplog) == ["access key awakened"]
    assert kinds(theirs.memory(snapshot)) == [EventKind.AWAKENED]


def test_an_account_moves_to_another_process(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    """A process that has never seen an account continues what another one remembered."""
    ours, theirs = setting.recorder(), setting.without_start()
    record(ours, setting.read(a_key(last_use=OLD_USE)))
    setting.clock.advance(minutes=15)
    record(theirs, setting.read(used_now(setting)))

    assert events_of(caplog) == ["access key awakened"]


# -- the store hangs ---------------------------------------------------------------------------


def test_a_store_that_hangs_at_the_start(
    setting: Setting, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that does not respond at the start is one that is away."""
    monkeypatch.setattr("exporter.cli.recorder.START_SECONDS", 0.05)
    setting.store.waits_for = threading.Event()
    recorder = setting.recorder(patience=0.05)
    snapshot = awaken(setting, recorder)
    shown = kinds(recorder.memory(snapshot))
    setting.store.waits_for.set()

    assert shown == [EventKind.AWAKENED]
    assert setting.ups == [False]
    assert "the store hangs" in vars(caplog.records[0])["error"]


def test_a_store_that_hangs(setting: Setting) -> None:
    """A refresh waits for a store that hangs, once; what it wrote in the end is there once."""
    recorder = setting.recorder(patience=1.0)
    record(recorder, setting.read(a_key(last_use=OLD_USE)))
    setting.store.waits_for = threading.Event()
    snapshot = awaken(setting, recorder)
    recorder.retry()
    tries = list(setting.store.tries)
    shown = kinds(recorder.memory(snapshot))
    setting.store.waits_for.set()
    for thread in threading.enumerate():
        if thread.name == "store_call":
            thread.join()
    recorder.retry()
    record(recorder, setting.read(used_now(setting)))

    assert tries == [PROD, PROD]  # the baseline, and the one that hangs
    assert shown == [EventKind.AWAKENED]
    assert setting.stored == [(PROD, EventKind.AWAKENED)]
    assert setting.ups == [True, False, False, True]


# -- bugs --------------------------------------------------------------------------------------


def test_a_bug_of_the_store(setting: Setting, caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected exception is logged, and costs neither the event nor the other accounts."""

    class Broken(UnreliableStore):
        def save(self, snapshot: AccountSnapshot, *args: Any, **options: Any) -> Saved:
            if snapshot.account.id == PROD:
                raise ZeroDivisionError
            return super().save(snapshot, *args, **options)

    setting.store = Broken(setting.path, setting.clock)
    recorder = setting.recorder()
    snapshot = awaken(setting, recorder)
    record(recorder, setting.read(a_key(), account=an_account(TEST, "test")))
    recorder.retry()

    assert kinds(recorder.memory(snapshot)) == [EventKind.AWAKENED]
    assert [each.snapshot.account.id for each in setting.store.load()] == [TEST]
    assert "cannot store account" in caplog.messages


def test_a_bug_of_reading_the_store(setting: Setting, caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected exception costs neither the start nor the next attempt, and is not "up"."""

    class Broken(UnreliableStore):
        def _fail(self) -> None:
            if self.error is not None:
                raise RuntimeError(self.error)

    setting.store = Broken(setting.path, setting.clock)
    setting.store.error = "can't start new thread"
    recorder = setting.recorder()
    recorder.retry()
    setting.store.error = None
    recorder.retry()

    assert setting.ups == [False, False, True]
    assert "unexpected error of the store" in caplog.messages


def test_a_snapshot_that_cannot_be_compared(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug of the comparison is logged, and does not keep the snapshot from being published."""
    recorder = setting.recorder()

    record(recorder, setting.read(a_key(), users=()))

    assert "cannot remember account" in caplog.messages


# -- threads -----------------------------------------------------------------------------------


def test_many_accounts_at_the_same_time(setting: Setting, caplog: pytest.LogCaptureFixture) -> None:
    """Accounts are recorded by several threads while the store comes and goes: each event once."""
    accounts = [an_account(f"{number:012}", f"account-{number}") for number in range(12)]
    recorder = setting.recorder(*accounts)
    for account in accounts:
        record(recorder, setting.read(a_key(last_use=OLD_USE), account=account))
    setting.clock.advance(minutes=15)
    done = threading.Event()

    def come_and_go() -> None:
        while not done.is_set():
            setting.store.error = None if setting.store.error else "gone"
            recorder.retry()

    snapshots = [setting.read(used_now(setting), account=account) for account in accounts]
    other = threading.Thread(target=come_and_go)
    other.start()
    in_threads(lambda snapshot: record(recorder, snapshot), [*snapshots, *snapshots])
    done.set()
    other.join()
    setting.store.error = None
    recorder.retry()

    assert sorted(setting.stored) == [(account.id, EventKind.AWAKENED) for account in accounts]
    assert events_of(caplog) == ["access key awakened"] * 12
    assert setting.ups[-1]


def in_threads(
    function: Callable[[AccountSnapshot], object], items: Iterable[AccountSnapshot]
) -> None:
    threads = [threading.Thread(target=function, args=(item,)) for item in items]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
