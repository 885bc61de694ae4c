"""Command-line flags. Those of serve can also be set by environment variables."""

import argparse
import difflib
import platform
import re
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn, cast

from exporter.cli.build import BUILD
from exporter.cli.check_flags import EPILOG as CHECK_EPILOG
from exporter.cli.check_flags import CheckFlags, add_check_flags
from exporter.cli.logs import LEVELS
from exporter.cli.report_flags import EPILOG as REPORT_EPILOG
from exporter.cli.report_flags import ReportFlags, add_report_flags
from exporter.cli.serve_flags import ADDRESSES, ServeFlags, add_flags, serve_flags
from exporter.cli.streams import write_error, write_output
from exporter.cli.usage import reword, suggestion
from exporter.config import Config, parse_duration
from exporter.model import Partition
from exporter.policy import Policy
from exporter.report import Output
from exporter.server import is_page
from exporter.sharding import Shard, ordinal_of

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

VERSION = f"""{NAME}, version {BUILD}
  python version:   {platform.python_version()}
  platform:         {sys.platform}/{platform.machine()}"""

WITHOUT_VARIABLE: Final = ("--help", "--version")
"""Flags that no environment variable sets."""

STATE_FILE: Final = "state.db"
"""The name of the SQLite file in the directory that systemd or the container image provides."""

DESCRIPTION: Final = """\
A Prometheus exporter that reports when each AWS IAM access key was last used, for which service and
in which region, across all your accounts."""

EPILOG: Final = f"""\
Each flag except --help and --version can also be set by an environment variable:
{ENVIRONMENT_PREFIX} followed by its name in upper case, with _ for . and -, such as
{ENVIRONMENT_PREFIX}CONFIG_FILE. A flag overrides its environment variable, which overrides the
configuration file and the default.

examples:
  {NAME} --demo
  {NAME} --config.file=config.yaml --config.check
  {NAME} serve --config.file=config.yaml
  {NAME} serve --config.file=config.yaml --shard=0 --total-shards=3
  {NAME} check --config.file=config.yaml
  {NAME} events --config.file=config.yaml --since=30d
  {NAME} policy --config.file=config.yaml
  {NAME} report --config.file=config.yaml --idle-for=90d
"""

EVENTS_EPILOG: Final = f"""\
Times are UTC. The exporter may be running at the same time. The environment variables
{ENVIRONMENT_PREFIX}CONFIG_FILE and {ENVIRONMENT_PREFIX}STATE_PATH are those of serve.

examples:
  {NAME} events --config.file=config.yaml --since=30d
  {NAME} events --state.path=state.db --account=prod --user=alice
  {NAME} events --config.file=config.yaml --since=2026-01-01 --output=csv > events.csv

exit codes: 0 events were printed, or there are none; 1 the log cannot be read; 2 invalid flags or
configuration
"""

PRINCIPAL: Final = r"arn:aws[a-z-]*:iam::\d{12}:(role/[\w+=,.@/-]+|user/[\w+=,.@/-]+|root)"
"""Whom a trust policy can name."""

EXTERNAL_ID: Final = r"[\w+=,.@:/-]{2,1224}"
"""What AWS accepts as an external id."""

POLICY_EPILOG: Final = f"""\
A policy allows what the features of the configuration require, and nothing else: print it again
after changing collection.credential_report or collection.user_tags. No call to AWS is made. The
environment variable {ENVIRONMENT_PREFIX}CONFIG_FILE is that of serve.

examples:
  {NAME} policy > reader.json
  {NAME} policy --config.file=config.yaml --partition=aws-cn > reader.json
  {NAME} policy --trust --principal=arn:aws:iam::111122223333:role/exporter > trust.json
  aws iam put-role-policy --role-name {NAME} --policy-name reader \\
    --policy-document "$({NAME} policy)"

exit codes: 0 the policy was printed; 2 invalid flags or configuration
"""


@dataclass(frozen=True, slots=True)
class EventsFlags:
    """
    The flags of the subcommand events.

    Attributes:
        account: The ID or name of an account. None: all accounts.
        user: None: all users.
        key: The ID of an access key, in full or as it is shown. None: all keys.
        since: How long ago the first event was, or when. None: any time.
    """

    account: str | None
    user: str | None
    key: str | None
    since: timedelta | datetime | None
    output: Output


@dataclass(frozen=True, slots=True)
class PolicyFlags:
    """
    The flags of the subcommand policy.

    Attributes:
        principal: The ARN of the exporter's own identity. Empty unless the policy is TRUST.
        external_id: None: the one of the configuration, if any. Empty: none.
        partition: None: the one of the configuration.
    """

    policy: Policy
    principal: str
    external_id: str | None
    partition: Partition | None


