"""The account dashboard: the keys of one account, their trend, and how current the data is."""

from collections.abc import Sequence

from grafana import columns as c
from grafana import queries as q
from grafana import states
from grafana import variables as v
from grafana.fields import (
    ALARM_IF_ANY,
    DATA_AGE,
    NEUTRAL,
    TROUBLE,
    WARN_IF_ANY,
    Json,
    link,
    override,
    value_mappings,
)
from grafana.key_table import key_table
from grafana.layout import dashboard, grid, row
from grafana.links import ACCOUNT, LIMITS, SOURCE_AND_TIME, runbooks, to_exporter
from grafana.panels import instant, stat, state_timeline, target, time_series
from grafana.recent_events import recent_events
from grafana.shared_panels import (
    NO_EXPORTER_LINE,
    findings_trend,
    firing_alerts,
    no_exporter,
)

HERE = q.ONE_ACCOUNT
KEYS = q.ACCOUNT_USERS
NOT_SCRAPED = "not scraped in this time range"


# The account


def data_status() -> Json:
    status = f"max({q.data_status(HERE)})"
    success = f"max({q.select(q.LAST_SUCCESS, HERE)})"
    return stat(
        1,
        "Data status",
        "Current: the last refresh succeeded completely. Stale: it failed, and the data is that of"
        " the last successful one. Incomplete: no refresh has succeeded completely yet. No data:"
        " nothing is known, or not the keys of all users.",
        [
            instant(
                "status",
                states.either(
                    f"{status} + 2 and ({status} == 1 and {success} == 0)",
                    f"{status} > 0",
                    *states.account_states(HERE).values(),
                    status,
                ),
            )
        ],
        mappings=states.mappings(
            {
                "0": ("no data", "red"),
                "1": ("stale", "orange"),
                "2": ("current", "green"),
                "3": ("incomplete", "orange"),
            }
        ),
        links=runbooks("AwsIamExporterAccountDown", "AwsIamExporterAccountStale"),
        data_links=[to_exporter()],
        size=28,
    )


def failure_reason() -> Json:
    """The reason as the name of the series, its color as the value."""
    failures = q.select(q.FAILURES, HERE)
    reasons = [
        f"topk(1, max by (reason) (increase({failures}[{window}])) > 0)" for window in ("1h", "1d")
    ]
    up = f"max({q.select(q.UP, HERE)})"
    shown = states.either(
        q.labeled(f"0 * ({up} == 1)", "reason", "none"),
        *states.named(states.account_states(HERE), "reason"),
        f"0 * ({states.either(*reasons)}) + 1",
        q.labeled(f"0 * {up} + 1", "reason", states.NOT_COUNTED.text),
    )
    return stat(
        26,
        "Failure reason",
        "Why the last refresh failed: the most frequent reason of the last hour, otherwise of the"
        " last day. None: it succeeded completely.",
        [instant("reason", shown, "{{reason}}")],
        steps=WARN_IF_ANY,
        mappings=states.MAPPINGS,
        width=6,
        text="name",
        links=runbooks("AwsIamExporterAccountDown"),
        size=22,
    )


def data_age() -> Json:
    success = q.select(q.LAST_SUCCESS, HERE)
    age = states.either(
        f"min({q.since_success(HERE)})",
        *states.account_states(HERE).values(),
        states.state(states.NEVER, f"max({success}) == 0"),
    )
    return stat(
        2,
        "Data age",
        "Time since the last refresh that succeeded completely began. Never: there was none yet.",
        [instant("age", age)],
        unit="s",
        decimals=0,
        steps=DATA_AGE,
        mappings=states.MAPPINGS,
        size=28,
    )


def root_keys() -> Json:
    return stat(
        4,
        "Root keys",
        "Active access keys of the root user. There should be none.",
        [instant("root", states.or_account_state(f"max({q.select(q.ROOT_KEYS, HERE)})", HERE))],
        steps=ALARM_IF_ANY,
        mappings=states.mappings({"0": ("none", "text")}),
        links=runbooks("AwsIamRootAccessKeyPresent"),
        size=28,
    )


def root_last_used() -> Json:
    report = f"max({q.select('aws_iam_exporter_account_report_timestamp_seconds', HERE)})"

    def used(credential: str) -> str:
        last_used = q.select(q.ROOT_LAST_USED, HERE, f'credential="{credential}"')
        return states.either(
            f"1000 * max({last_used})",
            *states.account_states(HERE).values(),
            states.state(states.NEVER, report),
            states.state(states.UNKNOWN, "vector(0)"),
        )

    return stat(
        5,
        "Root user last used",
        "Last use of the root user's password and access key, from the credential report, which is"
        " up to 4 hours old.",
        [
            instant("password", used("password"), "password"),
            instant("access_key", used("access_key"), "access key"),
        ],
        width=6,
        unit="dateTimeFromNow",
        mappings=states.MAPPINGS,
        text="value_and_name",
        side_by_side=True,
        size=18,
        links=runbooks("AwsIamRootUsed"),
    )


