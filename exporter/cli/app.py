"""How the rooms are put together, and what they hand to each other."""

import asyncio
import logging
import random
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
from exporter.key_ids import KEY_ID, KeyIdFormatter
from exporter.metrics import Exposition, MetricsStore, RenderOptions, SelfMetrics, negotiate
from exporter.refresh import Scheduler

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
    self_metrics = SelfMetrics(version=__version__, operations=aws.Operation)
    page = MetricsStore(_shown(config, key_ids))
    refresher = _refresher(config, self_metrics, page, stop)
    exposition = Exposition(page, self_metrics)

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
    config: Config, self_metrics: SelfMetrics, page: MetricsStore, stop: threading.Event
) -> Scheduler:
    collection = config.collection
    accounts = config.model_accounts()
    self_metrics.configured(accounts=len(accounts), interval=collection.interval.total_seconds())
    clock = SystemClock()
    clients = aws.Clients(
        aws.Endpoints(
            region=config.aws.region,
            urls=config.aws.endpoint_urls.model_dump(exclude_none=True),
            use_fips=config.aws.use_fips,
            use_dualstack=config.aws.use_dualstack,
        ),
        workers=collection.workers,
        observe=self_metrics.observe,
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
    refresher = aws.AccountRefresher(
        sessions=sessions,
        deadline=collection.deadline.total_seconds(),
        report_mode=collection.credential_report,
        include_user=config.users.matcher(),
        tag_source=collection.user_tags,
        # The console keeps a key's description in a tag named by the key's id.
        keep_tag=lambda name: name in tags or KEY_ID.fullmatch(name) is not None,
        tags_interval=collection.user_tags_interval,
        clock=clock,
        rng=random.Random(),
    )
    return Scheduler(
        accounts,
        refresher.refresh,
        page.publish,
        interval=collection.interval.total_seconds(),
        workers=collection.workers,
        stale_after=collection.stale_after,
        stop=stop,
        clock=clock,
    )


class SystemClock:
    """The clocks of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


def _shown(config: Config, key_ids: KeyIdFormatter) -> RenderOptions:
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
