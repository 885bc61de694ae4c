"""Labels, selectors and aggregations, and what stands for an unknown answer."""

from grafana.queries.families import BUILD_INFO

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


DAY = 86400
"""Seconds."""

NO_EXPORTER_VALUE = -1
NO_EXPORTER_TEXT = "no exporter"
NO_EXPORTER = f"-absent({BUILD_INFO}{{{JOB}}})"
"""NO_EXPORTER_VALUE if no exporter is scraped, else nothing. One without accounts is there."""

UNKNOWN_VALUE = -9


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
