"""
What the dashboards and their recording rules ask Prometheus, in one place.

Replicas of the exporter tell the same facts: everything is aggregated by key or by account, and the
latest knowledge wins. What is exempt is no finding. What is not known is no finding either, so
every count says over how many accounts it was made.
"""

A = "job, account_id, account"
K = f"{A}, user, access_key_id"

FLEET = 'job=~"$job",account_id=~"$account_id"'
ONE_ACCOUNT = 'job=~"$job",account_id="$account_id"'
ITS_USERS = f'{ONE_ACCOUNT},user=~"$user"'
ONE_USER = f'{ONE_ACCOUNT},user="$user"'
ONE_KEY = f'{ONE_USER},access_key_id="$access_key_id"'
TEAM = 'tag_team=~"$team"'

DAY = 86400
RETIRED = 90
"""Days of silence after which an inactive key can go."""
MOVED = 30
"""Days after which a silent key's user has moved to the other one: AwsIamAccessKeySafeToDelete."""

KEY = "aws_iam_access_key"
CREATED = f"{KEY}_created_timestamp_seconds"
LAST_USED = f"{KEY}_last_used_timestamp_seconds"
AGE = f"{KEY}_last_used_age_seconds"
NEVER = f"{KEY}_never_used"
EXEMPT = f"{KEY}_exempt_until_timestamp_seconds"
INFO = f"{KEY}_info"
UP = "aws_iam_exporter_account_up"
SUCCESS = "aws_iam_exporter_account_last_success_timestamp_seconds"
USERS = "aws_iam_account_users"
KEYS = "aws_iam_account_access_keys"
"""Absent unless the keys of all of an account's users are known: only then it is seen."""


def of(family: str, where: str) -> str:
    """Select *family*."""
    return f"{family}{{{where}}}"


def per_key(family: str, where: str) -> str:
    return f"max by ({K}) ({family}{{{where}}})"


def per_account(family: str, where: str, *more: str) -> str:
    return f"max by ({', '.join((A, *more))}) ({family}{{{where}}})"


def days_since(moment: str) -> str:
    return f"(time() - {moment}) / {DAY}"


def idle(where: str) -> str:
    """Days since the last use. Absent: never used, or not known."""
    return days_since(per_key(LAST_USED, where))


def age(where: str) -> str:
    return days_since(per_key(CREATED, where))


def is_active(where: str, team: str = TEAM) -> str:
    """Keep active keys, of the chosen teams. A set operator, so replicas change nothing."""
    matchers = ",".join(filter(None, (where, 'status="Active"', team)))
    return f"and on ({K}) {INFO}{{{matchers}}}"


def is_inactive(where: str) -> str:
    return f'and on ({K}) {INFO}{{{where},status!="Active",{TEAM}}}'


def not_exempt(where: str) -> str:
    return f"unless on ({K}) ({EXEMPT}{{{where}}} > time())"


def before(days: str) -> str:
    return f"time() - {days} * {DAY}"


def silent(where: str, days: str = "$unused_days") -> str:
    """Keys that were used, but not for so many days."""
    return f"({per_key(LAST_USED, where)} < {before(days)})"


def never(where: str, days: str = "$never_used_days") -> str:
    """Keys that AWS says were never used, made longer ago than so many days."""
    # A use that one replica has seen counts: min.
    old = f"({per_key(CREATED, where)} < {before(days)})"
    return f"{old} and on ({K}) (min by ({K}) ({NEVER}{{{where}}}) == 1)"


def unused(where: str, days: str = "$unused_days") -> str:
    return f"{silent(where, days)} {is_active(where)} {not_exempt(where)}"


def never_used(where: str, days: str = "$never_used_days") -> str:
    return f"{never(where, days)} {is_active(where)} {not_exempt(where)}"


def unrotated(where: str, days: str = "$rotate_days") -> str:
    old = f"({per_key(CREATED, where)} < {before(days)})"
    return f"{old} {is_active(where)} {not_exempt(where)}"


def idle_since(where: str) -> str:
    """When keys were last used, or made if AWS says that they never were."""
    fresh = f"{per_key(CREATED, where)} and on ({K}) (min by ({K}) ({NEVER}{{{where}}}) == 1)"
    return f"({per_key(LAST_USED, where)} or {fresh})"


def retired(where: str) -> str:
    """Inactive keys that were silent for long: nothing can depend on them."""
    old = f"({idle_since(where)} < {before('$unused_days')})"
    return f"{old} {is_inactive(where)} {not_exempt(where)}"


def superseded(where: str) -> str:
    """Active keys that had been silent for long when the same user's other key was last used."""
    latest = f"max by ({A}, user) ({per_key(LAST_USED, where)} {is_active(where)})"
    old = f"({idle_since(where)} < on ({A}, user) group_left () ({latest} - {MOVED} * {DAY}))"
    return f"{old} {is_active(where)} {not_exempt(where)}"


def unseen(where: str) -> str:
    """Accounts of which nothing, or not everything, is known: never read, or too long ago."""
    return f"{per_account(UP, where)} unless on ({A}) {KEYS}{{{where}}}"


def outdated(where: str) -> str:
    """Accounts whose facts are still told, though the latest reading failed."""
    return f"({per_account(UP, where)} == 0) and on ({A}) {KEYS}{{{where}}}"


def known(count: str, of_all: str) -> str:
    """Give a count of accounts, which is 0 only where there are accounts to count."""
    return f"count({count}) or 0 * count({of_all})"


def recorded(name: str, where: str) -> str:
    """Select what our rules counted; they run every 5 minutes."""
    return f"last_over_time(aws_iam:{name}{{{where}}}[11m])"


def counted(name: str, more: str = "") -> str:
    """
    Count what rules found in the fleet, with its coverage in the labels ``seen`` and ``all``.

    Nothing, if not a single account is seen: no findings would then be no good news.
    """
    found = f"sum({recorded(name, f'{FLEET},{TEAM}{more}')}) or vector(0)"
    seen = f'count_values("seen", count({recorded("accounts_seen", FLEET)}))'
    every = f'count_values("all", count({recorded("accounts", FLEET)}))'
    return f"({found}) * on () group_left (seen, all) ({seen} * on () group_left (all) {every})"


COVERAGE = "in {{seen}} of {{all}} accounts"
