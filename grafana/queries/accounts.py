"""Accounts, and how their refreshes went."""

from grafana.queries.families import FAILURES, KEYS, LAST_SUCCESS, UP
from grafana.queries.selectors import ACCOUNT_LABELS, per_account, select


def no_data(where: str) -> str:
    """Accounts without data, or without all of it: never refreshed, or too long ago."""
    return f"{per_account(UP, where)} unless on ({ACCOUNT_LABELS}) {select(KEYS, where)}"


def stale(where: str) -> str:
    """Accounts whose last refresh failed, and which still show the data of an earlier one."""
    return f"({per_account(UP, where)} == 0) and on ({ACCOUNT_LABELS}) {select(KEYS, where)}"


def data_status(where: str) -> str:
    """0 for accounts without data, 1 if their data is stale, 2 if it is current."""
    up = per_account(UP, where)
    return f"({up} + on ({ACCOUNT_LABELS}) ({per_account(KEYS, where)} >= bool 0)) or ({up})"


def since_success(where: str) -> str:
    """Seconds since the last successful refresh began, of accounts that had one."""
    return f"time() - ({per_account(LAST_SUCCESS, where)} > 0)"


def main_failure(where: str, window: str) -> str:
    """The most frequent reason for failed refreshes of an account, in the label ``reason``."""
    failures = f"increase({select(FAILURES, where)}[{window}])"
    by_reason = f"sum by ({ACCOUNT_LABELS}, reason) ({failures})"
    return f"topk by ({ACCOUNT_LABELS}) (1, {by_reason} > 0)"
