"""What is remembered of each account: noticed, stored and logged at the end of every refresh."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from exporter import memory
from exporter.model import Account, AccountMemory, AccountSnapshot, Clock, Event, EventKind
from exporter.store import Store, Stored, StoreError

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 15.0
"""How often to try again to write, while that fails."""

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
        unsaved: The events that could not be written.
        configured_as: The name of an account that is configured without its id, else empty.
        lock: Held while the account is compared and written.
    """

    memory: AccountMemory = field(default_factory=AccountMemory)
    revision: int = 0
    snapshot: AccountSnapshot | None = None
    unsaved: tuple[Event, ...] = ()
    configured_as: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)


class Recorder:
    """
    Remembers accounts. Thread-safe.

    Nothing that the store does, or fails to do, keeps a snapshot from being published. What cannot
    be written is kept, and written when that is possible again.

    Args:
        store: None: nothing survives a restart.
        report_store: Called with whether the store can be used, whenever that is tried.
    """

    def __init__(
        self,
        store: Store | None,
        options: memory.Options,
        *,
        clock: Clock,
        report_store: Callable[[bool], None] = lambda up: None,
    ) -> None:
        self._store = store
        self._options = options
        self._clock = clock
        self._report_store = report_store
        self._records: dict[str, _Record] = {}
        self._lock = threading.Lock()
        self._up = True

    def restore(self, accounts: Iterable[Account]) -> dict[Account, AccountSnapshot]:
        """Read what is stored of *accounts*. Returns their snapshots; none if that fails."""
        if self._store is None:
            log.info(
                "nothing is stored: after a restart, the exporter learns again where keys are used",
                extra={"hint": "set state.path"},
            )
            return {}
        accounts = tuple(accounts)
        try:
            stored = self._load(accounts)
        except StoreError as error:
            self._set_up(up=False, error=error)
            return {}
        self._set_up(up=True)
        restored = {}
        for account, each in stored.items():
            id_ = each.snapshot.account.id
            self._records[id_] = _Record(each.memory, each.revision)
            restored[account] = replace(each.snapshot, account=replace(account, id=id_))
        return restored

    def _load(self, accounts: Sequence[Account]) -> dict[Account, Stored]:
        """
        Load what is stored of *accounts*, and end all others.

        Raises:
            StoreError: The store cannot be used.
        """
        assert self._store is not None  # noqa: S101 (callers have checked)
        ids = {account.id for account in accounts}
        stored = self._store.load(None if "" in ids else ids)
        found = {}
        for account in accounts:
            for each in stored:
                # An account that is configured without its id is recognised by its name.
                by_name = not account.id and each.configured_as == account.label
                if by_name or each.snapshot.account.id == account.id:
                    found[account] = each
        known = ids | {each.snapshot.account.id for each in found.values()}
        if len(found) == len(accounts) or "" not in ids:
            self._store.end_accounts(known, self._clock.now())
        return found

    def memory(self, snapshot: AccountSnapshot) -> AccountMemory:
        """Return what is remembered of an account, with the events that are recent by now."""
        record = self._records.get(snapshot.account.id)
        if record is None:
            return AccountMemory()
        events = memory.recent(record.memory.events, self._clock.now(), self._options.shown_for)
        return replace(record.memory, events=events)

    def record(self, account: Account, snapshot: AccountSnapshot) -> None:
        """Compare the result of a refresh with what is remembered, and store and log the events."""
        if not snapshot.account.id:
            return
        record = self._record_of(snapshot)
        with record.lock:
            record.configured_as = "" if account.id else account.label
            try:
                self._write(record, snapshot)
            except Exception:
                # A bug: it must not keep the snapshot from being published.
                log.exception("cannot remember account", extra={"account": account.label})

    def retry_until(self, stop: threading.Event) -> None:
        """Write what could not be written, as soon as that is possible, until *stop* is set."""
        while not stop.wait(RETRY_SECONDS):
            self.retry()

    def retry(self) -> None:
        """Try to write what could not be written."""
        with self._lock:
            records = [record for record in self._records.values() if record.snapshot is not None]
        for record in records:
            with record.lock:
                if record.snapshot is None:
                    continue
                try:
                    self._log(record.snapshot, self._save(record, record.snapshot))
                except StoreError as error:
                    self._set_up(up=False, error=error)
                    return

    def _record_of(self, snapshot: AccountSnapshot) -> _Record:
        with self._lock:
            return self._records.setdefault(snapshot.account.id, _Record())

    def _write(self, record: _Record, snapshot: AccountSnapshot) -> None:
        # While the store is away, one thread tries: the refreshes do not wait for it.
        if self._store is not None and self._up:
            try:
                self._log(snapshot, self._save(record, snapshot))
            except StoreError as error:
                self._set_up(up=False, error=error)
            else:
                return
        record.memory, events = memory.remember(record.memory, snapshot, self._options)
        self._log(snapshot, events)
        if self._store is not None:
            record.snapshot, record.unsaved = snapshot, (*record.unsaved, *events)

    def _save(self, record: _Record, snapshot: AccountSnapshot) -> Sequence[Event]:
        """
        Compare and write in one transaction.

        Returns:
            The events that were not logged yet, and that no other process has noticed.

        Raises:
            StoreError: Nothing was written.
        """

        def remember(stored: AccountMemory | None) -> tuple[AccountMemory, Sequence[Event]]:
            before = record.memory if stored is None else stored
            after, events = memory.remember(before, snapshot, self._options)
            if stored is not None and record.snapshot is not None:
                # Another process went on while the store was away for this one.
                after = memory.merge(after, record.memory)
            return after, (*record.unsaved, *events)

        assert self._store is not None  # noqa: S101 (callers have checked)
        saved = self._store.save(
            snapshot, record.revision, remember, configured_as=record.configured_as
        )
        logged = {event.identity for event in record.unsaved}
        record.memory, record.revision = saved.memory, saved.revision
        record.snapshot, record.unsaved = None, ()
        self._set_up(up=True)
        return [event for event in saved.events if event.identity not in logged]

    def _set_up(self, *, up: bool, error: Exception | None = None) -> None:
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

    def _log(self, snapshot: AccountSnapshot, events: Iterable[Event]) -> None:
        for event in sorted(events, key=lambda event: event.at):
            level = logging.WARNING if event.kind in WARNINGS else logging.INFO
            facts = {"account": snapshot.account.label, **_facts(event)}
            log.log(level, MESSAGES[event.kind], extra=facts)


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
