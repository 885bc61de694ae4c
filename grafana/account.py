"""The account dashboard: the keys of one account, their trend, and how current the data is."""

from grafana import queries as q
from grafana import variables as v
from grafana.fields import (
    ALARM_IF_ANY,
    DATA_AGE,
    NEUTRAL,
    TROUBLE,
    WARN_IF_ANY,
    Json,
    override,
    value_mappings,
)
from grafana.layout import dashboard, grid, row
from grafana.links import ACCOUNT, runbooks, to_exporter
from grafana.panels import instant, stat, state_timeline, target, time_series
from grafana.shared_panels import findings_trend, firing_alerts, key_table

HERE = q.ONE_ACCOUNT
KEYS = q.ACCOUNT_USERS
ACTIVE_KEYS = q.active(q.per_key(q.CREATED, KEYS), KEYS)
UNKNOWN_NOTE = " Unknown while the account has no data."


# The account


def data_status() -> Json:
    texts = {"0": ("no data", "red"), "1": ("stale", "orange"), "2": ("current", "green")}
    return stat(
        1,
        "Data status",
        "Current: the last refresh succeeded completely. Stale: it failed, and the data is that of"
        " the last successful one. No data: nothing is known, or not the keys of all users.",
        [instant("status", f"max({q.data_status(HERE)})")],
        mappings=value_mappings(texts),
        no_value="no such account",
        links=runbooks("AwsIamExporterAccountDown", "AwsIamExporterAccountStale"),
        data_links=[to_exporter()],
    )


def data_age() -> Json:
    return stat(
        2,
        "Data age",
        "Time since the last refresh that succeeded completely began.",
        [instant("age", f"min({q.since_success(HERE)})")],
        unit="s",
        decimals=0,
        steps=DATA_AGE,
        no_value="no success yet",
    )


def unknown_keys() -> Json:
    return stat(
        3,
        "Last use unknown",
        "Keys whose last use could not be read. They may be unused, but are not counted as unused."
        + UNKNOWN_NOTE,
        [instant("unknown", f"max({q.select(q.UNKNOWN_KEYS, HERE)})")],
        steps=WARN_IF_ANY,
        mappings=value_mappings({"0": ("none", "text")}),
        size=28,
    )


def root_keys() -> Json:
    return stat(
        4,
        "Root access keys",
        "Active access keys of the root user. There should be none.",
        [instant("root", f"max({q.select(q.ROOT_KEYS, HERE)})")],
        steps=ALARM_IF_ANY,
        mappings=value_mappings({"0": ("none", "text")}),
        links=runbooks("AwsIamRootAccessKeyPresent"),
    )


def root_last_used() -> Json:
    last_used = q.select("aws_iam_account_root_last_used_timestamp_seconds", HERE)
    return stat(
        5,
        "Root user last used",
        "Last use of the root user's password and access key, from the credential report, which is"
        " up to 4 hours old.",
        [instant("used", f"1000 * max by (credential) ({last_used})", "{{credential}}")],
        width=8,
        unit="dateTimeFromNow",
        no_value="never used, or unknown",
        text="value_and_name",
        side_by_side=True,
        size=20,
        links=runbooks("AwsIamRootUsed"),
    )


# Counts


def key_count(panel_id: int, title: str, description: str, keys: str, *alerts: str) -> Json:
    """Count keys: 0 only if the keys of all users are known."""
    return stat(
        panel_id,
        title,
        description + UNKNOWN_NOTE,
        [instant("count", f"count({keys}) or 0 * max({q.select(q.KEYS, HERE)})")],
        width=8,
        steps=WARN_IF_ANY if alerts else NEUTRAL,
        links=runbooks(*alerts),
    )


def users() -> Json:
    return stat(
        6,
        "Users",
        "IAM users, with or without keys, whichever users and teams are selected." + UNKNOWN_NOTE,
        [instant("count", f"max({q.select(q.USERS, HERE)})")],
        width=8,
    )


def active_keys() -> Json:
    return key_count(7, "Active keys", "Keys that can sign requests.", ACTIVE_KEYS)


def unused_keys() -> Json:
    return key_count(
        8,
        "Unused for $unused_days days",
        "Active keys that were used, but not in the last $unused_days days. Without exempt keys.",
        q.unused(KEYS),
        "AwsIamAccessKeyUnused",
    )


def never_used_keys() -> Json:
    return key_count(
        9,
        "Never used in $never_used_days days",
        "Active keys that were created at least $never_used_days days ago and never used. Without"
        " exempt keys.",
        q.never_used(KEYS),
        "AwsIamAccessKeyNeverUsed",
    )


def not_rotated_keys() -> Json:
    return key_count(
        10,
        "Not rotated in $rotate_days days",
        "Active keys that were created at least $rotate_days days ago. Without exempt keys.",
        q.not_rotated(KEYS),
        "AwsIamAccessKeyNotRotated",
    )


