"""Structured logging to standard error: an event and its fields, as logfmt or JSON."""

import logging
import os
import select
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final

import structlog

from exporter.cli.streams import CONTROL

LEVELS = {
    "debug": "DEBUG",
    "info": "INFO",
    "warn": "WARNING",
    "warning": "WARNING",
    "error": "ERROR",
}
"""Levels of the standard library by the value of ``--log.level``."""

LIBRARY_LEVELS: Final = {
    **dict.fromkeys(("asyncio", "moto", "responses", "werkzeug"), logging.WARNING),
    # What they warn of reaches us as an exception, which is logged once, by us; at debug they log
    # credentials.
    **dict.fromkeys(("boto3", "botocore", "urllib3"), logging.CRITICAL),
}
"""The level from which on a library's messages are logged."""

QUEUE_SIZE: Final = 5000
"""Messages that wait to be written; a refresh of many failing accounts logs hundreds at once."""

FLUSH_SECONDS: Final = 0.3
"""How long the end of the program waits for messages to be written."""


class QueueHandler(logging.Handler):
    """
    Writes messages to a file descriptor, without ever blocking the thread that logs.

    Messages wait in a queue for the one thread that writes. If nobody reads what is written, or
    there is no space for it, messages are dropped and counted.

    Args:
        descriptor: It may block.
        size: How many messages wait at most.
    """

    def __init__(self, descriptor: int, size: int = QUEUE_SIZE) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._size = size
        self._dropped = 0
        self._counting = threading.RLock()  # an object that is collected may log
        self._on_drop: Callable[[int], None] = lambda count: None
        # Unlike Queue, it has no lock that a signal handler could wait for forever.
        self._queue: SimpleQueue[bytes | threading.Event] = SimpleQueue()
        threading.Thread(target=self._write_all, name="log_writer", daemon=True).start()

    def on_drop(self, callback: Callable[[int], None]) -> None:
        """Call *callback* with the number of messages dropped so far, then with each further."""
        with self._counting:
            self._on_drop = callback
            callback(self._dropped)

    def emit(self, record: logging.LogRecord) -> None:
        if self._queue.qsize() >= self._size:
            self._drop()
            return
        try:
            self._queue.put(f"{self.format(record)}\n".encode(errors="backslashreplace"))
        except Exception:  # noqa: BLE001 (a field that cannot be formatted)
            self._drop()

    def flush(self) -> None:
        """Wait until everything logged so far is written, but not long."""
        written = threading.Event()
        self._queue.put(written)
        written.wait(FLUSH_SECONDS)

    def _drop(self) -> None:
        with self._counting:
            self._dropped += 1
            self._on_drop(1)

    def _write_all(self) -> None:
        while True:
            item = self._queue.get()
            if isinstance(item, threading.Event):
                item.set()
                continue
            try:
                self._write(item)
            except OSError:  # no space, or nobody is left to read it
                self._drop()

    def _write(self, message: bytes) -> None:
        while message:
            try:
                message = message[os.write(self._descriptor, message) :]
            except BlockingIOError:  # whoever started this program has made it non-blocking
                select.select([], [self._descriptor], [])


def configure_logging(level: str, format_: str, redact: Callable[[str], str]) -> QueueHandler:
    """
    Log events of *level* and above to standard error.

    Args:
        redact: Removes secrets from a text. Applied to every line, including those of libraries.
    """

    def redact_line(_: Any, __: str, line: Any) -> str:
        """Redact what is in values that are not strings, and escape control characters."""
        return redact(line).translate(CONTROL)

    def redact_values(_: Any, __: str, event: structlog.typing.EventDict) -> Any:
        return {
            name: redact(value) if isinstance(value, str) else value
            for name, value in event.items()
        }

    renderer: Any = (
        structlog.processors.JSONRenderer(default=str)
        if format_ == "json"
        else structlog.processors.LogfmtRenderer(key_order=["time", "level", "msg"])
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", key="time"),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("msg"),
            redact_values,
            renderer,
            redact_line,
        ],
    )
    handler = QueueHandler(2)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    for name, library_level in LIBRARY_LEVELS.items():
        logging.getLogger(name).setLevel(library_level)
    _log_what_python_prints()
    return handler


def _log_what_python_prints() -> None:
    """Log warnings and uncaught exceptions, which Python writes to standard error itself."""
    log = logging.getLogger("python")
    logging.captureWarnings(capture=True)

    def uncaught(arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_type is not SystemExit:
            error = arguments.exc_value
            name = arguments.thread.name if arguments.thread else ""
            log.error("thread crashed", exc_info=error, extra={"thread_name": name})

    def unraisable(arguments: Any) -> None:
        text = arguments.err_msg or "exception ignored"
        log.error(text, exc_info=arguments.exc_value, extra={"object": repr(arguments.object)})

    threading.excepthook = uncaught
    sys.unraisablehook = unraisable
