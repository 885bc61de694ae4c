"""The command line: flags as every exporter has them, each with an environment variable."""

import argparse
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exporter import __version__
from exporter.cli.logs import LEVELS

NAME = "aws-iam-key-exporter"
ENVIRONMENT = "AWS_IAM_KEY_EXPORTER_"

BOOLEANS = {
    "1": True,
    "true": True,
    "yes": True,
    "0": False,
    "false": False,
    "no": False,
    "": False,
}

VERSION = f"""{NAME}, version {__version__}
  python version:   {platform.python_version()}
  platform:         {sys.platform}/{platform.machine()}"""


@dataclass(frozen=True, slots=True)
class Flags:
    """What was asked for on the command line or in the environment."""

    config_file: str
    config_check: bool
    web_listen_address: Sequence[str]
    web_telemetry_path: str
    log_level: str
    log_format: str
    demo: bool


def variable(flag: str) -> str:
    """Name the environment variable of *flag*."""
    return ENVIRONMENT + flag.removeprefix("--").replace(".", "_").replace("-", "_").upper()


def parse(argv: Sequence[str], environment: Mapping[str, str]) -> Flags:
    """
    Read the flags. One that is given beats its variable, which beats the default.

    Raises:
        SystemExit: With 2 and a sentence on standard error if they are wrong; with 0 after
            ``--help`` and ``--version``.
    """
    parser = make_parser()
    told = parser.parse_args([*_from(environment, parser, argv), *argv])
    if told.version:
        print(VERSION)
        parser.exit()
    if not told.web_telemetry_path.startswith("/") or told.web_telemetry_path == "/":
        parser.error("--web.telemetry-path must begin with / and be longer than that")
    if told.web_telemetry_path.startswith("/-/"):
        parser.error("--web.telemetry-path must not begin with /-/, where the probes are")
    if told.demo and told.config_file:
        parser.error("--demo brings a configuration of its own: leave out --config.file")
    return Flags(
        told.config_file,
        told.config_check,
        told.web_listen_address or [":10064"],
        told.web_telemetry_path,
        told.log_level,
        told.log_format,
        told.demo,
    )


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=NAME,
        description="Tells Prometheus which AWS IAM access keys are in use, by which service and"
        " in which region, which lie dormant, and which it can no longer see.",
        epilog=f"Each flag has an environment variable: its name in capitals after {ENVIRONMENT},"
        f" with _ for . and -, such as {variable('--config.file')}. A flag beats its variable,"
        " which beats the default.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("command", nargs="?", choices=["serve"], default="serve", help="what to do (serve)")
    add(
        "--config.file",
        dest="config_file",
        metavar="FILE",
        default="",
        help="the configuration, in YAML; without one, the account is read that the AWS"
        " credentials found belong to",
    )
    add(
        "--config.check",
        dest="config_check",
        action="store_true",
        help="say how the configuration is understood, or what is wrong with it, and end",
    )
    add(
        "--web.listen-address",
        dest="web_listen_address",
        metavar="ADDRESS",
        action="append",
        help="where to listen, such as 127.0.0.1:10064 (:10064); may be given several times, in"
        " the environment with commas",
    )
    add(
        "--web.telemetry-path",
        dest="web_telemetry_path",
        metavar="PATH",
        default="/metrics",
        help="where the metrics are (/metrics)",
    )
    add(
        "--log.level",
        dest="log_level",
        choices=list(LEVELS),
        default="info",
        help="the least that is logged (info)",
    )
    add(
        "--log.format",
        dest="log_format",
        choices=["logfmt", "json"],
        default="logfmt",
        help="how it is logged (logfmt)",
    )
    add(
        "--demo",
        action="store_true",
        help="read a make-believe AWS on this machine, to try everything without an account",
    )
    add("--version", action="store_true", help="say the version and end")
    return parser


def _from(
    environment: Mapping[str, str], parser: argparse.ArgumentParser, argv: Sequence[str]
) -> list[str]:
    """Turn variables into the flags that they stand for, but for those that are given."""
    flags: list[str] = []
    for action in parser._actions:
        flag = action.option_strings[-1] if action.option_strings else ""
        value = environment.get(variable(flag)) if flag not in ("", "--help", "--version") else None
        if value is None or any(word == flag or word.startswith(f"{flag}=") for word in argv):
            continue
        if action.nargs == 0:
            if value.lower() not in BOOLEANS:
                parser.error(f"{variable(flag)} must be true or false, is {value!r}")
            flags += [flag] if BOOLEANS[value.lower()] else []
        else:
            values = value.split(",") if flag == "--web.listen-address" else [value]
            flags += [f"{flag}={part.strip()}" for part in values]
    return flags
