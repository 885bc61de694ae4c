"""How the rooms are put together, and what they hand to each other."""

import asyncio
import logging
import signal
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from socket import socket

from exporter import __version__, aws, server
from exporter.config import Config, label_of_tag
from exporter.exemptions import Exemption, Exemptions
from exporter.key_ids import KeyIdFormatter, description_of, is_description_tag
from exporter.metrics import Exposition, MetricsStore, RenderOptions, SelfMetrics, negotiate
from exporter.model import Account, AccountSnapshot
from exporter.refresh import Publish, Scheduler

log = logging.getLogger(__name__)


async def run(
    config: Config, key_ids: KeyIdFormatter, sockets: Sequence[socket], telemetry_path: str
) -> None:
    """Read accounts and serve on *sockets*, until a signal ends it."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    stop = threading.Event()
    self_metrics = SelfMetrics(version=__version__, operations=aws.OPERATIONS)
    exemptions = _exemptions(config)
    store = MetricsStore(_shown(config, key_ids, exemptions))

    def publish(account: Account, snapshot: AccountSnapshot) -> None:
        exemptions.check(snapshot)
        store.publish(account, snapshot)

    refresher = _refresher(config, self_metrics, publish, stop)
    exposition = Exposition(store, self_metrics, SystemClock())

    def metrics(accept: str, names: frozenset[str], gzip: bool) -> tuple[bytes, str]:
        format_ = negotiate(accept)
        return exposition.render(format_, names=names, gzip=gzip), format_

    site = server.Site(
        __version__,
        telemetry_path,
        metrics,
        refresher.is_ready,
        partial(_account_lines, refresher, key_ids),
    )
    http = server.serve(site, sockets)
    for bound in sockets:
        log.info("listening", extra={"address": server.address_of(bound)})
    refresher.start()
    await stopped.wait()
    log.info("stopping")
    refresher.stop()
    http.stop()


def _refresher(
    config: Config, self_metrics: SelfMetrics, publish: Publish, stop: threading.Event
) -> Scheduler:
    collection = config.collection
    accounts = config.model_accounts()
    self_metrics.configured(accounts=len(accounts), interval=collection.interval.total_seconds())
    sessions = aws.Sessions(
        aws.Endpoints(
            config.aws.region,
            config.aws.endpoint_urls.model_dump(exclude_none=True),
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
        keep_tag=lambda name: name in tags or is_description_tag(name),
        tags_interval=collection.user_tags_interval,
    )
    return Scheduler(
        accounts,
        reader.read,
        publish,
        interval=collection.interval.total_seconds(),
        workers=collection.workers,
        stale_after=collection.stale_after,
        stop=stop,
        now=lambda: datetime.now(UTC),
    )


class SystemClock:
    """The clocks of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


def _exemptions(config: Config) -> Exemptions:
    entries = [
        Exemption(entry.until, entry.user, entry.access_key_id, entry.account)
        for entry in config.exemptions.entries
    ]
    return Exemptions(config.exemptions.tag, entries)


def _shown(config: Config, key_ids: KeyIdFormatter, exemptions: Exemptions) -> RenderOptions:
    return RenderOptions(
        tags={tag: label_of_tag(tag) for tag in config.labels.user_tags},
        passwords=config.collection.passwords,
        key_labels=key_ids.labels,
        redact=key_ids.redact,
        description=description_of,
        exempt_until=exemptions.until,
    )


def _account_lines(refresher: Scheduler, key_ids: KeyIdFormatter) -> list[server.AccountLine]:
    now = datetime.now(UTC)
    return [
        server.AccountLine(
            id=snapshot.account.id or "not known yet",
            name=snapshot.account.label,
            state="up" if snapshot.up else "down" if snapshot.finished_at else "waiting",
            keys=str(len(snapshot.keys)) if snapshot.keys_known else "not known",
            last_success=_ago(now - snapshot.read_at) if snapshot.read_at else "never",
            next_reading="now" if seconds is None else f"in {span(timedelta(seconds=seconds))}",
            error=key_ids.redact(f"{snapshot.failure}: {snapshot.error}")
            if snapshot.failure
            else "",
        )
        for snapshot, seconds in refresher.snapshots()
    ]


def _ago(duration: timedelta) -> str:
    return f"{span(duration)} ago"


def span(duration: timedelta) -> str:
    seconds = int(duration.total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
