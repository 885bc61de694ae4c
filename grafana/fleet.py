"""The fleet dashboard: findings in all accounts, accounts without data, and where to start."""

from grafana import columns as c
from grafana import queries as q
from grafana import variables as v
from grafana.fields import (
    ALARM_IF_ANY,
    GOOD_IF_NONE,
    NEUTRAL,
    WARN_IF_ANY,
    Column,
    Json,
    Steps,
    column,
    override,
    value_mappings,
)
from grafana.layout import dashboard, grid, row
from grafana.links import FLEET, runbooks, to_account, to_exporter
from grafana.panels import bar_gauge, instant, stat, table, target, time_series
from grafana.shared_panels import findings_trend, firing_alerts

HERE = q.FLEET
FINDING_NOTE = " Without exempt keys. Below the number: how many accounts it covers."
NO_RULES = "are the rules loaded?"
LIST_LENGTH = 25
"""Rows of the lists of keys, which are a starting point and not a complete report."""

NARROW_ACCOUNT_NAME = column("account", "Account", links=[to_account()], width=115)

AGE_BUCKETS = (0, 1, 7, 30, 90, 365)
"""Lower bounds in days."""
OLD_BUCKETS = [override("90-365 d", color="orange"), override("365 d +", color="red")]
BUCKETS_NOTE = " Without exempt keys."


def _at_least(days: int | str) -> str:
    """Match recorded counts of keys that were used, or created, at least *days* days ago."""
    return f'days="{days}"'


# Numbers


def accounts_without_current_data() -> Json:
    up = q.select(q.UP, HERE)
    return stat(
        1,
        "Accounts without current data",
        "No data: accounts of which nothing, or not everything, is known; no number on this"
        " dashboard covers them. Stale: accounts whose last refresh failed; their data is as old as"
        " their last successful refresh.",
        [
            instant("no_data", q.count_or_zero(q.no_data(HERE), up), "no data"),
            instant("stale", q.count_or_zero(q.stale(HERE), up), "stale"),
        ],
        text="value_and_name",
        width=8,
        side_by_side=True,
        steps=GOOD_IF_NONE,
        no_value="no exporter",
        links=runbooks("AwsIamExporterAccountDown", "AwsIamExporterDown"),
        data_links=[to_exporter()],
    )


def finding_count(panel_id: int, title: str, description: str, expr: str, *alerts: str) -> Json:
    return stat(
        panel_id,
        title,
        description + FINDING_NOTE,
        [instant("count", expr, q.COVERAGE)],
        text="value_and_name",
        width=8,
        steps=WARN_IF_ANY,
        no_value=NO_RULES,
        links=runbooks(*alerts),
    )


def deletable_count() -> Json:
    return finding_count(
        2,
        "Deletable keys",
        f"Inactive: inactive keys that have been idle for {q.INACTIVE_DAYS} days. Superseded:"
        f" active keys that had been idle for {q.SUPERSEDED_DAYS} days when the user's other key"
        " was last used. The keys are listed below.",
        q.counted("access_key_deletable", aggregate="count"),
        "AwsIamAccessKeySafeToDelete",
        "AwsIamAccessKeyInactiveNotDeleted",
    )


def unused_count() -> Json:
    return finding_count(
        3,
        "Unused for $unused_days days",
        "Active keys that were used, but not in the last $unused_days days.",
        q.counted("access_keys_unused", _at_least("$unused_days")),
        "AwsIamAccessKeyUnused",
    )


def never_used_count() -> Json:
    return finding_count(
        4,
        "Never used in $never_used_days days",
        "Active keys that were created at least $never_used_days days ago and, according to AWS,"
        " never used.",
        q.counted("access_keys_never_used", _at_least("$never_used_days")),
        "AwsIamAccessKeyNeverUsed",
    )


def not_rotated_count() -> Json:
    return finding_count(
        5,
        "Not rotated in $rotate_days days",
        "Active keys that were created at least $rotate_days days ago.",
        q.counted("access_keys_old", _at_least("$rotate_days")),
        "AwsIamAccessKeyNotRotated",
    )


def root_keys() -> Json:
    keys = q.per_account(q.ROOT_KEYS, HERE)
    expr = q.with_coverage(f"sum({keys})", keys, q.per_account(q.UP, HERE))
    return stat(
        6,
        "Root access keys",
        "Active access keys of root users. There should be none. Below the number: how many"
        " accounts it covers; of the others it is unknown.",
        [instant("count", expr, q.COVERAGE)],
        text="value_and_name",
        width=8,
        steps=ALARM_IF_ANY,
        links=runbooks("AwsIamRootAccessKeyPresent"),
    )