# Counts


def to_list(name: str) -> Json:
    """Link to this dashboard with the keys called *name* in `lists` in its table."""
    kept = f"{SOURCE_AND_TIME}&{LIMITS}&${{account_id:queryparam}}&${{team:queryparam}}"
    return link("List them", f"/d/{ACCOUNT}?{kept}&var-listed={name.replace(' ', '%20')}")


def counted(family: str, days: str = "") -> str:
    """Sum a count of the account's keys: 0 if it only has keys of other teams."""
    limit = q.at_least(days) if days else ""
    return states.either(
        q.total(family, HERE, q.TEAM, limit),
        f"0 * {q.total(family, HERE, limit)}",
        *states.account_states(HERE).values(),
    )


def with_note(number: str, *, uses: bool) -> str:
    """
    Say in the label ``note`` whether *number* is a lower bound.

    Args:
        uses: Whether it depends on the last use of the keys.
    """
    if uses:
        unknown = f'count_values("unknown", {q.total(q.COUNT_UNKNOWN, HERE)})'
        some = f'label_replace({unknown}, "note", "at least ($1 unknown)", "unknown", "(.+)")'
        complete = f'label_replace({some}, "note", " ", "unknown", "0")'
    else:
        complete = q.labeled(f"max({q.select(q.KEYS, HERE)}) >= bool 0", "note", " ")
    incomplete = q.labeled("vector(1)", "note", "at least (some keys unknown)")
    note = states.either(complete, incomplete)
    known = f"(({number}) >= 0) * on () group_left (note) ({note})"
    return states.either(known, q.labeled(f"({number})", "note", " "))


def key_count(
    panel_id: int,
    title: str,
    description: str,
    number: str,
    shown: str,
    *,
    alerts: Sequence[str] = (),
    width: int = 6,
) -> Json:
    """
    Count keys.

    Args:
        shown: The list to link to.
    """
    return stat(
        panel_id,
        title,
        description + " Unknown while the account has no data.",
        [instant("count", number, "{{note}}")],
        width=width,
        steps=WARN_IF_ANY if alerts else NEUTRAL,
        mappings=states.MAPPINGS,
        links=runbooks(*alerts),
        data_links=[to_list(shown)],
        text="value_and_name",
        size=28,
    )


def active_keys() -> Json:
    active = q.total(q.KEYS, HERE, q.ACTIVE)
    return key_count(
        7,
        "Active keys",
        "Keys that can sign requests, of all teams, exempt or not.",
        with_note(states.or_account_state(active, HERE), uses=False),
        "active",
    )


def unused_keys() -> Json:
    return key_count(
        8,
        "Unused for $unused_days days",
        "Active keys that were used, but not in the last $unused_days days. Without exempt keys.",
        with_note(counted(q.COUNT_IDLE, "$unused_days"), uses=True),
        "unused",
        alerts=["AwsIamAccessKeyUnused"],
    )


def never_used_keys() -> Json:
    return key_count(
        9,
        "Never used in $never_used_days days",
        "Active keys that were created at least $never_used_days days ago and never used. Without"
        " exempt keys.",
        with_note(counted(q.COUNT_NEVER_USED, "$never_used_days"), uses=True),
        "never used",
        alerts=["AwsIamAccessKeyNeverUsed"],
    )


def not_rotated_keys() -> Json:
    return key_count(
        10,
        "Not rotated in $rotate_days days",
        "Active keys that were created at least $rotate_days days ago. Without exempt keys.",
        with_note(counted(q.COUNT_AGE, "$rotate_days"), uses=False),
        "not rotated",
        alerts=["AwsIamAccessKeyNotRotated"],
    )


def deletable_keys() -> Json:
    everywhere = q.total(q.COUNT_IDLE, HERE, q.at_least("$unused_days"))
    number = states.or_account_state(
        f"count({deletable(HERE)}) or 0 * {everywhere}",
        HERE,
    )
    return key_count(
        11,
        "Deletable keys",
        f"Keys that have been inactive for {q.INACTIVE_DAYS} days and idle for"
        f" {q.INACTIVE_IDLE_DAYS}, and active keys that had been idle for {q.SUPERSEDED_DAYS} days"
        " when the user's other key was last used. Without exempt keys.",
        with_note(number, uses=True),
        "deletable",
        alerts=["AwsIamAccessKeySafeToDelete", "AwsIamAccessKeyInactiveNotDeleted"],
    )


