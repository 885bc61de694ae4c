"""The program, from its arguments to its exit code."""

import asyncio
import logging
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from socket import socket
from tempfile import TemporaryDirectory

from exporter import server
from exporter.aws.regions import is_region, partition_of
from exporter.cli import app, check, events, policy, report, textfile
from exporter.cli.build import BUILD
from exporter.cli.flags import (
    NAME,
    STATE_FILE,
    EventsFlags,
    Flags,
    PolicyFlags,
    parse_flags,
    unknown_variables,
)
from exporter.cli.logs import configure_logging
from exporter.cli.redaction import Redactor
from exporter.cli.streams import write_error, write_output
from exporter.cli.wiring import key_id_formatter
from exporter.config import (
    Config,
    ConfigError,
    Problem,
    checksums,
    load,
    parse,
    summarize,
    warnings_of,
)
from exporter.key_ids import KeyIdFormatter
from exporter.model import KeyIdFormat
from exporter.report import Output
from exporter.sharding import Shard
from exporter.store import StoreError, read_events

log = logging.getLogger(__name__)

OK, FAILURE, USAGE = 0, 1, 2
"""
Exit codes: terminated by a signal, or all accounts refreshed once; cannot run, or an account could
not be refreshed; invalid flags or configuration.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run the program until SIGTERM or SIGINT and return its exit code.

    Raises:
        SystemExit: The flags are invalid, or ask for help or the version.
    """
    flags = parse_flags(sys.argv[1:] if argv is None else argv, os.environ)
    try:
        # Before it is loaded, so that no later change is missed.
        seen = checksums([flags.config_file] if flags.config_file else ())
        config = _configuration(flags)
    except ConfigError as error:
        # How key ids are to be shown is part of what is invalid.
        write_error(KeyIdFormatter(KeyIdFormat.MASKED).redact(f"{error}\n"))
        return USAGE
    key_ids = key_id_formatter(config)
    redact = Redactor(key_ids, config.secrets())
    command = _command(flags, config, key_ids, redact)
    if command is not None:
        return command()
    problem = _without_ids(config, flags.shard) if not flags.demo else ""
    if problem:
        write_error(redact(f"{NAME}: {problem}\n"))
        return USAGE
    return _serve(flags, config, app.Source(partial(_reload, flags), seen), redact)


def _command(
    flags: Flags, config: Config, key_ids: KeyIdFormatter, redact: Redactor
) -> Callable[[], int] | None:
    """Return what runs the subcommand. None: it is serve."""
    if flags.events is not None:
        return partial(_print_events, flags.events, config, key_ids, redact)
    if flags.policy is not None:
        return partial(_print_policy, flags.policy, config)
    if flags.report is not None:
        return partial(report.run, flags.report, config, key_ids, redact)
    if flags.check is not None:
        return partial(check.run, flags.check, config, redact, config_file=flags.config_file)
    return None


def _serve(flags: Flags, config: Config, source: app.Source, redact: Redactor) -> int:
    warnings = warnings_of(config, datetime.now(UTC), region_exists=is_region)
    warnings += [*unknown_variables(os.environ), *_unknown_region(config)]
    try:
        web = server.WebConfig(flags.web_config_file) if flags.web_config_file else None
    except server.WebConfigError as error:
        write_error(f"{error}\n")
        return USAGE
    warnings += web.warnings if web is not None else []
    if flags.config_check:
        write_output(redact(summarize(config, flags.config_file, warnings)))
        return OK
    # Before anything else: if a port is in use, no call to AWS is made.
    try:
        sockets, probe_sockets = _listen(flags)
    except OSError as error:
        write_error(f"{NAME}: {error}\n")
        return FAILURE
    handler = configure_logging(flags.log_level, flags.log_format, redact)
    log.info(
        "starting",
        extra={
            "version": BUILD.version,
            "revision": BUILD.revision,
            "branch": BUILD.branch,
            "python": platform.python_version(),
        },
    )
    if os.geteuid() == 0:
        log.warning("running as root is not necessary")
    for warning in warnings:
        log.warning("configuration warning", extra={"warning": warning})
    if flags.serve.output:
        return _write_once(flags, config, redact)
    with ExitStack() as until_stopped:
        if flags.demo:
            try:
                path = flags.state_path or until_stopped.enter_context(_temporary_state())
                encrypted = web is not None and web.tls is not None
                config = _demo(flags, server.address_of(sockets[0]), path, encrypted=encrypted)
                source = app.Source(lambda: config, {})
            except (ImportError, OSError) as error:
                for bound in sockets:
                    bound.close()
                handler.flush()
                write_error(f"{NAME}: {error}\n")
                return FAILURE
        running = app.run(
            config,
            source,
            sockets,
            probe_sockets,
            flags=flags,
            redactor=redact,
            handler=handler,
            web=web,
        )
        asyncio.run(running)
    log.info("stopped")
    return OK


def _without_ids(config: Config, shard: Shard) -> str:
    """Say which accounts no shard can be chosen for. Empty: there are none."""
    if shard.total == 1:
        return ""
    flag = f"--total-shards={shard.total}"
    if not config.accounts and config.organization is None:
        return f"{flag} requires accounts or an organization in the configuration"
    missing = [
        f"accounts[{number}] ({account.label})"
        for number, account in enumerate(entry.account() for entry in config.accounts)
        if not account.id
    ]
    if not missing:
        return ""
    return (
        f"{flag} requires the ID of each account, which decides which process reads it: set"
        f" account_id or role_arn of {', '.join(missing)}"
    )


