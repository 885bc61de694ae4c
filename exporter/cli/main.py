"""Start, wire, stop: flags, logging, signals, exit codes."""

import asyncio
import logging
import os
import platform
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from socket import socket

from exporter import __version__, config, server
from exporter.cli.app import run, span
from exporter.cli.flags import NAME, parse
from exporter.cli.logs import configure_logging
from exporter.config import Config, ConfigError
from exporter.key_ids import KeyIdFormatter

log = logging.getLogger(__name__)

FINE, FAILED, WRONG_USAGE = 0, 1, 2
"""Exit codes."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and give its exit code."""
    for number in (signal.SIGTERM, signal.SIGINT):  # until the loop takes them over
        signal.signal(number, lambda *_: sys.exit(FINE))
    flags = parse(sys.argv[1:] if argv is None else argv, os.environ)
    try:
        wanted = config.load(Path(flags.config_file)) if flags.config_file else Config()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return WRONG_USAGE
    if flags.config_check:
        print(_summary(wanted, flags.config_file))
        return FINE
    try:
        sockets = _bind(flags.web_listen_address)
    except OSError as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        return FAILED
    key_ids = KeyIdFormatter(wanted.labels.access_key_id, wanted.labels.hash_secret or "")
    configure_logging(flags.log_level, flags.log_format, key_ids)
    log.info("starting", extra={"version": __version__, "python": platform.python_version()})
    if os.geteuid() == 0:
        log.warning("running as root, which is not needed")
    if flags.demo:
        try:
            wanted = _demo(server.address_of(sockets[0]))
        except ImportError as error:
            print(f"{NAME}: --demo needs pip install '{NAME}[demo]' ({error})", file=sys.stderr)
            return FAILED
    for warning in wanted.warnings():
        log.warning(warning)
    asyncio.run(run(wanted, key_ids, sockets, flags.web_telemetry_path))
    log.info("stopped")
    # At once: an ordinary end would wait for what is in flight, a scrape that is being rendered
    # or a call to AWS, of which nobody needs the outcome.
    logging.shutdown()
    sys.stdout.flush()
    os._exit(FINE)


def _bind(addresses: Sequence[str]) -> list[socket]:
    """
    Listen, before anything else starts: a busy port is a sentence, and AWS is not asked in vain.

    Raises:
        OSError: One of *addresses* cannot be had. Its text is for people.
    """
    sockets: list[socket] = []
    for address in addresses:
        try:
            sockets += server.bind(address)
        except OSError as error:
            why = error.strerror or str(error)
            text = f"cannot listen on {address}: {why}; choose another with --web.listen-address"
            raise OSError(text) from error
    return sockets


def _demo(address: str) -> Config:
    """
    Start the demo, and give its configuration.

    Raises:
        ImportError: It is not installed.
    """
    from exporter import demo  # the one room that needs an extra

    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        os.environ.pop(name, None)
    os.environ.update(demo.ENVIRONMENT)
    return config.parse(demo.start(address), "the demo's configuration")


def _summary(wanted: Config, file: str | None) -> str:
    """Say what was understood of a configuration."""
    collection, accounts = wanted.collection, wanted.model_accounts()
    lines = [f"{file or 'no configuration file: the defaults'}: fine"]
    if not wanted.accounts:
        lines.append("  reads the account that the credentials found belong to")
    for account in accounts if wanted.accounts else ():
        way = account.role_arn or (f"profile {account.profile}" if account.profile else "default")
        base = f" (from profile {account.profile})" if account.role_arn and account.profile else ""
        lines.append(f"  reads {account.label} ({account.id or 'id not given'}) with {way}{base}")
    lines.append(
        f"  every {span(collection.interval)}, {collection.workers} at a time,"
        f" {collection.requests_per_second:g} requests/s each,"
        f" credential report: {collection.credential_report}"
    )
    lines.append(
        f"  shows key ids {wanted.labels.access_key_id}; user tags: {collection.user_tags}"
        + "".join(f", {tag}" for tag in wanted.labels.user_tags)
    )
    lines.append(
        f"  drops facts after {span(collection.stale_after)}; a reading may take"
        f" {span(collection.deadline)}"
    )
    lines.append(
        f"  users: {', '.join(wanted.users.include)}"
        + (f" but {', '.join(wanted.users.exclude)}" if wanted.users.exclude else "")
    )
    lines += [
        f"  exempt until {entry.until:%Y-%m-%d %H:%M} UTC: "
        + ", ".join(filter(None, (entry.account, entry.user, entry.access_key_id)))
        for entry in wanted.exemptions.entries
    ]
    urls = wanted.aws.endpoint_urls.model_dump(exclude_none=True)
    lines += [f"  asks {service} at {url}" for service, url in urls.items()]
    lines += [f"  warning: {warning}" for warning in wanted.warnings()]
    return "\n".join(lines)
