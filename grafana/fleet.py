"""The fleet dashboard: what is not known, what happened, findings, and where to start."""

from grafana import columns as c
from grafana import key_lists as lists
from grafana import queries as q
from grafana import states
from grafana import variables as v
from grafana.fields import (
    ALARM_IF_ANY,
    GOOD_IF_NONE,
    NEUTRAL,
    UNKNOWN_ROWS,
    WARN_IF_ANY,
    Column,
    Json,
    Steps,
    column,
    override,
    regex_mapping,
    value_mappings,
)
from grafana.layout import dashboard, grid, row
from grafana.links import FLEET, runbooks, to_exporter, to_list, to_team
from grafana.panels import bar_gauge, instant, stat, table, target, time_series
from grafana.shared_panels import (
    NO_EXPORTER_LINE,
    NOTHING_DRAWN,
    findings_trend,
    firing_alerts,
    no_exporter,
)

HERE = q.FLEET
STALE_STEPS: Steps = ((None, "text"), (0, "green"), (1, "orange"))

TREND_POINTS = 180
"""Prometheus reads only the samples near these points: months of all accounts are many."""

AGE_BUCKETS = (0, 1, 7, 30, 90, 365)
"""Lower bounds in days."""
OLD_BUCKETS = [override("90-365 d", color="orange"), override("365 d +", color="red")]


def here(family: str, *matchers: str) -> str:
    """The sum of counts of the chosen accounts and teams."""
    return q.total(family, HERE, q.TEAM, *matchers)


# What is not known


def accounts_without_current_data() -> Json:
    up = q.select(q.UP, HERE)
    running = f"on (job) group by (job) ({q.select(q.BUILD_INFO, q.JOB)})"
    down = f"count((up{{{q.JOB}}} == 0) and {running}) or 0 * count({up})"
    return stat(
        1,
        "Accounts without current data",
        "No data: accounts of which nothing, or not everything, is known; no number on this"
        " dashboard covers them. Stale: accounts whose last refresh failed; their data is as old as"
        " their last successful refresh. Not scraped: of several exporters, those that Prometheus"
        " cannot scrape; their accounts are missing unless another exporter reads them.",
        [
            instant("no_data", q.or_no_exporter(q.count_or_zero(q.no_data(HERE), up)), "no data"),
            instant("stale", q.count_or_zero(q.stale(HERE), up), "stale"),
            instant("down", down, "not scraped"),
        ],
        text="value_and_name",
        width=9,
        side_by_side=True,
        steps=GOOD_IF_NONE,
        overrides=[override("stale", steps=STALE_STEPS)],
        links=runbooks("AwsIamExporterAccountDown", "AwsIamExporterDown"),
        data_links=[to_exporter()],
    )


def failing_accounts() -> Json:
    failing = f"and on ({q.ACCOUNT_LABELS}) ({q.per_account(q.UP, HERE)} == 0)"
    reason = q.main_failure(HERE, "1h")
    uncounted = f"{q.per_account(q.UP, HERE)} unless on ({q.ACCOUNT_LABELS}) {reason}"
    read = f"on ({q.ACCOUNT_LABELS}) {q.select(q.REFRESH_DURATION, HERE)}"
    not_read = q.labeled(f"({uncounted} unless {read})", "reason", states.NOT_READ.text)
    not_counted = q.labeled(f"({uncounted} and {read})", "reason", states.NOT_COUNTED.text)
    no_success = f"{q.per_account(q.LAST_SUCCESS, HERE)} == 0"
    status = value_mappings({"0": ("no data", "red"), "1": ("stale", "orange")})
    return table(
        13,
        "Failing accounts",
        "Accounts whose last refresh failed, or that have not been refreshed yet. Reason: the most"
        " frequent one in the last hour.",
        {
            "status": f"({q.data_status(HERE)}) {failing}",
            "age": (
                f"({q.since_success(HERE)} or ({no_success}) + {states.NO_SUCCESS.value}) {failing}"
            ),
            "reason": f"({reason} or {not_counted} or {not_read}) {failing}",
        },
        [
            c.HIDDEN_ACCOUNT_ID,
            c.ACCOUNT_NAME,
            column("Value #status", "Data status", colored=True, mappings=status, width=125),
            column("reason", "Reason", width=130),
            column(
                "Value #age",
                "Since last success",
                unit="s",
                decimals=0,
                colored=True,
                mappings=states.MAPPINGS,
                width=150,
                filterable=False,
            ),
        ],
        sort="Data status",
        descending=False,
        width=15,
        no_value="none of the accounts that the exporter reads",
        drop=("job", "Value #reason"),
        unknown=q.labeled(q.NO_EXPORTER, "account", q.NO_EXPORTER_TEXT),
        links=runbooks("AwsIamExporterAccountDown"),
    )


# What happened


