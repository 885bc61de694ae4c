"""Rows that say what a list does not know."""

from grafana.queries.counts import counted_by_account
from grafana.queries.families import COUNT_UNKNOWN, KEYS, UP
from grafana.queries.selectors import (
    ACCOUNT_LABELS,
    NO_EXPORTER,
    NO_EXPORTER_TEXT,
    labeled,
    per_account,
    select,
)


def unknown_rows(where: str, *, known: str = KEYS, uses: bool = False, label: str = "user") -> str:
    """
    Rows that say what a list leaves out; none if it is complete.

    Args:
        known: The family that all accounts have which the list covers.
        uses: Whether the list also depends on the last use of the keys.
        label: The label with the text.
    """
    unread = f"{per_account(UP, where)} unless on ({ACCOUNT_LABELS}) {select(known, where)}"
    rows = [
        labeled(NO_EXPORTER, label, NO_EXPORTER_TEXT),
        _counted_row("unknown accounts", f"count({unread})", label),
    ]
    if uses:
        unknown = f"sum({counted_by_account(COUNT_UNKNOWN, where)})"
        rows.append(_counted_row("unknown last use", unknown, label))
    return " or ".join(rows)


def _counted_row(what: str, number: str, label: str) -> str:
    counted = f'count_values("number", ({number}) > 0)'
    named = f'label_replace({counted}, "{label}", "{what}: $1", "number", "(.*)")'
    return f"max by ({label}) ({named})"
