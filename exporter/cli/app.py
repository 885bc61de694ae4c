"""Runs the application on an event loop: signals, the HTTP server, and the end."""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Sequence
from functools import partial
from socket import socket

from exporter import __version__, aws, server
from exporter.cli.application import SystemClock, build
from exporter.cli.bounded import call_in_thread
from exporter.cli.logs import QueueHandler
from exporter.cli.pages import content_of
from exporter.config import Config
from exporter.key_ids import KeyIdFormatter
from exporter.metrics import (
    Format,
    Page,
    SelfMetrics,
    negotiate,
)

log = logging.getLogger(__name__)


async def run(
    config: Config,
    sockets: Sequence[socket],
    *,
    key_ids: KeyIdFormatter,
    redact: Callable[[str], str],
    handler: QueueHandler,
    telemetry_path: str,
    max_requests: int,
    config_file: str,
    disable_pages: bool,
) -> None:
    """
    Refresh accounts and serve on *sockets* until SIGTERM or SIGINT.

    Args:
        redact: Removes what must not be shown from a text.
        config_file: Empty: there is none.
        handler: Counts the log messages that are dropped.
    """
    stopped = _stop_on_signals(asyncio.get_running_loop())
    self_metrics = SelfMetrics(version=__version__, operations=aws.Operation, redact=key_ids.redact)
    handler.on_drop(self_metrics.count_dropped_log_messages)
    stop = threading.Event()
    clock = SystemClock()
    application = build(config, key_ids, stop, clock, self_metrics)
    scheduler, exposition = application.scheduler, application.exposition

    def metrics(content_type: str, names: frozenset[str], gzip: bool) -> Page:  # noqa: FBT001 (called by position)
        return exposition.page(Format(content_type), names=names, gzip=gzip)

    content = None
    if not disable_pages:
        content = content_of(config, key_ids, redact, application, clock=clock, file=config_file)
    site = server.Site(
        __version__,
        telemetry_path,
        negotiate,
        metrics,
        scheduler.is_ready,
        content,
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