def _configuration(flags: Flags, *, may_be_empty: bool = True) -> Config:
    """
    Load the configuration, with the state where the flags say.

    Raises:
        ConfigError: The file cannot be read or is invalid.
    """
    file = flags.config_file
    config = load(Path(file), may_be_empty=may_be_empty) if file else Config()
    configured = config.state.location() is not None
    path = flags.state_path or ("" if configured else flags.default_state_path)
    return config.with_state_path(path) if path else config


def _print_events(
    query: EventsFlags, config: Config, key_ids: KeyIdFormatter, redact: Callable[[str], str]
) -> int:
    location = config.state.location()
    if location is None:
        write_error(
            f"{NAME}: events are read from the exporter's state: set --state.path to its SQLite"
            " file, or --config.file to its configuration with state.path or state.url\n"
        )
        return USAGE
    try:
        text, count = events.render(
            query,
            partial(read_events, location),
            now=datetime.now(UTC),
            key_ids=key_ids,
            redact=redact,
            width=events.terminal_width(),
        )
    except StoreError as error:
        write_error(redact(f"{NAME}: cannot read the events: {error}\n"))
        return FAILURE
    if count == 0 and query.output is Output.TABLE:
        write_error("no events\n")
    else:
        write_output(text)
    return OK


def _print_policy(query: PolicyFlags, config: Config) -> int:
    try:
        write_output(policy.render(query, config, partition_of_region=partition_of))
    except policy.PolicyError as error:
        write_error(f"{NAME}: {error}\n")
        return USAGE
    return OK


def _unknown_region(config: Config) -> Iterator[str]:
    name = os.environ.get("AWS_DEFAULT_REGION")
    if config.aws.region is None and name and not is_region(name):
        yield (
            f"environment variable AWS_DEFAULT_REGION: AWS is not known to have a region {name!r}"
        )


def _reload(flags: Flags) -> Config:
    """
    Load the configuration again, and log its warnings.

    Raises:
        ConfigError: The file cannot be read or is invalid.
    """
    # A file that is about to be written is empty, and without it no account would be left.
    config = _configuration(flags, may_be_empty=False)
    problem = _without_ids(config, flags.shard)
    if problem:
        raise ConfigError(flags.config_file, [Problem(1, "", problem)], config.secret_files())
    for warning in warnings_of(config, datetime.now(UTC), region_exists=is_region):
        log.warning("configuration warning", extra={"warning": warning})
    return config


def _write_once(flags: Flags, config: Config, redact: Redactor) -> int:
    try:
        succeeded = textfile.write_once(config, Path(flags.serve.output), redact, flags.shard)
    except textfile.CannotWrite as error:
        write_error(f"{NAME}: {error}\n")
        return FAILURE
    return OK if succeeded else FAILURE


def _listen(flags: Flags) -> tuple[list[socket], list[socket]]:
    """
    Return the sockets that everything, and that only probes are served on.

    Raises:
        OSError: An address is invalid or in use. The message is meant for the user.
    """
    if flags.serve.output:
        return [], []
    if not flags.serve.systemd_socket:
        sockets = _bind(flags.web_listen_address, "--web.listen-address")
    else:
        try:
            sockets = server.inherited(os.environ, os.getpid())
        except OSError as error:
            raise OSError(f"--web.systemd-socket: {error}") from error
    return sockets, _bind(flags.serve.probe_listen_address, "--web.probe-listen-address")


def _bind(addresses: Sequence[str], flag: str) -> list[socket]:
    """
    Listen on all *addresses*.

    Args:
        flag: What sets them.

    Raises:
        OSError: One of them is invalid or in use. The message is meant for the user.
    """
    sockets: list[socket] = []
    for address in addresses:
        try:
            sockets += server.bind(address)
        except OSError as error:
            reason = error.strerror or str(error)
            text = f"cannot listen on {address}: {reason}; set another {flag}"
            raise OSError(text) from error
    return sockets


@contextmanager
def _temporary_state() -> Iterator[str]:
    """
    Yield the path of a state that is deleted in the end.

    Raises:
        OSError: There is no place for it. The message is meant for the user.
    """
    with ExitStack() as until_deleted:
        try:
            directory = until_deleted.enter_context(TemporaryDirectory(prefix=f"{NAME}-"))
        except OSError as error:
            reason = error.strerror or str(error)
            text = f"cannot create a directory for the state: {reason}; set --state.path"
            raise OSError(text) from error
        yield f"{directory}/{STATE_FILE}"


def _demo(flags: Flags, address: str, state: str, *, encrypted: bool) -> Config:
    """
    Start the simulated AWS and return the configuration that reads it.

    Args:
        address: The address that the exporter listens on.
        state: The path of its state.
        encrypted: Whether it serves TLS.

    Raises:
        ImportError: The extra ``demo`` is not installed. The message is meant for the user.
    """
    from exporter import demo  # noqa: PLC0415 (needs an extra)

    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        os.environ.pop(name, None)
    os.environ.update(demo.ENVIRONMENT)
    site = demo.Site(
        address,
        scheme="https" if encrypted else "http",
        prefix=flags.serve.route_prefix,
        telemetry_path=flags.web_telemetry_path,
        has_pages=not flags.serve.disable_pages,
    )
    try:
        text = demo.start(site, state)
    except ImportError as error:
        raise ImportError(f"--demo requires: pip install '{NAME}[demo]' ({error})") from error
    return parse(text, "demo configuration").with_state_path(state)
