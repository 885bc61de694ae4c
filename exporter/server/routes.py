"""Routes and their handlers."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from socket import socket
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.log import access_log
from tornado.web import Application, RequestHandler

from exporter.server import landing

MAX_SCRAPES = 2
"""How many scrapes are rendered at the same time; others wait. Probes never wait for them."""

Metrics = Callable[[str, frozenset[str], bool], tuple[bytes, str]]
"""
Renders the metrics, given the Accept header, the names of the families (empty: all) and whether to
compress with gzip; returns the body and its content type. Called from several threads.
"""


@dataclass(frozen=True, slots=True)
class Site:
    """
    What is served.

    Attributes:
        telemetry_path: The path of the metrics.
        is_ready: Whether the first refresh of every account has finished.
        accounts: The table of the landing page.
    """

    version: str
    telemetry_path: str
    metrics: Metrics
    is_ready: Callable[[], bool]
    accounts: Callable[[], list[landing.AccountRow]]


def serve(site: Site, sockets: Sequence[socket]) -> HTTPServer:
    """Serve *site* on *sockets*, on the running event loop."""
    pool = ThreadPoolExecutor(MAX_SCRAPES, thread_name_prefix="scrape")
    options: dict[str, Any] = {"site": site, "pool": pool}
    application = Application(
        [
            (re.escape(site.telemetry_path), MetricsHandler, options),
            (r"/", LandingHandler, options),
            (r"/-/healthy", HealthyHandler, options),
            (r"/-/ready", ReadyHandler, options),
        ],
        default_handler_class=NotFoundHandler,
        default_handler_args=options,
        log_function=_log_request,
    )
    # Requests are small, so the limits are tight. The idle timeout is long because Prometheus
    # reuses connections between scrapes.
    server = HTTPServer(
        application,
        idle_connection_timeout=300,
        body_timeout=10,
        max_body_size=4096,
        max_header_size=16384,
    )
    server.add_sockets(sockets)
    return server


def _log_request(handler: RequestHandler) -> None:
    request = handler.request
    access_log.debug(
        "request",
        extra={
            "method": request.method,
            "path": request.path,
            "status": handler.get_status(),
            "seconds": round(request.request_time(), 4),
        },
    )


class Handler(RequestHandler):
    SUPPORTED_METHODS = ("GET", "HEAD")

    def initialize(self, site: Site, pool: ThreadPoolExecutor) -> None:
        self.site = site
        self.pool = pool

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("X-Content-Type-Options", "nosniff")

    def compute_etag(self) -> None:
        """Do not hash responses: no two are the same."""

    def head(self) -> Awaitable[None] | None:
        return self.get()

    def send_text(self, text: str, status: int = 200) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(text)

    def write_error(self, status_code: int, **_: Any) -> None:
        self.send_text(f"{status_code} {self._reason}\n", status_code)


class MetricsHandler(Handler):
    async def get(self) -> None:
        accept = self.request.headers.get("Accept", "")
        gzip = _accepts_gzip(self.request.headers.get("Accept-Encoding", ""))
        names = frozenset(self.get_query_arguments("name[]"))
        body, content_type = await asyncio.get_running_loop().run_in_executor(
            self.pool, self.site.metrics, accept, names, gzip
        )
        self.set_header("Content-Type", content_type)
        self.set_header("Vary", "Accept, Accept-Encoding")
        if gzip:
            self.set_header("Content-Encoding", "gzip")
        self.finish(body)


def _accepts_gzip(accept_encoding: str) -> bool:
    for item in accept_encoding.lower().split(","):
        coding, _, quality = item.replace(" ", "").partition(";q=")
        if coding in ("gzip", "x-gzip"):
            return quality.strip("0.") != "" or quality == ""
    return False


class HealthyHandler(Handler):
    async def get(self) -> None:
        self.send_text("Healthy\n")


class ReadyHandler(Handler):
    async def get(self) -> None:
        if self.site.is_ready():
            self.send_text("Ready\n")
        else:
            self.send_text("Not ready: waiting for the first refresh of every account\n", 503)


class NotFoundHandler(Handler):
    async def get(self) -> None:
        self.send_text(f"404 Not Found. The metrics are at {self.site.telemetry_path}\n", 404)


class LandingHandler(Handler):
    async def get(self) -> None:
        page = landing.render(
            version=self.site.version,
            telemetry_path=self.site.telemetry_path,
            accounts=self.site.accounts(),
            now=datetime.now(UTC),
        )
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        self.finish(page)
