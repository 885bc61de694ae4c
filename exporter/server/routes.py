"""Routes and their handlers."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from socket import socket
from typing import Any, ClassVar, Protocol, cast
from urllib.parse import urlsplit

from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError
from tornado.log import access_log, gen_log
from tornado.web import Application, HTTPError, RequestHandler

from exporter.server import pages
from exporter.server.connections import Connection
from exporter.server.http_server import Server
from exporter.server.limits import Limits
from exporter.server.networks import client_of
from exporter.server.shared import Shared
from exporter.server.slots import Slots
from exporter.server.web_config import WebConfig, add_headers

log = logging.getLogger(__name__)

METHODS = ("GET", "HEAD")


class Page(Protocol):
    """The body of a response, in chunks that are small enough to be sent one by one."""

    @property
    def size(self) -> int:
        """Bytes."""

    def __iter__(self) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class Site:
    """
    What is served.

    Attributes:
        telemetry_path: The path of the metrics.
        negotiate: Returns the content type of the metrics for an Accept header.
        metrics: Renders the metrics, given the content type, the names of the families (empty: all)
            and whether to compress with gzip. Called from several threads.
        is_ready: Whether the first refresh of every account has finished.
        content: What the pages for people show. None: there are none.
        observe: Counts a request, given the name of its handler and the status code.
        count_in_flight: Called with 1 when a request begins, and with -1 when it has ended.
        observe_duration: Called with the name of a handler and the seconds that a request took.
        prefix: What precedes all paths, such as ``/exporter``. Empty: nothing does.
        external_url: Where the root is for browsers, without a slash at the end. Empty: unknown.
        lifecycle: None: the exporter cannot be controlled by HTTP.
        epoch: Returns a number that changes when pages from before must not be sent any more.
    """

    version: str
    telemetry_path: str
    negotiate: Callable[[str], str]
    metrics: Callable[[str, frozenset[str], bool], Page]
    is_ready: Callable[[], bool]
    content: pages.Content | None
    observe: Callable[[str, int], None]
    count_in_flight: Callable[[int], None] = lambda change: None
    observe_duration: Callable[[str, float], None] = lambda handler, seconds: None
    prefix: str = ""
    external_url: str = ""
    lifecycle: "Lifecycle | None" = None
    epoch: Callable[[], int] = lambda: 0


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """
    What may be controlled by HTTP.

    Attributes:
        reload: Reloads the configuration, and returns whether that succeeded, and a text.
        quit: Ends the exporter.
    """

    reload: Callable[[], Awaitable[tuple[bool, str]]]
    quit: Callable[[], None]


def serve(
    site: Site, sockets: Sequence[socket], limits: Limits, web: WebConfig | None = None
) -> Server:
    """
    Serve *site* on *sockets*, on the running event loop.

    Args:
        web: TLS, passwords, headers and rate limits. None: there are none.
    """
    # What clients do wrong is counted: a line for each would let them flood the log.
    gen_log.setLevel(logging.ERROR)
    options: dict[str, Any] = {"site": site, "limits": limits, "shared": Shared(site.epoch)}

    def limited() -> dict[str, Any]:
        return options | {"slots": Slots[Connection](limits.pages)}

    application = Application(
        [
            _at(site.prefix, site.telemetry_path, MetricsHandler, limited()),
            *(_page_routes(options, limits) if site.content is not None else ()),
            _at(site.prefix, "/-/healthy", HealthyHandler, options),
            _at(site.prefix, "/-/ready", ReadyHandler, options),
            _at(site.prefix, "/-/reload", ReloadHandler, options),
            _at(site.prefix, "/-/quit", QuitHandler, options),
            *(_at("", path, RootHandler, options) for path in ("/", site.prefix) if site.prefix),
        ],
        default_handler_class=NotFoundHandler,
        default_handler_args=options,
        log_function=_count_request,
    )
    if web is not None:
        application.transforms.append(add_headers(web))
    return _serve(application, site, sockets, limits, web)


def serve_probes(site: Site, sockets: Sequence[socket], limits: Limits) -> Server:
    """Serve the probes of *site*, and nothing else, on *sockets*, on the running event loop."""
    options: dict[str, Any] = {"site": site, "limits": limits, "shared": Shared(site.epoch)}
    application = Application(
        [
            _at("", "/-/healthy", HealthyHandler, options),
            _at("", "/-/ready", ReadyHandler, options),
        ],
        default_handler_class=NoPageHandler,
        default_handler_args=options,
        log_function=_count_request,
    )
    return _serve(application, site, sockets, limits)


def _at(prefix: str, path: str, handler: "type[Handler]", options: dict[str, Any]) -> Any:
    return re.escape(prefix + path), handler, options


def _serve(
    application: Application,
    site: Site,
    sockets: Sequence[socket],
    limits: Limits,
    web: WebConfig | None = None,
) -> Server:
    server = Server(application, limits=limits, observe=site.observe, web=web)
    server.add_sockets(sockets)
    return server


def _count_request(handler: "Handler") -> None:
    request = handler.request
    handler.site.observe(handler.name, handler.get_status())
    handler.site.observe_duration(handler.name, request.request_time())
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
    """
    What all handlers have in common.

    Attributes:
        name: The label value of the requests that it handles.
    """

    SUPPORTED_METHODS: tuple[str, ...] = METHODS

    name: ClassVar[str]

    def initialize(
        self, site: Site, limits: Limits, shared: Shared, slots: Slots[Connection] | None = None
    ) -> None:
        self.site = site
        self.limits = limits
        self.shared = shared
        self.slots = slots
        site.count_in_flight(1)

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("X-Content-Type-Options", "nosniff")

    def on_finish(self) -> None:
        self.site.count_in_flight(-1)

    def compute_etag(self) -> None:
        """Do not hash responses: no two are the same."""

    def head(self, *parts: str) -> Awaitable[None] | None:
        return self.get(*parts)

    def send_text(self, text: str, status: int = 200) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(text)

    def write_error(self, status_code: int, **_: Any) -> None:
        if status_code == 405:
            self.set_header("Allow", ", ".join(self.SUPPORTED_METHODS))
        self.send_text(f"{status_code} {self._reason}\n", status_code)

    def log_exception(self, kind: Any, error: Any, traceback: Any) -> None:
        if not isinstance(error, HTTPError):  # those are the client's mistakes
            log.error("request failed", exc_info=(kind, error, traceback))


class PageHandler(Handler):
    """Sends large responses, to a limited number of clients at the same time."""

    async def get(self) -> None:
        slots = cast(Slots[Connection], self.slots)
        connection = cast(Connection, cast(HTTP1Connection, self.request.connection).stream)
        if not slots.take(connection, client_of(self.request.remote_ip or "")):
            # As promhttp, and so node_exporter, writes it.
            limit = self.limits.pages
            self.send_text(
                f"Limit of concurrent requests reached ({limit}), try again later.\n", 503
            )
            return
        connection.sending = True
        try:
            await self.send_page(connection)
        finally:
            connection.sending = False
            slots.release(connection)

    async def send_page(self, connection: Connection) -> None:
        raise NotImplementedError

    async def send(self, connection: Connection, size: int, chunks: Iterable[bytes]) -> None:
        """Send a body as fast as the client receives it."""
        self.set_header("Content-Length", str(size))
        if self.request.method == "HEAD":
            return
        try:
            async with asyncio.timeout(self.limits.response):
                for chunk in chunks:
                    self.write(chunk)
                    await self.flush()
                    await asyncio.sleep(0)  # flush() returns at once while the client keeps up
                    if connection.closed():
                        return
        except (TimeoutError, StreamClosedError, asyncio.CancelledError):
            # The client is too slow or gone, or the exporter stops: no error can be sent any more.
            connection.close()


class MetricsHandler(PageHandler):
    name = "metrics"

    async def send_page(self, connection: Connection) -> None:
        content_type = self.site.negotiate(self.request.headers.get("Accept", ""))
        gzip = _accepts_gzip(self.request.headers.get("Accept-Encoding", ""))
        names = frozenset(self.get_query_arguments("name[]"))
        page = await self.shared.call(self.site.metrics, content_type, names, gzip)
        self.set_header("Content-Type", content_type)
        self.set_header("Vary", "Accept, Accept-Encoding")
        if gzip:
            self.set_header("Content-Encoding", "gzip")
        await self.send(connection, page.size, page)


def _accepts_gzip(accept_encoding: str) -> bool:
    for item in accept_encoding.lower().split(","):
        coding, _, quality = item.replace(" ", "").partition(";q=")
        if coding in ("gzip", "x-gzip"):
            return quality.strip("0.") != "" or quality == ""
    return False


class HealthyHandler(Handler):
    name = "healthy"

    async def get(self) -> None:
        self.send_text("Healthy\n")


class ReadyHandler(Handler):
    name = "ready"

    async def get(self) -> None:
        if self.site.is_ready():
            self.send_text("Ready\n")
        else:
            self.send_text("Not ready: waiting for the first refresh of every account\n", 503)


class NotFoundHandler(Handler):
    name = "not_found"

    async def get(self) -> None:
        path = self.site.prefix + self.site.telemetry_path
        self.send_text(f"404 Not Found. The metrics are at {path}\n", 404)


class NoPageHandler(Handler):
    name = "not_found"

    async def get(self) -> None:
        self.send_text("404 Not Found\n", 404)


class RootHandler(Handler):
    """Leads to the landing page from above the prefix, or from its path without a slash."""

    name = "root"

    async def get(self) -> None:
        self.redirect(f"{self.site.external_url or self.site.prefix}/")


class LifecycleHandler(Handler):
    """Controls the exporter, where that is enabled."""

    SUPPORTED_METHODS: tuple[str, ...] = ("GET", "HEAD", "POST", "PUT")

    async def get(self) -> None:
        self.set_header("Allow", "POST, PUT")
        self.send_text("This endpoint requires a POST request.\n", 405)

    async def post(self) -> None:
        # As Prometheus writes it.
        if self.site.lifecycle is None:
            self.send_text("Lifecycle API is not enabled.\n", 403)
        elif self._is_from_another_site():
            self.send_text("Requests from pages of other sites are refused.\n", 403)
        else:
            await self.control(self.site.lifecycle)

    async def put(self) -> None:
        await self.post()

    async def control(self, lifecycle: Lifecycle) -> None:
        raise NotImplementedError

    def _is_from_another_site(self) -> bool:
        """Whether a browser sends the request on behalf of a page that is not ours."""
        if self.request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return True
        origin = self.request.headers.get("Origin")
        ours = {self.request.host.lower(), urlsplit(self.site.external_url).netloc.lower()}
        return origin is not None and origin.partition("://")[2].lower() not in ours - {""}


class ReloadHandler(LifecycleHandler):
    name = "reload"

    async def control(self, lifecycle: Lifecycle) -> None:
        succeeded, text = await lifecycle.reload()
        self.send_text(text, 200 if succeeded else 500)


class QuitHandler(LifecycleHandler):
    name = "quit"

    async def control(self, lifecycle: Lifecycle) -> None:
        self.send_text("Requesting termination... Goodbye!\n")
        lifecycle.quit()


class PagesHandler(PageHandler):
    """Serves the pages for people."""

    def initialize(self, page: pages.Page, **options: Any) -> None:  # type: ignore[override]
        super().initialize(**options)
        self.page = page
        self.name = page.name  # type: ignore[misc]

    async def get(self, *_: str) -> None:
        await super().get()

    async def send_page(self, connection: Connection) -> None:
        facts = pages.Facts(self.site.version, self.site.telemetry_path)
        arguments = [(name, self.get_query_argument(name)) for name in self.request.query_arguments]
        asked, path = tuple(arguments), tuple(self.path_args)
        answer = await self.shared.call(_respond, self.page, self.site, facts, path, asked)
        self.set_status(answer.status)
        for name, value in answer.headers.items():
            self.set_header(name, value)
        if isinstance(answer.body, bytes):
            await self.send(connection, len(answer.body), [answer.body])
        else:
            await self.send_rendering(connection, answer.body)

    async def send_rendering(self, connection: Connection, body: Iterable[bytes]) -> None:
        """Send a body of unknown size, whose chunks take a while to render."""
        if self.request.method == "HEAD":
            await self.flush()  # else the size would be 0
            return
        chunks = iter(body)
        try:
            async with asyncio.timeout(self.limits.response):
                while chunk := await self.shared.run(next, chunks, b""):
                    self.write(chunk)
                    await self.flush()
                    if connection.closed():
                        return
        except (TimeoutError, StreamClosedError, asyncio.CancelledError):
            connection.close()  # as in send()
        except Exception:
            # What was sent looks complete unless the connection ends at once.
            connection.close()
            raise


def _page_routes(options: dict[str, Any], limits: Limits) -> Iterator[Any]:
    site: Site = options["site"]
    shared = Shared(site.epoch, 1, "pages")  # scrapes do not wait for people
    for page in pages.PAGES:
        slots = Slots[Connection](page.clients or limits.pages)
        path = re.escape(site.prefix) + page.path
        yield path, PagesHandler, options | {"shared": shared, "slots": slots, "page": page}


def _respond(
    page: pages.Page,
    site: Site,
    facts: pages.Facts,
    path: Sequence[str],
    asked: Sequence[tuple[str, str]],
) -> pages.Response:
    # There are no pages without content.
    return page.respond(cast(pages.Content, site.content), facts, path, dict(asked))