def total(
    panel_id: int,
    title: str,
    description: str,
    expr: str,
    *,
    steps: Steps = NEUTRAL,
    no_value: str = "unknown",
) -> Json:
    query = instant("count", expr)
    return stat(panel_id, title, description, [query], size=24, steps=steps, no_value=no_value)


def accounts() -> Json:
    expr = f"count({q.per_account(q.UP, HERE)})"
    return total(7, "Accounts", "Accounts that the exporter reads, with or without data.", expr)


def users() -> Json:
    return total(
        8,
        "Users",
        "IAM users of the accounts with data, of all teams, with or without keys.",
        f"sum({q.per_account(q.USERS, HERE)})",
    )


def active_keys() -> Json:
    return total(
        9,
        "Active keys",
        "Keys that can sign requests, of the accounts with data.",
        q.counted("access_keys_active"),
        no_value=NO_RULES,
    )


def inactive_keys() -> Json:
    return total(
        10,
        "Inactive keys",
        "Inactive or expired keys, of the accounts with data.",
        q.counted("access_keys_inactive"),
        no_value=NO_RULES,
    )


def exempt_keys() -> Json:
    return total(
        11,
        "Exempt keys",
        "Active keys that are exempt until a date; no finding includes them.",
        q.counted("access_keys_exempt"),
        no_value=NO_RULES,
    )


def unknown_keys() -> Json:
    return total(
        12,
        "Last use unknown",
        "Keys of all teams whose last use could not be read. They may be unused, but are not"
        " counted as unused.",
        f"sum({q.per_account(q.UNKNOWN_KEYS, HERE)})",
        steps=WARN_IF_ANY,
    )


# Accounts and trends


def failing_accounts() -> Json:
    failing = f"and on ({q.ACCOUNT_LABELS}) ({q.per_account(q.UP, HERE)} == 0)"
    status = value_mappings({"0": ("no data", "red"), "1": ("stale", "orange")})
    return table(
        13,
        "Failing accounts",
        "Accounts whose last refresh failed, or that have not been refreshed yet. Reason: the most"
        " frequent one in the last hour.",
        {
            "status": f"({q.data_status(HERE)}) {failing}",
            "age": f"{q.since_success(HERE)} {failing}",
            "reason": f"{q.main_failure(HERE, '1h')} {failing}",
        },
        [
            c.ACCOUNT_NAME,
            c.ACCOUNT_ID,
            column("Value #status", "Data status", colored=True, mappings=status, width=150),
            column("reason", "Reason", width=130, no_value=""),
            column(
                "Value #age",
                "Data age",
                unit="s",
                decimals=0,
                no_value="no success yet",
                filterable=False,
            ),
        ],
        sort="Data status",
        descending=False,
        width=14,
        no_value="none of the accounts that the exporter reads",
        drop=("job", "Value #reason"),
        links=runbooks("AwsIamExporterAccountDown"),
    )


def _fleet_total(name: str, *matchers: str) -> str:
    return f"sum({q.recorded(f'fleet_{name}', q.JOB, *matchers)})"


def trend() -> Json:
    active = _fleet_total("access_keys_active", q.TEAM)

    def finding(name: str, days: str) -> str:
        return f"{_fleet_total(f'access_keys_{name}', q.TEAM, days)} or 0 * {active}"

    return findings_trend(
        20,
        "Trend of all accounts",
        "Active keys and the findings among them, in all accounts, whichever are selected: for one"
        " account see its dashboard. Gaps: nothing was recorded.",
        active=active,
        unused=finding("unused", _at_least("$unused_days")),
        never_used=finding("never_used", _at_least("$never_used_days")),
        not_rotated=finding("old", _at_least("$rotate_days")),
        width=16,
    )


def trend_coverage() -> Json:
    return time_series(
        21,
        "Accounts covered by the trend",
        "If a count falls because accounts no longer have data, nothing was fixed: compare.",
        [
            target("accounts", _fleet_total("accounts"), "accounts"),
            target("with_data", _fleet_total("accounts_seen"), "with data"),
        ],
        width=8,
        no_value=NO_RULES,
        overrides=[
            override("accounts", color="text", fill_opacity=0),
            override("with data", color="blue"),
        ],
        decimals=0,
    )


