"""Families about access keys and users: what is known of them now."""

from exporter.metrics.facts import KeyFacts
from exporter.metrics.families.family import KeyFamily, Samples, UserFamily, unix
from exporter.model import NEVER, UNKNOWN, LastUse


def _last_used_age(facts: KeyFacts) -> Samples:
    use = facts.key.last_use
    if isinstance(use, LastUse):
        return (((use.service, use.region), int(use.at.timestamp())),)
    return ()


def _last_used(facts: KeyFacts) -> int | None:
    use = facts.key.last_use
    return int(use.at.timestamp()) if isinstance(use, LastUse) else None


def _never_used(facts: KeyFacts) -> bool | None:
    use = facts.key.last_use
    return None if use is UNKNOWN else use is NEVER


def _confirmed(facts: KeyFacts) -> int | None:
    key = facts.key
    return None if key.last_use is UNKNOWN else unix(key.as_of)


KEY_FAMILIES: tuple[KeyFamily, ...] = (
    KeyFamily(
        name="aws_iam_access_key_last_used_age_seconds",
        help="Seconds since the last use of the key, computed at scrape time. AWS records at most"
        " one use in 15 minutes (GetAccessKeyLastUsed). Absent: never used, or unknown.",
        extra_labels=("service", "region"),
        samples=_last_used_age,
        age=True,
    ),
    KeyFamily(
        name="aws_iam_access_key_last_used_timestamp_seconds",
        help="Time of the last use of the key, in Unix seconds, with labels that do not change from"
        " use to use (GetAccessKeyLastUsed). Absent: never used, or unknown.",
        value=_last_used,
    ),
    KeyFamily(
        name="aws_iam_access_key_created_timestamp_seconds",
        help="Creation time of the key, in Unix seconds (ListAccessKeys). Absent: no such key is"
        " known.",
        value=lambda facts: int(facts.key.created.timestamp()),
    ),
    KeyFamily(
        name="aws_iam_access_key_active",
        help="1 if the status of the key is Active, 0 if it is Inactive or Expired"
        " (ListAccessKeys). Absent: no such key is known.",
        value=lambda facts: facts.key.active,
    ),
    KeyFamily(
        name="aws_iam_access_key_never_used",
        help="1 if the key has never been used, 0 if it has (GetAccessKeyLastUsed). Absent:"
        " unknown.",
        value=_never_used,
    ),
    KeyFamily(
        name="aws_iam_access_key_confirmed_timestamp_seconds",
        help="Time at which AWS last reported the last use of the key, in Unix seconds"
        " (GetAccessKeyLastUsed). The key is known to have been idle from its last use, or its"
        " creation, until then. Absent: the last use is unknown.",
        value=_confirmed,
    ),
    KeyFamily(
        name="aws_iam_access_key_exempt_until_timestamp_seconds",
        help="Time until which the key is exempt from findings, in Unix seconds, as set by a tag of"
        " its user or by the configuration. Absent: not exempt.",
        value=lambda facts: unix(facts.exempt_until),
    ),
    KeyFamily(
        name="aws_iam_access_key_superseded_seconds",
        help="Seconds by which the last use of the other active key of the user is later than that"
        " of this active key, or than its creation if it was never used. Absent: the user does not"
        " have two active keys, the other key was not used later, or a last use is unknown.",
        value=lambda facts: facts.superseded,
    ),
    KeyFamily(
        name="aws_iam_access_key_inactive_since_timestamp_seconds",
        help="Time at which the key was first seen inactive or expired, in Unix seconds"
        " (ListAccessKeys). Absent: the key is active.",
        value=lambda facts: unix(facts.inactive_since),
    ),
    KeyFamily(
        name="aws_iam_access_key_info",
        help="Status of the key (ListAccessKeys), path of its user (ListUsers) and, where tags are"
        " read, description of the key and allowed tags of its user. Always 1. Absent: no such key"
        " is known.",
        extra_labels=("status", "path", "description"),
        tag_labels=True,
        samples=lambda facts: (((facts.key.status, facts.user.path, facts.description), 1),),
    ),
)

USER_FAMILIES: tuple[UserFamily, ...] = (
    UserFamily(
        name="aws_iam_user_password_last_used_timestamp_seconds",
        help="Time of the last use of the user's console password, in Unix seconds (ListUsers)."
        " Only with collection.passwords. Absent: never used, or no password.",
        value=lambda user: unix(user.password_last_used),
        enabled=lambda options: options.passwords,
    ),
)
