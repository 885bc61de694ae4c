"""The application: creates the modules from the configuration and connects them."""

import asyncio
import logging
import signal
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from socket import socket

from exporter import __version__, aws, server
from exporter.config import Config, label_of_tag
from exporter.exemptions import Exemption, Exemptions
from exporter.key_ids import KEY_ID, KeyIdFormatter
from exporter.metrics import Exposition, MetricsStore, RenderOptions, SelfMetrics, negotiate
from exporter.refresh import Scheduler

log = logging.getLogger(__name__)


async def run(
    config: Config, key_ids: KeyIdFormatter, sockets: Sequence[socket], telemetry_path: str
) -> None:
    """Refresh accounts and serve on *sockets* until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    scheduler, exposition = build(config, key_ids, threading.Event())

    def metrics(accept: str, names: frozenset[str], gzip: bool) -> tuple[bytes, str]:
        format_ = negotiate(accept)
        return exposition.render(format_, names=names, gzip=gzip), format_

    site = server.Site(
        __version__,
        telemetry_path,
        metrics,
        scheduler.is_ready,
        partial(_account_rows, scheduler, key_ids),
    )
    http = server.serve(site, sockets)
    for bound in sockets:
        log.info("listening", extra={"address": server.address_of(bound)})
    scheduler.start()
    await stopped.wait()
    log.info("stopping")
    scheduler.stop()
    http.stop()


def key_id_formatter(config: Config) -> KeyIdFormatter:
    return KeyIdFormatter(config.labels.access_key_id, config.labels.hash_secret or "")


def build(
    config: Config, key_ids: KeyIdFormatter, stop: threading.Event
) -> tuple[Scheduler, Exposition]:
    """Create everything that *config* describes, without starting it."""
    self_metrics = SelfMetrics(version=__version__, operations=aws.OPERATIONS)
    store = MetricsStore(_render_options(config, key_ids))
    scheduler = _scheduler(config, self_metrics, store, stop)
    return scheduler, Exposition(store, self_metrics)


def _scheduler(
    config: Config, self_metrics: SelfMetrics, store: MetricsStore, stop: threading.Event
) -> Scheduler:
    collection = config.collection
    accounts = config.model_accounts()
    self_metrics.configured(accounts=len(accounts), interval=collection.interval.total_seconds())
    sessions = aws.Sessions(
        aws.Endpoints(
            config.aws.region,
            config.aws.endpoint_urls.by_service(),
            config.aws.use_fips,
            config.aws.use_dualstack,
        ),
        requests_per_second=collection.requests_per_second,
        burst=collection.burst,
        workers=collection.workers,
        observe=self_metrics.observe,
        stop=stop,
    )
    tags = frozenset((*config.labels.user_tags, config.exemptions.tag))
    reader = aws.AccountRefresher(
        sessions,
        deadline=collection.deadline.total_seconds(),
        report_mode=collection.credential_report,
        include_user=config.users.matcher(),
        tags=collection.user_tags,
        # The AWS console stores the description of a key in a user tag named by the key ID.
        keep_tag=lambda name: name in tags or KEY_ID.fullmatch(name) is not None,
        tags_interval=collection.user_tags_interval,
    )
    return Scheduler(
        accounts,
        reader.read,
        store.publish,
        interval=collection.interval.total_seconds(),
        workers=collection.workers,
        stale_after=collection.stale_after,
        stop=stop,
        now=lambda: datetime.now(UTC),
    )


def _render_options(config: Config, key_ids: KeyIdFormatter) -> RenderOptions:
    entries = [
        Exemption(entry.until, entry.user, entry.access_key_id, entry.account, entry.reason)
        for entry in config.exemptions.entries
    ]
    return RenderOptions(
        tags={tag: label_of_tag(tag) for tag in config.labels.user_tags},
        passwords=config.collection.passwords,
        key_labels=key_ids.labels,
        redact=key_ids.redact,
        exempt_until=Exemptions(config.exemptions.tag, entries).until,
    )


def _account_rows(scheduler: Scheduler, key_ids: KeyIdFormatter) -> list[server.AccountRow]:
    return [
        server.AccountRow(
            id=snapshot.account.id,
            name=snapshot.account.label,
            up=snapshot.up if snapshot.finished_at else None,
            keys=len(snapshot.keys) if snapshot.keys_known else None,
            last_success=snapshot.read_at,
            next_refresh=seconds,
            error=key_ids.redact(f"{snapshot.failure}: {snapshot.error}")
            if snapshot.failure
            else "",
        )
        for snapshot, seconds in scheduler.snapshots()
    ]