def events() -> Json:
    what = [
        regex_mapping("^(account root: .*|awakened)$", "red"),
        regex_mapping("^(first use)$", "orange"),
    ]
    return table(
        17,
        "What happened in the last day",
        "Keys that were used again after a long time, used for the first time, or used for a"
        " service or in a region for the first time since the exporter watches them; new keys; uses"
        " of root. When: of the use; of a new key, when it was noticed. After: how long the key was"
        " provably idle, or how old it was at its first use. Of all teams.",
        {
            "at": f"1000 * ({q.events(HERE)} or {q.root_uses(HERE)})",
            "after": f"{q.lengths(HERE)} / {q.DAY}",
            "tags": q.tags_of(q.noticed(HERE), HERE),
        },
        [
            column("what", "What", colored=True, mappings=what, width=170),
            column("Value #at", "When", unit="dateTimeFromNow", width=120),
            column("Value #after", "After (days)", decimals=0, width=100, filterable=False),
            c.USER,
            c.ACCESS_KEY,
            c.ACCOUNT_NAME,
            c.OWNER,
            c.HIDDEN_ACCOUNT_ID,
        ],
        # By importance, which is the order of the alphabet.
        sort="What",
        descending=False,
        then="When",
        no_value="nothing",
        drop=("job", "tag_team", "Value #tags"),
        unknown=q.unknown_rows(HERE, uses=True),
        links=runbooks("AwsIamAccessKeyAwakened", "AwsIamAccessKeyFirstUse", "AwsIamRootUsed"),
    )


# Numbers


def finding_count(
    panel_id: int,
    title: str,
    description: str,
    number: str,
    list_id: int,
    *alerts: str,
    known: str = "",
    steps: Steps = WARN_IF_ANY,
) -> Json:
    return stat(
        panel_id,
        title,
        f"{description} The text says which accounts that covers.",
        [instant("count", q.with_coverage(number, HERE, known=known), q.COVERAGE)],
        text="value_and_name",
        size=36,
        steps=steps,
        data_links=[to_list("List them", list_id), *runbooks(*alerts)],
    )


def deletable_count() -> Json:
    found = f"({q.superseded(HERE)} or {q.inactive(HERE)})"
    return finding_count(
        2,
        "Deletable",
        lists.DELETABLE_NOTE,
        q.count_or_zero(found, q.covered(HERE)),
        lists.DELETABLE,
        "AwsIamAccessKeySafeToDelete",
        "AwsIamAccessKeyInactiveNotDeleted",
    )


def unused_count() -> Json:
    return finding_count(
        3,
        "Unused",
        "Active keys that were used, but not in the last $unused_days days. Without exempt keys.",
        here(q.COUNT_IDLE, q.at_least("$unused_days")),
        lists.IDLE,
        "AwsIamAccessKeyUnused",
    )


def never_used_count() -> Json:
    return finding_count(
        4,
        "Never used",
        "Active keys that were created at least $never_used_days days ago and, according to AWS,"
        " never used. Without exempt keys.",
        here(q.COUNT_NEVER_USED, q.at_least("$never_used_days")),
        lists.IDLE,
        "AwsIamAccessKeyNeverUsed",
    )


def not_rotated_count() -> Json:
    return finding_count(
        5,
        "Not rotated",
        "Active keys that were created at least $rotate_days days ago. Without exempt keys.",
        here(q.COUNT_AGE, q.at_least("$rotate_days")),
        lists.NOT_ROTATED,
        "AwsIamAccessKeyNotRotated",
        known=q.per_account(q.KEYS, HERE),
    )


def two_active_count() -> Json:
    return finding_count(
        15,
        "Two active",
        "Users with two active keys: one is enough, except during a rotation. Of all teams.",
        f"sum({q.per_account(q.TWO_ACTIVE_KEYS, HERE)})",
        lists.TWO_ACTIVE,
        "AwsIamUserHasTwoActiveKeys",
        known=q.per_account(q.TWO_ACTIVE_KEYS, HERE),
    )


def root_keys() -> Json:
    keys = q.per_account(q.ROOT_KEYS, HERE)
    return finding_count(
        6,
        "Root keys",
        "Active access keys of root users. There should be none.",
        f"sum({keys})",
        lists.ROOT,
        "AwsIamRootAccessKeyPresent",
        known=keys,
        steps=ALARM_IF_ANY,
    )


def numbers(
    panel_id: int, title: str, description: str, exprs: dict[str, tuple[str, int]], width: int
) -> Json:
    """Numbers by name, each from an expression, with the ID of the list that it leads to."""
    return stat(
        panel_id,
        title,
        description,
        [
            instant(f"number{index}", q.or_unknown(expr), name)
            for index, (name, (expr, _)) in enumerate(exprs.items())
        ],
        text="value_and_name",
        side_by_side=True,
        width=width,
        size=22,
        overrides=[
            override(name, links=[to_list("List them", list_id)])
            for name, (_, list_id) in exprs.items()
        ],
    )