def deletable_keys() -> Json:
    return key_count(
        11,
        "Deletable keys",
        "Inactive keys that have been idle for $unused_days days, and active keys that had been"
        f" idle for {q.SUPERSEDED_DAYS} days when the user's other key was last used. Without"
        " exempt keys.",
        f"({q.inactive(KEYS)}) or ({q.superseded(KEYS)})",
        "AwsIamAccessKeySafeToDelete",
        "AwsIamAccessKeyInactiveNotDeleted",
    )


def keys() -> Json:
    return key_table(
        12,
        "Access keys",
        "All keys of the selected users and teams, active or not, exempt or not. A key without idle"
        " days was never used, or its last use is unknown: see the usage. Service and region are"
        " those of the last use.",
        KEYS,
        team=q.TEAM,
        paginate=True,
    )


# Over time


def trend() -> Json:
    return findings_trend(
        20,
        "Trend",
        "Active keys and the findings among them. Gaps: not scraped, or unknown.",
        active=f"count({ACTIVE_KEYS})",
        unused=q.count_or_zero(q.unused(KEYS), ACTIVE_KEYS),
        never_used=q.count_or_zero(q.never_used(KEYS), ACTIVE_KEYS),
        not_rotated=q.count_or_zero(q.not_rotated(KEYS), ACTIVE_KEYS),
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
        " requests. Gaps: not scraped.",
        [
            target("up", f"max({q.select(q.UP, HERE)})", "refresh"),
            target("report", f"max({usable})", "report"),
        ],
        mappings=value_mappings({"0": ("failed", "red"), "1": ("succeeded", "green")}),
    )


def refresh_duration() -> Json:
    return time_series(
        23,
        "Refresh duration",
        "Duration of the last refresh. One that takes longer than the interval delays the next.",
        [
            target("duration", f"max({q.select(q.REFRESH_DURATION, HERE)})", "refresh"),
            target("interval", f"max({q.select(q.REFRESH_INTERVAL, q.JOB)})", "interval"),
        ],
        unit="s",
        overrides=[
            override("interval", color="text", dashed=True),
            override("refresh", color="blue"),
        ],
        links=runbooks("AwsIamExporterRefreshSlow"),
    )


def failed_refreshes() -> Json:
    failures = f"increase({q.select(q.FAILURES, HERE)}[$__rate_interval])"
    return time_series(
        24,
        "Failed refreshes by reason",
        "Refreshes that did not succeed completely, by their first reason.",
        [
            target(
                "failures", f"max by (reason) ({failures}) > 0", "{{reason}}", min_interval="30m"
            ),
        ],
        bars=True,
        stack=True,
        legend_calcs=["sum"],
        decimals=0,
        no_value="no failures counted",
        color=TROUBLE,
        links=runbooks("AwsIamExporterAccountDown"),
    )


def throttling_and_report_age() -> Json:
    throttles = f"increase({q.select(q.THROTTLES, HERE)}[$__rate_interval])"
    generated = q.select("aws_iam_exporter_account_report_timestamp_seconds", HERE)
    return time_series(
        25,
        "Throttled requests and credential report age",
        "Requests that AWS rejected because we, or others, sent too many; and the age of the"
        " credential report, which AWS generates at most every 4 hours.",
        [
            target("throttles", f"max({throttles})", "throttled requests", min_interval="30m"),
            target("report", f"time() - max({generated})", "report age"),
        ],
        overrides=[
            override("throttled requests", color="orange", decimals=0, bars=True),
            override("report age", color="blue", unit="s", right_axis=True),
        ],
        links=runbooks("AwsIamExporterThrottled", "AwsIamExporterReportUnusable"),
    )


def account() -> Json:
    alerts = firing_alerts(
        21, "Alerts about this account.", matchers=['account_id="$account_id"'], width=12
    )
    panels = grid(
        (4, [data_status(), data_age(), unknown_keys(), root_keys(), root_last_used()]),
        (3, [users(), active_keys(), unused_keys()]),
        (3, [never_used_keys(), not_rotated_keys(), deletable_keys()]),
        (14, [keys()]),
        row(100, "Over time"),
        (8, [trend(), alerts]),
        row(101, "Refreshes"),
        (6, [refresh_status(), refresh_duration()]),
        (7, [failed_refreshes(), throttling_and_report_age()]),
    )
    return dashboard(
        ACCOUNT,
        "AWS IAM keys / Account",
        "One account: its keys, their trend, and how current the data is.",
        [v.DATASOURCE, v.JOBS, v.ACCOUNT, v.USERS, v.teams(HERE), *v.LIMITS],
        panels,
        start="now-7d",
    )
