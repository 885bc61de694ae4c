"""Panels that several dashboards have: firing alerts, and the trend of the findings."""

from collections.abc import Sequence

from grafana import queries as q
from grafana.fields import Json, column, link, override, value_mappings
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
            column("alertname", "Alert", links=[runbook], min_width=245),
            column(
                "Value #severity",
                "Severity",
                colored=True,
                mappings=value_mappings({**texts, "0": ("other", "text")}),
                width=100,
            ),
            column("Value #count", "Firing", width=70, filterable=False),
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