def share() -> Json:
    return stat(
        16,
        "No finding",
        "The share of active, not exempt keys that are neither unused, nor never used, nor not"
        " rotated. At least: keys of unknown last use count as findings.",
        [instant("share", q.or_unknown(q.share(q.without_finding(here), here)), "of active keys")],
        text="value_and_name",
        unit="percentunit",
        decimals=0,
        size=22,
        data_links=[to_list("List the accounts", lists.ACCOUNTS)],
    )


def accounts_and_users() -> Json:
    return numbers(
        7,
        "Accounts and users",
        "Accounts that the exporter reads, with or without data, and the IAM users of those with"
        " data, of all teams, with or without keys.",
        {
            "accounts": (f"count({q.per_account(q.UP, HERE)})", lists.ACCOUNTS),
            "users": (f"sum({q.per_account(q.USERS, HERE)})", lists.ACCOUNTS),
        },
        6,
    )


def keys() -> Json:
    def with_status(status: str) -> str:
        by_status = f"max by ({q.ACCOUNT_LABELS}, status) ({q.select(q.KEYS, HERE, status)})"
        return f"sum({by_status})"

    week = here(q.COUNT_AGE, q.at_least(q.NEW_DAYS))
    return numbers(
        9,
        "Keys",
        "Of the accounts with data. Active and inactive: of all teams. Exempt: active keys that are"
        " exempt until a date; no finding includes them. Use unknown: active keys whose last use"
        " could not be read; they may be unused, but are not counted as unused. New: active keys"
        f" that were created less than {q.NEW_DAYS} days ago. The last two without exempt keys.",
        {
            "active": (with_status(q.ACTIVE), lists.ACCOUNTS),
            "inactive": (with_status(q.INACTIVE), lists.INACTIVE),
            "exempt": (here(q.COUNT_EXEMPT), lists.EXEMPT),
            "use unknown": (here(q.COUNT_UNKNOWN), lists.UNKNOWN),
            "new": (f"{here(q.COUNT_AGE, q.at_least(0))} - {week}", lists.NEW),
        },
        14,
    )


# Over time


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


# Accounts, teams and owners


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


# Distributions


def _no_exporter_bar() -> Json:
    return instant("no_exporter", q.NO_EXPORTER, q.NO_EXPORTER_TEXT)


def _buckets(family: str) -> list[Json]:
    """One query per age bucket, from cumulative counts."""
    queries = []
    bounds = zip(AGE_BUCKETS, (*AGE_BUCKETS[1:], None), strict=True)
    for index, (low, high) in enumerate(bounds):
        expr = here(family, q.at_least(low))
        if high is None:
            legend = f"{low} d +"
        else:
            legend = f"{low}-{high} d" if low else f"< {high} d"
            expr += f" - {here(family, q.at_least(high))}"
        queries.append(instant(f"bucket{index}", expr, legend))
    return queries


def keys_by_idle_time() -> Json:
    never_used = here(q.COUNT_NEVER_USED, q.at_least(0))
    return bar_gauge(
        50,
        "Keys by idle time",
        "Active keys by the days since their last use. Never used is not the same as unknown."
        " Without exempt keys.",
        [
            *_buckets(q.COUNT_IDLE),
            instant("never_used", never_used, "never used"),
            instant("unknown", here(q.COUNT_UNKNOWN), "unknown"),
            _no_exporter_bar(),
        ],
        overrides=[
            *OLD_BUCKETS,
            override("never used", color="purple"),
            override("unknown", color="text"),
        ],
        data_links=[to_list("List the unused and never used keys", lists.IDLE)],
    )


def keys_by_age() -> Json:
    return bar_gauge(
        51,
        "Keys by age",
        "Active keys by the days since their creation. Without exempt keys.",
        [*_buckets(q.COUNT_AGE), _no_exporter_bar()],
        overrides=OLD_BUCKETS,
        data_links=[to_list("List the keys that were not rotated", lists.NOT_ROTATED)],
    )


def _top_10(label: str) -> list[Json]:
    expr = f"sort_desc(topk(10, {q.counted_by(label, q.COUNT_USED_IN, HERE)}))"
    unknown = q.total(q.COUNT_UNKNOWN, HERE)
    unread = f"vector({q.UNKNOWN_VALUE}) unless {unknown} unless {q.NO_EXPORTER}"
    return [
        instant(label, expr, f"{{{{{label}}}}}"),
        instant("unknown", f"({unknown} > 0) or ({unread})", "unknown"),
        _no_exporter_bar(),
    ]


def keys_by_service() -> Json:
    return bar_gauge(
        52,
        "Keys by last used service",
        "Active keys by the service of their last use: the ten most frequent. With exempt keys, of"
        " all teams.",
        _top_10("service"),
        overrides=[override("unknown", color="text")],
        no_value="none",
    )


def keys_by_region() -> Json:
    return bar_gauge(
        53,
        "Keys by last used region",
        "Active keys by the region of their last use: the ten most frequent. N/A: a service"
        " without regions. With exempt keys, of all teams.",
        _top_10("region"),
        overrides=[override("unknown", color="text")],
        no_value="none",
    )


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
