"""Numbers: sums of the counts by account."""

from collections.abc import Callable

from grafana.queries.families import (
    COUNT_AGE,
    COUNT_IDLE,
    COUNT_NEVER_USED,
    COUNT_UNKNOWN,
    KEYS,
    UP,
)
from grafana.queries.selectors import ACCOUNT_LABELS, NO_EXPORTER, labeled, per_account, select

Count = Callable[..., str]
"""From a family of counts and label matchers to the expression of their sum."""

COVERAGE = "{{coverage}}"
"""Legend for `with_coverage`."""


def at_least(days: int | str) -> str:
    """Match the counts of keys that were used, or created, at least *days* days before."""
    return f'days="{days}"'


def counted_by(labels: str, family: str, *matchers: str) -> str:
    """
    Sum the counts *family* by *labels*.

    Counts can have more labels (`counts.by_tags`): replicas differ in their instance.
    """
    with_account = f"{ACCOUNT_LABELS}, {labels}" if labels not in ACCOUNT_LABELS else ACCOUNT_LABELS
    by_replica = f"sum by ({with_account}, instance) ({select(family, *matchers)})"
    by_account = f"max by ({with_account}) ({by_replica})"
    return by_account if with_account == labels else f"sum by ({labels}) ({by_account})"


def counted_by_account(family: str, *matchers: str) -> str:
    return counted_by(ACCOUNT_LABELS, family, *matchers)


def total(family: str, *matchers: str) -> str:
    """The sum of the counts *family*: nothing if they are unknown for all accounts."""
    return f"sum({counted_by_account(family, *matchers)})"


def covered(where: str) -> str:
    """Accounts whose keys are all known, and the last use of at least one of the active ones."""
    counted = per_account(COUNT_IDLE, f"{where},{at_least('$unused_days')}")
    return f"({counted} and on ({ACCOUNT_LABELS}) {select(KEYS, where)})"


def with_coverage(number: str, where: str, *, known: str = "") -> str:
    """
    Add what *number* covers as the label ``coverage``; `NO_EXPORTER` without an exporter.

    Args:
        known: The accounts that *number* covers. Default: it depends on the last use of the keys,
            so it covers the accounts in `covered`, except the keys of unknown last use.
    """

    def counting(label: str, value: str) -> str:
        return f'count_values("{label}", {value})'

    seen = counting("seen", f"count({known or covered(where)}) or vector(0)")
    every = counting("all", f"count({per_account(UP, where)})")
    of_use = f"sum({counted_by_account(COUNT_UNKNOWN, where)}) or vector(0)"
    unknown = counting("unknown", "vector(0)" if known else of_use)
    labels = f"{seen} * on () group_left (all) {every} * on () group_left (unknown) {unknown}"
    numbers = f"({number}) * on () group_left (seen, all, unknown) ({labels})"
    joined = f'label_join({numbers}, "coverage", "/", "seen", "all", "unknown")'
    complete = _replaced(joined, "in $1 of $2 accounts", "(.+)/(.+)/0")
    text = _replaced(complete, "in $1 of $2 accounts, $3 keys unknown", "(.+)/(.+)/(.+)")
    return f"{text} or {labeled(NO_EXPORTER, 'coverage', 'nothing is known')}"


def _replaced(expr: str, text: str, pattern: str) -> str:
    return f'label_replace({expr}, "coverage", "{text}", "coverage", "{pattern}")'


def without_finding(count: Count) -> str:
    """
    At least so many of the active, not exempt keys have no finding.

    A key that is idle for longer than the limit for rotation is not rotated either, so what the
    other two limits find beyond that one is added to it. Keys of unknown last use are left out.
    Exact if there are none, and if keys need not be used more often than rotated.
    """
    old = count(COUNT_AGE, at_least("$rotate_days"))
    idle, never = (
        f"clamp_min({count(family, at_least(days))} - {count(family, at_least('$rotate_days'))}, 0)"
        for family, days in (
            (COUNT_IDLE, "$unused_days"),
            (COUNT_NEVER_USED, "$never_used_days"),
        )
    )
    every = count(COUNT_AGE, at_least(0))
    return f"clamp_min({every} - {old} - {idle} - {never} - {count(COUNT_UNKNOWN)}, 0)"


def in_use(count: Count) -> str:
    """At least so many of the active, not exempt keys are neither unused nor never used."""
    every = count(COUNT_AGE, at_least(0))
    idle = count(COUNT_IDLE, at_least("$unused_days"))
    never = count(COUNT_NEVER_USED, at_least("$never_used_days"))
    return f"clamp_min({every} - {idle} - {never} - {count(COUNT_UNKNOWN)}, 0)"


def rotated(count: Count) -> str:
    """So many of the active, not exempt keys are younger than $rotate_days."""
    return f"({count(COUNT_AGE, at_least(0))} - {count(COUNT_AGE, at_least('$rotate_days'))})"


def share(part: str, count: Count) -> str:
    """The part of the active, not exempt keys, from 0 to 1; nothing if there are no such keys."""
    return f"{part} / ({count(COUNT_AGE, at_least(0))} > 0)"
