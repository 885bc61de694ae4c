"""What was noticed in the last day."""

from grafana.queries.families import (
    CREATION_NOTICED,
    FIRST_USED_AGE,
    LAST_USED,
    NEW_REGION,
    NEW_SERVICE,
    ROOT_USE_NOTICED,
    USED_AFTER_IDLE,
)
from grafana.queries.selectors import ACCOUNT_LABELS, KEY_LABELS, labeled, per_key, select


def event_tags(where: str) -> str:
    """The team and the owner of each key with events, as far as the exporter has these labels."""
    families = (USED_AFTER_IDLE, FIRST_USED_AGE, NEW_SERVICE, NEW_REGION, CREATION_NOTICED)
    noticed = " or ".join(select(family, where) for family in families)
    return f"group by ({KEY_LABELS}, tag_team, tag_owner) ({noticed})"


def events(where: str) -> str:
    """
    The events of keys in the last day, named by the label ``what``.

    Value: when; of a key that awoke or was used for the first time, when it was used last.
    """
    uses = f"{per_key(USED_AFTER_IDLE, where)} or {per_key(FIRST_USED_AGE, where)}"
    last_used = f"max by ({KEY_LABELS}) ({select(LAST_USED, where)} and on ({KEY_LABELS}) ({uses}))"
    used = f"0 * {lengths(where)} + on ({KEY_LABELS}) group_left () {last_used}"
    parts = [f"({used})"]
    for label, family in (("service", NEW_SERVICE), ("region", NEW_REGION)):
        noticed = f"max by ({KEY_LABELS}, {label}) ({select(family, where)})"
        named = f'label_replace({noticed}, "what", "new {label}: $1", "{label}", "(.*)")'
        parts.append(f"max by ({KEY_LABELS}, what) ({named})")
    parts.append(labeled(per_key(CREATION_NOTICED, where), "what", "was created"))
    return " or ".join(parts)


def lengths(where: str) -> str:
    """The seconds that a key was idle, or how old it was, when it was used, with `what`."""
    awakened = labeled(per_key(USED_AFTER_IDLE, where), "what", "awakened")
    first = labeled(per_key(FIRST_USED_AGE, where), "what", "first use")
    return f"({awakened} or {first})"


def root_uses(where: str) -> str:
    """When a use of root was noticed in the last day, with `what`."""
    noticed = f"max by ({ACCOUNT_LABELS}, credential) ({select(ROOT_USE_NOTICED, where)})"
    named = f'label_replace({noticed}, "what", "account root: $1", "credential", "(.*)")'
    return labeled(f"max by ({ACCOUNT_LABELS}, what) ({named})", "user", "root user")
