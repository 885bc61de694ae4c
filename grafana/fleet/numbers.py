"""Panels with one number each."""

from grafana import key_lists as lists
from grafana import queries as q
from grafana.fields import ALARM_IF_ANY, WARN_IF_ANY, Json, Steps, override
from grafana.fleet.selection import HERE, here
from grafana.links import runbooks, to_list
from grafana.panels import instant, stat


def finding_count(
    panel_id: int,
    title: str,
    description: str,
    number: str,
    list_id: int,
    *alerts: str,
    known: str = "",
    steps: Steps = WARN_IF_ANY,
) -> Json:
    return stat(
        panel_id,
        title,
        f"{description} The text says which accounts that covers.",
        [instant("count", q.with_coverage(number, HERE, known=known), q.COVERAGE)],
        text="value_and_name",
        size=36,
        steps=steps,
        data_links=[to_list("List them", list_id), *runbooks(*alerts)],
    )


def deletable_count() -> Json:
    found = f"({q.superseded(HERE)} or {q.inactive(HERE)})"
    return finding_count(
        2,
        "Deletable",
        lists.DELETABLE_NOTE,
        q.count_or_zero(found, q.covered(HERE)),
        lists.DELETABLE,
        "AwsIamAccessKeySafeToDelete",
        "AwsIamAccessKeyInactiveNotDeleted",
    )


def unused_count() -> Json:
    return finding_count(
        3,
        "Unused",
        "Active keys that were used, but not in the last $unused_days days. Without exempt keys.",
        here(q.COUNT_IDLE, q.at_least("$unused_days")),
        lists.IDLE,
        "AwsIamAccessKeyUnused",
    )


def never_used_count() -> Json:
    return finding_count(
        4,
        "Never used",
        "Active keys that were created at least $never_used_days days ago and, according to AWS,"
        " never used. Without exempt keys.",
        here(q.COUNT_NEVER_USED, q.at_least("$never_used_days")),
        lists.IDLE,
        "AwsIamAccessKeyNeverUsed",
    )


def not_rotated_count() -> Json:
    return finding_count(
        5,
        "Not rotated",
        "Active keys that were created at least $rotate_days days ago. Without exempt keys.",
        here(q.COUNT_AGE, q.at_least("$rotate_days")),
        lists.NOT_ROTATED,
        "AwsIamAccessKeyNotRotated",
        known=q.per_account(q.KEYS, HERE),
    )


def two_active_count() -> Json:
    return finding_count(
        15,
        "Two active",
        "Users with two active keys: one is enough, except during a rotation. Of all teams.",
        f"sum({q.per_account(q.TWO_ACTIVE_KEYS, HERE)})",
        lists.TWO_ACTIVE,
        "AwsIamUserHasTwoActiveKeys",
        known=q.per_account(q.TWO_ACTIVE_KEYS, HERE),
    )


def root_keys() -> Json:
    keys = q.per_account(q.ROOT_KEYS, HERE)
    return finding_count(
        6,
        "Root keys",
        "Active access keys of root users. There should be none.",
        f"sum({keys})",
        lists.ROOT,
        "AwsIamRootAccessKeyPresent",
        known=keys,
        steps=ALARM_IF_ANY,
    )


def numbers(
    panel_id: int, title: str, description: str, exprs: dict[str, tuple[str, int]], width: int
) -> Json:
    """Numbers by name, each from an expression, with the ID of the list that it leads to."""
    return stat(
        panel_id,
        title,
        description,
        [
            instant(f"number{index}", q.or_unknown(expr), name)
            for index, (name, (expr, _)) in enumerate(exprs.items())
        ],
        text="value_and_name",
        side_by_side=True,
        width=width,
        size=22,
        overrides=[
            override(name, links=[to_list("List them", list_id)])
            for name, (_, list_id) in exprs.items()
        ],
    )


def share() -> Json:
    return stat(
        16,
        "No finding",
        "The share of active, not exempt keys that are neither unused, nor never used, nor not"
        " rotated. At least: keys of unknown last use count as findings.",
        [instant("share", q.or_unknown(q.share(q.without_finding(here), here)), "of active keys")],
        text="value_and_name",
        unit="percentunit",
        decimals=0,
        size=22,
        data_links=[to_list("List the accounts", lists.ACCOUNTS)],
    )


def accounts_and_users() -> Json:
    return numbers(
        7,
        "Accounts and users",
        "Accounts that the exporter reads, with or without data, and the IAM users of those with"
        " data, of all teams, with or without keys.",
        {
            "accounts": (f"count({q.per_account(q.UP, HERE)})", lists.ACCOUNTS),
            "users": (f"sum({q.per_account(q.USERS, HERE)})", lists.ACCOUNTS),
        },
        6,
    )


def keys() -> Json:
    def with_status(status: str) -> str:
        by_status = f"max by ({q.ACCOUNT_LABELS}, status) ({q.select(q.KEYS, HERE, status)})"
        return f"sum({by_status})"

    week = here(q.COUNT_AGE, q.at_least(q.NEW_DAYS))
    return numbers(
        9,
        "Keys",
        "Of the accounts with data. Active and inactive: of all teams. Exempt: active keys that are"
        " exempt until a date; no finding includes them. Use unknown: active keys whose last use"
        " could not be read; they may be unused, but are not counted as unused. New: active keys"
        f" that were created less than {q.NEW_DAYS} days ago. The last two without exempt keys.",
        {
            "active": (with_status(q.ACTIVE), lists.ACCOUNTS),
            "inactive": (with_status(q.INACTIVE), lists.INACTIVE),
            "exempt": (here(q.COUNT_EXEMPT), lists.EXEMPT),
            "use unknown": (here(q.COUNT_UNKNOWN), lists.UNKNOWN),
            "new": (f"{here(q.COUNT_AGE, q.at_least(0))} - {week}", lists.NEW),
        },
        14,
    )
