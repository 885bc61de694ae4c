"""The subcommand report: prints the access keys of all accounts, and what was not seen."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from exporter.cli.events import terminal_width
from exporter.cli.flags import NAME
from exporter.cli.interrupts import SIGNALLED, Interrupted, raise_on_signals
from exporter.cli.logs import configure_logging
from exporter.cli.once import NoSuchAccount, Once, select
from exporter.cli.report_flags import ReportFlags
from exporter.cli.streams import CONTROL, write_error, write_output
from exporter.cli.wiring import SystemClock, exemptions_of
from exporter.config import Config, label_of_tag
from exporter.key_ids import KeyIdFormatter
from exporter.model import Account, AccountMemory, AccountSnapshot, Clock, ReadError
from exporter.report import (
    MAX_WRAPPED,
    UNWRAPPED,
    Output,
    Record,
    Selection,
    ShowOptions,
    Value,
    as_csv,
    as_json,
    as_markdown,
    as_table,
    coverage_of,
    fitting,
    key_headings,
    key_names,
    key_record,
    key_rows,
    key_texts,
    markdown_text,
    not_seen,
    sort_keys,
    summary,
)
from exporter.report.progress import Progress
from exporter.store import StoreError, read_accounts

OK, FAILURE, USAGE = 0, 1, 2
"""Exit codes: all was read; an account failed; invalid flags."""

Read = tuple[AccountSnapshot, AccountMemory]
"""What is known of an account, and what is remembered of it."""


class CannotReport(Exception):
    """
    There is nothing to report: a sentence for people.

    Attributes:
        code: The exit code.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def run(
    query: ReportFlags, config: Config, key_ids: KeyIdFormatter, redact: Callable[[str], str]
) -> int:
    """Read the accounts, print their keys, and return the exit code."""
    raise_on_signals()
    configure_logging("error", "logfmt", redact)  # failures are part of what is printed
    clock = SystemClock()
    options = show_options(config, key_ids, redact)
    try:
        if query.from_store:
            read, failure = _stored(config, clock.now()), ""
        else:
            read, failure = _refreshed(query, config, clock)
        accounts = select(read, query.accounts, _account_of, complete=not failure)
        width = terminal_width()
        page = render(query, accounts, options, at=clock.now(), width=width, failure=failure)
        write_output(page.output)
        write_error(redact(page.error))
    except NoSuchAccount as error:
        write_error(redact(f"{NAME}: {error}\n"))
        return USAGE
    except CannotReport as error:
        write_error(redact(f"{NAME}: {error}\n"))
        return error.code
    except Interrupted as error:
        return SIGNALLED + error.number
    return FAILURE if failure or not all(snapshot.up for snapshot, _ in accounts) else OK


def show_options(
    config: Config, key_ids: KeyIdFormatter, redact: Callable[[str], str]
) -> ShowOptions:
    return ShowOptions(
        tags={tag: label_of_tag(tag) for tag in config.labels.user_tags},
        exempt_until=exemptions_of(config).until,
        key_labels=key_ids.labels,
        user_names=key_ids.names,
        redact=redact,
    )


def _refreshed(query: ReportFlags, config: Config, clock: Clock) -> tuple[list[Read], str]:
    """
    Refresh the accounts that *query* asks for.

    Returns:
        The accounts, and why those of the organization are unknown. Empty: they are not.

    Raises:
        NoSuchAccount: One that it asks for does not exist.
    """
    failure = ""
    once = Once(config, clock)
    try:
        accounts = once.accounts()
    except ReadError as error:
        accounts = config.model_accounts()
        failure = f"the accounts of the organization are unknown ({error.reason}): {error}"
    possible = select(accounts, query.accounts, lambda account: account, complete=not failure)
    with Progress("refreshing", len(possible), sys.stderr) as progress:
        snapshots = once.refresh(
            possible, lambda snapshot: progress.advance(failed=not snapshot.up)
        )
    return [(snapshot, AccountMemory()) for snapshot in snapshots], failure