def accounts_by_findings() -> Json:
    zero = f"0 * max by ({q.ACCOUNT_LABELS}) ({q.recorded('accounts_seen', HERE)})"

    def count(name: str, *matchers: str) -> str:
        """Count by account: 0 if there are no such keys, nothing if the account has no data."""
        keys = q.recorded(name, HERE, q.TEAM, *matchers)
        return f"(sum by ({q.ACCOUNT_LABELS}) ({keys}) or {zero})"

    def finding(ref: str, title: str, steps: Steps = WARN_IF_ANY) -> Column:
        return column(
            f"Value #{ref}",
            title,
            colored=True,
            steps=steps,
            width=110,
            no_value="?",
            filterable=False,
        )

    findings = {
        "unused": count("access_keys_unused", _at_least("$unused_days")),
        "never_used": count("access_keys_never_used", _at_least("$never_used_days")),
        "not_rotated": count("access_keys_old", _at_least("$rotate_days")),
    }
    status = value_mappings(
        {"0": ("no data", "red"), "1": ("stale", "orange"), "2": ("current", "text")}
    )
    return table(
        30,
        "Accounts by number of findings",
        "All accounts, those with the most findings first. A key can have several findings. ?:"
        " unknown, see the data status.",
        {
            "status": q.data_status(HERE),
            "keys": count("access_keys_active"),
            "findings": " + ".join(findings.values()),
            **findings,
            "root": q.per_account(q.ROOT_KEYS, HERE),
        },
        [
            c.ACCOUNT_NAME,
            c.ACCOUNT_ID,
            column("Value #status", "Data status", colored=True, mappings=status, width=110),
            column("Value #findings", "Findings", width=105, no_value="?", filterable=False),
            finding("unused", "Unused"),
            finding("never_used", "Never used"),
            finding("not_rotated", "Not rotated"),
            finding("root", "Root keys", ALARM_IF_ANY),
            column("Value #keys", "Active keys", width=110, no_value="?", filterable=False),
        ],
        sort="Findings",
        drop=("job",),
        paginate=True,
    )


# Keys


def deletable_keys() -> Json:
    idle_since = q.recorded("access_key_deletable", HERE, q.TEAM)
    why = value_mappings({"inactive": ("inactive", "blue"), "superseded": ("superseded", "orange")})
    return table(
        40,
        "Deletable keys, longest idle first",
        f"The {LIST_LENGTH} that have been idle for longest; since their creation, if they were"
        " never used. Superseded: the user's other key is in use. Deactivate, wait and watch, then"
        " delete, as the runbook describes. Without exempt keys.",
        {"idle": q.days_since(f"bottomk({LIST_LENGTH}, {idle_since})")},
        [
            c.HIDDEN_ACCOUNT_ID,
            c.ACCOUNT_NAME,
            c.USER,
            c.ACCESS_KEY,
            column("why", "Reason", colored=True, mappings=why, width=220),
            column("Value", "Idle (days)", decimals=0, width=125, filterable=False),
            c.TEAM,
        ],
        sort="Idle (days)",
        width=24,
        drop=("job",),
        no_value="none, or the rules are not loaded",
        links=runbooks("AwsIamAccessKeySafeToDelete", "AwsIamAccessKeyInactiveNotDeleted"),
    )


def longest_idle_keys() -> Json:
    # Replicas can only disagree about the service and region of keys that were used just now.
    age = q.active(f"{q.select(q.LAST_USED_AGE, HERE)} >= {q.DAY}", HERE)
    seconds = f"max by ({q.KEY_LABELS}, service, region) ({age})"
    return table(
        41,
        "Longest idle active keys",
        f"The {LIST_LENGTH} active keys with the earliest last use, and its service and region."
        " Includes exempt keys, but not keys that were never used, or used within a day.",
        {"idle": f"topk({LIST_LENGTH}, {seconds} / {q.DAY})"},
        [
            c.HIDDEN_ACCOUNT_ID,
            NARROW_ACCOUNT_NAME,
            c.USER,
            c.days("Value", "Idle (days)"),
            c.ACCESS_KEY,
            c.SERVICE,
            c.REGION,
        ],
        sort="Idle (days)",
        width=13,
        drop=("job",),
        links=runbooks("AwsIamAccessKeyUnused"),
    )


