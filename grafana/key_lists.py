"""The lists of keys and users on the fleet dashboard, which its numbers link to."""

from collections.abc import Mapping, Sequence

from grafana import columns as c
from grafana import queries as q
from grafana.fields import ALARM_IF_ANY, Column, Json, column, value_mappings
from grafana.links import runbooks
from grafana.panels import table

HERE = q.FLEET

ACCOUNTS = 30
DELETABLE = 40
IDLE = 41
NOT_ROTATED = 42
UNKNOWN = 43
TWO_ACTIVE = 44
NEW = 45
EXEMPT = 46
INACTIVE = 47
ROOT = 48
"""The IDs of the panels."""

LENGTH = 1000
"""Rows of a list. A browser is slow with more."""

TAGS = ("tags", "more_tags")

LENGTH_NOTE = f" The first {LENGTH}: choose an account or a team to see all of it."
DELETABLE_NOTE = (
    f"Superseded: active keys whose user's other key was used more than {q.SUPERSEDED_DAYS} days"
    f" later. Inactive: keys that have been inactive for {q.INACTIVE_DAYS} days, and idle for"
    f" {q.INACTIVE_IDLE_DAYS}. Without exempt keys."
)


def key_list(
    panel_id: int,
    title: str,
    description: str,
    *,
    keys: Sequence[str],
    queries: Mapping[str, str],
    columns: Sequence[Column],
    alerts: Sequence[str] = (),
    sort: str,
    descending: bool = True,
    uses: bool = False,
    width: int = 24,
) -> Json:
    """
    Keys with their account, user, team and owner.

    Args:
        keys: Expressions with a series for each key, whose tags are looked up apart.
        queries: The values of the keys. Their refIds are the fields of *columns*.
        uses: Which keys are listed depends on their last use.
    """
    return table(
        panel_id,
        title,
        description + LENGTH_NOTE,
        {**queries, **{ref: q.tags_of(each, HERE) for ref, each in zip(TAGS, keys, strict=False)}},
        [c.HIDDEN_ACCOUNT_ID, c.ACCOUNT_NAME, c.USER, c.ACCESS_KEY, *columns, c.TEAM, c.OWNER],
        sort=sort,
        descending=descending,
        width=width,
        drop=("job", *(f"Value #{ref}" for ref in TAGS)),
        links=runbooks(*alerts),
        paginate=True,
        unknown=q.unknown_rows(HERE, uses=uses),
    )


def first(keys: str, *, largest: bool = False) -> str:
    return f"{'topk' if largest else 'bottomk'}({LENGTH}, {keys})"


def idle_keys() -> Json:
    used, never = first(q.unused(HERE)), first(q.never_used(HERE))
    keys = f"({q.labeled(used, 'usage', 'used')} or {q.labeled(never, 'usage', 'never used')})"
    usage = value_mappings({"never used": ("never used", "purple")})
    return key_list(
        IDLE,
        "Unused and never used keys",
        "Active keys that were not used in the last $unused_days days, and those that were never"
        " used in $never_used_days. Idle: since the last use, or since the creation. Without exempt"
        " keys.",
        keys=[used, never],
        queries={"idle": q.days_since(keys)},
        columns=(
            c.days("Value #idle", "Idle (days)"),
            column("usage", "Usage", colored=True, mappings=usage, width=100),
        ),
        alerts=(
            "AwsIamAccessKeyUnused",
            "AwsIamAccessKeyNeverUsed",
        ),
        sort="Idle (days)",
        uses=True,
    )


def not_rotated_keys() -> Json:
    keys = first(q.not_rotated(HERE))
    return key_list(
        NOT_ROTATED,
        "Keys that were not rotated",
        "Active keys that were created at least $rotate_days days ago. Without exempt keys.",
        keys=[keys],
        queries={"age": q.days_since(keys)},
        columns=(c.days("Value #age", "Age (days)"),),
        alerts=("AwsIamAccessKeyNotRotated",),
        sort="Age (days)",
    )


def deletable_keys() -> Json:
    superseded = first(q.superseded(HERE), largest=True)
    inactive = first(q.inactive(HERE))
    lengths = (
        q.labeled(superseded, "why", "superseded"),
        q.labeled(f"time() - {inactive}", "why", "inactive"),
    )
    why = value_mappings({"inactive": ("inactive", "blue"), "superseded": ("superseded", "orange")})
    return key_list(
        DELETABLE,
        "Deletable keys",
        DELETABLE_NOTE
        + " For: how long the key has been inactive, or how much later the other key was used."
        " Deactivate, wait and watch, then delete, as the runbook describes.",
        keys=[superseded, inactive],
        queries={"length": f"({' or '.join(lengths)}) / {q.DAY}"},
        columns=(
            column("why", "Reason", colored=True, mappings=why, width=105),
            column("Value #length", "For (days)", decimals=0, width=95, filterable=False),
        ),
        alerts=(
            "AwsIamAccessKeySafeToDelete",
            "AwsIamAccessKeyInactiveNotDeleted",
        ),
        sort="For (days)",
        uses=True,
    )


