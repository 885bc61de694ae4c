"""Rows for people and their programs: events and access keys, and their formats."""

from exporter.report.columns import (
    UNWRAPPED,
    fitting,
    key_headings,
    key_names,
    key_record,
    key_texts,
)
from exporter.report.coverage import Coverage, coverage_of, not_seen, summary
from exporter.report.findings import Finding, FindingKind
from exporter.report.formats import (
    MAX_WRAPPED,
    Output,
    Record,
    Value,
    as_csv,
    as_json,
    as_markdown,
    as_table,
    iso_time,
    markdown_text,
    span,
)
from exporter.report.keys import (
    ROOT,
    KeyRow,
    Order,
    Selection,
    ShowOptions,
    key_rows,
    sort_key,
    sort_keys,
)

__all__ = [
    "MAX_WRAPPED",
    "ROOT",
    "UNWRAPPED",
    "Coverage",
    "Finding",
    "FindingKind",
    "KeyRow",
    "Order",
    "Output",
    "Record",
    "Selection",
    "ShowOptions",
    "Value",
    "as_csv",
    "as_json",
    "as_markdown",
    "as_table",
    "coverage_of",
    "fitting",
    "iso_time",
    "key_headings",
    "key_names",
    "key_record",
    "key_rows",
    "key_texts",
    "markdown_text",
    "not_seen",
    "sort_key",
    "sort_keys",
    "span",
    "summary",
]
