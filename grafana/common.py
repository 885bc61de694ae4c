"""Panels and columns that several dashboards have."""

from typing import Any

from grafana import queries as q
from grafana.panels import (
    Json,
    Steps,
    colored,
    column,
    hidden,
    link,
    series,
    table,
    target,
    words,
)
from grafana.places import RUNBOOKS, field, to_account, to_key

OVER = ((None, "text"), (30, "text"), (90, "orange"), (365, "red"))
"""Days since a key was made or used: 90 and 365 stand out wherever the limits are set."""

JOBS = ("job", "instance")

ACCOUNT_ID = hidden("account_id")
ACCOUNT = column("account", "Account", links=[to_account()], minWidth=120)
ID = column("account_id", "Account id", width=125)
USER = column("user", "User", minWidth=190)
ACCESS_KEY = column("access_key_id", "Access key", links=[to_key()], width=195)
TEAM = column("tag_team", "Team", width=90, noValue="")
SERVICE = column("service", "Service", width=100, noValue="")
REGION = column("region", "Region", width=110, noValue="")


def in_days(
    ref: str | None, title: str, *, none: str = "", steps: Steps = OVER, **more: Any
) -> Any:
    look = {
        "decimals": 0,
        "cell": "color-text",
        "noValue": none,
        "steps": steps,
        "width": 105,
        "plain": True,
    }
    return column(f"Value #{ref}" if ref else "Value", title, **{**look, **more})


def firing(
    number: int, where: str, about: str, *, width: int = 12, names: str = "AwsIam.+"
) -> Json:
    """Say which of our alerts fire, with the way to their runbooks."""

    def alerts(more: str = "") -> str:
        chosen = f'alertname=~"{names}",alertstate="firing"{where}{more}'
        return f"by (alertname) (ALERTS{{{chosen}}})"

    runbook = link("Open the runbook", f"{RUNBOOKS}/{field('alertname')}.md", elsewhere=True)
    # A number, so that the worst come first, however many others fire.
    ranks = {"critical": 3, "warning": 2, "info": 1}
    found = []
    for name, rank in ranks.items():
        severe = f',severity="{name}"'
        found.append(f"{rank} * group {alerts(severe)}")
    others = ',severity!~"critical|warning|info"'
    found.append(f"0 * group {alerts(others)}")
    severity = words(
        {
            "3": ("critical", "red"),
            "2": ("warning", "orange"),
            "1": ("info", "blue"),
            "0": ("other", "text"),
        }
    )
    return table(
        number,
        "Which alerts fire?",
        f"{about} Empty as well where the rules are not loaded. The name leads to the runbook.",
        {
            "count": f"count {alerts()}",
            "severity": " or ".join(found),
        },
        [
            column("alertname", "Alert", links=[runbook], minWidth=170),
            column("Value #severity", "Severity", cell="color-text", mappings=severity, width=110),
            column("Value #count", "Firing", width=75, plain=True),
        ],
        sort="Severity",
        width=width,
        none="none fires, or the rules are not loaded",
    )


def findings(number: int, title: str, about: str, *, width: int, exprs: dict[str, str]) -> Json:
    """Draw active keys and the three kinds of findings over time."""
    return series(
        number,
        title,
        about,
        [
            target(name, expr, legend)
            for (name, expr), legend in zip(exprs.items(), NAMES, strict=True)
        ],
        width=width,
        none="no data: are deploy/prometheus/rules loaded?",
        overrides=[
            colored(name, color, **{"custom.fillOpacity": 0})
            for name, color in zip(NAMES, COLORS, strict=True)
        ],
        decimals=0,
    )


NAMES = ("active", "unused", "never used", "not rotated")
COLORS = ("blue", "orange", "purple", "yellow")


def known_zero(found: str, of_all: str) -> str:
    """Draw 0 only where keys are known at all."""
    return f"count({found}) or 0 * count({of_all})"


def all_keys(where: str) -> str:
    return q.per_key(q.CREATED, where)