@dataclass(frozen=True, slots=True)
class Flags:
    """
    The values of all flags.

    Attributes:
        state_path: The SQLite file that is used whatever the configuration says. Empty: as
            configured.
        default_state_path: The SQLite file that is used if none is configured. Empty: none.
        events: The flags of the subcommand events. None: the subcommand is another.
        policy: The flags of the subcommand policy. None: the subcommand is another.
        report: The flags of the subcommand report. None: the subcommand is another.
        check: The flags of the subcommand check. None: the subcommand is another.
        serve: Further flags of the subcommand serve.
        shard: Which accounts this process reads.
    """

    config_file: str
    config_check: bool
    web_listen_address: Sequence[str]
    web_telemetry_path: str
    web_max_requests: int
    log_level: str
    log_format: str
    demo: bool
    state_path: str = ""
    default_state_path: str = ""
    events: EventsFlags | None = None
    policy: PolicyFlags | None = None
    report: ReportFlags | None = None
    check: CheckFlags | None = None
    serve: ServeFlags = field(default_factory=ServeFlags)
    web_config_file: str = ""
    shard: Shard = Shard()  # noqa: RUF009 (immutable)


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
    if args.command:
        parser = _subcommands(parser)[args.command]
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

    directory = environment.get("STATE_DIRECTORY", "").partition(":")[0]  # systemd may set several
    default_state_path = f"{directory}/{STATE_FILE}" if directory else ""
    _check_state_path(parser, source("--state.path"), args.state_path)
    _check_state_path(parser, "environment variable STATE_DIRECTORY", default_state_path)
    events = policy = report = check = None
    serve = ServeFlags()
    shard = Shard()
    if args.command == "events":
        events = EventsFlags(args.account, args.user, args.key, args.since, Output(args.output))
    elif args.command == "policy":
        policy = _policy_flags(parser, args)
    elif args.command == "report":
        report = ReportFlags.of(args)
    elif args.command == "check":
        check = CheckFlags.of(args)
    else:
        _check_serve(parser, source, args)
        serve = serve_flags(parser, source, args)
        shard = _shard(parser, source, args, environment)
    return Flags(
        args.config_file,
        args.config_check,
        args.web_listen_address or [":10064"],
        args.web_telemetry_path,
        args.web_max_requests,
        args.log_level,
        args.log_format,
        args.demo,
        args.state_path,
        default_state_path,
        events,
        policy,
        report,
        check,
        serve,
        args.web_config_file,
        shard,
    )


def _policy_flags(parser: argparse.ArgumentParser, args: argparse.Namespace) -> PolicyFlags:
    policy = Policy(args.policy)
    if policy is Policy.TRUST and not args.principal:
        parser.error("--trust requires --principal: the ARN of the identity that the exporter uses")
    for flag, value in (("--principal", args.principal), ("--external-id", args.external_id)):
        if value and policy is not Policy.TRUST:
            parser.error(f"{flag} requires --trust")
    partition = Partition(args.partition) if args.partition else None
    return PolicyFlags(policy, args.principal or "", args.external_id, partition)


def _check_state_path(parser: argparse.ArgumentParser, name: str, path: str) -> None:
    try:
        Config().with_state_path(path or STATE_FILE)
    except ValueError as error:
        parser.error(f"{name} {error}")


def _check_serve(
    parser: argparse.ArgumentParser, source: Callable[[str], str], args: argparse.Namespace
) -> None:
    path = source("--web.telemetry-path")
    if not args.web_telemetry_path.startswith("/") or args.web_telemetry_path == "/":
        parser.error(f"{path} must start with / and must not be / itself")
    if not re.fullmatch(r"[!-~]+", args.web_telemetry_path) or {*"?#"} & {*args.web_telemetry_path}:
        parser.error(f"{path} must consist of visible ASCII characters other than ? and #")
    if args.web_telemetry_path.startswith("/-/"):
        parser.error(f"{path} must not start with /-/, which is reserved for probes")
    if not args.web_disable_pages and is_page(args.web_telemetry_path):
        text = "must not be the path of a page, unless --web.disable-pages is set"
        parser.error(f"{path} {text}")
    if args.web_max_requests < 0:
        parser.error(f"{source('--web.max-requests')} must not be negative")
    if args.demo and args.config_file:
        parser.error(f"{source('--demo')} cannot be combined with {source('--config.file')}")


