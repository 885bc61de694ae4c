"""Panels about how findings change over time."""

from grafana import queries as q
from grafana.fields import Json, override
from grafana.fleet.selection import HERE, here
from grafana.panels import target, time_series
from grafana.shared_panels import NO_EXPORTER_LINE, NOTHING_DRAWN, findings_trend, no_exporter

TREND_POINTS = 180
"""Prometheus reads only the samples near these points: months of all accounts are many."""


def trend() -> Json:
    return findings_trend(
        20,
        "Trend",
        "Active, not exempt keys of the chosen accounts and teams, and the findings among them. A"
        " gap, or a line that ends: not scraped, or unknown. If a count falls while the number of"
        " unknown keys or of accounts without data rises, nothing was fixed.",
        active=here(q.COUNT_AGE, q.at_least(0)),
        unused=here(q.COUNT_IDLE, q.at_least("$unused_days")),
        never_used=here(q.COUNT_NEVER_USED, q.at_least("$never_used_days")),
        not_rotated=here(q.COUNT_AGE, q.at_least("$rotate_days")),
        unknown=here(q.COUNT_UNKNOWN),
        width=13,
        max_points=TREND_POINTS,
    )


def share_trend() -> Json:
    shares = {
        "without finding": (q.without_finding, "green"),
        "in use": (q.in_use, "blue"),
        "rotated": (q.rotated, "yellow"),
    }
    return time_series(
        22,
        "Share of keys",
        "The share of active, not exempt keys without any finding, of those that are in use, and of"
        " those that were rotated in time. At least: keys of unknown last use count as findings.",
        [
            *(
                target(name.replace(" ", "_"), q.share(part(here), here), name)
                for name, (part, _) in shares.items()
            ),
            no_exporter(),
        ],
        unit="percentunit",
        decimals=0,
        no_value=NOTHING_DRAWN,
        overrides=[
            *(override(name, color=color, fill_opacity=0) for name, (_, color) in shares.items()),
            NO_EXPORTER_LINE,
        ],
        axis_soft_max=1,
        max_points=TREND_POINTS,
    )


def trend_coverage() -> Json:
    return time_series(
        21,
        "Accounts covered by the trend",
        "If a count falls because accounts no longer have data, nothing was fixed: compare.",
        [
            target("accounts", f"count({q.per_account(q.UP, HERE)})", "accounts"),
            target(
                "with_data", q.count_or_zero(q.covered(HERE), q.select(q.UP, HERE)), "with data"
            ),
            no_exporter(),
        ],
        no_value=NOTHING_DRAWN,
        overrides=[
            override("accounts", color="text", fill_opacity=0),
            override("with data", color="blue"),
            NO_EXPORTER_LINE,
        ],
        decimals=0,
        max_points=TREND_POINTS,
    )