def _stored(config: Config, now: datetime) -> list[Read]:
    """
    Read what is stored. Of an account that is configured and not stored, nothing is known.

    Raises:
        CannotReport: No store is configured, or it cannot be read.
    """
    location = config.state.location()
    if location is None:
        text = (
            "--from-store reads the exporter's state: set --state.path to its SQLite file, or"
            " --config.file to its configuration with state.path or state.url"
        )
        raise CannotReport(text, USAGE)
    try:
        stored = read_accounts(location, now=now, shown_for=config.changes.shown_for)
    except StoreError as error:
        raise CannotReport(f"cannot read the accounts: {error}", FAILURE) from error
    known = {each.snapshot.account.id for each in stored}
    known |= {each.configured_as for each in stored}
    configured = config.model_accounts() if config.accounts else []
    missing = [a for a in configured if (a.id or a.label) not in known]
    return [
        *((each.snapshot, each.memory) for each in stored),
        *((AccountSnapshot(account), AccountMemory()) for account in missing),
    ]


def _account_of(read: Read) -> Account:
    snapshot, _ = read
    return snapshot.account


@dataclass(frozen=True, slots=True)
class Page:
    """What is written to standard output and standard error."""

    output: str
    error: str = ""


def render(
    query: ReportFlags,
    accounts: Sequence[Read],
    options: ShowOptions,
    *,
    at: datetime,
    width: int | None = None,
    failure: str = "",
) -> Page:
    """
    Write the keys that *query* asks for.

    Args:
        at: Now.
        width: The width of the terminal. None: the output is not a terminal.
        failure: Why further accounts are unknown. Empty: there are none.
    """
    selection = Selection(
        frozenset(map(options.redact, query.users)),
        query.idle_for,
        query.never_used,
        query.unrotated_for,
    )
    rows = [row for account in accounts for row in key_rows(*account, options, at)]
    shown = sort_keys(filter(selection.has, rows), query.sort)
    coverage = [coverage_of(snapshot, options.redact) for snapshot, _ in accounts]
    total = summary(len(shown), len(rows), coverage, stored=query.from_store)
    unknown = options.redact(failure)
    missing = [_escape(line) for line in ([unknown] if failure else []) + not_seen(coverage, at)]
    records = (key_record(row, options.tags) for row in shown)
    if query.output is Output.JSON:
        document = {
            "at": at,
            "source": "store" if query.from_store else "aws",
            "discovery_error": unknown or None,
            "keys": [*records],
            "accounts": [each.record() for each in coverage],
        }
        return Page(as_json(document), _closing(total, missing))
    if query.output is Output.CSV:
        return Page(
            as_csv(key_names(options.tags), map(_printable, records)), _closing(total, missing)
        )
    headings = key_headings(map(_escape, options.tags))
    escape = cache(_escape)
    texts = [key_texts(row, escape) for row in shown]
    if query.output is Output.MARKDOWN:
        lines = [markdown_text(total), *(f"- {markdown_text(line)}" for line in missing)]
        heading = ["", "Not seen:", ""] if missing else []
        closing = "\n".join((*lines[:1], *heading, *lines[1:]))
        return Page(f"{as_markdown(headings, texts)}\n{closing}\n")
    if not texts:
        return Page(_closing(total, missing))
    table = _table(headings, texts, len(options.tags), width)
    return Page(f"{table}\n{_closing(total, missing)}")


def _table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], tags: int, width: int | None
) -> str:
    if width is None or len(rows) > MAX_WRAPPED:
        return as_table(headings, rows)
    headings, rows, omitted = fitting(headings, rows, width, tags)
    table = as_table(headings, rows, width=width, unwrapped=UNWRAPPED)
    if not omitted:
        return table
    return f"{table}\nThis terminal is too narrow for: {', '.join(omitted)}.\n"


def _closing(total: str, missing: Sequence[str]) -> str:
    lines = [total, *(["", "Not seen:"] if missing else []), *(f"  {line}" for line in missing)]
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    """Escape the characters that a terminal could act on."""
    return text.translate(CONTROL)


def _printable(record: Record) -> dict[str, Value]:
    return {
        name: _escape(value) if isinstance(value, str) else value for name, value in record.items()
    }
