"""The fleet dashboard: what is not known, what happened, findings, and where to start."""

from grafana import key_lists as lists
from grafana import variables as v
from grafana.fields import Json
from grafana.fleet.coverage import accounts_without_current_data, failing_accounts
from grafana.fleet.distributions import (
    keys_by_age,
    keys_by_idle_time,
    keys_by_region,
    keys_by_service,
)
from grafana.fleet.happened import events
from grafana.fleet.numbers import (
    accounts_and_users,
    deletable_count,
    keys,
    never_used_count,
    not_rotated_count,
    root_keys,
    share,
    two_active_count,
    unused_count,
)
from grafana.fleet.tables import accounts_by_findings, owners, teams
from grafana.fleet.trends import share_trend, trend, trend_coverage
from grafana.layout import dashboard, grid, row
from grafana.links import FLEET
from grafana.shared_panels import firing_alerts


def fleet() -> Json:
    alerts = firing_alerts(14, "Alerts about all accounts and teams.", width=11)
    panels = grid(
        (5, [accounts_without_current_data(), failing_accounts()]),
        (8, [events()]),
        (
            4,
            [
                unused_count(),
                never_used_count(),
                not_rotated_count(),
                deletable_count(),
                two_active_count(),
                root_keys(),
            ],
        ),
        (3, [share(), accounts_and_users(), keys()]),
        row(100, "Over time"),
        (8, [trend(), alerts]),
        (7, [share_trend(), trend_coverage()]),
        row(101, "Where to start"),
        (13, [accounts_by_findings()]),
        (12, [teams(), owners()]),
        row(103, "Keys"),
        (11, [lists.idle_keys()]),
        (9, [lists.not_rotated_keys()]),
        (8, [lists.deletable_keys()]),
        (7, [lists.new_keys()]),
        (7, [lists.two_active_keys(), lists.root_users()]),
        (6, [lists.unknown_keys()]),
        (6, [lists.exempt_keys()]),
        (7, [lists.inactive_keys()]),
        row(102, "Distribution"),
        (7, [keys_by_idle_time(), keys_by_age()]),
        (9, [keys_by_service(), keys_by_region()]),
    )
    return dashboard(
        FLEET,
        "AWS IAM keys / Fleet",
        "All access keys of all accounts: what is not known, what happened, findings, and where to"
        " start.",
        [v.DATASOURCE, v.JOBS, v.ACCOUNTS, v.TEAMS, *v.LIMITS],
        panels,
        start="now-30d",
    )
