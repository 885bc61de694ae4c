"""Selections of keys: restricted first, then joined."""

from grafana.queries.families import (
    CREATED,
    EXEMPT_UNTIL,
    INACTIVE_SINCE,
    INFO,
    LAST_USED,
    NEVER_USED,
    SUPERSEDED,
)
from grafana.queries.selectors import (
    DAY,
    INACTIVE,
    KEY_LABELS,
    OTHER_TEAMS,
    days_ago,
    days_since,
    per_key,
    select,
)

INACTIVE_IDLE_DAYS = 90
INACTIVE_DAYS = 14
"""Days after which an inactive key can be deleted, as for AwsIamAccessKeyInactiveNotDeleted."""
SUPERSEDED_DAYS = 30
"""As for AwsIamAccessKeySafeToDelete."""
NEW_DAYS = 7


def idle_days(where: str = "") -> str:
    """Days since the last use. No series if the key was never used, or if that is unknown."""
    return days_since(per_key(LAST_USED, where))


def age_days(where: str = "") -> str:
    return days_since(per_key(CREATED, where))


def never_used_flag(where: str = "") -> str:
    """1 if AWS reports that the key was never used, 0 if it was used, no series if unknown."""
    # A use that only one replica has seen counts, hence min.
    return f"min by ({KEY_LABELS}) ({select(NEVER_USED, where)})"


def usage(where: str) -> str:
    """1 if the key was never used, 0 if it was used, 2 if that is unknown."""
    return f"{never_used_flag(where)} or (0 * {per_key(CREATED, where)} + 2)"


def idle_since(where: str = "") -> str:
    """Time of the last use; of the creation if the key was never used."""
    never_used = f"{per_key(CREATED, where)} and on ({KEY_LABELS}) ({never_used_flag(where)} == 1)"
    return f"({per_key(LAST_USED, where)} or {never_used})"


def last_used_before(days: int | str, where: str = "") -> str:
    """Keys that were used, but not in the last *days* days. Value: the last use."""
    return f"({select(LAST_USED, where)} <= {days_ago(days)})"


def created_before(days: int | str, where: str = "") -> str:
    return f"({select(CREATED, where)} <= {days_ago(days)})"


def never_used_before(days: int | str, where: str = "") -> str:
    """Keys that were created at least *days* days ago and never used. Value: the creation."""
    never_used = f"({select(NEVER_USED, where)} == 1)"
    return f"({created_before(days, where)} and on ({KEY_LABELS}) {never_used})"


def only_active(keys: str, where: str = "", *, team: bool = False) -> str:
    """
    Keep active keys; with *team*, only those of the chosen teams.

    By excluding the others, which are few.
    """
    others = f"{keys} unless on ({KEY_LABELS}) {select(INFO, where, INACTIVE)}"
    return only_team(others, where) if team else others


def only_team(keys: str, where: str = "") -> str:
    """Keep keys of the chosen teams. Excludes nothing, at no cost, if all teams are chosen."""
    return f"{keys} unless on ({KEY_LABELS}) {select(INFO, where, OTHER_TEAMS)}"


def not_exempt(where: str = "") -> str:
    return f"unless on ({KEY_LABELS}) ({select(EXEMPT_UNTIL, where)} > time())"


def unused(where: str) -> str:
    """Active keys that were used, but not for $unused_days. Value: the last use."""
    keys = only_active(last_used_before("$unused_days", where), where, team=True)
    return f"max by ({KEY_LABELS}) ({keys} {not_exempt(where)})"


def never_used(where: str) -> str:
    """Active keys that were never used in $never_used_days. Value: the creation."""
    keys = only_active(never_used_before("$never_used_days", where), where, team=True)
    return f"max by ({KEY_LABELS}) ({keys} {not_exempt(where)})"


def never_used_keys(where: str) -> str:
    """The same keys, for fewer steps. Value: 1."""
    new = f"({select(CREATED, where)} > {days_ago('$never_used_days')})"
    keys = f"({select(NEVER_USED, where)} == 1) unless on ({KEY_LABELS}) {new}"
    active = only_active(keys, where, team=True)
    return f"max by ({KEY_LABELS}) ({active} {not_exempt(where)})"


def not_rotated(where: str) -> str:
    """Active keys that are older than $rotate_days. Value: the creation."""
    keys = only_active(created_before("$rotate_days", where), where, team=True)
    return f"max by ({KEY_LABELS}) ({keys} {not_exempt(where)})"


def superseded(where: str) -> str:
    """Active keys that can be deleted. Value: the seconds by which the other key's use is later."""
    keys = only_team(f"({select(SUPERSEDED, where)} > {SUPERSEDED_DAYS} * {DAY})", where)
    return f"max by ({KEY_LABELS}) ({keys} {not_exempt(where)})"


def inactive(where: str) -> str:
    """Inactive keys that can be deleted. Value: inactive since."""
    inactive = f"({select(INACTIVE_SINCE, where)} <= {days_ago(INACTIVE_DAYS)})"
    keys = only_team(inactive, where)
    used = f"{keys} and on ({KEY_LABELS}) {last_used_before(INACTIVE_IDLE_DAYS, where)}"
    # By excluding new keys, which are few.
    new = f"({select(CREATED, where)} > {days_ago(INACTIVE_IDLE_DAYS)})"
    never_used = f"{keys} and on ({KEY_LABELS}) ({select(NEVER_USED, where)} == 1)"
    old = f"{never_used} unless on ({KEY_LABELS}) {new}"
    return f"max by ({KEY_LABELS}) ((({used}) or ({old})) {not_exempt(where)})"


def tags_of(keys: str, where: str) -> str:
    """The team and the owner of each key, as far as the exporter has these labels."""
    info = f"{select(INFO, where)} and on ({KEY_LABELS}) ({keys})"
    return f"group by ({KEY_LABELS}, tag_team, tag_owner) ({info})"


def by_owner(keys: str, where: str) -> str:
    """How many of the keys each owner has."""
    return f"count by (tag_team, tag_owner) ({tags_of(keys, where)})"
