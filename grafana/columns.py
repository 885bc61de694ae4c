"""Columns that several tables have."""

from grafana.fields import DAYS, UNKNOWN_ROWS, Column, column, hidden, value_mappings
from grafana.links import to_account, to_key

ACCOUNT_NAME = column(
    "account",
    "Account",
    links=[to_account()],
    min_width=115,
    colored=True,
    mappings=UNKNOWN_ROWS,
)
ACCOUNT_ID = column("account_id", "Account ID", width=125)
HIDDEN_ACCOUNT_ID = hidden("account_id")
USER = column("user", "User", min_width=165, colored=True, mappings=UNKNOWN_ROWS)
"""Also says what the list leaves out."""
# 20 wide letters are never cut.
ACCESS_KEY = column(
    "access_key_id",
    "Access key",
    links=[to_key()],
    width=215,
    colored=True,
    mappings=UNKNOWN_ROWS,
)
TEAM = column("tag_team", "Team", width=90)
OWNER = column("tag_owner", "Owner", min_width=120)
SERVICE = column("service", "Service", width=100)
REGION = column("region", "Region", width=110)

USAGE = value_mappings(
    {"1": ("never used", "purple"), "0": ("used", "text"), "2": ("unknown", "orange")}
)
"""For `queries.usage`."""


def days(field: str, title: str) -> Column:
    """Days since a key was created or used."""
    return column(
        field,
        title,
        decimals=0,
        colored=True,
        steps=DAYS,
        width=105,
        filterable=False,
    )
