"""The exporter dashboard: whether all accounts are refreshed, and what that costs."""

from grafana import columns as c
from grafana import queries as q
from grafana import variables as v
from grafana.fields import (
    ALARM_IF_ANY,
    DATA_AGE,
    GOOD_IF_NONE,
    NEUTRAL,
    TROUBLE,
    Json,
    Steps,
    column,
    override,
    range_mapping,
)
from grafana.layout import dashboard, grid, row
from grafana.links import EXPORTER, runbooks, to_account
from grafana.panels import instant, stat, table, target, time_series
from grafana.shared_panels import firing_alerts

HERE = f'{q.JOB},instance=~"$instance"'

REQUESTS = q.select("aws_iam_exporter_api_requests_total", HERE)
ERRORS = q.select("aws_iam_exporter_api_request_errors_total", HERE)
BUCKETS = q.select("aws_iam_exporter_api_request_duration_seconds_bucket", HERE)
THROTTLES = q.select(q.THROTTLES, HERE)
DURATION = q.per_account(q.REFRESH_DURATION, HERE)
INTERVAL = f"max({q.select(q.REFRESH_INTERVAL, HERE)})"
CONFIGURED = f"sum(max by (job) ({q.select('aws_iam_exporter_accounts_configured', HERE)}))"
EXPORTED = f"count({q.per_account(q.UP, HERE)})"
DATA_AGES = f"({q.since_success(HERE)})"
RATE = "[$__rate_interval]"

MOST_THROTTLED = 10
LIST_LENGTH = 25
ACCOUNT_NAME = column("account", "Account", links=[to_account(limits=False)], min_width=100)


# Overview


def targets() -> Json:
    up = q.select("up", HERE)
    return stat(
        1,
        "Exporter targets",
        "Targets of the job that answered the last scrape, and those that did not.",
        [
            instant("down", q.count_or_zero(f"{up} == 0", up), "down"),
            instant("up", q.count_or_zero(f"{up} == 1", up), "up"),
        ],
        text="value_and_name",
        width=8,
        side_by_side=True,
        overrides=[override("down", steps=ALARM_IF_ANY)],
        no_value="no target",
        links=runbooks("AwsIamExporterDown"),
    )


def accounts_without_current_data() -> Json:
    up = q.select(q.UP, HERE)
    return stat(
        2,
        "Accounts without current data",
        "No data: accounts of which nothing, or not everything, is known. Stale: accounts whose"
        " last refresh failed, with older data. Missing: accounts that are configured, but not"
        " exported at all.",
        [
            instant("no_data", q.count_or_zero(q.no_data(HERE), up), "no data"),
            instant("stale", q.count_or_zero(q.stale(HERE), up), "stale"),
            instant("missing", f"{CONFIGURED} - {EXPORTED}", "missing"),
        ],
        text="value_and_name",
        width=8,
        side_by_side=True,
        steps=GOOD_IF_NONE,
        no_value="no exporter",
        links=runbooks("AwsIamExporterAccountDown", "AwsIamExporterAccountsMissing"),
    )


def oldest_data() -> Json:
    return stat(
        3,
        "Oldest data",
        "The longest time since the last successful refresh of an account, of those that had one.",
        [instant("age", f"max({q.since_success(HERE)})")],
        width=8,
        unit="s",
        decimals=0,
        steps=DATA_AGE,
        no_value="no success yet",
        links=runbooks("AwsIamExporterAccountStale"),
    )


def requests_per_day() -> Json:
    return stat(
        4,
        "AWS requests in 24 hours",
        "Requests to AWS, including retries, of all replicas.",
        [instant("requests", f"sum(increase({REQUESTS}[1d]))")],
        width=8,
        decimals=0,
    )


def failed_requests() -> Json:
    errors = f"(sum(increase({ERRORS}[1d])) or vector(0))"
    return stat(
        5,
        "Failed AWS requests in 24 hours",
        "The share of requests that AWS rejected or did not answer.",
        [instant("failed", f"{errors} / sum(increase({REQUESTS}[1d]))")],
        width=8,
        unit="percentunit",
        decimals=1,
        steps=((None, "text"), (0.01, "orange"), (0.05, "red")),
        links=runbooks("AwsIamExporterApiErrors"),
    )


def version() -> Json:
    return stat(
        6,
        "Version",
        "The exporter's version; several while replicas differ.",
        [
            instant(
                "version", f"count by (version) ({q.select(q.BUILD_INFO, HERE)})", "{{version}}"
            ),
        ],
        width=8,
        text="name",
        no_value="no exporter",
        size=28,
    )


# Accounts


def account_counts() -> Json:
    succeeded = f"{q.per_account(q.UP, HERE)} == 1"
    return time_series(
        10,
        "Accounts",
        "Accounts configured, exported, and up: their last refresh succeeded completely.",
        [
            target("configured", CONFIGURED, "configured"),
            target("exported", EXPORTED, "exported"),
            target("up", q.count_or_zero(succeeded, q.select(q.UP, HERE)), "up"),
        ],
        width=8,
        decimals=0,
        overrides=[
            override("configured", color="text", dashed=True),
            override("exported", color="purple"),
            override("up", color="blue"),
        ],
        links=runbooks("AwsIamExporterAccountDown", "AwsIamExporterAccountsMissing"),
    )


