"""
Why a fact about an account or a key is missing, as a value that a panel can show.

A panel has one text for "no result". It is kept for facts that are unknown although the account was
read. Every other reason is a negative value, which `MAPPINGS` turns into a text of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from grafana import queries as q
from grafana.fields import Json, value_mappings


@dataclass(frozen=True, slots=True)
class State:
    """
    Why there is no fact.

    Attributes:
        value: What a query returns instead of the fact, which is never negative.
    """

    value: int
    text: str
    color: str = "text"


NO_EXPORTER = State(q.NO_EXPORTER_VALUE, "no exporter", "red")
NO_ACCOUNT = State(-2, "no such account", "orange")
NOT_READ = State(-3, "not read yet")
INCOMPLETE = State(-4, "keys unknown", "orange")
NO_KEY = State(-5, "no such key", "orange")
NEVER = State(-6, "never")
NEVER_USED = State(-7, "never used", "purple")
ACTIVE = State(-8, "active")
NOT_EXEMPT = State(-10, "not exempt")
NOT_EXPORTED = State(-11, "not exported")
NOT_CONFIGURED = State(-12, "not configured")
NO_SUCCESS = State(-13, "no success yet", "orange")
NOT_COUNTED = State(-14, "not counted yet")
NO_KEYS = State(-15, "no keys yet")
UNKNOWN = State(q.UNKNOWN_VALUE, "unknown", "orange")
"""Where several values share a panel, and none of them may be missing."""

STATES = (
    *(NO_EXPORTER, NO_ACCOUNT, NOT_READ, INCOMPLETE, NO_KEY),
    *(NEVER, NEVER_USED, ACTIVE, NOT_EXEMPT, NOT_EXPORTED, NOT_CONFIGURED, UNKNOWN),
    *(NO_SUCCESS, NOT_COUNTED, NO_KEYS),
)
TEXTS = {str(state.value): (state.text, state.color) for state in STATES}
ROWS = value_mappings({state.text: (state.text, state.color) for state in STATES})
"""For the rows of a table that say why others are missing."""
MAPPINGS: list[Json] = value_mappings(TEXTS)


def mappings(texts: Mapping[str, tuple[str, str]]) -> list[Json]:
    """Map the states, and the values in *texts*, to (text, color)."""
    return value_mappings({**texts, **TEXTS})


Reasons = Mapping[State, str]
"""Expressions that have the value of a state if it is the reason; the first that has one counts."""


def either(*exprs: str) -> str:
    """The result of the first of *exprs* that has one."""
    return " or on () ".join(f"({expr})" for expr in exprs)


def state(reason: State, condition: str) -> str:
    """The value of *reason* if *condition* has a result. Both have no labels."""
    return f"0 * ({condition}) {reason.value}"


def account_states(where: str) -> Reasons:
    """Why nothing is known about the account that *where* selects: it has not been read."""
    absent = f"max(absent({q.select(q.UP, where)}))"
    up, refreshed = (f"max({q.select(family, where)})" for family in (q.UP, q.REFRESH_DURATION))
    return {
        NO_EXPORTER: q.NO_EXPORTER,
        NO_ACCOUNT: state(NO_ACCOUNT, absent),
        NOT_READ: state(NOT_READ, f"{up} unless {refreshed}"),
    }


def list_states(where: str) -> Reasons:
    """Why keys of the account that *where* selects are missing in a list."""
    up, keys = (f"max({q.select(family, where)})" for family in (q.UP, q.KEYS))
    return {**account_states(where), INCOMPLETE: state(INCOMPLETE, f"{up} unless {keys}")}


def key_states() -> Reasons:
    """Why nothing is known about the chosen key."""
    absent = f"max(absent({q.select(q.CREATED, q.ONE_KEY)}))"
    keys = f"max({q.select(q.KEYS, q.ONE_ACCOUNT)})"
    return {
        **account_states(q.ONE_ACCOUNT),
        NO_KEY: state(NO_KEY, f"{absent} and {keys}"),
    }


def named(reasons: Reasons, label: str) -> list[str]:
    """The *reasons* with their texts in *label*."""
    return [q.labeled(expr, label, reason.text) for reason, expr in reasons.items()]


def or_account_state(expr: str, where: str) -> str:
    """*expr*, or why the account that *where* selects has not been read."""
    return either(expr, *account_states(where).values())


def or_key_state(expr: str, *exprs: str) -> str:
    """*expr*, or why nothing is known about the chosen key, or what *exprs* say."""
    return either(expr, *key_states().values(), *exprs)
