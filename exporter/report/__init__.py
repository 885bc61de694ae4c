"""Rows for people and their programs, and their formats."""

from exporter.report.formats import (
    Output,
    Record,
    Value,
    as_csv,
    as_json,
    as_markdown,
    as_table,
    iso_time,
)

__all__ = [
    "Output",
    "Record",
    "Value",
    "as_csv",
    "as_json",
    "as_markdown",
    "as_table",
    "iso_time",
]
