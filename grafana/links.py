"""Links between the dashboards, and to the runbooks."""

from grafana.fields import Json, link

FLEET = "aws-iam-keys-fleet"
ACCOUNT = "aws-iam-keys-account"
KEY = "aws-iam-keys-key"
EXPORTER = "aws-iam-keys-exporter"
TITLES = {FLEET: "Fleet", ACCOUNT: "Account", KEY: "Key and user", EXPORTER: "Exporter"}
"""The dashboards by uid."""

REPOSITORY = "https://github.com/aws-iam-key-exporter/aws-iam-key-exporter"
RUNBOOKS = f"{REPOSITORY}/blob/main/deploy/prometheus/runbooks"

SOURCE = "${datasource:queryparam}&${job:queryparam}"
SOURCE_AND_TIME = f"{SOURCE}&${{__url_time_range}}"
LIMITS = "${unused_days:queryparam}&${rotate_days:queryparam}&${never_used_days:queryparam}"


def field(name: str) -> str:
    """The value of the field *name* in the row that was clicked."""
    return f"${{__data.fields.{name}:percentencode}}"


def to_account(*, limits: bool = True, account_id: str = field("account_id")) -> Json:
    """
    Link to an account's dashboard.

    Args:
        limits: Whether the dashboard with the link has the variables for the limits.
    """
    kept = f"{SOURCE_AND_TIME}&{LIMITS}" if limits else SOURCE_AND_TIME
    return link("Open the account", f"/d/{ACCOUNT}?{kept}&var-account_id={account_id}")


def to_key() -> Json:
    """
    Link to a key's dashboard.

    Without the user: Grafana decodes links twice, which turns the `+` in a user name into a space.
    """
    key = f"var-account_id={field('account_id')}&var-access_key_id={field('access_key_id')}"
    return link("Open the key", f"/d/{KEY}?{SOURCE_AND_TIME}&{LIMITS}&{key}")


def to_list(title: str, panel_id: int) -> Json:
    """Link from a number of the fleet dashboard to the list with that *panel_id*."""
    chosen = "${account_id:queryparam}&${team:queryparam}"
    return link(title, f"/d/{FLEET}?viewPanel={panel_id}&{SOURCE_AND_TIME}&{LIMITS}&{chosen}")


def to_team() -> Json:
    """
    Link to the fleet dashboard of the team in the row that was clicked.

    A team with a `+` in its name has to be chosen above: see `to_key`.
    """
    return link(
        "Show this team",
        f"/d/{FLEET}?{SOURCE_AND_TIME}&{LIMITS}&${{account_id:queryparam}}"
        f"&var-team={field('tag_team')}",
    )


def to_exporter() -> Json:
    return link("Open the exporter", f"/d/{EXPORTER}?{SOURCE_AND_TIME}")


def runbooks(*alerts: str) -> list[Json]:
    return [link(f"Runbook: {alert}", f"{RUNBOOKS}/{alert}.md", new_tab=True) for alert in alerts]


def dashboard_links(uid: str) -> list[Json]:
    """
    Links from the top of a dashboard to the other dashboards and the runbooks.

    They do not pass on all variables: "All" accounts is not an account that another dashboard
    could show.
    """
    links = []
    for other, title in TITLES.items():
        if other == uid:
            continue
        kept = SOURCE
        if EXPORTER not in (uid, other):
            kept += f"&{LIMITS}"
        if {uid, other} == {ACCOUNT, KEY}:
            kept += "&${account_id:queryparam}"
        links.append(_dashboard_link(title, f"/d/{other}?{kept}", "dashboard", keep_time=True))
    runbooks = f"{REPOSITORY}/tree/main/deploy/prometheus/runbooks"
    links.append(_dashboard_link("Runbooks", runbooks, "doc", tooltip="What to do about an alert"))
    return links


def _dashboard_link(
    title: str, url: str, icon: str, *, tooltip: str = "", keep_time: bool = False
) -> Json:
    return {
        "title": title,
        "type": "link",
        "url": url,
        "icon": icon,
        "targetBlank": not keep_time,
        "asDropdown": False,
        "includeVars": False,
        "keepTime": keep_time,
        "tags": [],
        "tooltip": tooltip,
    }
