"""
The PromQL of the dashboards. Each expression is defined once, here.

The exporter counts keys by account (`aws_iam_account_access_keys_*`): numbers and charts sum these
counts. Lists select keys, and restrict them before they are joined with anything.

Replicas of the exporter report the same facts, so everything is aggregated by key or by account.
A finding is a key that is unused, never used or not rotated. Exempt keys are not findings, and keys
whose last use is unknown are not counted as unused or never used, so every count comes with what it
covers. An expression has no result where the answer is unknown, and 0 where it is none. What a
panel shows while there is no exporter is `NO_EXPORTER`.

Functions take *where*, label matchers that select keys or accounts; without any, they select all.
"""

from collections.abc import Callable

Count = Callable[..., str]
"""From a family of counts and label matchers to the expression of their sum."""

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
OTHER_TEAMS = 'tag_team!~"$team"'
ACTIVE = 'status="Active"'
INACTIVE = 'status!="Active"'

# Facts about keys

CREATED = "aws_iam_access_key_created_timestamp_seconds"
LAST_USED = "aws_iam_access_key_last_used_timestamp_seconds"
LAST_USED_AGE = "aws_iam_access_key_last_used_age_seconds"
"""With the service and the region of the last use."""
NEVER_USED = "aws_iam_access_key_never_used"
CONFIRMED = "aws_iam_access_key_confirmed_timestamp_seconds"
"""When AWS last reported the key's last use."""
EXEMPT_UNTIL = "aws_iam_access_key_exempt_until_timestamp_seconds"
INFO = "aws_iam_access_key_info"
INACTIVE_SINCE = "aws_iam_access_key_inactive_since_timestamp_seconds"
"""When the key was first seen inactive. Only keys that are not active have it."""
SUPERSEDED = "aws_iam_access_key_superseded_seconds"
"""By how much the use of the user's other key is later. Few keys have it."""

# What was noticed: shown for a day (`changes.shown_for`)

USED_AFTER_IDLE = "aws_iam_access_key_used_after_idle_seconds"
FIRST_USED_AGE = "aws_iam_access_key_first_used_age_seconds"
NEW_SERVICE = "aws_iam_access_key_new_service_timestamp_seconds"
NEW_REGION = "aws_iam_access_key_new_region_timestamp_seconds"
CREATION_NOTICED = "aws_iam_access_key_creation_noticed_timestamp_seconds"
ROOT_USE_NOTICED = "aws_iam_account_root_use_noticed_timestamp_seconds"

# Counts of active, not exempt keys by account

COUNT_IDLE = "aws_iam_account_access_keys_idle"
"""Used, but not within `days`."""
COUNT_NEVER_USED = "aws_iam_account_access_keys_never_used"
"""Never used, and created at least `days` ago."""
COUNT_AGE = "aws_iam_account_access_keys_age"
"""Created at least `days` ago."""
COUNT_EXEMPT = "aws_iam_account_access_keys_exempt"
COUNT_SUPERSEDED = "aws_iam_account_access_keys_superseded"
COUNT_UNKNOWN = "aws_iam_account_access_keys_unknown"
COUNT_USED_IN = "aws_iam_account_access_keys_used_in"

# Facts about accounts

USERS = "aws_iam_account_users"
TWO_ACTIVE_KEYS = "aws_iam_account_users_with_two_active_keys"
KEYS = "aws_iam_account_access_keys"
"""Only present if the keys of all users are known: the account has data."""
ROOT_KEYS = "aws_iam_account_root_access_keys"
ROOT_LAST_USED = "aws_iam_account_root_last_used_timestamp_seconds"

# The exporter

BUILD_INFO = "aws_iam_exporter_build_info"
UNKNOWN_KEYS = "aws_iam_exporter_account_keys_unknown"
"""Keys of any status whose last use is unknown."""
UP = "aws_iam_exporter_account_up"
LAST_SUCCESS = "aws_iam_exporter_account_last_success_timestamp_seconds"
FAILURES = "aws_iam_exporter_account_failures_total"
THROTTLES = "aws_iam_exporter_account_throttles_total"
RATE_LIMIT = "aws_iam_exporter_account_rate_limit"
REFRESH_DURATION = "aws_iam_exporter_account_refresh_duration_seconds"
REFRESH_INTERVAL = "aws_iam_exporter_refresh_interval_seconds"
STORE_UP = "aws_iam_exporter_store_up"

DAY = 86400
"""Seconds."""
INACTIVE_IDLE_DAYS = 90
INACTIVE_DAYS = 14
"""Days after which an inactive key can be deleted, as for AwsIamAccessKeyInactiveNotDeleted."""
SUPERSEDED_DAYS = 30
"""As for AwsIamAccessKeySafeToDelete."""
NEW_DAYS = 7

NO_EXPORTER_VALUE = -1
NO_EXPORTER_TEXT = "no exporter"
NO_EXPORTER = f"-absent({BUILD_INFO}{{{JOB}}})"
"""NO_EXPORTER_VALUE if no exporter is scraped, else nothing. One without accounts is there."""

UNKNOWN_VALUE = -9

COVERAGE = "{{coverage}}"
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


def or_no_exporter(expr: str) -> str:
    """NO_EXPORTER_VALUE if *expr* has no result because there is no exporter."""
    return f"({expr}) or {NO_EXPORTER}"


def or_unknown(expr: str) -> str:
    """*expr*, which has no labels, else NO_EXPORTER_VALUE or UNKNOWN_VALUE."""
    return f"({expr}) or on () {NO_EXPORTER} or on () vector({UNKNOWN_VALUE})"


def days_ago(days: int | str) -> str:
    return f"time() - {days} * {DAY}"


def days_since(timestamp: str) -> str:
    return f"(time() - {timestamp}) / {DAY}"


def labeled(expr: str, label: str, value: str) -> str:
    """Give all series of *expr* the same *label*."""
    return f'label_replace({expr}, "{label}", "{value}", "", "")'


# Counts


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


# What was noticed


def noticed(where: str) -> str:
    """Keys with events in the last day."""
    families = (USED_AFTER_IDLE, FIRST_USED_AGE, NEW_SERVICE, NEW_REGION, CREATION_NOTICED)
    return " or ".join(select(family, where) for family in families)


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


# What a list does not know


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
