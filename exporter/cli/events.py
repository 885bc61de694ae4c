"""The subcommand events: prints the log of events from the store."""

import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from exporter.cli.flags import EventsFlags
from exporter.cli.streams import CONTROL
from exporter.key_ids import KEY_ID, KeyIdFormatter
from exporter.model import Event, EventKind
from exporter.report import Output, Record, Value, as_csv, as_json, as_markdown, as_table, span

HEADINGS: Final = ("TIME (UTC)", "ACCOUNT", "USER", "ACCESS KEY ID", "EVENT", "DETAILS")
UNWRAPPED: Final = ("TIME (UTC)", "ACCESS KEY ID", "EVENT")
"""The columns that are in one line even on a narrow terminal."""

NAMES: Final = (
    *("at", "noticed_at", "account_id", "account", "user", "access_key_id", "event"),
    *("seconds", "service", "region", "credential"),
)
"""The columns of CSV, and the names of JSON. Public."""

ROOT: Final = "<root>"
"""The user of an event of the root user in a table. No user can have this name."""


class EventRow(Protocol):
    """An event and the account that it happened in."""

    @property
    def account_id(self) -> str: ...
    @property
    def account(self) -> str: ...
    @property
    def event(self) -> Event: ...


class ReadEvents(Protocol):
    """Reads the events of a store, oldest first."""

    def __call__(
        self,
        *,
        account: str | None,
        user: str | None,
        key: str | None,
        since: datetime | None,
    ) -> Sequence[EventRow]: ...


def render(
    query: EventsFlags,
    read_events: ReadEvents,
    *,
    now: datetime,
    key_ids: KeyIdFormatter,
    redact: Callable[[str], str],
    width: int | None = None,
) -> tuple[str, int]:
    """
    Read the events that *query* asks for.

    Args:
        redact: Formats the key ids in a text, and removes what must not be shown.
        width: The width of the terminal. None: the output is not a terminal.

    Returns:
        What is to be printed, and the number of events.
    """
    since = now - query.since if isinstance(query.since, timedelta) else query.since
    key = query.key if query.key and KEY_ID.fullmatch(query.key) else None
    rows = read_events(account=query.account, user=query.user, key=key, since=since)
    if query.key and key is None:  # as it is shown
        shown = query.key.partition("~")[0]
        rows = [row for row in rows if key_ids.label(row.event.access_key_id) == shown]
    records = [_record(row, key_ids, redact) for row in rows]
    if query.output is Output.JSON:
        return as_json(records), len(records)
    if query.output is Output.CSV:
        return as_csv(NAMES, [_printable(record) for record in records]), len(records)
    texts = [_texts(row, _printable(record)) for row, record in zip(rows, records, strict=True)]
    if query.output is Output.MARKDOWN:
        return as_markdown(HEADINGS, texts), len(records)
    return as_table(HEADINGS, texts, width=width, unwrapped=UNWRAPPED), len(records)


def terminal_width() -> int | None:
    """Return the width of the terminal that standard output is. None: it is none."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError):
        return None


def _record(row: EventRow, key_ids: KeyIdFormatter, redact: Callable[[str], str]) -> Record:
    event = row.event
    return {
        "at": event.at,
        "noticed_at": event.noticed_at,
        "account_id": row.account_id,
        "account": redact(row.account),
        "user": redact(event.user) or None,
        "access_key_id": key_ids.label(event.access_key_id) if event.access_key_id else None,
        "event": str(event.kind),
        "seconds": None if event.seconds is None else int(event.seconds),
        "service": redact(event.service) or None,
        "region": redact(event.region) or None,
        "credential": event.credential or None,
    }


def _printable(record: Record) -> dict[str, Value]:
    """Escape the characters that a terminal could act on."""
    return {
        name: value.translate(CONTROL) if isinstance(value, str) else value
        for name, value in record.items()
    }


def _texts(row: EventRow, shown: Record) -> list[str]:
    """Return the cells of a table."""
    return [
        f"{row.event.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
        str(shown["account"]),
        str(shown["user"] or ROOT),
        str(shown["access_key_id"] or ""),
        str(shown["event"]),
        details(row.event, shown),
    ]


def details(event: Event, shown: Record) -> str:
    """Say what its kind does not say of *event*, such as ``after 300 days; s3 in us-east-1``."""
    parts = []
    if event.seconds is not None:
        duration = span(event.seconds)
        created = event.kind is EventKind.FIRST_USED
        parts.append(f"{duration} after its creation" if created else f"after {duration}")
    if event.service:
        somewhere = event.region not in ("", "N/A")
        parts.append(f"{shown['service']}" + (f" in {shown['region']}" if somewhere else ""))
    if event.credential:
        parts.append(str(shown["credential"]).replace("_", " "))
    return "; ".join(parts)
