"""
How the exporter is served: routes, probes, the landing page. Knows nothing of AWS.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from html import escape
from socket import socket
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.log import access_log
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler

SCRAPES = 2
"""So many scrapes are rendered at once; more wait. Probes and pages never do."""

Metrics = Callable[[str, frozenset[str], bool], tuple[bytes, str]]
"""Renders the metrics: the Accept header, names of families, whether to gzip; and the type."""


@dataclass(frozen=True, slots=True)
class AccountLine:
    """A line of the landing page's table. All texts are for people."""

    id: str
    name: str
    state: str
    keys: str
    last_success: str
    next_reading: str
    error: str


@dataclass(frozen=True, slots=True)
class Site:
    """
    What is served.

    Attributes:
        telemetry_path: Where the metrics are.
        is_ready: Whether every account has been tried once.
    """

    version: str
    telemetry_path: str
    metrics: Metrics
    is_ready: Callable[[], bool]
    accounts: Callable[[], Sequence[AccountLine]]


def bind(address: str) -> list[socket]:
    """
    Listen on *address*: ``:10064``, ``127.0.0.1:0`` or ``[::1]:10064``.

    Raises:
        OSError: It cannot be had, or is no address.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise OSError("not an address such as :10064, 127.0.0.1:10064 or [::1]:10064")
    try:
        return bind_sockets(int(port), host.removeprefix("[").removesuffix("]") or None)
    except UnicodeError as error:
        raise OSError(f"not the name of a host: {host}") from error


def address_of(bound: socket) -> str:
    """Say what *bound* listens on, with the port that it got."""
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def serve(site: Site, sockets: Sequence[socket]) -> HTTPServer:
    """Serve *site* on *sockets*, on the running event loop."""
    pool = ThreadPoolExecutor(SCRAPES, thread_name_prefix="scrape")
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
    # Nobody sends us much, or slowly; but Prometheus keeps its connection from scrape to scrape.
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
        """Hash no page: no two are the same."""

    async def head(self) -> None:
        await self.get()

    async def get(self) -> None:
        raise HTTPError(405)

    def text(self, text: str, status: int = 200) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(text)

    def write_error(self, status_code: int, **_: Any) -> None:
        self.text(f"{status_code} {self._reason}\n", status_code)


class MetricsHandler(Handler):
    async def get(self) -> None:
        accept = self.request.headers.get("Accept", "")
        gzip = _accepts_gzip(self.request.headers.get("Accept-Encoding", ""))
        names = frozenset(self.get_query_arguments("name[]"))
        body, type_ = await asyncio.get_running_loop().run_in_executor(
            self.pool, self.site.metrics, accept, names, gzip
        )
        self.set_header("Content-Type", type_)
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
        self.text("Healthy\n")


class ReadyHandler(Handler):
    async def get(self) -> None:
        if self.site.is_ready():
            self.text("Ready\n")
        else:
            self.text("Not ready: not every account has been tried once\n", 503)


class NotFoundHandler(Handler):
    async def get(self) -> None:
        self.text(f"404 Not Found. The metrics are at {self.site.telemetry_path}\n", 404)


class LandingHandler(Handler):
    async def get(self) -> None:
        rows = "".join(_row(line) for line in self.site.accounts())
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        self.finish(
            PAGE.format(
                version=escape(self.site.version), path=escape(self.site.telemetry_path), rows=rows
            )
        )


def _row(line: AccountLine) -> str:
    cells = (line.id, line.name, line.keys, line.last_success, line.next_reading)
    told = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    state = f'<td class="{escape(line.state)}">{escape(line.state)}</td>'
    return f"<tr>{state}{told}<td>{escape(line.error)}</td></tr>\n"


PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>aws-iam-key-exporter</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 0; color: #222; }}
header {{ background: #e6522c; color: #fff; padding: 1px 2em; }}
main {{ padding: 0 2em 2em; overflow-x: auto; }}
table {{ border-collapse: collapse; }}
th, td {{ text-align: left; padding: .3em 1em .3em 0; border-bottom: 1px solid #ddd; }}
th {{ font-weight: 600; }}
.up {{ color: #17803d; }} .down {{ color: #b91c1c; font-weight: 600; }} .waiting {{ color: #666; }}
</style>
</head>
<body>
<header><h1>aws-iam-key-exporter</h1></header>
<main>
<p>Which AWS IAM access keys are in use, by which service and in which region.
Version {version}.</p>
<ul>
<li><a href="{path}">Metrics</a></li>
<li><a href="/-/healthy">Healthy</a>: this process answers</li>
<li><a href="/-/ready">Ready</a>: every account has been tried once</li>
</ul>
<h2>Accounts</h2>
<table>
<tr><th>State</th><th>Id</th><th>Name</th><th>Keys</th><th>Last success</th><th>Next reading</th>
<th>What is wrong</th></tr>
{rows}</table>
</main>
</body>
</html>
"""
