"""
The PromQL of the dashboards and their recording rules. Each expression is defined once, here.

Replicas of the exporter report the same facts, so everything is aggregated by key or by account,
and the most recent knowledge wins. A finding is a key that is unused, never used or not rotated.
Exempt keys are not findings. Neither are keys whose last use is unknown, so every count comes with
the number of accounts that it covers.

Functions take *where*, label matchers that select keys or accounts; without any, they select all.
"""

ACCOUNT_LABELS = "job, account_id, account"
USER_LABELS = f"{ACCOUNT_LABELS}, user"
KEY_LABELS = f"{USER_LABELS}, access_key_id"

JOB = 'job=~"$job"'
FLEET = f'{JOB},account_id=~"$account_id"'
ONE_ACCOUNT = f'{JOB},account_id="$account_id"'
ACCOUNT_USERS = f'{ONE_ACCOUNT},user=~"$user"'
ONE_USER = f'{ONE_ACCOUNT},user="$user"'
THIS_KEY = 'access_key_id="$access_key_id"'
ONE_KEY = f"{ONE_USER},{THIS_KEY}"
TEAM = 'tag_team=~"$team"'
ACTIVE = 'status="Active"'
INACTIVE = 'status!="Active"'

BUILD_INFO = "aws_iam_exporter_build_info"
CREATED = "aws_iam_access_key_created_timestamp_seconds"
LAST_USED = "aws_iam_access_key_last_used_timestamp_seconds"
LAST_USED_AGE = "aws_iam_access_key_last_used_age_seconds"
"""With the service and the region of the last use."""
NEVER_USED = "aws_iam_access_key_never_used"
EXEMPT_UNTIL = "aws_iam_access_key_exempt_until_timestamp_seconds"
INFO = "aws_iam_access_key_info"
USERS = "aws_iam_account_users"
KEYS = "aws_iam_account_access_keys"
"""Only present if the keys of all users are known: the account has data."""
ROOT_KEYS = "aws_iam_account_root_access_keys"
UNKNOWN_KEYS = "aws_iam_exporter_account_keys_unknown"
UP = "aws_iam_exporter_account_up"
LAST_SUCCESS = "aws_iam_exporter_account_last_success_timestamp_seconds"
FAILURES = "aws_iam_exporter_account_failures_total"
THROTTLES = "aws_iam_exporter_account_throttles_total"
REFRESH_DURATION = "aws_iam_exporter_account_refresh_duration_seconds"
REFRESH_INTERVAL = "aws_iam_exporter_refresh_interval_seconds"

DAY = 86400
"""Seconds."""
INACTIVE_DAYS = 90
"""Days without use after which an inactive key can be deleted."""
SUPERSEDED_DAYS = 30
"""As for AwsIamAccessKeySafeToDelete."""

COVERAGE = "in {{seen}} of {{all}} accounts"
"""Legend for `with_coverage`."""


# Selectors and aggregations


def select(family: str, *matchers: str) -> str:
    """Select series of *family*. Empty matchers are ignored."""
    inner = ",".join(filter(None, matchers))
    return f"{family}{{{inner}}}" if inner else family


def per_key(family: str, where: str = "") -> str:
    return f"max by ({KEY_LABELS}) ({select(family, where)})"


def per_account(family: str, where: str = "") -> str:
    return f"max by ({ACCOUNT_LABELS}) ({select(family, where)})"


def count_or_zero(found: str, all_of: str) -> str:
    """Count the series of *found*: 0 if there are only others in *all_of*, else nothing."""
    return f"count({found}) or 0 * count({all_of})"


def days_ago(days: int | str) -> str:
    return f"time() - {days} * {DAY}"


def days_since(timestamp: str) -> str:
    return f"(time() - {timestamp}) / {DAY}"


# Keys


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
    """1 if the key was never used, 0 if it was used, -1 if that is unknown."""
    return f"{never_used_flag(where)} or (0 * {per_key(CREATED, where)} - 1)"