def _shard(
    parser: argparse.ArgumentParser,
    source: Callable[[str], str],
    args: argparse.Namespace,
    environment: Mapping[str, str],
) -> Shard:
    total_flag, flag = source("--total-shards"), source("--shard")
    if args.total_shards is None and args.shard is not None:
        parser.error(f"{flag} requires --total-shards: how many processes share the accounts")
    total = 1 if args.total_shards is None else args.total_shards
    if total < 1:
        parser.error(f"{total_flag} must be at least 1")
    if args.shard is not None:
        what, ordinal = flag, args.shard
    elif total == 1:
        return Shard()
    else:
        pod = environment.get("POD_NAME", "")
        if not pod and environment.get("KUBERNETES_SERVICE_HOST"):
            pod = socket.gethostname()  # elsewhere it may end with digits that mean something else
        if not pod:
            parser.error(f"{total_flag} requires --shard, except in a StatefulSet of Kubernetes")
        what, ordinal = f"the ordinal of pod {pod}", ordinal_of(pod)
        if ordinal is None:
            parser.error(
                f"{total_flag} requires --shard: the name of the pod (the environment variable"
                f" POD_NAME, or the host name) does not end with its ordinal, but is {pod!r}"
            )
    if not 0 <= ordinal < total:
        parser.error(f"{what} must be from 0 to {total - 1}: {total_flag} is {total}")
    return Shard(ordinal, total)


class _Parser(argparse.ArgumentParser):
    """A parser that copes with streams that cannot be written to, and words errors as we do."""

    def error(self, message: str) -> NoReturn:
        super().error(reword(message))

    def _print_message(self, message: str, file: Any = None) -> None:
        (write_output if file is sys.stdout else write_error)(message or "")


def _flags(parser: argparse.ArgumentParser) -> list[str]:
    actions = parser._actions  # noqa: SLF001 (argparse has no public list)
    return [action.option_strings[-1] for action in actions if action.option_strings]


