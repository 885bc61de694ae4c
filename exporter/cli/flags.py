"""Command-line flags. Each can also be set by an environment variable."""

import argparse
import difflib
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exporter import __version__
from exporter.cli.logs import LEVELS
from exporter.cli.streams import write_error, write_output

NAME = "aws-iam-key-exporter"
ENVIRONMENT_PREFIX = "AWS_IAM_KEY_EXPORTER_"

BOOLEANS = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}

SERVICE_LINK = re.compile(
    r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)=.*|(\w+_)?PORT=\w+://.*"
)
"""What Kubernetes adds to the prefix for services that are named like the exporter."""

VERSION = f"""{NAME}, version {__version__}
  python version:   {platform.python_version()}
  platform:         {sys.platform}/{platform.machine()}"""


@dataclass(frozen=True, slots=True)
class Flags:
    """The values of all flags."""

    config_file: str
    config_check: bool
    web_listen_address: Sequence[str]
    web_telemetry_path: str
    web_max_requests: int
    log_level: str
    log_format: str
    demo: bool


def variable(flag: str) -> str:
    """Return the name of the environment variable for *flag*."""
    return ENVIRONMENT_PREFIX + flag.removeprefix("--").replace(".", "_").replace("-", "_").upper()


def parse_flags(argv: Sequence[str], environment: Mapping[str, str]) -> Flags:
    """
    Parse the flags. A flag overrides its environment variable, which overrides the default.

    Raises:
        SystemExit: With code 2 and a message on standard error if a flag is invalid; with code 0
            after ``--help`` and ``--version``.
    """
    parser = make_parser()
    from_environment = flags_from_environment(environment, parser, argv)
    args, unknown = parser.parse_known_args([*from_environment, *argv])
    if unknown:
        kind = "flag" if unknown[0].startswith("-") else "argument"
        parser.error(f"unknown {kind}: {unknown[0]}{_suggestion(unknown[0], _flags(parser))}")
    if args.version:
        write_output(f"{VERSION}\n")
        parser.exit()

    def source(flag: str) -> str:
        """Name what sets *flag*: itself, or its environment variable."""
        is_variable = any(text == flag or text.startswith(f"{flag}=") for text in from_environment)
        return f"environment variable {variable(flag)}" if is_variable else flag

    path = source("--web.telemetry-path")
    if not args.web_telemetry_path.startswith("/") or args.web_telemetry_path == "/":
        parser.error(f"{path} must start with / and must not be / itself")
    if not re.fullmatch(r"[!-~]+", args.web_telemetry_path) or {*"?#"} & {*args.web_telemetry_path}:
        parser.error(f"{path} must consist of visible ASCII characters other than ? and #")
    if args.web_telemetry_path.startswith("/-/"):
        parser.error(f"{path} must not start with /-/, which is reserved for probes")
    if args.web_max_requests < 0:
        parser.error(f"{source('--web.max-requests')} must not be negative")
    if args.demo and args.config_file:
        parser.error(f"{source('--demo')} cannot be combined with {source('--config.file')}")
    return Flags(
        args.config_file,
        args.config_check,
        args.web_listen_address or [":10064"],
        args.web_telemetry_path,
        args.web_max_requests,
        args.log_level,
        args.log_format,
        args.demo,
    )


class _Parser(argparse.ArgumentParser):
    """A parser that copes with streams that cannot be written to."""

    def _print_message(self, message: str, file: Any = None) -> None:
        (write_output if file is sys.stdout else write_error)(message or "")


def _flags(parser: argparse.ArgumentParser) -> list[str]:
    actions = parser._actions  # noqa: SLF001 (argparse has no public list)
    return [action.option_strings[-1] for action in actions if action.option_strings]


