"""The log: it never blocks, loses nothing silently, and shows no secrets."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from exporter.cli.logs import QueueHandler, configure_logging
from exporter.cli.redaction import redactor
from exporter.key_ids import KeyIdFormatter
from exporter.model import KeyIdFormat
from tests.servers import wait_until
from tests.test_process import full_pipe


def record(text: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord("x", logging.INFO, "x.py", 1, text, args, None)


def test_a_full_queue_drops_messages_and_counts_them() -> None:
    """Messages beyond the size of the queue are dropped, and counted from the first on."""
    dropped: list[int] = []
    with full_pipe() as pipe:
        # Its own descriptor: the writer still uses it when the pipe's number is used again.
        handler = QueueHandler(os.dup(pipe), size=3)
        handler.handle(record("taken by the writer"))
        wait_until(lambda: handler._queue.qsize() == 0, "the writer waits for the pipe")
        for _ in range(5):
            handler.handle(record("waits, or is dropped"))
        handler.on_drop(dropped.append)
        handler.handle(record("is dropped"))

        assert dropped == [2, 1]


def test_a_message_that_cannot_be_formatted_is_dropped() -> None:
    """A message whose arguments do not fit counts as dropped, and raises nothing."""
    reading, writing = os.pipe()
    dropped: list[int] = []
    handler = QueueHandler(writing)
    handler.on_drop(dropped.append)

    handler.handle(record("%d", "no number"))
    handler.handle(record("\udcff"))
    handler.flush()

    assert dropped == [0, 1]
    assert os.read(reading, 100) == b"\\udcff\n"


def test_writing_to_a_pipe_without_a_reader_drops_messages() -> None:
    """When the reader of the log goes away, messages are dropped, and the writer goes on."""
    reading, writing = os.pipe()
    os.close(reading)
    dropped: list[int] = []
    handler = QueueHandler(writing)
    handler.on_drop(dropped.append)

    for _ in range(3):
        handler.handle(record("nobody reads this"))
    handler.flush()

    assert dropped == [0, 1, 1, 1]


@contextmanager
def restored() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.captureWarnings(False)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


class Odd:
    def __repr__(self) -> str:
        return "https://me:hush@proxy/ akiaiosfodnn7example"


@pytest.mark.parametrize("format_", ["json", "logfmt"])
def test_a_line_has_no_secrets_and_no_control_characters(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, format_: str
) -> None:
    """Key IDs and passwords in a URL are hidden in any field, and a message is always one line."""
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr("sys.unraisablehook", threading.excepthook)
    redact = redactor(KeyIdFormatter(KeyIdFormat.MASKED), ["p/w"])
    with restored():
        handler = configure_logging("info", format_, redact)
        log = logging.getLogger("test")
        log.info("a\nb\r\x1b[31m\u2028c", extra={"odd": [Odd()], "url": "http://p/w@host"})
        try:
            raise ValueError("https://me:hush@iam postgresql://me:hush@db AKIAIOSFODNN7EXAMPLE")
        except ValueError:
            log.exception("failed")
        handler.flush()

    output = capfd.readouterr().err
    assert len(output.splitlines()) == 2
    assert [text for text in ("hush", "iosfodnn7", "p/w", "\x1b") if text in output.lower()] == []
    assert output.count("AKIA****MPLE") == 3


def test_what_python_prints_is_logged(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exception of a thread is a line of the log."""
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr("sys.unraisablehook", threading.excepthook)
    with restored():
        handler = configure_logging("info", "logfmt", str)
        thread = threading.Thread(target=lambda: 1 / 0, name="worker")
        thread.start()
        thread.join()
        handler.flush()

    (line,) = capfd.readouterr().err.splitlines()
    assert 'msg="thread crashed"' in line
    assert "ZeroDivisionError" in line
