"""The flags of the subcommand report."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from exporter.config import parse_duration
from exporter.report import Order, Output

EPILOG: Final = """\
Idle times and ages end when AWS last reported the key: they do not grow while an account cannot be
read. A key that was never used has been idle since its creation. Conditions apply together.

findings, and the order of --sort=urgency:
  root_access_key       the root user has active access keys
  awakened              used after more than 90 idle days (changes.shown_for ago at most)
  first_use             used for the first time when more than 30 days old (as awakened, this is
                        known only with --from-store)
  unused, never_used    active, and unused for more than 90 days, or never used and more than 30
                        days old; the longest idle first
  last_use_unknown      whether it is unused cannot be said
  superseded            active, and the user's other key was used more than 30 days later
  not_rotated           active, and more than 90 days old
  inactive_not_deleted  idle for more than 90 days, and inactive for more than 14 (without
                        --from-store it is unknown for how long: then for any time)
  two_active_keys       the user has two active keys
Then follow keys without findings, the longest idle first, and last the exempt ones. The limits are
those of the alert rules.

The report ends with what was not seen: accounts that failed and why, users whose keys are unknown,
and how old the credential reports are. With --output=csv and json, that is on standard error; JSON
also has it for each account.

examples:
  %(prog)s --config.file=config.yaml
  %(prog)s --config.file=config.yaml --idle-for=90d --output=csv > idle.csv
  %(prog)s --state.path=state.db --from-store --account=prod --sort=age

exit codes: 0 everything was read; 1 some account failed, or the store cannot be read; 2 invalid
flags or configuration; 130 interrupted
"""


@dataclass(frozen=True, slots=True)
class ReportFlags:
    """
    The flags of the subcommand report.

    Attributes:
        from_store: Read what the exporter stored, without calls to AWS.
        accounts: IDs or names of accounts. Empty: all.
        users: Empty: all.
        idle_for: None: whatever the idle time.
        unrotated_for: None: whatever the age.
    """

    from_store: bool
    accounts: Sequence[str]
    users: Sequence[str]
    idle_for: timedelta | None
    never_used: bool
    unrotated_for: timedelta | None
    sort: Order
    output: Output

    @classmethod
    def of(cls, args: argparse.Namespace) -> "ReportFlags":
        return cls(
            args.from_store,
            args.account or (),
            args.user or (),
            args.idle_for,
            args.never_used,
            args.unrotated_for,
            Order(args.sort),
            Output(args.output),
        )


def add_report_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--config.file",
        dest="config_file",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="the exporter's configuration; if omitted, read the account that the AWS credentials"
        " belong to",
    )
    add(
        "--state.path",
        dest="state_path",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="the exporter's SQLite file, for --from-store; overrides the configuration",
    )
    add(
        "--from-store",
        action="store_true",
        help="print what the exporter has stored, also while it runs; no call to AWS is made",
    )
    add(
        "--account",
        metavar="ACCOUNT",
        action="append",
        help="only the account with this ID or name; can be repeated",
    )
    add("--user", metavar="USER", action="append", help="only this user; can be repeated")
    add(
        "--idle-for",
        metavar="DURATION",
        type=_duration,
        help="only keys that have been idle for at least that long, such as 90d",
    )
    add("--never-used", action="store_true", help="only keys that have never been used")
    add(
        "--unrotated-for",
        metavar="DURATION",
        type=_duration,
        help="only active keys that are at least that old, such as 90d",
    )
    add(
        "--sort",
        choices=[str(order) for order in Order],
        default=str(Order.URGENCY),
        help="what comes first: the most urgent finding, the longest idle time, the greatest age,"
        " or by name (default: urgency)",
    )
    add(
        "--output",
        choices=[str(output) for output in Output],
        default=str(Output.TABLE),
        help="format (default: table)",
    )


def _duration(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError:
        expected = "a duration such as 90d or 12h"
        raise argparse.ArgumentTypeError(f"must be {expected}, not {text!r}") from None