def unknown_keys() -> Json:
    every_status = f"max({q.select(q.UNKNOWN_KEYS, HERE)})"
    return key_count(
        3,
        "Last use unknown",
        "Active keys whose last use could not be read. They may be unused, but are not counted as"
        " unused. Without exempt keys.",
        with_note(states.either(counted(q.COUNT_UNKNOWN), every_status), uses=False),
        "unknown",
        alerts=["AwsIamExporterAccountDown"],
    )


def exempt_keys() -> Json:
    return key_count(
        27,
        "Exempt keys",
        "Active keys that are exempt from findings, by their user's tag or by the configuration.",
        with_note(counted(q.COUNT_EXEMPT), uses=False),
        "exempt",
        width=4,
    )


def users() -> Json:
    return stat(
        6,
        "Users",
        "IAM users of all teams, with or without keys, and those of them who have two active keys."
        " Unknown while the account has no data.",
        [
            instant(ref, states.or_account_state(f"max({q.select(family, HERE)})", HERE), legend)
            for ref, family, legend in (
                ("count", q.USERS, "users"),
                ("two", q.TWO_ACTIVE_KEYS, "two active keys"),
            )
        ],
        width=8,
        mappings=states.MAPPINGS,
        text="value_and_name",
        side_by_side=True,
        links=runbooks("AwsIamUserHasTwoActiveKeys"),
        data_links=[to_list("two active keys")],
        size=18,
    )


# The list


def deletable(where: str) -> str:
    return f"({q.inactive(where)}) or ({q.superseded(where)})"


def _active(where: str, *families: str) -> str:
    keys = q.only_active(q.select(q.CREATED, where), where, team=True)
    known = "".join(f" unless on ({q.KEY_LABELS}) {q.select(each, where)}" for each in families)
    return f"max by ({q.KEY_LABELS}) ({keys}{known})"


def lists(where: str) -> dict[str, str]:
    """What the table can list: expressions that have a result for each of the keys."""
    active = _active(where)
    two = f"count by ({q.USER_LABELS}) ({active}) > 1"
    return {
        "all": f"max by ({q.KEY_LABELS}) ({q.only_team(q.select(q.CREATED, where), where)})",
        "active": active,
        "unused": q.unused(where),
        "never used": q.never_used(where),
        "not rotated": q.not_rotated(where),
        "deletable": deletable(where),
        "unknown": f"{_active(where, q.NEVER_USED)} {q.not_exempt(where)}",
        "exempt": f"{active} and on ({q.KEY_LABELS}) ({q.select(q.EXEMPT_UNTIL, where)} > time())",
        "two active keys": f"{active} and on ({q.USER_LABELS}) ({two})",
    }


def listed(where: str) -> str:
    """The keys of the list that is chosen."""
    every = " or ".join(
        q.labeled(f"({keys})", "listed", name) for name, keys in lists(where).items()
    )
    chosen = q.labeled("vector(1)", "listed", "$listed")
    return f"({every}) and on (listed) {chosen}"


LISTED: Json = {
    "name": "listed",
    "label": "Keys listed",
    "type": "custom",
    "query": ",".join(lists("")),
    "current": {"text": "all", "value": "all"},
    "allowCustomValue": False,
}


def events() -> Json:
    return recent_events(
        28,
        "Keys that were used again after a long time, used for the first time, or used for a"
        " service or in a region that is new for them; new keys; uses of root.",
        HERE,
        root=True,
        missing=states.list_states(HERE),
        columns=[c.HIDDEN_ACCOUNT_ID, c.ACCESS_KEY, c.USER, c.TEAM, c.OWNER],
    )


def keys() -> Json:
    return key_table(
        12,
        "Access keys: $listed",
        'The keys of the selected users and teams; "Keys listed" above, and the numbers, select'
        " which of them. Idle: days since the last use, or since the creation if the key was never"
        " used. Service and region are those of the last use. Superseded: by how much the last use"
        " of the user's other key is later.",
        KEYS,
        only=listed(KEYS),
        missing=states.list_states(HERE),
        paginate=True,
    )


# Over time


