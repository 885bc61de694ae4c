"""The variables of the dashboards. Alerts and links set them by name."""

from grafana import queries as q
from grafana.fields import Json
from grafana.panels import DATASOURCE as SELECTED_DATASOURCE

ALL = {"text": "All", "value": "$__all"}


def query_variable(
    name: str, label: str, query: str, *, regex: str = "", hidden: bool = False
) -> Json:
    """
    A variable whose values come from Prometheus.

    Args:
        query: ``label_values(...)`` or ``query_result(...)``.
        regex: What to take from each result; the groups ``text`` and ``value`` may differ.
    """
    kind = 3 if query.startswith("query_result") else 1
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SELECTED_DATASOURCE,
        "definition": query,
        "query": {
            "qryType": kind,
            "query": query,
            "refId": "PrometheusVariableQueryEditor-VariableQuery",
        },
        "refresh": 2,
        "sort": 1,
        "regex": regex,
        "current": {},
        **({"hide": 2} if hidden else {}),
    }


def multi_value(variable: Json, all_value: str) -> Json:
    """Allow several values of *variable*, or all of them: then its value is *all_value*."""
    return {**variable, "multi": True, "includeAll": True, "allValue": all_value, "current": ALL}


def days(name: str, label: str, default: int, choices: tuple[int, ...]) -> Json:
    return {
        "name": name,
        "label": label,
        "type": "custom",
        "query": ",".join(str(choice) for choice in choices),
        "current": {"text": str(default), "value": str(default)},
        "allowCustomValue": False,
    }


def teams(where: str) -> Json:
    """The teams of the accounts that *where* selects. None unless `counts.by_tags` has the tag."""
    query = f"label_values({q.select(q.COUNT_AGE, where, q.at_least(0))}, tag_team)"
    return multi_value(query_variable("team", "Team (user tag)", query), ".*")


DATASOURCE: Json = {
    "name": "datasource",
    "label": "Data source",
    "type": "datasource",
    "query": "prometheus",
    "current": {},
    "hide": 0,
    "refresh": 1,
    "regex": "",
}

JOBS = multi_value(query_variable("job", "Job", f"label_values({q.BUILD_INFO}, job)"), ".+")

INSTANCES = multi_value(
    query_variable(
        "instance",
        "Instance",
        f"label_values({q.select(q.BUILD_INFO, q.JOB)}, instance)",
    ),
    ".+",
)

# The text is the account's name, the value its ID.
ACCOUNT = query_variable(
    "account_id",
    "Account",
    f"query_result(max by (account, account_id) ({q.select(q.UP, q.JOB)}))",
    regex='/account="(?<text>[^"]*)",account_id="(?<value>[^"]*)"/',
)
# Not ".+": the ID of an account is empty as long as it is unknown.
ACCOUNTS = multi_value(ACCOUNT, ".*")

TEAMS = teams(q.FLEET)

USERS = multi_value(
    query_variable("user", "User", f"label_values({q.select(q.CREATED, q.ONE_ACCOUNT)}, user)"),
    ".*",
)
KEY = query_variable(
    "access_key_id",
    "Access key",
    f"label_values({q.select(q.CREATED, q.ONE_ACCOUNT)}, access_key_id)",
)
# Determined by the key, so that links need not name the user. Alerts name both.
USER = query_variable(
    "user",
    "User",
    f"label_values({q.select(q.CREATED, q.ONE_ACCOUNT, q.THIS_KEY)}, user)",
)
LAST_REGION = query_variable(
    "last_region",
    "Region of the last use",
    f"query_result(max by (region) ({q.select(q.LAST_USED_AGE, q.ONE_KEY)})"
    f" or on () {q.labeled('vector(1)', 'region', 'us-east-1')})",
    regex='/region="([^"]*)"/',
    hidden=True,
)

# The exporter counts keys for each of these limits by default (`counts.days`).
LIMITS = [
    days("unused_days", "Unused after (days)", 90, (7, 30, 45, 60, 90, 180, 365)),
    days("rotate_days", "Not rotated after (days)", 90, (7, 30, 45, 60, 90, 180, 365)),
    days("never_used_days", "Never used after (days)", 30, (7, 30, 45, 90)),
]
