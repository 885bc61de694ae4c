"""Which requests are answered."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from http.client import responses
from typing import Any

from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, ResponseStartLine, format_timestamp
from tornado.web import OutputTransform

from exporter.server.web_config.configuration import WebConfig
from exporter.server.web_config.passwords import credentials_of

HANDLERS = {401: "unauthorized", 429: "rate_limited", 500: "invalid_web_config"}
"""The label value under which requests that are refused with a status code are counted."""


class Guard(HTTPMessageDelegate):
    """
    Passes a request on to *delegate* if the web configuration admits it, and refuses it otherwise.

    Args:
        delegate: What responds to requests that are admitted.
        connection: Tornado's connection, on which others are refused.
        observe: Counts a request, given the name of its handler and the status code.
    """

    def __init__(
        self,
        delegate: HTTPMessageDelegate,
        connection: Any,
        config: WebConfig,
        observe: Callable[[str, int], None],
    ) -> None:
        self._delegate = delegate
        self._connection = connection
        self._config = config
        self._observe = observe
        self._method = ""
        self._refused_with = 0

    async def headers_received(self, start_line: Any, headers: HTTPHeaders) -> None:
        self._method = start_line.method
        self._refused_with = await self._refuses(headers)
        self._connection.stream.admitted = not self._refused_with
        if not self._refused_with:
            received = self._delegate.headers_received(start_line, headers)
            if received is not None:
                await received

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return None if self._refused_with else self._delegate.data_received(chunk)

    def finish(self) -> None:
        if self._refused_with:
            self._refuse(self._refused_with)
        else:
            self._delegate.finish()

    def on_connection_close(self) -> None:
        if not self._refused_with:
            self._delegate.on_connection_close()

    async def _refuses(self, headers: HTTPHeaders) -> int:
        """Return the status code with which a request is refused. 0: it is admitted."""
        if not self._config.is_valid:
            return 500
        if not self._config.rate_limiter.allow(time.monotonic()):
            return 429
        passwords = self._config.passwords
        if passwords is None:
            return 0
        (authorization, *_) = headers.get_list("Authorization") or [""]
        credentials = credentials_of(authorization)
        if credentials is None:
            return 401
        stream = self._connection.stream
        check = asyncio.ensure_future(
            passwords.verify(credentials, self._connection.context.remote_ip)
        )
        stream.set_close_callback(check.cancel)
        try:
            return 0 if await check else 401
        except asyncio.CancelledError:
            if not stream.closed():
                raise
            return 401  # nobody reads it
        finally:
            stream.set_close_callback(None)

    def _refuse(self, status: int) -> None:
        """Respond as exporter-toolkit does."""
        reason = responses[status]
        body = f"{reason}\n".encode()
        headers = HTTPHeaders(
            {
                "Content-Type": "text/plain; charset=utf-8",
                "Content-Length": str(len(body)),
                "Date": format_timestamp(time.time()),
            }
        )
        if status == 401:
            headers.update(self._config.headers)
            headers["WWW-Authenticate"] = "Basic"
        headers["X-Content-Type-Options"] = "nosniff"
        start_line = ResponseStartLine("HTTP/1.1", status, reason)
        self._connection.write_headers(start_line, headers, b"" if self._method == "HEAD" else body)
        self._connection.finish()
        self._observe(HANDLERS[status], status)


def add_headers(config: WebConfig) -> type[OutputTransform]:
    """Return what adds the configured headers to each response of a Tornado application."""

    class AddHeaders(OutputTransform):
        def transform_first_chunk(
            self,
            status_code: int,
            headers: HTTPHeaders,
            chunk: bytes,
            include_footers: bool,  # noqa: ARG002, FBT001 (Tornado's signature)
        ) -> tuple[int, HTTPHeaders, bytes]:
            headers.update(config.headers)
            return status_code, headers, chunk

    return AddHeaders