def new_keys() -> Json:
    created = f"({q.select(q.CREATED, HERE)} > {q.days_ago(q.NEW_DAYS)})"
    keys = first(f"max by ({q.KEY_LABELS}) ({q.only_team(created, HERE)})", largest=True)
    return key_list(
        NEW,
        "New keys",
        f"Keys that were created in the last {q.NEW_DAYS} days, with exempt ones.",
        keys=[keys],
        queries={"created": f"1000 * {keys}"},
        columns=(column("Value #created", "Created", unit="dateTimeAsIso", width=160),),
        alerts=("AwsIamAccessKeyCreated",),
        sort="Created",
    )


def unknown_keys() -> Json:
    labels = f"{q.KEY_LABELS}, tag_team, tag_owner"
    active = q.select(q.INFO, HERE, q.ACTIVE, q.TEAM)
    known = q.select(q.NEVER_USED, HERE)
    keys = f"group by ({labels}) ({active} unless on ({q.KEY_LABELS}) {known})"
    return table(
        UNKNOWN,
        "Keys of unknown last use",
        "Active keys whose last use could not be read. They may be unused. With exempt keys."
        + LENGTH_NOTE,
        {"keys": first(keys)},
        [c.HIDDEN_ACCOUNT_ID, c.ACCOUNT_NAME, c.USER, c.ACCESS_KEY, c.TEAM, c.OWNER],
        sort="Account",
        descending=False,
        drop=("job", "Value #keys"),
        paginate=True,
        unknown=q.unknown_rows(HERE),
    )


def exempt_keys() -> Json:
    until = f"({q.select(q.EXEMPT_UNTIL, HERE)} > time())"
    keys = first(f"max by ({q.KEY_LABELS}) ({q.only_team(until, HERE)})")
    return key_list(
        EXEMPT,
        "Exempt keys",
        "Keys that are no findings until a date, active or not; those whose exemption ends next"
        " first.",
        keys=[keys],
        queries={"until": f"1000 * {keys}"},
        columns=(column("Value #until", "Exempt until", unit="dateTimeAsIso", width=160),),
        sort="Exempt until",
        descending=False,
    )


def inactive_keys() -> Json:
    since = q.only_team(q.select(q.INACTIVE_SINCE, HERE), HERE)
    keys = first(f"max by ({q.KEY_LABELS}) ({since})")
    return key_list(
        INACTIVE,
        "Inactive keys",
        "Inactive and expired keys, and for how long the exporter has seen them so.",
        keys=[keys],
        queries={"inactive": q.days_since(keys)},
        columns=(
            column("Value #inactive", "Inactive (days)", decimals=0, width=125, filterable=False),
        ),
        alerts=("AwsIamAccessKeyInactiveNotDeleted",),
        sort="Inactive (days)",
    )


def two_active_keys() -> Json:
    labels = f"{q.USER_LABELS}, tag_team, tag_owner"
    by_replica = f"count by ({labels}, instance) ({q.select(q.INFO, HERE, q.ACTIVE, q.TEAM)})"
    return table(
        TWO_ACTIVE,
        "Users with two active keys",
        "One of the two is enough, except during a rotation." + LENGTH_NOTE,
        {"keys": f"topk({LENGTH}, max by ({labels}) ({by_replica} > 1))"},
        [c.HIDDEN_ACCOUNT_ID, c.ACCOUNT_NAME, c.USER, c.TEAM, c.OWNER],
        sort="Account",
        descending=False,
        width=14,
        drop=("job", "Value #keys"),
        links=runbooks("AwsIamUserHasTwoActiveKeys"),
        paginate=True,
        unknown=q.unknown_rows(HERE),
    )


def root_users() -> Json:
    used = f"max by ({q.ACCOUNT_LABELS}) ({q.select(q.ROOT_LAST_USED, HERE)})"
    has_keys = f"({q.per_account(q.ROOT_KEYS, HERE)} > 0)"
    return table(
        ROOT,
        "Root users with access keys",
        "Accounts whose root user has active access keys, and when root was used last, with a"
        " password or a key.",
        {
            "keys": has_keys,
            "used": f"1000 * {used} and on ({q.ACCOUNT_LABELS}) {has_keys}",
        },
        [
            c.HIDDEN_ACCOUNT_ID,
            c.ACCOUNT_NAME,
            column(
                "Value #keys", "Keys", colored=True, steps=ALARM_IF_ANY, width=70, filterable=False
            ),
            column("Value #used", "Last used", unit="dateTimeFromNow", width=130),
        ],
        sort="Account",
        descending=False,
        width=10,
        drop=("job",),
        links=runbooks("AwsIamRootAccessKeyPresent", "AwsIamRootUsed"),
        unknown=q.unknown_rows(HERE, known=q.ROOT_KEYS, label="account"),
    )
