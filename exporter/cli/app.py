"""Runs the application on an event loop: signals, the HTTP server, and the end."""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from socket import socket
from typing import Any

from exporter import aws, server
from exporter.cli.application import Application
from exporter.cli.bounded import call_in_thread
from exporter.cli.build import BUILD
from exporter.cli.flags import Flags
from exporter.cli.logs import QueueHandler
from exporter.cli.pages import content_of
from exporter.cli.redaction import Redactor
from exporter.cli.reload import Reloader
from exporter.cli.systemd import notify
from exporter.cli.wiring import SystemClock
from exporter.config import Config
from exporter.metrics import Exposition, Format, Page, SelfMetrics, negotiate
from exporter.model import Clock

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """
    Where the configuration is from.

    Attributes:
        load: Loads it again. Raises ConfigError.
        checksums: The checksums that its files had when it was loaded, as far as they are known.
    """

    load: Callable[[], Config]
    checksums: dict[str, str]


async def run(
    config: Config,
    source: Source,
    sockets: Sequence[socket],
    probe_sockets: Sequence[socket],
    *,
    flags: Flags,
    redactor: Redactor,
    handler: QueueHandler,
    web: server.WebConfig | None = None,
    clock: Clock = SystemClock(),  # noqa: B008 (has no state)
) -> None:
    """
    Refresh accounts and serve until SIGTERM or SIGINT.

    Args:
        sockets: Serve everything on these.
        probe_sockets: Serve probes on these.
        handler: Counts the log messages that are dropped.
        web: TLS, passwords and rate limits. None: there are none.
        clock: Another one than this machine's, for tests.
    """
    self_metrics = SelfMetrics(
        version=BUILD.version,
        revision=BUILD.revision,
        branch=BUILD.branch,
        operations=aws.Operation,
        redact=redactor,
        process=not flags.serve.disable_exporter_metrics,
        serving=not flags.serve.disable_exporter_metrics,
    )
    handler.on_drop(self_metrics.count_dropped_log_messages)
    application = Application(
        config,
        stop=threading.Event(),
        clock=clock,
        self_metrics=self_metrics,
        redactor=redactor,
        shard=flags.shard,
    )
    reloader = Reloader(
        source.load,
        application.reconfigure,
        redact=redactor,
        report=self_metrics.configuration_loaded,
        now=clock.now,
        file=flags.config_file,
        secret_files=config.secret_files(),
        seen=source.checksums,
    )
    # Requests wait until everything that is stored is published: a page without it would resolve
    # alerts. In a thread, since that may take seconds in which signals must have their effect.
    starting = asyncio.wrap_future(call_in_thread(application.start, "start"))

    async def reload() -> tuple[bool, str]:
        await asyncio.shield(starting)
        outcome = await reloader.reload()
        return outcome.succeeded, outcome.text

    background = _Background()
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    _call_on_signal(loop, signal.SIGTERM, stopped.set)
    _call_on_signal(loop, signal.SIGINT, stopped.set)
    _call_on_signal(loop, signal.SIGHUP, lambda: background.start(reload()))
    site = _site(
        application,
        self_metrics,
        flags,
        None if flags.serve.disable_pages else content_of(application, clock, flags.config_file),
        lifecycle=server.Lifecycle(reload, stopped.set) if flags.serve.enable_lifecycle else None,
        epoch=lambda: reloader.count,
    )
    connections = server.max_connections(server.raise_file_limit())
    limits = server.Limits(connections, flags.web_max_requests)
    servers = []
    if probe_sockets:  # at once: that the store or AWS takes its time is no reason for a restart
        servers.append(server.serve_probes(site, probe_sockets, server.Limits(connections)))
        _log_addresses("listening for probes", probe_sockets)
    stopping = asyncio.ensure_future(stopped.wait())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        starting.result()
        servers.append(server.serve(site, sockets, limits, web))
        is_encrypted = web is not None and web.tls is not None
        log.info("TLS is enabled" if is_encrypted else "TLS is disabled", extra={"http2": False})
        _log_addresses("listening", sockets)
        notify("READY=1", os.environ)
        if flags.serve.auto_reload and flags.config_file:
            background.start(reloader.reload_when_changed(flags.serve.auto_reload))
        await stopping
    notify("STOPPING=1", os.environ)
    for running in servers:
        running.stop()
    log.info("stopping")
    background.cancel()
    application.stop()


class _Background:
    """Tasks that nobody waits for."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)  # the event loop itself keeps no task alive
        task.add_done_callback(self._tasks.discard)

    def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()


def _call_on_signal(
    loop: asyncio.AbstractEventLoop, number: signal.Signals, callback: Callable[[], None]
) -> None:
    """
    Call *callback* on the event loop when signal *number* arrives.

    asyncio's own signal handlers are removed when the loop is closed; then another Ctrl-C would
    end the program with a traceback.
    """

    def handle(*_: object) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(callback)

    signal.signal(number, handle)


def _site(
    application: Application,
    self_metrics: SelfMetrics,
    flags: Flags,
    content: server.Content | None,
    *,
    lifecycle: server.Lifecycle | None,
    epoch: Callable[[], int],
) -> server.Site:
    return server.Site(
        BUILD.version,
        flags.web_telemetry_path,
        negotiate,
        partial(_page, application.exposition),
        application.is_ready,
        content,
        self_metrics.count_http_request,
        self_metrics.count_requests_in_flight,
        self_metrics.observe_http_request,
        prefix=flags.serve.route_prefix,
        external_url=flags.serve.external_url,
        lifecycle=lifecycle,
        epoch=epoch,
    )


def _page(
    exposition: Exposition,
    content_type: str,
    names: frozenset[str],
    gzip: bool,  # noqa: FBT001 (called by position)
) -> Page:
    return exposition.page(Format(content_type), names=names, gzip=gzip)


def _log_addresses(event: str, sockets: Sequence[socket]) -> None:
    for bound in sockets:
        log.info(event, extra={"address": server.address_of(bound)})
