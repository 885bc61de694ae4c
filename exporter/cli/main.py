"""The program, from its arguments to its exit code."""

import asyncio
import logging
import os
import platform
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from socket import socket

from exporter import __version__, server
from exporter.cli import app
from exporter.cli.flags import NAME, parse_flags
from exporter.cli.logs import configure_logging
from exporter.config import Config, ConfigError, load, parse, summarize

log = logging.getLogger(__name__)

OK, FAILURE, USAGE = 0, 1, 2
"""Exit codes: terminated by a signal; cannot run; invalid flags or configuration."""


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run the program until SIGTERM or SIGINT and return its exit code.

    Raises:
        SystemExit: The flags are invalid, or ask for help or the version; or a signal arrived
            before the event loop was running.
    """
    for number in (signal.SIGTERM, signal.SIGINT):  # until the event loop handles them
        signal.signal(number, lambda *_: sys.exit(OK))
    flags = parse_flags(sys.argv[1:] if argv is None else argv, os.environ)
    try:
        config = load(Path(flags.config_file)) if flags.config_file else Config()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return USAGE
    if flags.config_check:
        print(summarize(config, flags.config_file), end="")
        return OK
    # Before anything else: if a port is in use, no call to AWS is made.
    try:
        sockets = _bind(flags.web_listen_address)
    except OSError as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        return FAILURE
    key_ids = app.key_id_formatter(config)
    configure_logging(flags.log_level, flags.log_format, key_ids)
    log.info("starting", extra={"version": __version__, "python": platform.python_version()})
    if os.geteuid() == 0:
        log.warning("running as root is not necessary")
    if flags.demo:
        try:
            config = _demo(server.address_of(sockets[0]))
        except ImportError as error:
            for bound in sockets:
                bound.close()
            print(f"{NAME}: --demo requires: pip install '{NAME}[demo]' ({error})", file=sys.stderr)
            return FAILURE
    for warning in config.warnings():
        log.warning("configuration warning", extra={"warning": warning})
    asyncio.run(app.run(config, key_ids, sockets, flags.web_telemetry_path, flags.web_max_requests))
    log.info("stopped")
    return OK


def _bind(addresses: Sequence[str]) -> list[socket]:
    """
    Listen on all *addresses*.

    Raises:
        OSError: One of them is invalid or in use. The message is meant for the user.
    """
    sockets: list[socket] = []
    for address in addresses:
        try:
            sockets += server.bind(address)
        except OSError as error:
            reason = error.strerror or str(error)
            text = f"cannot listen on {address}: {reason}; set another --web.listen-address"
            raise OSError(text) from error
    return sockets


def _demo(address: str) -> Config:
    """
    Start the simulated AWS and return the configuration that reads it.

    Args:
        address: The address that the exporter listens on.

    Raises:
        ImportError: The extra ``demo`` is not installed.
    """
    from exporter import demo  # needs an extra

    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        os.environ.pop(name, None)
    os.environ.update(demo.ENVIRONMENT)
    return parse(demo.start(address), "demo configuration")
