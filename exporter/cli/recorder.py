"""What is remembered of each account: noticed, stored and logged at the end of every refresh."""

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from exporter import memory
from exporter.cli.bounded import BoundedCalls, Hanging
from exporter.model import Account, AccountMemory, AccountSnapshot, Clock, Event, EventKind
from exporter.store import Saved, Store, Stored, StoreError

log = logging.getLogger(__name__)

T = TypeVar("T")

RETRY_SECONDS: Final = 15.0
"""How often to try again to write, while that fails."""

PATIENCE_SECONDS: Final = 30.0
"""How long to wait for a store that hangs, such as one on a disk that was unplugged."""

START_SECONDS: Final = 60.0
"""The same for everything that is stored."""

EARLIEST: Final = datetime.min.replace(tzinfo=UTC)

MESSAGES: Final = {
    EventKind.CREATED: "access key created",
    EventKind.DELETED: "access key deleted",
    EventKind.ACTIVATED: "access key activated",
    EventKind.DEACTIVATED: "access key deactivated",
    EventKind.EXPIRED: "access key expired",
    EventKind.FIRST_USED: "access key used for the first time",
    EventKind.AWAKENED: "access key awakened",
    EventKind.NEW_SERVICE: "access key used for a new service",
    EventKind.NEW_REGION: "access key used in a new region",
    EventKind.ROOT_USED: "root user used",
    EventKind.ROOT_KEY_CREATED: "root access key created",
}

WARNINGS: Final = {
    EventKind.AWAKENED,
    EventKind.FIRST_USED,
    EventKind.ROOT_USED,
    EventKind.ROOT_KEY_CREATED,
}

SECONDS: Final = {EventKind.AWAKENED: "idle_seconds", EventKind.FIRST_USED: "age_seconds"}
"""What the duration that an event carries is called in the log."""


