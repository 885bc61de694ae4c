"""The application: creates the modules from the configuration and connects them."""

import asyncio
import logging
import random
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from queue import SimpleQueue
from socket import socket
from typing import Final

from exporter import __version__, aws, memory, server
from exporter.cli.logs import QueueHandler
from exporter.cli.recorder import Recorder
from exporter.config import Config, label_of_tag
from exporter.exemptions import Exemption, Exemptions
from exporter.key_ids import KeyIdFormatter, description_of, is_description_tag
from exporter.metrics import (
    Counts,
    Exposition,
    Format,
    MetricsStore,
    Page,
    RenderOptions,
    SelfMetrics,
    negotiate,
)
from exporter.model import Account, AccountSnapshot, Clock
from exporter.refresh import Scheduler, key_of
from exporter.store import Store

log = logging.getLogger(__name__)


class SystemClock:
    """The clocks of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


async def run(
    config: Config,
    sockets: Sequence[socket],
    *,
    key_ids: KeyIdFormatter,
    redact: Callable[[str], str],
    handler: QueueHandler,
    telemetry_path: str,
    max_requests: int,
) -> None:
    """
    Refresh accounts and serve on *sockets* until SIGTERM or SIGINT.

    Args:
        redact: Removes what must not be shown from a text.
        handler: Counts the log messages that are dropped.
    """
    stopped = _stop_on_signals(asyncio.get_running_loop())
    self_metrics = SelfMetrics(version=__version__, operations=aws.Operation, redact=key_ids.redact)
    handler.on_drop(self_metrics.count_dropped_log_messages)
    stop = threading.Event()
    application = build(config, key_ids, stop, SystemClock(), self_metrics)
    scheduler, exposition = application.scheduler, application.exposition

    def metrics(content_type: str, names: frozenset[str], gzip: bool) -> Page:  # noqa: FBT001 (called by position)
        return exposition.page(Format(content_type), names=names, gzip=gzip)

    site = server.Site(
        __version__,
        telemetry_path,
        negotiate,
        metrics,
        scheduler.is_ready,
        partial(_account_rows, scheduler, redact),
        exposition.count_request,
    )
    # Requests wait until everything that is stored is published: a page without it would resolve
    # alerts. In a thread, since that may take seconds in which signals must have their effect.
    starting = asyncio.ensure_future(asyncio.to_thread(application.start))
    stopping = asyncio.ensure_future(stopped.wait())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        starting.result()
        connections = server.max_connections(server.raise_file_limit())
        http = server.serve(site, sockets, server.Limits(connections, max_requests))
        for bound in sockets:
            log.info("listening", extra={"address": server.address_of(bound)})
        await stopping
        http.stop()
    log.info("stopping")
    scheduler.stop()


def _stop_on_signals(loop: asyncio.AbstractEventLoop) -> asyncio.Event:
    """
    Return an event that SIGTERM and SIGINT set. SIGHUP is logged.

    asyncio's own signal handlers are removed when the loop is closed; then another Ctrl-C would
    end the program with a traceback.
    """
    stopped = asyncio.Event()

    def in_loop(callback: Callable[[], None]) -> Callable[..., None]:
        def handle(*_: object) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(callback)

        return handle

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, in_loop(stopped.set))
    text = "ignoring SIGHUP: restart the exporter to change its configuration"
    signal.signal(signal.SIGHUP, in_loop(partial(log.warning, text)))
    return stopped


def key_id_formatter(config: Config) -> KeyIdFormatter:
    return KeyIdFormatter(config.labels.access_key_id, config.labels.hash_secret or "")


@dataclass(frozen=True, slots=True)
class Application:
    """Everything that a configuration describes."""

    scheduler: Scheduler
    recorder: Recorder
    exposition: Exposition
    stop: threading.Event
    accounts: tuple[Account, ...]

    def start(self) -> None:
        """Publish what is stored of every account, and begin to refresh them."""
        self.scheduler.set_accounts(self.accounts, self.recorder.restore(self.accounts))
        self.scheduler.start()
        retrying = partial(self.recorder.retry_until, self.stop)
        threading.Thread(target=retrying, name="store", daemon=True).start()


def build(
    config: Config,
    key_ids: KeyIdFormatter,
    stop: threading.Event,
    clock: Clock,
    self_metrics: SelfMetrics,
) -> Application:
    """Create everything that *config* describes, without starting it."""
    exemptions = exemptions_of(config)
    samples = MetricsStore(_render_options(config, key_ids, exemptions))
    recorder = _recorder(config, self_metrics, clock)

    def publish(account: Account, snapshot: AccountSnapshot) -> None:
        exemptions.check(snapshot)
        samples.publish(account, snapshot, recorder.memory(snapshot))

    accounts = tuple(config.model_accounts())
    self_metrics.configured(
        accounts=len(accounts), interval=config.collection.interval.total_seconds()
    )
    scheduler = Scheduler(
        _refresher(config, self_metrics, stop, clock).refresh,
        publish,
        interval=config.collection.interval.total_seconds(),
        deadline=config.collection.deadline.total_seconds(),
        workers=config.collection.workers,
        stale_after=config.collection.stale_after,
        stop=stop,
        clock=clock,
        remember=recorder.record,
    )
    exposition = Exposition(samples, self_metrics, clock)
    return Application(scheduler, recorder, exposition, stop, accounts)


ONCE: Final = timedelta(days=3650).total_seconds()
"""An interval after which a command does not refresh again."""


def refresh_once(
    config: Config,
    accounts: Iterable[Account],
    clock: Clock,
    on_finished: Callable[[AccountSnapshot], None] = lambda snapshot: None,
) -> list[AccountSnapshot]:
    """
    Refresh each of *accounts* once, as many at the same time as configured.

    Nothing is stored, and nothing is read from the store.

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

    stop = threading.Event()
    self_metrics = SelfMetrics(version=__version__, operations=aws.Operation, process=False)
    scheduler = Scheduler(
        _refresher(config, self_metrics, stop, clock).refresh,
        publish,
        interval=ONCE,
        deadline=config.collection.deadline.total_seconds(),
        workers=config.collection.workers,
        stale_after=config.collection.stale_after,
        stop=stop,
        clock=clock,
        first_retry=ONCE,
        start_spread=0.0,
    )
    results: dict[str, AccountSnapshot] = {}
    scheduler.set_accounts(wanted.values())
    scheduler.start()
    try:
        while len(results) < len(wanted):
            key, snapshot = finished.get()
            if key not in results:  # one that was given up may end after all
                results[key] = snapshot
                on_finished(snapshot)
    finally:
        scheduler.stop()
    return [results[key] for key in wanted]


