"""
HTTP/1.1 on a port of 127.0.0.1, in a separate thread.

Connections are kept alive; the requests of a connection are answered one after the other.
"""

import asyncio
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from threading import Event, Thread
from typing import Final

from .answers import Answers, Request
from .faults import Fault
from .wire import Reply

REASONS: Final = {status.value: status.phrase for status in HTTPStatus}
CRLF: Final = "\r\n"
CALLBACK_THREADS: Final = 64


class Connection(asyncio.Protocol):
    """
    A connection of a client.

    Requests that do not have to wait are answered without a task, which would cost 10% of the
    speed.
    """

    def __init__(
        self, answers: Answers, connections: set["Connection"], executor: ThreadPoolExecutor
    ) -> None:
        self._answers = answers
        self._connections = connections
        self._executor = executor
        self._received = b""
        self._waiting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        if self._waiting is not None:
            self._waiting.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._serve()

    def close(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        self._transport.abort()

    def _serve(self) -> None:
        while self._waiting is None and not self._transport.is_closing():
            head, found, rest = self._received.partition(b"\r\n\r\n")
            if not found:
                return
            request_line, *lines = head.decode("latin-1").split("\r\n")
            headers = {}
            for line in lines:
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            if request_line.startswith("GET /calls "):
                self._send(self._answers.counts(), close=True)
                return
            if request_line[:5] != "POST " or "transfer-encoding" in headers:
                self._send(Reply(400, "text/plain", b"POST with Content-Length only\n"), close=True)
                return
            length = int(headers.get("content-length", 0))
            if len(rest) < length:
                return
            self._received = rest[length:]
            close = headers.get("connection", "").lower() == "close"
            self._take(self._answers.receive(headers, rest[:length]), close=close)

    def _take(self, request: Request, *, close: bool) -> None:
        if self._answers.callbacks or self._answers.faults:
            loop = asyncio.get_running_loop()
            self._waiting = loop.create_task(self._answer_later(request, close=close))
        else:
            self._answer(request, None, close=close)

    async def _answer_later(self, request: Request, *, close: bool) -> None:
        if self._answers.callbacks:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._executor, self._answers.call_back, request)
        latency, fault = self._answers.apply_faults(request)
        if latency:
            await asyncio.sleep(latency)
        self._answer(request, fault, close=close)
        self._waiting = None
        self._serve()

    def _answer(self, request: Request, fault: Fault | None, *, close: bool) -> None:
        reply = self._answers.reply(request, fault)
        if reply is None:
            self._reset()
        else:
            self._send(reply, close=close)

    def _send(self, reply: Reply, *, close: bool) -> None:
        extra = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
        head = (
            f"HTTP/1.1 {reply.status} {REASONS.get(reply.status, '')}\r\n"
            f"Content-Type: {reply.content_type}\r\n"
            f"Content-Length: {len(reply.body)}\r\n"
            f"{'Connection: close' + CRLF if close else ''}{extra}\r\n"
        )
        self._transport.write(head.encode("latin-1") + reply.body)
        if close:
            self._transport.close()

    def _reset(self) -> None:
        # With a linger time of zero, closing the socket sends RST instead of FIN.
        connection = self._transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


class Server:
    """
    Serves until it is closed.

    The port is bound before the thread starts: errors are raised to the caller, and clients can
    connect at once.
    """

    def __init__(self, answers: Answers, *, port: int = 0) -> None:
        self._answers = answers
        self._socket = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._connections: set[Connection] = set()
        self._started = Event()
        self._thread = Thread(target=asyncio.run, args=(self._serve(),), name="fake-aws")
        self._thread.daemon = True
        self._thread.start()
        self._started.wait()

    def close(self) -> None:
        """Close all connections, and end the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        # Callbacks may block, and must not delay other requests.
        executor = ThreadPoolExecutor(CALLBACK_THREADS, thread_name_prefix="fake-aws-callback")
        server = await self._loop.create_server(
            lambda: Connection(self._answers, self._connections, executor), sock=self._socket
        )
        self._started.set()
        await self._stop.wait()
        server.close()
        for connection in tuple(self._connections):
            connection.close()
        await asyncio.sleep(0)  # so that the sockets of closed connections are closed
        executor.shutdown(wait=False, cancel_futures=True)