def data_age() -> Json:
    return time_series(
        11,
        "Data age",
        "Time since the last successful refresh, of the accounts that had one, compared with three"
        " refresh intervals.",
        [
            target("oldest", f"max({DATA_AGES})", "oldest account"),
            target("median", f"quantile(0.5, {DATA_AGES})", "median account"),
            target("limit", f"3 * {INTERVAL}", "three intervals"),
        ],
        width=8,
        unit="s",
        overrides=[override("three intervals", color="orange", dashed=True)],
        links=runbooks("AwsIamExporterAccountStale"),
    )


def refresh_duration() -> Json:
    return time_series(
        12,
        "Refresh duration",
        "Duration of the last refreshes as a share of the refresh interval. Above 100 % they delay"
        " the next.",
        [
            target("slowest", f"max({DURATION}) / {INTERVAL}", "slowest account"),
            target("median", f"quantile(0.5, {DURATION}) / {INTERVAL}", "median account"),
        ],
        width=8,
        unit="percentunit",
        steps=((None, "text"), (1, "red")),
        show_steps=True,
        links=runbooks("AwsIamExporterRefreshSlow"),
    )


def oldest_accounts() -> Json:
    since = f"topk({LIST_LENGTH}, time() - {q.per_account(q.LAST_SUCCESS, HERE)})"
    # The last success of an account that has not had one is 0: in 1970.
    no_success = range_mapping(1e9, 1e12, "no success yet", "red")
    return table(
        13,
        "Accounts with the oldest data",
        f"Accounts without a successful refresh, and the {LIST_LENGTH} with the oldest one. Reason:"
        " the most frequent one in the last day.",
        {
            "age": since,
            "reason": f"({q.main_failure(HERE, '1d')}) and on ({q.ACCOUNT_LABELS}) ({since})",
        },
        [
            ACCOUNT_NAME,
            column(
                "Value #age",
                "Data age",
                unit="s",
                decimals=0,
                colored=True,
                steps=DATA_AGE,
                mappings=[no_success],
                width=165,
                filterable=False,
            ),
            column("reason", "Reason", width=130, no_value=""),
            c.ACCOUNT_ID,
        ],
        sort="Data age",
        width=12,
        drop=("job", "Value #reason"),
        no_value="no account",
        links=runbooks("AwsIamExporterAccountStale"),
    )


def slowest_accounts() -> Json:
    slowest = f"topk({LIST_LENGTH}, {DURATION})"
    throttles = f"sum by ({q.ACCOUNT_LABELS}) (increase({THROTTLES}[1d]))"
    return table(
        14,
        "Slowest accounts",
        f"The {LIST_LENGTH} accounts whose last refresh took longest, and how many of their"
        " requests AWS throttled in the last day.",
        {
            "duration": slowest,
            "throttled": f"{throttles} and on ({q.ACCOUNT_LABELS}) {slowest}",
        },
        [
            ACCOUNT_NAME,
            column(
                "Value #duration",
                "Refresh duration",
                unit="s",
                decimals=1,
                width=150,
                filterable=False,
            ),
            column("Value #throttled", "Throttled", decimals=0, width=110, filterable=False),
            c.ACCOUNT_ID,
        ],
        sort="Refresh duration",
        width=12,
        drop=("job",),
        no_value="no refresh yet",
        links=runbooks("AwsIamExporterRefreshSlow", "AwsIamExporterThrottled"),
    )


# Requests


def rate_target(ref: str, expr: str, legend: str) -> Json:
    return target(ref, expr, legend, min_interval="1m")


def requests_by_operation() -> Json:
    return time_series(
        20,
        "Requests by operation",
        "Requests to AWS, including retries, of all replicas.",
        [
            rate_target(
                "requests", f"sum by (operation) (rate({REQUESTS}{RATE}))", "{{operation}}"
            ),
        ],
        width=12,
        unit="reqps",
        stack=True,
        legend_calcs=["mean"],
    )


def request_errors() -> Json:
    return time_series(
        21,
        "Failed requests",
        "Failed requests by AWS error code, or by the kind of error if there was no response.",
        [
            rate_target(
                "errors",
                f"sum by (operation, code) (rate({ERRORS}{RATE})) > 0",
                "{{operation}}: {{code}}",
            )
        ],
        width=12,
        unit="reqps",
        legend_calcs=["mean"],
        no_value="no failed requests",
        color=TROUBLE,
        links=runbooks("AwsIamExporterApiErrors"),
    )


