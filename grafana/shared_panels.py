"""Panels that several dashboards have: firing alerts, the trend of the findings, a list of keys."""

from collections.abc import Sequence

from grafana import columns as c
from grafana import queries as q
from grafana.fields import Column, Json, column, link, override, value_mappings
from grafana.links import RUNBOOKS, field
from grafana.panels import table, target, time_series

SEVERITIES = {
    "critical": (3, "red"),
    "warning": (2, "orange"),
    "info": (1, "blue"),
}
"""Rank and color. Sorting by a number keeps the most severe alerts at the top."""

TREND_COLORS = {
    "active": "blue",
    "unused": "orange",
    "never used": "purple",
    "not rotated": "yellow",
    "unknown": "text",
}

NOTHING_DRAWN = "unknown in this time range"
"""The text of a chart without lines, which would say if there were no exporter."""

NO_EXPORTER_LINE = override(q.NO_EXPORTER_TEXT, color="red", fill_opacity=0, text="-")
"""The override for `no_exporter`."""


def no_exporter() -> Json:
    """A line at the bottom of a chart, while there is no exporter."""
    return target("no_exporter", f"0 * -({q.NO_EXPORTER})", q.NO_EXPORTER_TEXT)


def firing_alerts(
    panel_id: int,
    description: str,
    *,
    matchers: Sequence[str] = (),
    names: str = "AwsIam.+",
    width: int = 12,
) -> Json:
    """
    The alerts that fire, with links to their runbooks.

    Args:
        matchers: Label matchers that select alerts, besides *names*.
        names: A regular expression.
    """

    def alerts(*more: str) -> str:
        fixed = (f'alertname=~"{names}"', 'alertstate="firing"')
        return f"by (alertname) ({q.select('ALERTS', *fixed, *matchers, *more)})"

    ranked = []
    for severity, (rank, _) in SEVERITIES.items():
        severity_matcher = f'severity="{severity}"'
        ranked.append(f"{rank} * group {alerts(severity_matcher)}")
    known = "|".join(SEVERITIES)
    other_severities = f'severity!~"{known}"'
    ranked.append(f"0 * group {alerts(other_severities)}")
    texts = {str(rank): (severity, color) for severity, (rank, color) in SEVERITIES.items()}
    runbook = link("Open the runbook", f"{RUNBOOKS}/{field('alertname')}.md", new_tab=True)
    return table(
        panel_id,
        "Firing alerts",
        f"{description} Also empty if the alerting rules are not loaded. The name links to the"
        " runbook.",
        {
            "count": f"count {alerts()}",
            "severity": " or ".join(ranked),
        },
        [
            column("alertname", "Alert", links=[runbook], min_width=170),
            column(
                "Value #severity",
                "Severity",
                colored=True,
                mappings=value_mappings({**texts, "0": ("other", "text")}),
                width=110,
            ),
            column("Value #count", "Firing", width=75, filterable=False),
        ],
        sort="Severity",
        width=width,
        no_value="none, or the rules are not loaded",
    )


def findings_trend(
    panel_id: int,
    title: str,
    description: str,
    *,
    active: str,
    unused: str,
    never_used: str,
    not_rotated: str,
    unknown: str = "",
    width: int,
    max_points: int | None = None,
) -> Json:
    """Active keys and the findings among them over time, each from an expression."""
    exprs = (active, unused, never_used, not_rotated, unknown)
    return time_series(
        panel_id,
        title,
        description,
        [
            *(
                target(legend.replace(" ", "_"), expr, legend)
                for legend, expr in zip(TREND_COLORS, exprs, strict=True)
                if expr
            ),
            no_exporter(),
        ],
        width=width,
        no_value=NOTHING_DRAWN,
        overrides=[
            *(
                override(legend, color=color, fill_opacity=0)
                for legend, color in TREND_COLORS.items()
            ),
            NO_EXPORTER_LINE,
        ],
        decimals=0,
        max_points=max_points,
    )


def key_table(
    panel_id: int,
    title: str,
    description: str,
    where: str,
    *,
    team: str = "",
    user: Column = c.USER,
    sort: str = "Idle (days)",
    paginate: bool = False,
    width: int = 24,
    unknown_in: str = "user",
) -> Json:
    """
    Keys of one account, with everything that is known about each.

    Args:
        team: A label matcher that also selects the keys.
        unknown_in: The label that says what the list leaves out.
    """
    selected = f"and on ({q.KEY_LABELS}) {q.select(q.INFO, where, team)}"
    info_labels = f"{q.KEY_LABELS}, status, path, description, tag_team, tag_owner"
    last_use = f"max by ({q.KEY_LABELS}, service, region) ({q.select(q.LAST_USED_AGE, where)})"
    status = value_mappings(
        {
            "Active": ("Active", "text"),
            "Inactive": ("Inactive", "blue"),
            "Expired": ("Expired", "blue"),
        }
    )
    return table(
        panel_id,
        title,
        description,
        {
            "info": f"group by ({info_labels}) ({q.select(q.INFO, where, team)})",
            "age": f"{q.age_days(where)} {selected}",
            "idle": f"{q.days_since(q.idle_since(where))} {selected}",
            "usage": f"({q.usage(where)}) {selected}",
            "last_use": f"{last_use} {selected}",
            "exempt": f"1000 * {q.per_key(q.EXEMPT_UNTIL, where)} {selected}",
        },
        [
            c.HIDDEN_ACCOUNT_ID,
            user,
            c.ACCESS_KEY,
            column("status", "Status", colored=True, mappings=status, width=80),
            c.days("Value #age", "Age (days)"),
            c.days("Value #idle", "Idle (days)"),
            column("Value #usage", "Usage", colored=True, mappings=c.USAGE, width=105),
            c.SERVICE,
            c.REGION,
            c.TEAM,
            c.OWNER,
            column(
                "Value #exempt",
                "Exempt until",
                unit="dateTimeAsIsoNoDateIfToday",
                width=130,
                filterable=False,
            ),
            column("description", "Description", min_width=110),
            column("path", "Path", width=120),
        ],
        sort=sort,
        drop=("job", "account", "Value #info", "Value #last_use"),
        width=width,
        paginate=paginate,
        unknown=q.unknown_rows(q.ONE_ACCOUNT, label=unknown_in),
    )
