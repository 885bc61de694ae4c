"""The application: connects the modules, and changes to another configuration."""

import gc
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType

from exporter.cli.accounts import Accounts, Identities
from exporter.cli.redaction import Redactor
from exporter.cli.reload import Changes
from exporter.cli.rounds import Rounds
from exporter.cli.wiring import (
    completed,
    discovery_of,
    exemptions_of,
    key_id_formatter,
    memory_options,
    recorder_of,
    refresher_of,
    render_options,
    sessions_of,
)
from exporter.config import Config, differences
from exporter.metrics import Exposition, MetricsStore, SelfMetrics
from exporter.model import Account, AccountMemory, AccountSnapshot, Clock
from exporter.refresh import Refresh, Scheduler, key_of
from exporter.sharding import Shard

log = logging.getLogger(__name__)


class Application:
    """
    Everything that a configuration describes: created for one, and changed to another.

    Args:
        stop: Ends all waiting.
        redactor: Formats key ids, and hides secrets, as the configuration in effect says.
        shard: Which accounts this process reads.

    Attributes:
        config: The configuration in effect.
        scheduler: Refreshes the accounts.
        recorder: Remembers them.
        accounts: Which ones they are.
        exposition: Renders scrapes.
        rounds: Sums up the refreshes.
        shard: Which accounts this process reads.
    """

    def __init__(
        self,
        config: Config,
        *,
        stop: threading.Event,
        clock: Clock,
        self_metrics: SelfMetrics,
        redactor: Redactor | None = None,
        shard: Shard = Shard(),  # noqa: B008 (immutable)
    ) -> None:
        self.config = config
        self._stop = stop
        self._clock = clock
        self._self_metrics = self_metrics
        self._redactor = redactor
        self.shard = shard
        self_metrics.shard(shard.ordinal, shard.total)
        interval = config.collection.interval.total_seconds()
        self._sessions = sessions_of(config, self_metrics, stop, clock)
        self.recorder = recorder_of(config, self_metrics, clock)
        rendering = Rendering(config)
        self._renderings: tuple[Rendering, ...] = (rendering,)
        self.exposition = Exposition(rendering.samples, self_metrics, clock)
        self.rounds = Rounds(
            calls=lambda: self_metrics.api_requests, interval=interval, clock=clock
        )
        self._tags_read: set[str] | None = None
        self._refreshing = _Refreshing()
        self.scheduler = Scheduler(
            self._refresh_after(config),
            self._publish,
            interval=interval,
            deadline=config.collection.deadline.total_seconds(),
            workers=config.collection.workers,
            stale_after=config.collection.stale_after,
            stop=stop,
            clock=clock,
            remember=self._remember,
            release=self._sessions.forget,
            forget=self._forget,
        )
        self._discovery = discovery_of(config, self._sessions, clock)
        self._discovery_ends = threading.Event()
        self._restored = self._was_ready = False
        self._identities = self._new_identities({})
        self.accounts = Accounts(
            config.model_accounts(),
            self._discovery,
            interval=_discovery_interval(config),
            identified=self._identified,
            apply=self._apply,
            report=self_metrics.discovery_up,
        )
        self_metrics.configuration_loaded(clock.now())

    def start(self) -> None:
        """Publish what is stored of every account, and begin to refresh them."""
        self.restore()
        self.scheduler.start()
        self._start_thread("store", self.recorder.retry_until, self._stop)
        self._start_thread("discovery", self.accounts.keep_up_to_date, self._discovery_ends)

    def restore(self) -> None:
        """Publish what is stored of every account."""
        # Millions of objects are created, none of which is garbage: to look for garbage among them
        # takes long now, and would hold up every scrape later.
        gc.disable()
        try:
            configured = self.config.model_accounts()
            restored = self.recorder.restore(configured, completed(self.config), self._reads)
            accounts = list({key_of(each): each for each in (*configured, *restored)}.values())
            self.accounts.restored(accounts)
            self._set_accounts(accounts, restored)
            self._restored = True
        finally:
            gc.freeze()
            gc.enable()

    def refresh_once(self) -> bool:
        """
        Refresh every account once, instead of again and again, and publish the results.

        Returns:
            Whether all of them, and discovery, succeeded completely.
        """
        self.restore()
        discovered = self._discovery is None or self.accounts.discover(self._discovery)
        self.scheduler.make_due()
        self.scheduler.start()
        snapshots = self.rounds.wait_for_first()
        self.scheduler.publish_to(self._publish)  # waits for the last one
        self.recorder.retry()
        self.recorder.close()
        self.stop()
        return discovered and all(snapshot.up for snapshot in snapshots)

    def stop(self) -> None:
        """End the threads."""
        self._discovery_ends.set()
        self.scheduler.stop()

    def is_ready(self) -> bool:
        """Whether every account was refreshed once. Also if all of them are of other shards."""
        is_idle = self._restored and self.accounts.are_known and not self.scheduler.snapshots()
        self._was_ready |= is_idle or self.scheduler.is_ready()
        return self._was_ready

    def reconfigure(self, config: Config) -> Changes:
        """
        Change to *config*, without interrupting what is under way.

        Accounts that are not changed keep their schedule, facts, memory and counters.
        """
        before, wanted = self.config, config
        self.config = config = _reloadable(before, wanted)
        collection = config.collection
        interval = collection.interval.total_seconds()
        if self._redactor is not None:
            self._redactor.change(key_id_formatter(config), config.secrets())
        self.recorder.reconfigure(memory_options(config), keep_events=config.state.keep_events)
        self._sessions.clients.set_workers(collection.workers)
        self._sessions.set_rate(collection.requests_per_second, collection.burst)
        self.rounds.set_interval(interval)
        self.scheduler.reconfigure(
            self._refresh_after(before),
            interval=interval,
            deadline=collection.deadline.total_seconds(),
            workers=collection.workers,
            stale_after=collection.stale_after,
        )
        if _rendered_by(config) != _rendered_by(before):
            self._render_again()
        if _discovered_by(config) != _discovered_by(before):
            self._discovery = discovery_of(config, self._sessions, self._clock)
        self._identities = self._new_identities(self._identities.ids)
        is_due = self.accounts.reconfigure(
            config.model_accounts(), self._discovery, interval=_discovery_interval(config)
        )
        if is_due:
            self._discovery_ends.set()
            self._discovery_ends = threading.Event()
            self._start_thread("discovery", self.accounts.keep_up_to_date, self._discovery_ends)
        return Changes(differences(before, config), differences(config, wanted))

    def _start_thread(
        self, name: str, run: Callable[[threading.Event], None], stop: threading.Event
    ) -> None:
        threading.Thread(target=run, args=(stop,), name=name, daemon=True).start()

    def _refresh_after(self, before: Config) -> Refresh:
        """Return what refreshes an account after *before* was in effect."""
        refresher = refresher_of(self.config, self._sessions, self._clock)
        includes = self.config.users.matcher()
        if _tags_read_by(self.config) != _tags_read_by(before):
            self._tags_read = set()
        read = self._tags_read

        def refresh(account: Account, known: AccountSnapshot) -> AccountSnapshot:
            # The tags that are known lack those that were not wanted before.
            if read is not None and key_of(account) not in read:
                read.add(key_of(account))
                known = replace(known, bookmarks=replace(known.bookmarks, tags_at=None))
            # Users whom this refresh leaves out were not deleted, whatever is configured by then.
            self._refreshing.includes = includes
            return refresher.refresh(account, known)

        return refresh

    # -- snapshots -----------------------------------------------------------------------------

    def _remember(self, account: Account, snapshot: AccountSnapshot) -> None:
        self.recorder.record(account, snapshot, self._refreshing.includes)
        self.rounds.finished(account, snapshot)

    def _publish(self, account: Account, snapshot: AccountSnapshot) -> None:
        remembered = self.recorder.memory(snapshot)
        for rendering in self._renderings:
            rendering.publish(account, snapshot, remembered)

    def _forget(self, account: Account) -> None:
        for rendering in self._renderings:
            rendering.forget(account)
        self.recorder.forget(account.id)
        if self._tags_read is not None:
            self._tags_read.discard(key_of(account))

    def _render_again(self) -> None:
        """Render every account as the configuration says by now; scrapes see all of it, or none."""
        (before,) = self._renderings
        after = Rendering(self.config)
        # From now on both are kept up to date.
        self._renderings = (before, after)
        self.scheduler.publish_to(
            lambda account, snapshot: after.publish(
                account, snapshot, self.recorder.memory(snapshot)
            )
        )
        self.exposition.use(after.samples)
        self._renderings = (after,)

    # -- accounts ------------------------------------------------------------------------------

    def _apply(self, accounts: list[Account]) -> None:
        self._set_accounts(accounts)
        # Else any stored account may be one that is configured without its id, or one of the
        # organization, which another shard may be reading.
        if self._identities.are_complete() and self.accounts.are_known:
            ids = {account.id for account in accounts}
            self.recorder.keep_only(self._identities.find() | ids)

    def _set_accounts(
        self,
        accounts: Sequence[Account],
        restored: Mapping[Account, AccountSnapshot] = MappingProxyType({}),
    ) -> None:
        interval = self.config.collection.interval.total_seconds()
        self._self_metrics.configured(accounts=len(accounts), interval=interval)
        ours = [account for account in accounts if self._reads(account)]
        self.rounds.set_accounts(ours)
        self.scheduler.set_accounts(ours, restored)

    def _reads(self, account: Account) -> bool:
        return self.shard.has(account.id)

    def _identified(self) -> set[str]:
        return self._identities.find()

    def _new_identities(self, known: Mapping[Account, str]) -> Identities:
        return Identities(
            self.config.model_accounts(),
            None if self._discovery is None else self._discovery.identify,
            lambda: [snapshot for snapshot, _ in self.scheduler.snapshots()],
            known,
        )


