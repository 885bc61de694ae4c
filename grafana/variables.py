"""The dashboards' variables. Alerts and other people's links set them by name."""

from grafana.panels import SOURCE, Json

JOB = "aws_iam_exporter_build_info"
EVERY = {"text": "All", "value": "$__all"}

DATASOURCE = {
    "name": "datasource",
    "label": "Data source",
    "type": "datasource",
    "query": "prometheus",
    "current": {},
    "hide": 0,
    "refresh": 1,
    "regex": "",
}


def asked(name: str, label: str, query: str, **more: object) -> Json:
    """A variable whose values Prometheus knows."""
    kind = 3 if query.startswith("query_result") else 1
    inner = {
        "qryType": kind,
        "query": query,
        "refId": "PrometheusVariableQueryEditor-VariableQuery",
    }
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "definition": query,
        "query": inner,
        "refresh": 2,
        "sort": 1,
        "regex": "",
        "current": {},
        **more,
    }


def several(variable: Json, every: str) -> Json:
    """Let people choose several values of *variable*, or all, which then stands for *every*."""
    return {**variable, "multi": True, "includeAll": True, "allValue": every, "current": EVERY}


def days(name: str, label: str, default: int, choice: tuple[int, ...]) -> Json:
    return {
        "name": name,
        "label": label,
        "type": "custom",
        "query": ",".join(str(value) for value in choice),
        "current": {"text": str(default), "value": str(default)},
        "allowCustomValue": False,
    }


JOBS = several(asked("job", "Job", f"label_values({JOB}, job)"), ".+")

INSTANCES = several(
    asked("instance", "Instance", f'label_values({JOB}{{job=~"$job"}}, instance)'), ".+"
)

# Names are shown, ids are the values. An account whose id is not known yet must not be lost:
# for all accounts, the matcher is one that an empty id satisfies.
ACCOUNT = asked(
    "account_id",
    "Account",
    'query_result(max by (account, account_id) (aws_iam_exporter_account_up{job=~"$job"}))',
    regex='/account="(?<text>[^"]*)",account_id="(?<value>[^"]*)"/',
)
ACCOUNTS = several(ACCOUNT, ".*")

TEAMS = several(
    asked(
        "team",
        "Team (user tag)",
        'label_values(aws_iam_access_key_info{job=~"$job",account_id=~"$account_id"}, tag_team)',
    ),
    ".*",
)

OF_ACCOUNT = 'aws_iam_access_key_created_timestamp_seconds{job=~"$job",account_id="$account_id"'
USERS = several(asked("user", "User", f"label_values({OF_ACCOUNT}}}, user)"), ".*")
# The key tells its user, whom links need not name then. Alerts name both.
KEY = asked("access_key_id", "Access key", f"label_values({OF_ACCOUNT}}}, access_key_id)")
USER = asked("user", "User", f'label_values({OF_ACCOUNT},access_key_id="$access_key_id"}}, user)')

# The recording rules count by these.
THRESHOLDS = [
    days("unused_days", "Unused for (days)", 90, (7, 30, 60, 90, 180, 365)),
    days("rotate_days", "Rotate after (days)", 90, (7, 30, 60, 90, 180, 365)),
    days("never_used_days", "Never used after (days)", 30, (7, 30, 90)),
]

PACE = {
    "name": "pace",
    "label": "Pace limit (requests/s)",
    "type": "textbox",
    "query": "5",
    "current": {"text": "5", "value": "5"},
}
