"""Where links lead: from dashboard to dashboard, and to the runbooks."""

from collections.abc import Sequence

from grafana.panels import Json, link

FLEET = "aws-iam-keys-fleet"
ACCOUNT = "aws-iam-keys-account"
KEY = "aws-iam-keys-key"
EXPORTER = "aws-iam-keys-exporter"
BOARDS = {FLEET: "Fleet", ACCOUNT: "Account", KEY: "Key and user", EXPORTER: "Exporter"}

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


def to_key() -> Json:
    """Name the key alone: Grafana decodes links, and the `+` of a user's name would be a space."""
    subject = f"var-account_id={field('account_id')}&var-access_key_id={field('access_key_id')}"
    return link("Open the key", f"/d/{KEY}?{KEPT}{DAYS}&{subject}")


def to_exporter() -> Json:
    return link("Open the exporter", f"/d/{EXPORTER}?{KEPT}")


def runbook(alert: str) -> Json:
    return link(f"Runbook: {alert}", f"{RUNBOOKS}/{alert}.md", elsewhere=True)


def runbooks(*alerts: str) -> list[Json]:
    return [runbook(alert) for alert in alerts]


def heading(uid: str) -> list[Json]:
    """
    Lead from the head of a dashboard to the others.

    Not with all variables: one dashboard's "all accounts" is no account of another.
    """
    links = []
    for other, title in BOARDS.items():
        if other == uid:
            continue
        kept = "${datasource:queryparam}&${job:queryparam}"
        if EXPORTER not in (uid, other):
            kept += DAYS
        if {uid, other} == {ACCOUNT, KEY}:
            kept += "&${account_id:queryparam}"
        links.append(_head_link(title, f"/d/{other}?{kept}", "dashboard"))
    runbooks = f"{REPOSITORY}/tree/main/deploy/prometheus/runbooks"
    tooltip = "What to do about each alert"
    return [*links, _head_link("Runbooks", runbooks, "doc", tooltip, elsewhere=True)]


def _head_link(
    title: str, url: str, icon: str, tooltip: str = "", *, elsewhere: bool = False
) -> Json:
    return {
        "title": title,
        "type": "link",
        "url": url,
        "icon": icon,
        "targetBlank": elsewhere,
        "asDropdown": False,
        "includeVars": False,
        "keepTime": not elsewhere,
        "tags": [],
        "tooltip": tooltip,
    }


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
        "links": heading(uid),
        "templating": {"list": list(variables)},
        "panels": list(panels),
    }