def _suggestion(text: str, known: Sequence[str]) -> str:
    """Suggest the one of *known* that *text* is most similar to."""
    name = text.partition("=")[0][:100].replace("_", "-")
    close = difflib.get_close_matches("--" + name.lstrip("-").lower(), known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """List a warning for each variable that looks like one of ours, but is not."""
    flags = [flag for flag in _flags(make_parser()) if flag not in ("--help", "--version")]
    known = [variable(flag) for flag in flags]
    names = [name for name in sorted(environment) if name.startswith(ENVIRONMENT_PREFIX)]
    warnings = []
    for name in names:
        assignment = f"{name.removeprefix(ENVIRONMENT_PREFIX)}={environment[name]}"
        if name in known or SERVICE_LINK.fullmatch(assignment):
            continue
        # Of the whole names, the prefix alone would be similar enough.
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.9)
        suggestion = f"; did you mean {close[0]}?" if close else ""
        warnings.append(f"unknown environment variable {name}{suggestion}")
    return warnings


def make_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=NAME,
        description="A Prometheus exporter that reports when each AWS IAM access key was last used,"
        " for which service and in which region, across all your accounts.",
        epilog="Each flag except --help and --version can also be set by an environment variable:"
        f" {ENVIRONMENT_PREFIX} followed by its name in upper case, with _ for . and -, such as"
        f" {variable('--config.file')}. A flag overrides its environment variable, which overrides"
        " the default.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "command", nargs="?", choices=["serve"], default="serve", help="subcommand (default: serve)"
    )
    add(
        "--config.file",
        dest="config_file",
        metavar="FILE",
        default="",
        help="configuration file in YAML; if omitted, read the account that the AWS credentials"
        " belong to",
    )
    add(
        "--config.check",
        dest="config_check",
        action="store_true",
        help="validate the configuration, print a summary and exit",
    )
    add(
        "--web.listen-address",
        dest="web_listen_address",
        metavar="ADDRESS",
        action="append",
        help="address to listen on, such as 127.0.0.1:10064 (default: :10064); can be repeated, or"
        " be a comma-separated list in the environment variable",
    )
    add(
        "--web.telemetry-path",
        dest="web_telemetry_path",
        metavar="PATH",
        default="/metrics",
        help="path of the metrics (default: /metrics)",
    )
    add(
        "--web.max-requests",
        dest="web_max_requests",
        metavar="NUMBER",
        type=int,
        default=40,
        help="how many scrapes may be in progress; others are answered with 503 (default: 40; 0: no"
        " limit)",
    )
    add(
        "--log.level",
        dest="log_level",
        choices=list(LEVELS),
        default="info",
        help="minimum level to log (default: info)",
    )
    add(
        "--log.format",
        dest="log_format",
        choices=["logfmt", "json"],
        default="logfmt",
        help="log format (default: logfmt)",
    )
    add(
        "--demo",
        action="store_true",
        help="run against a simulated AWS on this machine, without an AWS account",
    )
    add("--version", action="store_true", help="print the version and exit")
    return parser


def flags_from_environment(
    environment: Mapping[str, str], parser: argparse.ArgumentParser, argv: Sequence[str]
) -> list[str]:
    """Return the flags that are set by environment variables and not in *argv*."""
    flags: list[str] = []
    for action in parser._actions:  # noqa: SLF001 (argparse has no public list)
        flag = action.option_strings[-1] if action.option_strings else ""
        value = environment.get(variable(flag)) if flag not in ("", "--help", "--version") else None
        if not value or any(arg == flag or arg.startswith(f"{flag}=") for arg in argv):
            continue
        if action.nargs == 0:
            value = value.strip()
            if value.lower() not in BOOLEANS:
                parser.error(f"{variable(flag)} must be true or false, not {value!r}")
            flags += [flag] if BOOLEANS[value.lower()] else []
        elif action.choices and value.strip() not in action.choices:
            choices = ", ".join(map(str, action.choices))
            parser.error(f"environment variable {variable(flag)} must be one of {choices}")
        elif action.type is int and not re.fullmatch(r"\s*[+-]?\d{1,9}\s*", value, re.ASCII):
            parser.error(f"environment variable {variable(flag)} must be a whole number")
        else:
            values = value.split(",") if flag == "--web.listen-address" else [value]
            flags += [f"{flag}={part.strip()}" for part in values if part.strip()]
    return flags
