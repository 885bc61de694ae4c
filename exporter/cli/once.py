"""What commands do that read accounts once: with the modules of the exporter, but no store."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from queue import Empty, SimpleQueue
from typing import Final, TypeVar

from exporter import __version__, aws
from exporter.cli.accounts import combine
from exporter.cli.wiring import discovery_of, refresher_of, sessions_of
from exporter.config import Config
from exporter.metrics import SelfMetrics
from exporter.model import Account, AccountSnapshot, Clock, ReadError, Stopped
from exporter.refresh import Scheduler, key_of

NEVER_AGAIN: Final = timedelta(days=3650).total_seconds()
"""An interval at which no account is refreshed twice."""

T = TypeVar("T")


class NoSuchAccount(Exception):
    """An account that was asked for does not exist. Meant for the user."""


def select(
    items: Sequence[T],
    wanted: Iterable[str],
    account_of: Callable[[T], Account],
    *,
    complete: bool = True,
) -> list[T]:
    """
    Return the items about accounts with the IDs or names *wanted*. None are wanted: all items.

    An account whose ID is unknown may be any of those that are not found.

    Args:
        account_of: Returns the account that an item is about.
        complete: Whether there are no other accounts.

    Raises:
        NoSuchAccount: There is none with one of them.
    """
    asked = set(wanted)
    if not asked:
        return list(items)
    accounts = [account_of(item) for item in items]
    missing = asked - {text for each in accounts for text in (each.id, each.label)}
    if missing and complete and all(each.id for each in accounts):
        text = f"there is no account with the ID or name {min(missing)!r}"
        raise NoSuchAccount(f"--account: {text}")
    return [
        item
        for item, each in zip(items, accounts, strict=True)
        if {each.id, each.label} & asked or (missing and not each.id)
    ]


class Once:
    """
    Lists the accounts and refreshes them once, as the exporter does it again and again.

    Nothing is stored, and nothing is read from the store.

    Attributes:
        sessions: Those of all accounts.
    """

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._stop = threading.Event()
        metrics = SelfMetrics(version=__version__, operations=aws.Operation, process=False)
        self.sessions = sessions_of(config, metrics, self._stop, clock)
        self._refresher = refresher_of(config, self.sessions, clock)

    def accounts(self) -> list[Account]:
        """
        List the accounts that are configured, and those of the organization; each of them once.

        Raises:
            ReadError: The accounts of the organization cannot be listed.
        """
        configured = self._config.model_accounts()
        discovery = discovery_of(self._config, self.sessions, self._clock)
        if discovery is None:
            return configured
        return combine(configured, discovery.discover(), self.identified(configured))

    def identified(self, configured: Iterable[Account]) -> Iterator[str]:
        """Yield the ids of accounts that are configured without one, as far as AWS says."""
        for account in configured:
            if not account.id:
                with suppress(ReadError):  # as its refresh will say
                    yield self._refresher.identify(account).id

    def refresh(
        self,
        accounts: Iterable[Account],
        on_finished: Callable[[AccountSnapshot], None] = lambda snapshot: None,
    ) -> list[AccountSnapshot]:
        """
        Refresh each of *accounts*, as many at the same time as configured.

        Args:
            on_finished: Called in this thread with each result, as soon as it is there.

        Returns:
            The results in the order of the accounts.
        """
        wanted = {key_of(account): account for account in accounts}
        finished: SimpleQueue[tuple[str, AccountSnapshot]] = SimpleQueue()

        def publish(account: Account, snapshot: AccountSnapshot) -> None:
            if snapshot.finished_at is not None:
                finished.put((key_of(account), snapshot))

        collection = self._config.collection
        scheduler = Scheduler(
            self._refresher.refresh,
            publish,
            interval=NEVER_AGAIN,
            deadline=collection.deadline.total_seconds(),
            workers=collection.workers,
            stale_after=collection.stale_after,
            stop=self._stop,
            clock=self._clock,
            first_retry=NEVER_AGAIN,
            start_spread=0.0,
        )
        results: dict[str, AccountSnapshot] = {}
        scheduler.set_accounts(wanted.values())
        scheduler.start()
        try:
            while len(results) < len(wanted):
                key, snapshot = finished.get()
                if key not in results:  # a refresh that was given up may end after all
                    results[key] = snapshot
                    on_finished(snapshot)
        finally:
            scheduler.stop()
        return [results[key] for key in wanted]

    def each(
        self,
        accounts: Iterable[Account],
        function: Callable[[Account], T],
        on_finished: Callable[[T], None] = lambda result: None,
    ) -> list[T]:
        """
        Call *function* with each of *accounts*, as many at the same time as configured.

        Args:
            function: It must not raise anything but Stopped.
            on_finished: Called in this thread with each result, as soon as it is there.

        Returns:
            The results in the order of the accounts.
        """
        waiting: SimpleQueue[tuple[int, Account]] = SimpleQueue()
        finished: SimpleQueue[tuple[int, T]] = SimpleQueue()
        for item in enumerate(accounts):
            waiting.put(item)
        count = waiting.qsize()

        def work() -> None:
            with suppress(Empty, Stopped):
                while not self._stop.is_set():
                    position, account = waiting.get_nowait()
                    finished.put((position, function(account)))

        for number in range(min(count, self._config.collection.workers)):
            threading.Thread(target=work, name=f"once-{number}", daemon=True).start()
        results: dict[int, T] = {}
        try:
            while len(results) < count:
                position, result = finished.get()
                results[position] = result
                on_finished(result)
        finally:
            self._stop.set()
        return [results[position] for position in range(count)]