def _recorder(config: Config, self_metrics: SelfMetrics, clock: Clock) -> Recorder:
    changes, state = config.changes, config.state
    location = state.location()
    options = memory.Options(
        shown_for=changes.shown_for,
        min_idle=changes.min_idle,
        learning=changes.learning,
        includes=config.users.matcher(),
    )
    return Recorder(
        None
        if location is None
        else Store(
            location,
            keep_events=state.keep_events,
            shown_for=changes.shown_for,
            clock=clock,
        ),
        options,
        clock=clock,
        report_store=self_metrics.store_up,
    )


def _refresher(
    config: Config, self_metrics: SelfMetrics, stop: threading.Event, clock: Clock
) -> aws.AccountRefresher:
    collection = config.collection
    clients = aws.Clients(
        aws.Endpoints(
            region=config.aws.region,
            urls=config.aws.endpoint_urls.by_service(),
            use_fips=config.aws.use_fips,
            use_dualstack=config.aws.use_dualstack,
        ),
        workers=collection.workers,
        observe=self_metrics.observe,
        count_error=self_metrics.count_error,
        clock=clock,
    )
    sessions = aws.AccountSessions(
        clients,
        requests_per_second=collection.requests_per_second,
        burst=collection.burst,
        stop=stop,
        clock=clock,
    )
    tags = frozenset((*config.labels.user_tags, config.exemptions.tag))
    return aws.AccountRefresher(
        sessions=sessions,
        interval=collection.interval.total_seconds(),
        deadline=collection.deadline.total_seconds(),
        report_mode=collection.credential_report,
        include_user=config.users.matcher(),
        tag_source=collection.user_tags,
        keep_tag=lambda name: name in tags or is_description_tag(name),
        tags_interval=collection.user_tags_interval,
        clock=clock,
        rng=random.Random(),  # noqa: S311 (spreads calls, protects nothing)
    )


def exemptions_of(config: Config) -> Exemptions:
    entries = [
        Exemption(entry.until, entry.user, entry.access_key_id, entry.account)
        for entry in config.exemptions.entries
    ]
    return Exemptions(config.exemptions.tag, entries)


def _render_options(
    config: Config, key_ids: KeyIdFormatter, exemptions: Exemptions
) -> RenderOptions:
    return RenderOptions(
        tags={tag: label_of_tag(tag) for tag in config.labels.user_tags},
        passwords=config.collection.passwords,
        key_labels=key_ids.labels,
        user_names=key_ids.names,
        redact=key_ids.redact,
        description=description_of,
        exempt_until=exemptions.until,
        counts=Counts(config.counts.days, config.counts.by_tags),
        requests_per_second=config.collection.requests_per_second,
    )


def _account_rows(scheduler: Scheduler, redact: Callable[[str], str]) -> list[server.AccountRow]:
    return [
        server.AccountRow(
            id=snapshot.account.id,
            name=redact(snapshot.account.label),
            up=snapshot.up if snapshot.finished_at else None,
            keys=len(snapshot.keys) if snapshot.keys_known else None,
            last_success=snapshot.read_at,
            next_refresh=seconds,
            error=redact(f"{snapshot.failure}: {snapshot.error}") if snapshot.failure else "",
        )
        for snapshot, seconds in scheduler.snapshots()
    ]
