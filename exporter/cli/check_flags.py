"""The flags of the subcommand check."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from exporter.report import Output

OUTPUTS: Final = (Output.TABLE, Output.JSON)

EPILOG: Final = """\
For each account: can the role be assumed, is it the right account, is each permission there that
the enabled features need, how many users and keys are there, and what does a refresh cost. All
users are listed, and the keys of 20 of them at most; other operations are called a few times.
Nothing is changed, except that AWS generates a credential report, where one is used, if the latest
is older than four hours.

  KEYS    from the credential report; without one, "about" how many, inferred from 20 of the users
  REPORT  what the credential report is used for: what collection.credential_report says, or what
          auto chooses
  CALLS   of a regular refresh; in addition about three every four hours for the report, and those
          for users' tags, where they are read
  TIME    of a regular refresh at the configured rate limit

examples:
  %(prog)s --config.file=config.yaml
  %(prog)s --config.file=config.yaml --account=prod --output=json

exit codes: 0 nothing is wrong; 1 something is; 2 invalid flags or configuration; 130 interrupted
"""


@dataclass(frozen=True, slots=True)
class CheckFlags:
    """
    The flags of the subcommand check.

    Attributes:
        accounts: IDs or names of accounts. Empty: all.
        output: TABLE or JSON.
    """

    accounts: Sequence[str]
    output: Output

    @classmethod
    def of(cls, args: argparse.Namespace) -> "CheckFlags":
        return cls(args.account or (), Output(args.output))


def add_check_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--config.file",
        dest="config_file",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="the exporter's configuration; if omitted, check the account that the AWS credentials"
        " belong to",
    )
    add(
        "--account",
        metavar="ACCOUNT",
        action="append",
        help="only the account with this ID or name; can be repeated",
    )
    add(
        "--output",
        choices=[str(output) for output in OUTPUTS],
        default=str(Output.TABLE),
        help="format (default: table)",
    )
