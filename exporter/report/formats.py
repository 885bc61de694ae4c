"""Formats of rows for people and their programs: a table for the terminal, CSV, JSON, Markdown."""

import csv
import io
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

Value = str | float | datetime | None
"""A datetime is aware. None: there is no value."""

Record = Mapping[str, Value]
"""The values of a row by the names of their columns."""

SPACES: Final = 2
"""Between the columns of a table."""

NARROW: Final = 8
"""The width to which a column is wrapped at most, in characters."""

MAX_WRAPPED: Final = 5000
"""Rows that are wrapped, which takes a millisecond each. Those of a longer table are lines."""

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What texts begin with that a spreadsheet would compute."""


class Output(StrEnum):
    """The formats. Public: values of ``--output``."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    MARKDOWN = "markdown"


def as_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int | None = None,
    unwrapped: Collection[str] = (),
) -> str:
    """
    Write *rows* as a table in which nothing is cut.

    Args:
        rows: Their texts have neither line breaks nor other control characters.
        width: The width of the terminal, to which texts are wrapped unless there are very many.
            None: each row is a line.
        unwrapped: The headings of columns that are not wrapped, even if the table is too wide then.
    """
    widths = widths_of(headings, rows)
    total = sum(widths) + SPACES * (len(widths) - 1)
    if width is None or total <= width or len(rows) > MAX_WRAPPED:
        return _lines(_aligned(texts, widths) for texts in (headings, *rows))
    least = [
        wide if heading in unwrapped else min(wide, NARROW)
        for heading, wide in zip(headings, widths, strict=True)
    ]
    table = Table(box=None, padding=(0, SPACES, 0, 0), pad_edge=False)
    for heading, wide in zip(headings, least, strict=True):
        table.add_column(heading, overflow="fold", min_width=wide, no_wrap=heading in unwrapped)
    for texts in rows:
        table.add_row(*map(Text, texts))
    page = io.StringIO()
    Console(
        file=page,
        width=max(width, sum(least) + SPACES * len(least)),
        color_system=None,
        force_terminal=False,
        highlight=False,
        markup=False,
        emoji=False,
    ).print(table)
    return _lines(page.getvalue().splitlines())


def widths_of(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the width of each column, in cells of a terminal."""
    return [max(map(cell_len, column)) for column in zip(headings, *rows, strict=True)]


def _aligned(texts: Sequence[str], widths: Sequence[int]) -> str:
    padded = (
        text + " " * (wide - cell_len(text)) for text, wide in zip(texts, widths, strict=True)
    )
    return (" " * SPACES).join(padded)


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line.rstrip()}\n" for line in lines)


def as_csv(names: Sequence[str], records: Iterable[Record]) -> str:
    """
    Write the columns *names* of *records* as CSV, with a heading.

    A text that a spreadsheet would compute is preceded by ``'``. Times are as in JSON.
    """
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_csv_cell(record[name]) for name in names] for record in records)
    return page.getvalue()


def _csv_cell(value: Value) -> str | float | None:
    if isinstance(value, datetime):
        return iso_time(value)
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def as_json(value: Sequence[Record] | Mapping[str, object]) -> str:
    """
    Write records, or an object with lists of records, in ASCII.

    Times are as in ``2026-12-31T23:59:59Z``.
    """
    return json.dumps(value, indent=2, default=iso_time) + "\n"


_MARKUP = re.compile(r"[\\`*{}\[\]<>|~&$]|(?<![^\W_])_|_(?![^\W_])")
"""What Markdown, or HTML within it, gives a meaning to. It gives none to _ within a word."""


def as_markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """
    Write *rows* as a table of GitHub Flavored Markdown.

    Args:
        rows: Their texts have neither line breaks nor other control characters.
    """
    rule = ["---"] * len(headings)
    lines = [list(map(markdown_text, headings)), rule]
    lines += [[markdown_text(text) for text in texts] for texts in rows]
    return "".join(f"| {' | '.join(texts)} |\n" for texts in lines)


def markdown_text(text: str) -> str:
    """Escape what is markup in Markdown."""
    return _MARKUP.sub(r"\\\g<0>", text)


def iso_time(at: datetime) -> str:
    """Write *at* in UTC, to the second: ``2026-12-31T23:59:59Z``."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def span(seconds: float) -> str:
    """Write a duration in the largest unit of which it has at least two, rounded down."""
    units = (("days", 86400), ("hours", 3600), ("minutes", 60), ("seconds", 1))
    unit, size = next((unit for unit in units if seconds >= 2 * unit[1]), units[-1])
    return f"{max(seconds, 0) // size:.0f} {unit}"
