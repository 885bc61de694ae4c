"""Structured logging to standard error: an event and its fields, as logfmt or JSON."""

import logging
import sys
from typing import Any

import structlog

from exporter.key_ids import KeyIdFormatter

LEVELS = {"debug": "DEBUG", "info": "INFO", "warn": "WARNING", "error": "ERROR"}
"""Levels of the standard library by the value of ``--log.level``."""

NOISY = ("asyncio", "boto3", "botocore", "moto", "responses", "urllib3", "werkzeug")
"""Libraries that log nothing useful below warning, and credentials at debug."""


def configure_logging(level: str, format_: str, key_ids: KeyIdFormatter) -> None:
    """
    Log events of *level* and above to standard error.

    Access key IDs in any field are formatted by *key_ids*, including those of libraries' events.
    """

    def redact(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {
            name: key_ids.redact(value) if isinstance(value, str) else value
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
            redact,
            renderer,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
