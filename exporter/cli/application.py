"""The application: creates the modules from the configuration and connects them."""

import gc
import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from exporter import aws, memory
from exporter.cli.accounts import Accounts, Identities, complete
from exporter.cli.recorder import Recorder
from exporter.config import Config, Selection, label_of_tag
from exporter.exemptions import Exemption, Exemptions
from exporter.key_ids import KeyIdFormatter, description_of, is_description_tag
from exporter.metrics import (
    Counts,
    Exposition,
    MetricsStore,
    RenderOptions,
    SelfMetrics,
)
from exporter.model import Account, AccountSnapshot, Clock
from exporter.refresh import Scheduler, key_of
from exporter.sharding import Shard
from exporter.store import Store

log = logging.getLogger(__name__)


class SystemClock:
    """The clocks of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


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
    *,
    shard: Shard = Shard(),  # noqa: B008 (immutable)
) -> Application:
    """Create everything that *config* describes, without starting it."""

    def reads(account: Account) -> bool:
        return shard.has(account.id)

    self_metrics.shard(shard.ordinal, shard.total)
    exemptions = exemptions_of(config)
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
    sessions = sessions_of(config, self_metrics, stop, clock)
    scheduler = Scheduler(
        refresher_of(config, sessions, clock).refresh,
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

    configured = config.model_accounts()
    discovery = discovery_of(config, sessions, clock)

    identities = Identities(
        configured,
        None if discovery is None else discovery.identify,
        lambda: [snapshot for snapshot, _ in scheduler.snapshots()],
    )

    def apply(accounts: list[Account]) -> None:
        self_metrics.configured(accounts=len(accounts), interval=interval)
        scheduler.set_accounts(filter(reads, accounts))
        # Else any stored account may be one that is configured without its id.
        if identities.are_complete():
            recorder.keep_only(identities.find() | {account.id for account in accounts})

    def restore() -> None:
        restored = recorder.restore(configured, _completed(config), reads)
        accounts = list({key_of(each): each for each in (*configured, *restored)}.values())
        self_metrics.configured(accounts=len(accounts), interval=interval)
        scheduler.set_accounts(filter(reads, accounts), restored)

    organization = config.organization
    accounts = Accounts(
        configured,
        discovery,
        interval=organization.interval.total_seconds() if organization is not None else 0,
        identified=identities.find,
        apply=apply,
        report=self_metrics.discovery_up,
    )
    exclude = frozenset(config.metrics.exclude)
    exposition = Exposition(samples, self_metrics, clock, exclude=exclude)
    return Application(scheduler, recorder, exposition, accounts, stop, restore)


def _completed(config: Config) -> Callable[[Account], Account] | None:
    if config.organization is None:
        return None
    return partial(
        complete,
        role_name=config.organization.role_name,
        role_session=config.organization.role_session(),
        profile=config.organization.profile,
    )


def discovery_of(
    config: Config, sessions: aws.AccountSessions, clock: Clock
) -> aws.Discovery | None:
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


def sessions_of(
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


def refresher_of(
    config: Config, sessions: aws.AccountSessions, clock: Clock
) -> aws.AccountRefresher:
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
        account_tags={tag: label_of_tag(tag) for tag in config.labels.account_tags},
        counts=Counts(config.counts.days, config.counts.by_tags),
        exclude=frozenset(config.metrics.exclude),
        requests_per_second=config.collection.requests_per_second,
    )
