"""Refreshes every account once and writes the metrics to a file, for other exporters to serve."""

import logging
import os
import tempfile
import threading
from pathlib import Path

from exporter import aws
from exporter.cli.application import Application
from exporter.cli.build import BUILD
from exporter.cli.redaction import Redactor
from exporter.cli.wiring import SystemClock
from exporter.config import Config
from exporter.metrics import Format, Page, SelfMetrics
from exporter.sharding import Shard

log = logging.getLogger(__name__)


class CannotWrite(Exception):
    """The file cannot be written. The message is meant for the user."""


def write_once(config: Config, path: Path, redactor: Redactor, shard: Shard) -> bool:
    """
    Refresh every account once and write the metrics to the file *path*, in the text format.

    What is stored of the accounts is used, and stored again. Metrics about the process are left
    out: node_exporter, which the file is for, has its own. If *path* is a symbolic link, the file
    that it leads to is replaced.

    Returns:
        Whether every account was refreshed completely.

    Raises:
        CannotWrite: The file cannot be written. If that is known before, nothing is refreshed.
    """
    path = Path(os.path.realpath(path))
    try:
        _check(path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    self_metrics = SelfMetrics(
        version=BUILD.version,
        revision=BUILD.revision,
        branch=BUILD.branch,
        operations=aws.Operation,
        process=False,
        serving=False,
        redact=redactor,
    )
    application = Application(
        config,
        stop=threading.Event(),
        clock=SystemClock(),
        self_metrics=self_metrics,
        redactor=redactor,
        shard=shard,
    )
    succeeded = application.refresh_once()
    try:
        _replace(path, application.exposition.page(Format.TEXT))
    except OSError as error:
        raise _cannot_write(path, error) from error
    log.info("metrics written", extra={"file": str(path)})
    return succeeded


def _cannot_write(path: Path, error: OSError) -> CannotWrite:
    return CannotWrite(f"cannot write {path}: {error.strerror or error}")


def _check(path: Path) -> None:
    """
    Find out whether *path* can be replaced.

    Raises:
        OSError: It cannot.
    """
    if path.exists() and not path.is_file():
        raise OSError("not a regular file")
    descriptor, temporary = _temporary(path)
    os.close(descriptor)
    Path(temporary).unlink()


def _replace(path: Path, page: Page) -> None:
    """
    Replace *path* at once: whoever reads it finds the old file or the new one.

    Raises:
        OSError: That is impossible.
    """
    descriptor, temporary = _temporary(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(page)
            os.fchmod(descriptor, 0o644)  # node_exporter is another user
            file.flush()
            os.fsync(descriptor)
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise


def _temporary(path: Path) -> tuple[int, str]:
    # Not named *.prom, so that node_exporter does not read it.
    return tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