class _Refreshing(threading.local):
    """
    The refresh that a thread is making.

    Attributes:
        includes: Whether it reads the user of this name. None: there is no refresh.
    """

    includes: Callable[[str], bool] | None = None


class Rendering:
    """The samples of all accounts, as one configuration says. Thread-safe."""

    def __init__(self, config: Config) -> None:
        self._exemptions = exemptions_of(config)
        options = render_options(config, key_id_formatter(config), self._exemptions)
        self.samples = MetricsStore(options)

    def publish(
        self, account: Account, snapshot: AccountSnapshot, remembered: AccountMemory
    ) -> None:
        """Replace the samples of *account*."""
        self._exemptions.check(snapshot)
        self.samples.publish(account, snapshot, remembered)

    def forget(self, account: Account) -> None:
        """Keep nothing of *account*, which is no longer read."""
        self.samples.remove(account)
        self._exemptions.forget(account.id)


def _reloadable(before: Config, wanted: Config) -> Config:
    """Return *wanted*, but with the options that require a restart as they were *before*."""
    kept = {"path": before.state.path, "url": before.state.url}
    state = wanted.state.model_copy(update=kept)
    return wanted.model_copy(update={"state": state, "aws": before.aws})


def _rendered_by(config: Config) -> object:
    """Return the options that samples depend on."""
    pace = config.collection.requests_per_second
    shown_for = config.changes.shown_for
    sections = config.labels, config.exemptions, config.counts, config.metrics
    return *sections, config.collection.passwords, pace, shown_for


def _discovered_by(config: Config) -> object:
    """Return the options that discovery depends on, but for how often it is done."""
    organization = config.organization
    if organization is not None:
        organization = organization.model_copy(update={"interval": timedelta()})
    return organization, config.labels.account_tags, config.collection.deadline


def _discovery_interval(config: Config) -> float:
    return config.organization.interval.total_seconds() if config.organization else 0.0


def _tags_read_by(config: Config) -> object:
    """Return the options that decide which tags are read."""
    return config.labels.user_tags, config.exemptions.tag, config.users, config.collection.user_tags