@dataclass(slots=True)
class _Record:
    """
    What is remembered of one account.

    Attributes:
        revision: That of the store that *memory* continues. 0: nothing was stored yet.
        snapshot: What could not be written. None: everything is stored.
        unsaved: The events that could not be written. They are logged already.
        configured_as: The name of an account that is configured without its id, else empty.
        includes: Whether the user of this name was read. None: as the options say.
        gone: The account is no longer read.
        lock: Held while the account is compared and written.
    """

    memory: AccountMemory = field(default_factory=AccountMemory)
    revision: int = 0
    snapshot: AccountSnapshot | None = None
    unsaved: tuple[Event, ...] = ()
    configured_as: str = ""
    includes: Callable[[str], bool] | None = None
    gone: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class Recorder:
    """
    Remembers accounts. Thread-safe.

    Nothing that the store does, or fails to do, keeps a snapshot from being published. What cannot
    be written is kept, and written when that is possible again.

    Args:
        store: None: nothing survives a restart.
        report_store: Called with whether the store can be used, whenever that is tried.
        patience: Seconds to wait for a store that hangs.
    """

    def __init__(
        self,
        store: Store | None,
        options: memory.Options,
        *,
        clock: Clock,
        report_store: Callable[[bool], None] = lambda up: None,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._store = store
        self._options = options
        self._clock = clock
        self._report_store = report_store
        self._patience = patience
        self._calls = BoundedCalls()
        self._records: dict[str, _Record] = {}
        self._kept: frozenset[str] | None = None
        self._others_ended = True
        self._up = True
        self._lock = threading.Lock()
        # Held by the refresh that writes: if the store hangs, one waits for it and not all.
        self._writing = threading.Lock()

    def reconfigure(self, options: memory.Options, *, keep_events: timedelta) -> None:
        """Remember with other options from the next refresh of each account on."""
        self._options = options
        if self._store is not None:
            self._store.keep(keep_events=keep_events, shown_for=options.shown_for)

    def restore(
        self,
        accounts: Iterable[Account],
        discovered: Callable[[Account], Account] | None = None,
        reads: Callable[[Account], bool] = lambda account: True,
    ) -> dict[Account, AccountSnapshot]:
        """
        Read what is stored of *accounts*, and of those that were discovered before the restart.

        Args:
            discovered: Completes a discovered account with what is not stored. None: there is no
                discovery.
            reads: Whether this process, and not another shard, reads an account.

        Returns:
            Their snapshots; none if that fails. With a discovery, the accounts have the names and
            tags that it found before, unless they are configured.
        """
        if self._store is None:
            log.info(
                "nothing is stored: after a restart, the exporter learns again where keys are used",
                extra={"hint": "set state.path"},
            )
            return {}
        accounts = tuple(accounts)
        restored = {}
        with self._reporting():
            for account, each in self._load(self._store, accounts, discovered, reads).items():
                known = each.snapshot.account
                self._records[known.id] = _Record(each.memory, each.revision)
                if not account.id:
                    now = replace(account, id=known.id, partition=known.partition)
                    restored[account] = self._included(replace(each.snapshot, account=now))
                    continue
                if discovered is not None:
                    # What the organization has said of an account that is configured.
                    name = account.name or ("" if known.name == known.id else known.name)
                    now = replace(account, name=name, tags=known.tags)
                else:
                    now = account
                restored[now] = self._included(replace(each.snapshot, account=now))
            if discovered is None:
                self._end_unconfigured(self._store, accounts, restored)
        return restored

    def memory(self, snapshot: AccountSnapshot) -> AccountMemory:
        """Return what is remembered of an account, with the events that are recent by now."""
        record = self._records.get(snapshot.account.id)
        if record is None:
            return AccountMemory()
        known = record.memory
        events = memory.recent(known.events, self._clock.now(), self._options.shown_for)
        return replace(known, events=events)

    def record(
        self,
        account: Account,
        snapshot: AccountSnapshot,
        includes: Callable[[str], bool] | None = None,
    ) -> None:
        """
        Compare the result of a refresh with what is remembered, and store and log the events.

        Args:
            includes: Which users were read, if the options have changed since the refresh began.
        """
        if not snapshot.account.id:
            return
        record = self._record_of(snapshot)
        with record.lock:
            record.configured_as = "" if account.id else account.label
            record.includes = includes
            try:
                if not self._write(record, snapshot):
                    self._keep(record, snapshot)
            except Exception:
                # A bug: it must not keep the snapshot from being published.
                log.exception("cannot remember account", extra={"account": account.label})

    def forget(self, account_id: str) -> None:
        """Keep nothing of an account that is no longer read, but what has yet to be written."""
        with self._lock:
            record = self._records.get(account_id)
            if record is None:
                return
            record.gone = True
            if record.snapshot is None:
                self._drop(account_id)

    def keep_only(self, account_ids: Iterable[str]) -> None:
        """Note in the store, now or when it is available, that no other account is read."""
        self._kept, self._others_ended = frozenset(account_ids), False
        if self._store is None or not self._up:
            return
        try:
            self._end_others(self._store, self._kept, self._patience)
        except StoreError as error:
            self._set_up(error)

    def _drop(self, account_id: str) -> None:
        self._records.pop(account_id, None)
        if self._store is not None:
            self._store.forget(account_id)

    def retry_until(self, stop: threading.Event) -> None:
        """Write what could not be written, as soon as that is possible, until *stop* is set."""
        while not stop.wait(RETRY_SECONDS):
            self.retry()

    def retry(self) -> None:
        """Try to write what could not be written."""
        with self._lock:
            unwritten = [one for one in self._records.values() if one.snapshot is not None]
            if self._store is None or (self._up and not unwritten):
                return
        with self._reporting():
            self._write_all(self._store, unwritten)
            if self._kept is not None and not self._others_ended:
                self._end_others(self._store, self._kept, self._patience)

    def close(self) -> None:
        """Close the store, so that another process can use it."""
        if self._store is not None:
            self._store.close()

    # -- accounts ------------------------------------------------------------------------------

    def _load(
        self,
        store: Store,
        accounts: Sequence[Account],
        discovered: Callable[[Account], Account] | None,
        reads: Callable[[Account], bool],
    ) -> dict[Account, Stored]:
        """
        Load what is stored of *accounts* and *discovered* ones, if this process *reads* them.

        Raises:
            StoreError: The store cannot be used.
        """
        ids = {account.id for account in accounts if reads(account)}
        which = ids - {""}
        if "" in ids or discovered is not None:
            names = {account.label for account in accounts if not account.id}
            listed = self._call(store.listed, START_SECONDS)
            which |= {each.account.id for each in listed if each.configured_as in names}
            if discovered is not None:
                others = (each.account for each in listed)
                which |= {each.id for each in others if _is_discovered(each) and reads(each)}
        stored = self._call(lambda: store.load(which), START_SECONDS)
        by_id = {each.snapshot.account.id: each for each in stored}
        # An account that is configured without its id is the one that its credentials belonged to
        # most recently.
        by_name = {
            each.configured_as: each
            for each in sorted(stored, key=lambda each: each.snapshot.finished_at or EARLIEST)
            if each.configured_as and each.snapshot.account.id not in ids
        }
        found = {
            account: each
            for account in accounts
            if (each := by_id.get(account.id) if account.id else by_name.get(account.label))
        }
        taken = {
            *(account.id for account in accounts),
            *(each.snapshot.account.id for each in found.values()),
        }
        if discovered is not None:
            for each in stored:
                account = each.snapshot.account
                if _is_discovered(account) and account.id not in taken and reads(account):
                    found[discovered(account)] = each
        return found

    def _included(self, snapshot: AccountSnapshot) -> AccountSnapshot:
        """Leave out the users whom the configuration excludes by now, and their keys."""
        users = tuple(user for user in snapshot.users if self._options.includes(user.name))
        if len(users) == len(snapshot.users):
            return snapshot
        names = {user.name for user in users}
        keys = tuple(key for key in snapshot.keys if key.user in names)
        return replace(snapshot, users=users, keys=keys)

    def _end_unconfigured(
        self, store: Store, accounts: Sequence[Account], restored: Mapping[Account, AccountSnapshot]
    ) -> None:
        """
        Mark the accounts that are no longer configured as ended.

        Raises:
            StoreError: The store cannot be used.
        """
        if any(not account.id and account not in restored for account in accounts):
            return  # it may be any of them
        ids = {account.id or restored[account].account.id for account in accounts}
        self._end_others(store, ids, START_SECONDS)

    def _end_others(self, store: Store, keep: Collection[str], seconds: float) -> None:
        """
        Mark the accounts that are not among *keep* as ended.

        Raises:
            StoreError: The store cannot be used, or hangs.
        """
        self._call(lambda: store.end_accounts(keep, self._clock.now()), seconds)
        self._others_ended = True

    def _record_of(self, snapshot: AccountSnapshot) -> _Record:
        with self._lock:
            record = self._records.setdefault(snapshot.account.id, _Record())
            record.gone = False
            return record

    def _keep(self, record: _Record, snapshot: AccountSnapshot) -> None:
        """Compare in memory only, and keep what has to be written."""
        record.memory, events = self._compare(record, record.memory, snapshot)
        self._log(snapshot, events)
        if self._store is not None:
            record.snapshot, record.unsaved = snapshot, (*record.unsaved, *events)

    def _compare(
        self, record: _Record, before: AccountMemory, snapshot: AccountSnapshot
    ) -> tuple[AccountMemory, Sequence[Event]]:
        # What another process has read meanwhile is not from the future.
        snapshot = replace(snapshot, finished_at=self._clock.now())
        options = self._options
        if record.includes is not None:
            options = replace(options, includes=record.includes)
        return memory.remember(before, snapshot, options)

    # -- the store -----------------------------------------------------------------------------

    def _write(self, record: _Record, snapshot: AccountSnapshot) -> bool:
        """Compare, write and log. Returns whether that was possible."""
        if self._store is None or not self._up:
            return False  # one thread tries: the refreshes do not wait
        with self._writing:
            if not self._up:
                return False
            try:
                self._log(snapshot, self._save(self._store, record, snapshot))
                return True
            except StoreError as error:
                self._set_up(error)
            except Exception:
                # A bug: it must not keep what happened from being noticed.
                log.exception("cannot store account", extra={"account": snapshot.account.label})
        return False

    def _write_all(self, store: Store, records: Iterable[_Record]) -> None:
        """
        Write what could not be written.

        Raises:
            StoreError: The store cannot be used, or something could not be written.
        """
        # First without an account's lock, so that no refresh waits for a connection.
        self._check(store)
        failure = None
        for record in records:
            with record.lock:
                if record.snapshot is None:
                    continue
                try:
                    account_id = record.snapshot.account.id
                    self._log(record.snapshot, self._save(store, record, record.snapshot))
                    with self._lock:
                        if record.gone:
                            self._drop(account_id)
                            self._others_ended = False  # writing it has removed its end date
                    continue
                except StoreError as error:
                    failure = error
                except Exception:
                    # A bug: it must not keep the other accounts from being written.
                    facts = {"account": record.snapshot.account.label}
                    log.exception("cannot store account", extra=facts)
                    continue
            self._check(store)  # what is wrong with one account is not wrong with all
        if failure is not None:
            raise failure

    def _check(self, store: Store) -> None:
        """
        Begin and end a transaction.

        Raises:
            StoreError: The store cannot be used.
        """
        self._call(lambda: store.load(()), self._patience)

    def _save(self, store: Store, record: _Record, snapshot: AccountSnapshot) -> Sequence[Event]:
        """
        Compare and write in one transaction.

        Returns:
            The events that were not logged yet, and that no other process has noticed.

        Raises:
            StoreError: Nothing was written, or it is unknown whether it was.
        """
        known, unsaved, went_on = record.memory, record.unsaved, record.snapshot is not None

        def remember(stored: AccountMemory | None) -> tuple[AccountMemory, Sequence[Event]]:
            before = known if stored is None else stored
            after, events = self._compare(record, before, snapshot)
            if stored is not None and went_on:
                # Another process went on while the store was away for this one.
                after = memory.merge(after, known)
            return after, (*unsaved, *events)

        as_ = record.configured_as
        save = partial(store.save, snapshot, record.revision, remember, configured_as=as_)
        saved: Saved = self._call(save, self._patience)
        logged = {event.identity for event in unsaved}
        record.memory, record.revision = saved.memory, saved.revision
        record.snapshot, record.unsaved = None, ()
        return [event for event in saved.events if event.identity not in logged]

    def _call(self, function: Callable[[], T], seconds: float) -> T:
        """
        Call the store.

        Raises:
            StoreError: It cannot be used, or hangs.
        """
        try:
            return self._calls.call(function, seconds=seconds)
        except Hanging as error:
            raise StoreError(f"the store hangs: {error}") from None

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """Report whether the store could be used in this context. Nothing is raised."""
        try:
            yield
        except StoreError as error:
            self._set_up(error)
        except Exception as error:
            # A bug: it must neither keep the exporter from starting nor end what retries.
            log.exception("unexpected error of the store")
            self._set_up(StoreError(f"{type(error).__name__}: see the log"))
        else:
            self._set_up(None)

    def _set_up(self, error: StoreError | None) -> None:
        """Report whether the store can be used; *error* says why not."""
        up = error is None
        with self._lock:
            changed, self._up = self._up is not up, up
        self._report_store(up)
        if up and changed:
            log.info("store is available again")
        elif changed:
            log.warning(
                "cannot use the store: what is noticed is kept in memory until it is available",
                extra={"error": str(error), "retry_seconds": RETRY_SECONDS},
            )

    # -- the log -------------------------------------------------------------------------------

    def _log(self, snapshot: AccountSnapshot, events: Iterable[Event]) -> None:
        for event in sorted(events, key=lambda event: event.at):
            level = logging.WARNING if event.kind in WARNINGS else logging.INFO
            facts = {"account": snapshot.account.label, **_facts(event)}
            log.log(level, MESSAGES[event.kind], extra=facts)


def _is_discovered(account: Account) -> bool:
    return account.source == "organization"


def _facts(event: Event) -> Mapping[str, object]:
    """Return the fields of a log message about *event*: those that apply to its kind."""
    facts: dict[str, object] = {
        "user": event.user,
        "access_key_id": event.access_key_id,
        "credential": event.credential,
        "service": event.service,
        "region": event.region,
    }
    if event.seconds is not None:
        facts[SECONDS[event.kind]] = int(event.seconds)
    applying = {name: value for name, value in facts.items() if value != ""}
    return {**applying, "at": event.at.isoformat(timespec="seconds")}
