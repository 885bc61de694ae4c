"""Tables of accounts, teams and owners: where to start."""

from grafana import columns as c
from grafana import key_lists as lists
from grafana import queries as q
from grafana.fields import (
    ALARM_IF_ANY,
    NEUTRAL,
    UNKNOWN_ROWS,
    WARN_IF_ANY,
    Column,
    Json,
    Steps,
    column,
    value_mappings,
)
from grafana.fleet.selection import HERE
from grafana.links import to_team
from grafana.panels import table


def finding_column(
    ref: str, title: str, steps: Steps = WARN_IF_ANY, width: int = 95, no_value: str = "unknown"
) -> Column:
    return column(
        f"Value #{ref}",
        title,
        colored=True,
        steps=steps,
        width=width,
        no_value=no_value,
        filterable=False,
    )


SHARE_COLUMN = column(
    "Value #share",
    "Without finding",
    unit="percentunit",
    decimals=0,
    width=120,
    filterable=False,
)


def accounts_by_findings() -> Json:
    def count(family: str, *matchers: str) -> str:
        """Count by account: 0 if the chosen teams have no keys there, nothing if unknown."""
        keys = q.counted_by_account(family, HERE, q.TEAM, *matchers)
        needs_uses = family in {q.COUNT_IDLE, q.COUNT_NEVER_USED}
        known = q.covered(HERE) if needs_uses else q.per_account(q.KEYS, HERE)
        return f"({keys} or 0 * {known})"

    unused = count(q.COUNT_IDLE, q.at_least("$unused_days"))
    never_used = count(q.COUNT_NEVER_USED, q.at_least("$never_used_days"))
    status = value_mappings(
        {"0": ("no data", "red"), "1": ("stale", "orange"), "2": ("current", "text")}
    )
    return table(
        lists.ACCOUNTS,
        "Accounts by risk",
        "All accounts, those with the most unused and never used keys first.",
        {
            "status": q.data_status(HERE),
            "risk": f"{unused} + {never_used}",
            "unused": unused,
            "never_used": never_used,
            "not_rotated": count(q.COUNT_AGE, q.at_least("$rotate_days")),
            "unknown_uses": count(q.COUNT_UNKNOWN),
            "two": q.per_account(q.TWO_ACTIVE_KEYS, HERE),
            "root": q.per_account(q.ROOT_KEYS, HERE),
            "keys": count(q.COUNT_AGE, q.at_least(0)),
            "share": q.share(q.without_finding(count), count),
        },
        [
            c.ACCOUNT_NAME,
            column("Value #status", "Data status", colored=True, mappings=status, width=125),
            column("Value #risk", "Not in use", width=95, no_value="unknown", filterable=False),
            finding_column("unused", "Unused", width=80),
            finding_column("never_used", "Never used"),
            finding_column("not_rotated", "Not rotated", NEUTRAL, 105),
            finding_column("unknown_uses", "Use unknown", width=110),
            finding_column("two", "Two active", NEUTRAL, 100),
            finding_column("root", "Root keys", ALARM_IF_ANY),
            column("Value #keys", "Active", width=80, no_value="unknown", filterable=False),
            SHARE_COLUMN,
            c.ACCOUNT_ID,
        ],
        sort="Not in use",
        drop=("job",),
        paginate=True,
        unknown=q.labeled(q.NO_EXPORTER, "account", q.NO_EXPORTER_TEXT),
    )


def teams() -> Json:
    def count(family: str, *matchers: str) -> str:
        return q.counted_by("tag_team", family, HERE, q.TEAM, *matchers)

    return table(
        31,
        "Findings by team",
        "The user tag team, if the exporter counts by it (counts.by_tags); otherwise one row with"
        " all keys. The name shows this dashboard for the team alone.",
        {
            "unused": count(q.COUNT_IDLE, q.at_least("$unused_days")),
            "never_used": count(q.COUNT_NEVER_USED, q.at_least("$never_used_days")),
            "not_rotated": count(q.COUNT_AGE, q.at_least("$rotate_days")),
            "unknown_uses": count(q.COUNT_UNKNOWN),
            "keys": count(q.COUNT_AGE, q.at_least(0)),
            "share": q.share(q.without_finding(count), count),
        },
        [
            column(
                "tag_team",
                "Team",
                min_width=150,
                no_value="no team",
                links=[to_team()],
                colored=True,
                mappings=UNKNOWN_ROWS,
            ),
            finding_column("unused", "Unused", width=80),
            finding_column("never_used", "Never used", width=95),
            finding_column("not_rotated", "Not rotated", NEUTRAL, 100),
            finding_column("unknown_uses", "Unknown", width=80),
            column("Value #keys", "Active", width=75, no_value="unknown", filterable=False),
            SHARE_COLUMN,
        ],
        sort="Unused",
        width=12,
        no_value="unknown",
        paginate=True,
        unknown=q.unknown_rows(HERE, uses=True, label="tag_team"),
    )


def owners() -> Json:
    return table(
        32,
        "Findings by owner",
        "Whom to write to: the user tags team and owner, if the exporter exports them. Superseded"
        " and inactive keys can be deleted. Without exempt keys.",
        {
            "unused": q.by_owner(q.unused(HERE), HERE),
            "never_used": q.by_owner(q.never_used_keys(HERE), HERE),
            "superseded": q.by_owner(q.superseded(HERE), HERE),
            "inactive": q.by_owner(q.inactive(HERE), HERE),
        },
        [
            column(
                "tag_owner",
                "Owner",
                min_width=165,
                no_value="no owner",
                colored=True,
                mappings=UNKNOWN_ROWS,
            ),
            finding_column("unused", "Unused", width=80, no_value=""),
            finding_column("never_used", "Never used", width=95, no_value=""),
            finding_column("superseded", "Superseded", width=100, no_value=""),
            finding_column("inactive", "Inactive", width=80, no_value=""),
            column("tag_team", "Team", width=100),
        ],
        sort="Unused",
        width=12,
        paginate=True,
        unknown=q.unknown_rows(HERE, uses=True, label="tag_owner"),
    )
