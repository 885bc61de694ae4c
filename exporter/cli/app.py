"""The application: creates the modules from the configuration and connects them."""

import asyncio
import gc
import logging
import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from socket import socket

from exporter import __version__, aws, memory, server
from exporter.cli.accounts import Accounts, complete
from exporter.cli.bounded import call_in_thread
from exporter.cli.logs import QueueHandler
from exporter.cli.recorder import Recorder
from exporter.config import Config, Selection, label_of_tag
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
from exporter.refresh import Scheduler
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
    web: server.WebConfig | None = None,
) -> None:
    """
    Refresh accounts and serve on *sockets* until SIGTERM or SIGINT.

    Args:
        redact: Removes what must not be shown from a text.
        handler: Counts the log messages that are dropped.
        web: TLS, passwords and rate limits. None: there are none.
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
    starting = asyncio.wrap_future(call_in_thread(application.start, "start"))
    stopping = asyncio.ensure_future(stopped.wait())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        starting.result()
        connections = server.max_connections(server.raise_file_limit())
        http = server.serve(site, sockets, server.Limits(connections, max_requests), web)
        is_encrypted = web is not None and web.tls is not None
        log.info("TLS is enabled" if is_encrypted else "TLS is disabled", extra={"http2": False})
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
    accounts: Accounts
    stop: threading.Event
    restore: Callable[[], None]

    def start(self) -> None:
        """Publish what is stored of every account, and begin to refresh them."""
        # Millions of objects are created, none of which is garbage: to look for garbage among them
        # takes long now, and would hold up every scrape later.
        gc.disable()
        try:
            self.restore()
        finally:
            gc.freeze()
            gc.enable()
        self.scheduler.start()
        for name, run in (
            ("store", self.recorder.retry_until),
            ("discovery", self.accounts.keep_up_to_date),
        ):
            threading.Thread(target=run, args=(self.stop,), name=name, daemon=True).start()


def build(
    config: Config,
    key_ids: KeyIdFormatter,
    stop: threading.Event,
    clock: Clock,
    self_metrics: SelfMetrics,
) -> Application:
    """Create everything that *config* describes, without starting it."""
    exemptions = _exemptions(config)
    samples = MetricsStore(_render_options(config, key_ids, exemptions))
    recorder = _recorder(config, self_metrics, clock)

    def publish(account: Account, snapshot: AccountSnapshot) -> None:
        exemptions.check(snapshot)
        samples.publish(account, snapshot, recorder.memory(snapshot))

    def forget(account: Account) -> None:
        samples.remove(account)
        exemptions.forget(account.id)
        recorder.forget(account.id)

    interval = config.collection.interval.total_seconds()
    sessions = _sessions(config, self_metrics, stop, clock)
    scheduler = Scheduler(
        _refresher(config, sessions, clock).refresh,
        publish,
        interval=interval,
        deadline=config.collection.deadline.total_seconds(),
        workers=config.collection.workers,
        stale_after=config.collection.stale_after,
        stop=stop,
        clock=clock,
        remember=recorder.record,
        release=sessions.forget,
        forget=forget,
    )

    def apply(accounts: list[Account]) -> None:
        self_metrics.configured(accounts=len(accounts), interval=interval)
        scheduler.set_accounts(accounts)
        recorder.keep_only(account.id for account in accounts)

    configured = config.model_accounts()

    def restore() -> None:
        restored = recorder.restore(configured, _completed(config))
        accounts = list(dict.fromkeys((*configured, *restored)))
        self_metrics.configured(accounts=len(accounts), interval=interval)
        scheduler.set_accounts(accounts, restored)

    organization = config.organization
    accounts = Accounts(
        configured,
        _discovery(config, sessions, clock),
        interval=organization.interval.total_seconds() if organization is not None else 0,
        identified=lambda: _identified(configured, scheduler),
        apply=apply,
        report=self_metrics.discovery_up,
    )
    exposition = Exposition(samples, self_metrics, clock)
    return Application(scheduler, recorder, exposition, accounts, stop, restore)


def _identified(configured: Sequence[Account], scheduler: Scheduler) -> set[str]:
    """Find the ids, as far as AWS has reported them, of accounts that are configured without."""
    names = {account.label for account in configured if not account.id}
    snapshots = [snapshot for snapshot, _ in scheduler.snapshots()]
    return {each.account.id for each in snapshots if each.account.label in names} - {""}


def _completed(config: Config) -> Callable[[Account], Account] | None:
    if config.organization is None:
        return None
    return partial(
        complete,
        role_name=config.organization.role_name,
        role_session=config.organization.role_session(),
        profile=config.organization.profile,
    )


def _discovery(config: Config, sessions: aws.AccountSessions, clock: Clock) -> aws.Discovery | None:
    organization = config.organization
    if organization is None:
        return None
    return aws.Discovery(
        sessions=sessions,
        role_name=organization.role_name,
        role_session=organization.role_session(),
        caller=organization.caller(),
        include=_selection(organization.include),
        exclude=_selection(organization.exclude),
        account_tags=config.labels.account_tags,
        deadline=config.collection.deadline.total_seconds(),
        clock=clock,
        rng=random.Random(),  # noqa: S311 (spreads calls, protects nothing)
    )


def _selection(selection: Selection) -> aws.Selection:
    return aws.Selection(
        frozenset(selection.ous), frozenset(selection.accounts), selection.names, selection.tags
    )


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


def _sessions(
    config: Config, self_metrics: SelfMetrics, stop: threading.Event, clock: Clock
) -> aws.AccountSessions:
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
    return aws.AccountSessions(
        clients,
        requests_per_second=collection.requests_per_second,
        burst=collection.burst,
        stop=stop,
        clock=clock,
    )


def _refresher(config: Config, sessions: aws.AccountSessions, clock: Clock) -> aws.AccountRefresher:
    collection = config.collection
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


def _exemptions(config: Config) -> Exemptions:
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
        account_tags={tag: label_of_tag(tag) for tag in config.labels.account_tags},
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