def trend() -> Json:
    return findings_trend(
        20,
        "Trend",
        "Active keys and the findings among them, without exempt keys. Gaps: not scraped, or"
        " unknown.",
        active=q.total(q.COUNT_AGE, HERE, q.TEAM, q.at_least(0)),
        unused=q.total(q.COUNT_IDLE, HERE, q.TEAM, q.at_least("$unused_days")),
        never_used=q.total(q.COUNT_NEVER_USED, HERE, q.TEAM, q.at_least("$never_used_days")),
        not_rotated=q.total(q.COUNT_AGE, HERE, q.TEAM, q.at_least("$rotate_days")),
        unknown=q.total(q.COUNT_UNKNOWN, HERE, q.TEAM),
        width=12,
    )


# Refreshes


def refresh_status() -> Json:
    usable = q.select("aws_iam_exporter_account_report_usable", HERE)
    return state_timeline(
        22,
        "Refresh and credential report status",
        "Refresh: red while the last refresh had failed, or there was none yet. Report: red while"
        " the credential report could not be used and users were read one by one, which takes more"
        " requests; absent if no report is requested. Gaps: not scraped.",
        [
            target("up", f"max({q.select(q.UP, HERE)})", "refresh"),
            target("report", f"max({usable})", "report"),
            no_exporter(),
        ],
        mappings=value_mappings({"0": ("failed", "red"), "1": ("succeeded", "green")}),
        no_value=NOT_SCRAPED,
    )


def refresh_duration() -> Json:
    return time_series(
        23,
        "Refresh duration",
        "Duration of the last refresh, as a share of the interval. One that takes longer than the"
        " interval delays the next.",
        [
            target(
                "duration",
                f"max({q.select(q.REFRESH_DURATION, HERE)})"
                f" / max({q.select(q.REFRESH_INTERVAL, q.JOB)})",
                "share of the interval",
            ),
            no_exporter(),
        ],
        unit="percentunit",
        overrides=[override("share of the interval", color="blue"), NO_EXPORTER_LINE],
        links=runbooks("AwsIamExporterRefreshSlow"),
        no_value="no refresh in this time range",
    )


def failed_refreshes() -> Json:
    failures = f"increase({q.select(q.FAILURES, HERE)}[$__interval])"
    return time_series(
        24,
        "Failed refreshes by reason",
        "Refreshes that did not succeed completely, by their first reason: how many in each"
        " interval of at least 30 minutes. The last interval is drawn once it is over; the reason"
        " of a failure now is at the top.",
        [
            target(
                "failures", f"max by (reason) ({failures}) > 0", "{{reason}}", min_interval="30m"
            ),
            # So that "no failure" is not taken for "not scraped".
            target("none", f"sum({failures}) == 0", "no failure", min_interval="30m"),
            no_exporter(),
        ],
        bars=True,
        stack=True,
        legend_calcs=["sum"],
        decimals=0,
        no_value=NOT_SCRAPED,
        color=TROUBLE,
        overrides=[override("no failure", color="text"), NO_EXPORTER_LINE],
        axis_soft_max=4,
        links=runbooks("AwsIamExporterAccountDown"),
    )


def throttling() -> Json:
    throttles = f"increase({q.select(q.THROTTLES, HERE)}[$__interval])"
    return time_series(
        25,
        "Throttled requests",
        "Requests that AWS rejected because we, or others, sent too many: how many in each interval"
        " of at least 30 minutes.",
        [
            target("throttles", f"max({throttles})", "throttled requests", min_interval="30m"),
            no_exporter(),
        ],
        bars=True,
        legend_calcs=["sum"],
        decimals=0,
        no_value=NOT_SCRAPED,
        overrides=[override("throttled requests", color="orange"), NO_EXPORTER_LINE],
        axis_soft_max=4,
        links=runbooks("AwsIamExporterThrottled"),
    )


def account() -> Json:
    alerts = firing_alerts(
        21, "Alerts about this account.", matchers=['account_id="$account_id"'], width=12
    )
    panels = grid(
        (4, [data_status(), failure_reason(), data_age(), root_keys(), root_last_used()]),
        (3, [active_keys(), unused_keys(), never_used_keys(), not_rotated_keys()]),
        (3, [deletable_keys(), unknown_keys(), exempt_keys(), users()]),
        (5, [events()]),
        (14, [keys()]),
        row(100, "Over time"),
        (8, [trend(), alerts]),
        row(101, "Refreshes"),
        (6, [refresh_status(), refresh_duration()]),
        (7, [failed_refreshes(), throttling()]),
    )
    return dashboard(
        ACCOUNT,
        "AWS IAM keys / Account",
        "One account: its keys, their trend, and how current the data is.",
        [v.DATASOURCE, v.JOBS, v.ACCOUNT, v.teams(HERE), LISTED, v.USERS, *v.LIMITS],
        panels,
        start="now-7d",
    )
