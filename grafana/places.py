"""Where links lead: from dashboard to dashboard, and to the runbooks."""

from collections.abc import Sequence

from grafana.panels import Json, link

FLEET = "aws-iam-keys-fleet"
ACCOUNT = "aws-iam-keys-account"
KEY = "aws-iam-keys-key"
EXPORTER = "aws-iam-keys-exporter"

REPOSITORY = "https://github.com/aws-iam-key-exporter/aws-iam-key-exporter"
RUNBOOKS = f"{REPOSITORY}/blob/main/deploy/prometheus/runbooks"

TAG = "aws-iam-keys"
KEPT = "${datasource:queryparam}&${job:queryparam}&${__url_time_range}"
DAYS = "&${unused_days:queryparam}&${rotate_days:queryparam}&${never_used_days:queryparam}"


def field(name: str) -> str:
    return f"${{__data.fields.{name}:percentencode}}"


def to_account(*, days: bool = True, account: str = field("account_id")) -> Json:
    kept = KEPT + DAYS if days else KEPT
    return link("Open the account", f"/d/{ACCOUNT}?{kept}&var-account_id={account}")


def to_key(*, account: str = field("account_id"), user: str = field("user")) -> Json:
    subject = f"var-account_id={account}&var-user={user}&var-access_key_id={field('access_key_id')}"
    return link("Open the key", f"/d/{KEY}?{KEPT}{DAYS}&{subject}")


def to_exporter() -> Json:
    return link("Open the exporter", f"/d/{EXPORTER}?{KEPT}")


def runbook(alert: str) -> Json:
    return link(f"Runbook: {alert}", f"{RUNBOOKS}/{alert}.md", elsewhere=True)


def runbooks(*alerts: str) -> list[Json]:
    return [runbook(alert) for alert in alerts]


def dashboard(
    uid: str,
    title: str,
    about: str,
    variables: Sequence[Json],
    panels: Sequence[Json],
    *,
    start: str,
    refresh: str = "5m",
) -> Json:
    others = {
        "title": "AWS IAM keys",
        "type": "dashboards",
        "tags": [TAG],
        "asDropdown": True,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "icon": "external link",
        "tooltip": "",
        "url": "",
    }
    manual = {
        "title": "Runbooks",
        "type": "link",
        "url": f"{REPOSITORY}/tree/main/deploy/prometheus/runbooks",
        "icon": "doc",
        "targetBlank": True,
        "asDropdown": False,
        "includeVars": False,
        "keepTime": False,
        "tags": [],
        "tooltip": "What to do about each alert",
    }
    return {
        "id": None,
        "uid": uid,
        "title": title,
        "description": about,
        "tags": [TAG],
        "schemaVersion": 42,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": refresh,
        "time": {"from": start, "to": "now"},
        "annotations": {"list": []},
        "links": [others, manual],
        "templating": {"list": list(variables)},
        "panels": list(panels),
    }