def request_rate() -> Json:
    refreshing = f"(sum({DURATION}) / {INTERVAL})"
    return time_series(
        22,
        "Request rate per account",
        "Requests per second while an account is refreshed, averaged over accounts. Set the limit"
        " at the top to collection.requests_per_second: near it, the limit determines how long"
        " refreshes take.",
        [
            rate_target("rate", f"sum(rate({REQUESTS}{RATE})) / {refreshing}", "rate"),
            target("limit", "vector($rate_limit)", "limit"),
        ],
        width=8,
        unit="reqps",
        overrides=[
            override("limit", color="orange", dashed=True),
            override("rate", color="blue"),
        ],
        legend_calcs=["mean"],
    )


def throttled_accounts() -> Json:
    most = f"topk({MOST_THROTTLED}, increase({THROTTLES}[$__range] @ end()) > 0)"
    rate = f"rate({THROTTLES}{RATE})"
    return time_series(
        23,
        "Throttled accounts",
        "Requests per second that AWS rejected because we, or others, sent too many: the"
        f" {MOST_THROTTLED} accounts with the most in the time range.",
        [
            rate_target(
                "throttles",
                f"max by (account) ({rate} and on ({q.ACCOUNT_LABELS}, instance) {most})",
                "{{account}}",
            )
        ],
        width=8,
        unit="reqps",
        legend_calcs=["mean"],
        no_value="no throttled requests",
        color=TROUBLE,
        links=runbooks("AwsIamExporterThrottled"),
    )


def request_duration() -> Json:
    buckets = f"sum by (le) (rate({BUCKETS}{RATE}))"
    return time_series(
        24,
        "Request duration",
        "Duration of requests to AWS, of all operations.",
        [
            rate_target("p50", f"histogram_quantile(0.5, {buckets})", "p50"),
            rate_target("p95", f"histogram_quantile(0.95, {buckets})", "p95"),
            rate_target("p99", f"histogram_quantile(0.99, {buckets})", "p99"),
        ],
        width=8,
        unit="s",
        legend_calcs=["mean"],
    )


# Resources


def _of_replica(name: str) -> str:
    return f"max by (instance) ({q.select(name, HERE)})"


def replica_series(
    panel_id: int,
    title: str,
    description: str,
    expr: str,
    unit: str,
    *,
    width: int = 6,
    steps: Steps = NEUTRAL,
    min_interval: str | None = None,
) -> Json:
    """One line per replica."""
    query = target("replica", expr, "{{instance}}", min_interval=min_interval)
    return time_series(panel_id, title, description, [query], unit=unit, width=width, steps=steps)


def scrape_duration() -> Json:
    return replica_series(
        30,
        "Scrape duration",
        "As measured by Prometheus. It must stay well below the scrape timeout (10 s).",
        _of_replica("scrape_duration_seconds"),
        "s",
        steps=((None, "text"), (10, "red")),
    )


def scrape_size() -> Json:
    expr = _of_replica("scrape_samples_scraped")
    return replica_series(31, "Scrape size", "Samples per scrape.", expr, "short")


def memory() -> Json:
    expr = _of_replica("process_resident_memory_bytes")
    return replica_series(32, "Memory", "Resident memory of the process.", expr, "bytes")


def cpu() -> Json:
    return replica_series(
        33,
        "CPU",
        "Share of one CPU.",
        f"max by (instance) (rate({q.select('process_cpu_seconds_total', HERE)}{RATE}))",
        "percentunit",
        min_interval="1m",
    )


def open_files() -> Json:
    used, limit = q.select("process_open_fds", HERE), q.select("process_max_fds", HERE)
    return replica_series(
        34,
        "Open file descriptors",
        "As a share of the limit of the process.",
        f"max by (instance) ({used} / {limit})",
        "percentunit",
        width=12,
        steps=((None, "text"), (0.8, "red")),
    )


def uptime() -> Json:
    return replica_series(
        35,
        "Uptime",
        "Time since the process started: it drops to zero with each restart.",
        f"time() - {_of_replica('process_start_time_seconds')}",
        "s",
        width=12,
    )


def exporter_health() -> Json:
    alerts = firing_alerts(40, "Alerts about the exporter.", names="AwsIamExporter.+", width=24)
    panels = grid(
        (4, [targets(), accounts_without_current_data(), oldest_data()]),
        (4, [requests_per_day(), failed_requests(), version()]),
        (8, [account_counts(), data_age(), refresh_duration()]),
        (8, [oldest_accounts(), slowest_accounts()]),
        row(100, "AWS requests"),
        (8, [requests_by_operation(), request_errors()]),
        (8, [request_rate(), throttled_accounts(), request_duration()]),
        row(101, "Resources"),
        (7, [scrape_duration(), scrape_size(), memory(), cpu()]),
        (7, [open_files(), uptime()]),
        row(102, "Alerts"),
        (6, [alerts]),
    )
    return dashboard(
        EXPORTER,
        "AWS IAM keys / Exporter",
        "Whether the exporter refreshes all accounts, how old the data is, and what it costs.",
        [v.DATASOURCE, v.JOBS, v.INSTANCES, v.RATE_LIMIT],
        panels,
        start="now-6h",
        refresh="1m",
    )