def idle_since(where: str = "") -> str:
    """Time of the last use; of the creation if the key was never used."""
    never_used = f"{per_key(CREATED, where)} and on ({KEY_LABELS}) ({never_used_flag(where)} == 1)"
    return f"({per_key(LAST_USED, where)} or {never_used})"


def last_used_before(days: int | str, where: str = "") -> str:
    """Keys that were used, but not in the last *days* days."""
    return f"({per_key(LAST_USED, where)} <= {days_ago(days)})"


def created_before(days: int | str, where: str = "") -> str:
    return f"({per_key(CREATED, where)} <= {days_ago(days)})"


def never_used_before(days: int | str, where: str = "") -> str:
    """Keys that were created at least *days* days ago and never used."""
    never_used = f"and on ({KEY_LABELS}) ({never_used_flag(where)} == 1)"
    return f"({created_before(days, where)} {never_used})"


def idle_before(days: int | str, where: str = "") -> str:
    """Keys without a use in the last *days* days. Value: idle since."""
    return f"({idle_since(where)} <= {days_ago(days)})"


def idle_before_sibling(where: str = "") -> str:
    """
    Keys that had been idle for SUPERSEDED_DAYS when an active key of the user was last used.

    Value: idle since.
    """
    last_use = f"max by ({USER_LABELS}) ({per_key(LAST_USED, where)} {that_are(ACTIVE, where)})"
    limit = f"({last_use} - {SUPERSEDED_DAYS} * {DAY})"
    return f"({idle_since(where)} < on ({USER_LABELS}) group_left () {limit})"


def that_are(status: str, where: str = "", team: str = "") -> str:
    """Keep keys by *status* and *team*. A set operator, so that replicas do not matter."""
    return f"and on ({KEY_LABELS}) {select(INFO, where, status, team)}"


def not_exempt(where: str = "") -> str:
    return f"unless on ({KEY_LABELS}) ({select(EXEMPT_UNTIL, where)} > time())"


def active(keys: str, where: str) -> str:
    """Keep active keys of the chosen teams."""
    return f"{keys} {that_are(ACTIVE, where, TEAM)}"


def unused(where: str) -> str:
    return f"{active(last_used_before('$unused_days', where), where)} {not_exempt(where)}"


def never_used(where: str) -> str:
    return f"{active(never_used_before('$never_used_days', where), where)} {not_exempt(where)}"


def not_rotated(where: str) -> str:
    return f"{active(created_before('$rotate_days', where), where)} {not_exempt(where)}"


def superseded(where: str) -> str:
    return f"{active(idle_before_sibling(where), where)} {not_exempt(where)}"


def inactive(where: str) -> str:
    """Inactive keys that can be deleted."""
    idle = idle_before("$unused_days", where)
    return f"{idle} {that_are(INACTIVE, where, TEAM)} {not_exempt(where)}"


# Accounts


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


# What the recording rules counted


def recorded(name: str, *matchers: str) -> str:
    """Select a series of the dashboards' recording rules, which run every 5 minutes."""
    return f"last_over_time({select(f'aws_iam:{name}', *matchers)}[11m])"


def counted(name: str, *matchers: str, aggregate: str = "sum") -> str:
    """
    The recorded series *name* of the chosen accounts and teams in one number, with its coverage.

    Nothing if no account has data: then 0 would be wrong.

    Args:
        aggregate: ``sum`` if the series are counts, ``count`` if each of them is a key.
    """
    found = f"{aggregate}({recorded(name, FLEET, TEAM, *matchers)}) or vector(0)"
    return with_coverage(found, recorded("accounts_seen", FLEET), recorded("accounts", FLEET))


def with_coverage(number: str, covered: str, accounts: str) -> str:
    """Add the number of *covered* and of all *accounts* as labels ``seen`` and ``all``."""
    seen = f'count_values("seen", count({covered}))'
    every = f'count_values("all", count({accounts}))'
    return f"({number}) * on () group_left (seen, all) ({seen} * on () group_left (all) {every})"