def oldest_keys() -> Json:
    created = q.active(f"{q.select(q.CREATED, HERE)} < {q.days_ago(30)}", HERE)
    return table(
        42,
        "Oldest active keys",
        f"The {LIST_LENGTH} active keys that were created first, at least 30 days ago. Includes"
        " exempt keys.",
        {"age": q.days_since(f"bottomk({LIST_LENGTH}, max by ({q.KEY_LABELS}) ({created}))")},
        [
            c.HIDDEN_ACCOUNT_ID,
            NARROW_ACCOUNT_NAME,
            c.USER,
            c.days("Value", "Age (days)"),
            c.ACCESS_KEY,
        ],
        sort="Age (days)",
        width=11,
        drop=("job",),
        links=runbooks("AwsIamAccessKeyNotRotated"),
    )


# Distributions


def _recorded_total(name: str, *matchers: str) -> str:
    """The sum of recorded counts: 0 if accounts with data have no such keys."""
    keys = q.recorded(name, HERE, q.TEAM, *matchers)
    return f"(sum({keys}) or 0 * sum({q.recorded('accounts_seen', HERE)}))"


def _buckets(name: str) -> list[Json]:
    """One query per age bucket, from cumulative counts."""
    queries = []
    bounds = zip(AGE_BUCKETS, (*AGE_BUCKETS[1:], None), strict=True)
    for index, (low, high) in enumerate(bounds):
        expr = _recorded_total(name, _at_least(low))
        if high is None:
            legend = f"{low} d +"
        else:
            legend = f"{low}-{high} d" if low else f"< {high} d"
            expr += f" - {_recorded_total(name, _at_least(high))}"
        queries.append(instant(f"bucket{index}", expr, legend))
    return queries


def keys_by_idle_time() -> Json:
    return bar_gauge(
        50,
        "Keys by idle time",
        "Active keys by the days since their last use. Never used is not the same as unknown."
        + BUCKETS_NOTE,
        [
            *_buckets("access_keys_unused"),
            instant(
                "never_used", _recorded_total("access_keys_never_used", _at_least(0)), "never used"
            ),
            instant("unknown", _recorded_total("access_keys_unknown"), "unknown"),
        ],
        overrides=[
            *OLD_BUCKETS,
            override("never used", color="purple"),
            override("unknown", color="text"),
        ],
    )


def keys_by_age() -> Json:
    return bar_gauge(
        51,
        "Keys by age",
        "Active keys by the days since their creation." + BUCKETS_NOTE,
        _buckets("access_keys_old"),
        overrides=OLD_BUCKETS,
    )


def _top_10(label: str) -> Json:
    keys = q.recorded(f"access_keys_by_{label}", HERE, q.TEAM)
    expr = f"sort_desc(topk(10, sum by ({label}) ({keys})))"
    return instant(label, expr, f"{{{{{label}}}}}")


def keys_by_service() -> Json:
    return bar_gauge(
        52,
        "Keys by last used service",
        "Active keys by the service of their last use: the ten most frequent.",
        [_top_10("service")],
    )


def keys_by_region() -> Json:
    return bar_gauge(
        53,
        "Keys by last used region",
        "Active keys by the region of their last use: the ten most frequent. N/A: a service"
        " without regions.",
        [_top_10("region")],
    )


def fleet() -> Json:
    alerts = firing_alerts(14, "Alerts about all accounts and teams.", width=10)
    panels = grid(
        (4, [accounts_without_current_data(), deletable_count(), unused_count()]),
        (4, [never_used_count(), not_rotated_count(), root_keys()]),
        (
            3,
            [
                accounts(),
                users(),
                active_keys(),
                inactive_keys(),
                exempt_keys(),
                unknown_keys(),
            ],
        ),
        (7, [failing_accounts(), alerts]),
        row(100, "Over time"),
        (8, [trend(), trend_coverage()]),
        row(101, "Where to start"),
        (9, [accounts_by_findings()]),
        (7, [deletable_keys()]),
        (11, [longest_idle_keys(), oldest_keys()]),
        row(102, "Distribution"),
        (7, [keys_by_idle_time(), keys_by_age()]),
        (9, [keys_by_service(), keys_by_region()]),
    )
    return dashboard(
        FLEET,
        "AWS IAM keys / Fleet",
        "All access keys of all accounts: findings, keys that can be deleted, and accounts without"
        " data.",
        [v.DATASOURCE, v.JOBS, v.ACCOUNTS, v.TEAMS, *v.LIMITS],
        panels,
        start="now-90d",
    )