def _subcommands(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    actions = parser._actions  # noqa: SLF001 (argparse has no public list)
    (commands,) = (action.choices for action in actions if action.dest == "command")
    return cast("Mapping[str, argparse.ArgumentParser]", commands)


def _suggestion(text: str, known: Sequence[str]) -> str:
    """Suggest the one of *known* that *text* is most similar to."""
    name = text.partition("=")[0][:100].replace("_", "-")
    return suggestion("--" + name.lstrip("-").lower(), known)


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """List a warning for each variable that looks like one of ours, but is not."""
    flags = [flag for flag in _flags(make_parser()) if flag not in WITHOUT_VARIABLE]
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
    """Create the parser of the command line. It has the flags of serve, the default subcommand."""
    parser = _Parser(
        prog=NAME,
        usage="\n       ".join(
            f"{NAME} {form} [flags]" for form in ("[serve]", "check", "events", "policy", "report")
        ),
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(
        title="subcommands",
        dest="command",
        metavar="SUBCOMMAND",
        prog=NAME,
        help="see SUBCOMMAND --help (default: serve)",
    )
    _add_serve_flags(parser)
    serve = _add_command(commands, "serve", "refresh the accounts and serve their metrics", EPILOG)
    _add_serve_flags(serve)
    for action in serve._actions:  # noqa: SLF001 (argparse has no public list)
        action.default = argparse.SUPPRESS  # keeps what is given before the subcommand
    check = _add_command(
        commands, "check", "check what the exporter needs to read accounts", CHECK_EPILOG
    )
    add_check_flags(check)
    events = _add_command(commands, "events", "print the log of what changed", EVENTS_EPILOG)
    _add_events_flags(events)
    policy = _add_command(
        commands, "policy", "print the IAM policies that the exporter needs", POLICY_EPILOG
    )
    _add_policy_flags(policy)
    report = _add_command(
        commands, "report", "print access keys and what is wrong with them", REPORT_EPILOG
    )
    add_report_flags(report)
    return parser


def _add_command(commands: Any, name: str, summary: str, epilog: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        usage=f"{NAME} {name} [flags]",
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return command


def _add_events_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--config.file",
        dest="config_file",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="the exporter's configuration: where its state is, and how key IDs are shown",
    )
    add(
        "--state.path",
        dest="state_path",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="the exporter's SQLite file; overrides the configuration",
    )
    add("--account", metavar="ACCOUNT", help="only events of the account with this ID or name")
    add("--user", metavar="USER", help="only events of the keys of this user")
    add("--key", metavar="ID", help="only events of this access key; its ID in full or as shown")
    add(
        "--since",
        metavar="TIME",
        type=_since,
        help="only events since then: how long ago, such as 30d or 12h, or a date such as"
        " 2026-12-31 or 2026-12-31T12:00Z (default: all)",
    )
    add(
        "--output",
        choices=[str(output) for output in Output],
        default=str(Output.TABLE),
        help="format (default: table)",
    )


def _add_policy_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config.file",
        dest="config_file",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="the exporter's configuration; if omitted, the policy is for the defaults",
    )
    add = parser.add_mutually_exclusive_group().add_argument
    for flag, policy, summary in (
        ("--reader", Policy.READER, "permissions of the role that reads an account (default)"),
        ("--trust", Policy.TRUST, "trust policy of that role; requires --principal"),
        ("--exporter", Policy.EXPORTER, "permissions of the exporter's own identity: assume roles"),
        ("--discovery", Policy.DISCOVERY, "permissions to list the accounts of an organization"),
    ):
        add(
            flag,
            dest="policy",
            action="store_const",
            const=str(policy),
            default=str(Policy.READER),
            help=summary,
        )
    add = parser.add_argument
    add(
        "--principal",
        metavar="ARN",
        type=_principal,
        help="the role or user that the exporter runs as, which may assume the role",
    )
    add(
        "--external-id",
        metavar="ID",
        type=_external_id,
        help="what the exporter has to send to assume the role; empty: nothing (default: as"
        " configured)",
    )
    add(
        "--partition",
        choices=[str(partition) for partition in Partition],
        metavar="PARTITION",
        help="the partition of AWS, such as aws-cn or aws-us-gov (default: that of the configured"
        " roles or region, else aws)",
    )


def _principal(text: str) -> str:
    if re.fullmatch(PRINCIPAL, text, re.ASCII):
        return text
    expected = "the ARN of a role or user such as arn:aws:iam::111122223333:role/exporter"
    if ":assumed-role/" in text:
        expected += "; a session's role is arn:aws:iam::ACCOUNT:role/ROLE"
    raise argparse.ArgumentTypeError(f"must be {expected}, not {text!r}")


def _external_id(text: str) -> str:
    if not text or re.fullmatch(EXTERNAL_ID, text, re.ASCII):
        return text
    raise argparse.ArgumentTypeError("must be 2 to 1224 letters, digits or any of _+=,.@:/-")


def _since(text: str) -> timedelta | datetime:
    """Parse how long ago something was, or when. A time without an offset is UTC."""
    try:
        return parse_duration(text)
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        expected = "a duration such as 30d, or a date such as 2026-12-31"
        raise argparse.ArgumentTypeError(f"must be {expected}, not {text!r}") from None


def _add_serve_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
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
        "--web.config.file",
        dest="web_config_file",
        metavar="FILE",
        default="",
        help="file that enables TLS or authentication, in the format of all official exporters"
        " (default: none)",
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
        help="how many scrapes, and how many requests for pages, may be in progress; others are"
        " answered with 503 (default: 40; 0: no limit)",
    )
    add_flags(parser)
    add(
        "--state.path",
        dest="state_path",
        metavar="FILE",
        default="",
        help="SQLite file that keeps what is known across restarts; overrides state.path and"
        " state.url of the configuration (default: none, or as systemd and the container image set"
        " it: $STATE_DIRECTORY/state.db)",
    )
    add(
        "--shard",
        metavar="ORDINAL",
        type=int,
        help="which of --total-shards processes this is, from 0 (default in a StatefulSet of"
        " Kubernetes: the number at the end of $POD_NAME or the host name)",
    )
    add(
        "--total-shards",
        dest="total_shards",
        metavar="NUMBER",
        type=int,
        help="how many processes share the accounts; each refreshes and exports those that a hash"
        " of their IDs assigns to it (default: 1)",
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


def flags_from_environment(
    environment: Mapping[str, str], parser: argparse.ArgumentParser, argv: Sequence[str]
) -> list[str]:
    """Return the flags that are set by environment variables and not in *argv*."""
    flags: list[str] = []
    for action in parser._actions:  # noqa: SLF001 (argparse has no public list)
        flag = action.option_strings[-1] if action.option_strings else ""
        has_variable = flag and flag not in WITHOUT_VARIABLE
        value = environment.get(variable(flag)) if has_variable else None
        if not value or any(arg == flag or arg.startswith(f"{flag}=") for arg in argv):
            continue
        if action.nargs == 0:
            value = value.strip()
            if value.lower() not in BOOLEANS:
                parser.error(
                    f"environment variable {variable(flag)} must be true or false, not {value!r}"
                )
            flags += [flag] if BOOLEANS[value.lower()] else []
        elif action.choices and value.strip() not in action.choices:
            choices = ", ".join(map(str, action.choices))
            parser.error(f"environment variable {variable(flag)} must be one of {choices}")
        elif action.type is int and not re.fullmatch(r"\s*[+-]?\d{1,9}\s*", value, re.ASCII):
            parser.error(f"environment variable {variable(flag)} must be an integer")
        else:
            values = value.split(",") if flag in ADDRESSES else [value]
            flags += [f"{flag}={part.strip()}" for part in values if part.strip()]
    return flags
