"""The exporter dashboard: whether all accounts are refreshed, and what that costs."""

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
    UNKNOWN_ROWS,
    Json,
    Steps,
    column,
    override,
    range_mapping,
)
from grafana.layout import dashboard, grid, row
from grafana.links import EXPORTER, runbooks, to_account
from grafana.panels import instant, stat, table, target, time_series
from grafana.shared_panels import NO_EXPORTER_LINE, firing_alerts, no_exporter

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
RECENT = f"and on (job, instance) last_over_time({q.select(q.BUILD_INFO, HERE)}[1d])"
"""Keep the targets that are, or were until lately, exporters: $job can select every job."""
RATE = "[$__rate_interval]"
NOT_COUNTED = states.state(states.NOT_COUNTED, f"max({q.select(q.BUILD_INFO, HERE)})")
NO_EXPORTER_ROW = q.labeled(q.NO_EXPORTER, "account", q.NO_EXPORTER_TEXT)

MOST_THROTTLED = 10
LIST_LENGTH = 25
UNREAD = 1e10
"""Added to the age of data that is not there yet, to tell it from data that could not be read."""
ACCOUNT_NAME = column(
    "account",
    "Account",
    links=[to_account(limits=False)],
    min_width=100,
    colored=True,
    mappings=UNKNOWN_ROWS,
)


# Overview


def targets() -> Json:
    up = f"({q.select('up', HERE)} {RECENT})"
    return stat(
        1,
        "Exporter targets",
        "Targets of the job that answered the last scrape, and those that did not.",
        [
            instant("down", q.or_no_exporter(q.count_or_zero(f"{up} == 0", up)), "down"),
            instant("up", q.or_no_exporter(q.count_or_zero(f"{up} == 1", up)), "up"),
        ],
        text="value_and_name",
        width=6,
        side_by_side=True,
        overrides=[override("down", steps=ALARM_IF_ANY)],
        size=24,
        links=runbooks("AwsIamExporterDown"),
    )


def accounts_without_current_data() -> Json:
    up = q.select(q.UP, HERE)
    refreshed = f"on ({q.ACCOUNT_LABELS}) {q.select(q.REFRESH_DURATION, HERE)}"
    unread = f"{q.no_data(HERE)} unless {refreshed}"
    no_data = f"({q.no_data(HERE)}) and {refreshed}"
    return stat(
        2,
        "Accounts without current data",
        "Not read yet: accounts whose first refresh since the start has not finished. No data:"
        " accounts of which nothing, or not everything, is known. Stale: accounts whose last"
        " refresh failed, with older data. Missing: accounts that are configured, but not exported"
        " at all.",
        [
            instant("no_exporter", q.NO_EXPORTER, "all"),
            *(
                instant(ref, expr, ref.replace("_", " "))
                for ref, expr in (
                    ("not_read_yet", f"count({unread}) or 0 * count({up})"),
                    ("no_data", f"count({no_data}) or 0 * count({up})"),
                    ("stale", q.count_or_zero(q.stale(HERE), up)),
                    ("missing", f"{CONFIGURED} - ({EXPORTED} or vector(0))"),
                )
            ),
        ],
        text="value_and_name",
        width=10,
        side_by_side=True,
        steps=ALARM_IF_ANY,
        overrides=[override("not read yet", steps=NEUTRAL)],
        size=24,
        links=runbooks("AwsIamExporterAccountDown", "AwsIamExporterAccountsMissing"),
    )


def oldest_data() -> Json:
    return stat(
        3,
        "Oldest data",
        "The longest time since the last successful refresh of an account, of those that had one.",
        [
            instant(
                "age",
                states.either(
                    f"max({q.since_success(HERE)})",
                    q.NO_EXPORTER,
                    states.state(states.NO_SUCCESS, f"max({q.select(q.BUILD_INFO, HERE)})"),
                ),
            )
        ],
        width=6,
        unit="s",
        decimals=0,
        steps=DATA_AGE,
        mappings=states.MAPPINGS,
        size=24,
        links=runbooks("AwsIamExporterAccountStale"),
    )


def store() -> Json:
    configured = states.state(states.NOT_CONFIGURED, f"max({q.select(q.BUILD_INFO, HERE)})")
    return stat(
        7,
        "Store",
        "Whether what is remembered of the keys could be read and written the last time. Not"
        " configured: nothing survives a restart of the exporter.",
        [
            instant(
                "up",
                states.either(f"min({q.select(q.STORE_UP, HERE)})", q.NO_EXPORTER, configured),
            )
        ],
        width=6,
        mappings=states.mappings({"0": ("down", "red"), "1": ("up", "green")}),
        size=24,
        links=runbooks("AwsIamExporterStoreDown"),
    )


def last_start() -> Json:
    started = f"max({q.select('process_start_time_seconds', HERE)} {RECENT})"
    return stat(
        8,
        "Last start",
        "When an exporter was last started.",
        [instant("start", q.or_no_exporter(f"1000 * {started}"))],
        width=6,
        unit="dateTimeFromNow",
        size=24,
    )


def requests_per_day() -> Json:
    return stat(
        4,
        "AWS requests (24 h)",
        "Requests to AWS in the last 24 hours, including retries, of all replicas.",
        [
            instant(
                "requests",
                states.either(f"sum(increase({REQUESTS}[1d]))", q.NO_EXPORTER, NOT_COUNTED),
            )
        ],
        mappings=states.MAPPINGS,
        width=6,
        decimals=0,
        size=24,
    )


def failed_requests() -> Json:
    errors = f"(sum(increase({ERRORS}[1d])) or vector(0))"
    failed = f"{errors} / (sum(increase({REQUESTS}[1d])) > 0)"
    return stat(
        5,
        "Failed requests (24 h)",
        "The share of requests in the last 24 hours that AWS rejected or did not answer.",
        [instant("failed", states.either(failed, q.NO_EXPORTER, NOT_COUNTED))],
        width=6,
        unit="percentunit",
        decimals=1,
        mappings=states.MAPPINGS,
        size=24,
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
                "version",
                f"count by (version) ({q.select(q.BUILD_INFO, HERE)}) or"
                f" {q.labeled(q.NO_EXPORTER, 'version', q.NO_EXPORTER_TEXT)}",
                "{{version}}",
            ),
        ],
        width=6,
        text="name",
        size=24,
    )


def samples_per_key() -> Json:
    samples = f"sum({q.select('scrape_samples_scraped', HERE)} {RECENT})"
    keys = f"sum(max by ({q.ACCOUNT_LABELS}, status) ({q.select(q.KEYS, HERE)}))"
    no_keys = states.state(states.NO_KEYS, f"max({q.select(q.BUILD_INFO, HERE)})")
    return stat(
        9,
        "Samples per key",
        "Samples of a scrape for each access key: what a key costs in Prometheus. With the samples"
        " of all replicas, about accounts, and about the exporter itself.",
        [
            instant(
                "cost",
                states.either(f"{samples} / ({keys} > 0)", q.NO_EXPORTER, no_keys),
            )
        ],
        width=6,
        decimals=1,
        mappings=states.MAPPINGS,
        size=24,
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
            no_exporter(),
        ],
        width=8,
        decimals=0,
        overrides=[
            override("configured", color="text", dashed=True),
            override("exported", color="purple"),
            override("up", color="blue"),
            NO_EXPORTER_LINE,
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
            no_exporter(),
        ],
        width=8,
        unit="s",
        overrides=[override("three intervals", color="orange", dashed=True), NO_EXPORTER_LINE],
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
            no_exporter(),
        ],
        width=8,
        unit="percentunit",
        steps=((None, "text"), (1, "red")),
        show_steps=True,
        overrides=[NO_EXPORTER_LINE],
        links=runbooks("AwsIamExporterRefreshSlow"),
    )


def oldest_accounts() -> Json:
    success = q.per_account(q.LAST_SUCCESS, HERE)
    unread = (
        f"({success} == bool 0) unless on ({q.ACCOUNT_LABELS}) {q.select(q.REFRESH_DURATION, HERE)}"
    )
    age = f"(time() - {success})"
    since = f"topk({LIST_LENGTH}, {age} + {UNREAD:.0f} * ({unread}) or {age})"
    failing = f"and on ({q.ACCOUNT_LABELS}) ({q.per_account(q.UP, HERE)} == 0)"
    oldest = f"and on ({q.ACCOUNT_LABELS}) {since}"
    # The last success of an account that has not had one is 0: in 1970.
    no_success = range_mapping(1e9, UNREAD - 1, "no success yet", "red")
    not_read = range_mapping(UNREAD, 1e12, states.NOT_READ.text, "text")
    return table(
        13,
        "Accounts with the oldest data",
        f"The {LIST_LENGTH} accounts without a successful refresh, or with the oldest one. Reason:"
        " the most frequent one in the last day, of accounts whose last refresh failed.",
        {
            "age": since,
            "reason": f"({q.main_failure(HERE, '1d')}) {failing} {oldest}",
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
                mappings=[no_success, not_read],
                width=130,
                filterable=False,
            ),
            column("reason", "Reason", width=130, no_value=""),
            c.HIDDEN_ACCOUNT_ID,
        ],
        sort="Data age",
        width=12,
        drop=("job", "Value #reason"),
        no_value="no account",
        unknown=NO_EXPORTER_ROW,
        links=runbooks("AwsIamExporterAccountStale"),
    )


def slowest_accounts() -> Json:
    slowest = f"topk({LIST_LENGTH}, {DURATION})"
    throttles = f"sum by ({q.ACCOUNT_LABELS}) (increase({THROTTLES}[1d]))"
    return table(
        14,
        "Slowest accounts",
        f"The {LIST_LENGTH} accounts whose last refresh took longest, and how many of their"
        " requests AWS throttled in the last day, and the configured limit of requests per second.",
        {
            "duration": slowest,
            "throttled": f"{throttles} and on ({q.ACCOUNT_LABELS}) {slowest}",
            "limit": f"{q.per_account(q.RATE_LIMIT, HERE)} and on ({q.ACCOUNT_LABELS}) {slowest}",
        },
        [
            ACCOUNT_NAME,
            column(
                "Value #duration",
                "Duration",
                unit="s",
                decimals=1,
                width=95,
                filterable=False,
            ),
            column("Value #throttled", "Throttled", decimals=0, width=95, filterable=False),
            column("Value #limit", "Limit (1/s)", width=95, filterable=False),
            c.HIDDEN_ACCOUNT_ID,
        ],
        sort="Duration",
        width=12,
        drop=("job",),
        no_value="no refresh has finished yet",
        unknown=NO_EXPORTER_ROW,
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
                "requests", f"sum by (operation) (rate({REQUESTS}{RATE})) > 0", "{{operation}}"
            ),
            no_exporter(),
        ],
        no_value="no requests",
        overrides=[NO_EXPORTER_LINE],
        many=True,
        width=12,
        unit="reqps",
        stack=True,
        legend_calcs=["mean"],
    )


CODES = [
    {
        "matcher": {"id": "byRegexp", "options": f"/: {pattern}$/"},
        "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": color}}],
    }
    for pattern, color in (
        ("Throttling.*", "orange"),
        ("AccessDenied.*", "red"),
        ("(ServiceFailure|InternalFailure|ServiceUnavailable)", "purple"),
        ("(Expired|Invalid|Unrecognized).*", "yellow"),
    )
]
"""Colors of AWS's error codes. Other errors are shades of another color."""


def request_errors() -> Json:
    errors, every = (f"sum(rate({counter}{RATE}))" for counter in (ERRORS, REQUESTS))
    no_errors = f"({errors} or 0 * {every})"
    return time_series(
        21,
        "Failed requests",
        "Failed requests by AWS error code, or by the kind of error if there was no response.",
        [
            rate_target(
                "errors",
                f"sum by (operation, code) (rate({ERRORS}{RATE})) > 0",
                "{{operation}}: {{code}}",
            ),
            rate_target("none", f"{no_errors} == 0", "no failed requests"),
            no_exporter(),
        ],
        overrides=[override("no failed requests", color="text"), *CODES, NO_EXPORTER_LINE],
        many=True,
        width=12,
        unit="reqps",
        legend_calcs=["mean"],
        color=TROUBLE,
        links=runbooks("AwsIamExporterApiErrors"),
    )


def request_rate() -> Json:
    limits = f"sum({q.select(q.RATE_LIMIT, HERE)})"
    return time_series(
        22,
        "Use of the rate limits",
        "Requests per second as a share of what the rate limits of all accounts allow together"
        " (collection.requests_per_second). Near 100 %, accounts cannot be refreshed within the"
        " interval. Single accounts: see the slowest ones.",
        [
            rate_target("used", f"sum(rate({REQUESTS}{RATE})) / {limits}", "used"),
            no_exporter(),
        ],
        width=6,
        unit="percentunit",
        overrides=[override("used", color="blue"), NO_EXPORTER_LINE],
        legend_calcs=["max"],
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
            ),
            rate_target("none", f"sum({rate}) == 0", "no throttled requests"),
            no_exporter(),
        ],
        overrides=[override("no throttled requests", color="text"), NO_EXPORTER_LINE],
        many=True,
        width=12,
        unit="reqps",
        legend_calcs=["mean"],
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
            no_exporter(),
        ],
        overrides=[NO_EXPORTER_LINE],
        width=6,
        unit="s",
        legend_calcs=["mean"],
    )


# Resources


def _of_replica(name: str) -> str:
    return f"max by (instance) ({q.select(name, HERE)} {RECENT})"


def replica_series(
    panel_id: int,
    title: str,
    description: str,
    expr: str,
    unit: str,
    *,
    steps: Steps = NEUTRAL,
    min_interval: str | None = None,
    more: Sequence[Json] = (),
) -> Json:
    """One line per replica."""
    return time_series(
        panel_id,
        title,
        description,
        [
            target("replica", expr, "{{instance}}", min_interval=min_interval),
            *more,
            no_exporter(),
        ],
        unit=unit,
        width=6,
        steps=steps,
        overrides=[NO_EXPORTER_LINE],
    )


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
    added = _of_replica("scrape_series_added")
    return replica_series(
        31,
        "Samples per scrape",
        "Samples per scrape, and how many of them belong to series that Prometheus did not know:"
        " what the keys cost there. Labels that change, such as the service of the last use, and"
        " restarts of Prometheus add series.",
        _of_replica("scrape_samples_scraped"),
        "locale",
        more=[target("added", added, "{{instance}}: new series")],
    )


def memory() -> Json:
    expr = _of_replica("process_resident_memory_bytes")
    return replica_series(32, "Memory", "Resident memory of the process.", expr, "bytes")


def cpu() -> Json:
    return replica_series(
        33,
        "CPU",
        "Share of one CPU.",
        f"max by (instance) (rate({q.select('process_cpu_seconds_total', HERE)}{RATE}) {RECENT})",
        "percentunit",
        min_interval="1m",
    )


def exporter_health() -> Json:
    alerts = firing_alerts(40, "Alerts about the exporter.", names="AwsIamExporter.+", width=14)
    panels = grid(
        (5, [alerts, accounts_without_current_data()]),
        (3, [targets(), oldest_data(), store(), last_start()]),
        (3, [requests_per_day(), failed_requests(), version(), samples_per_key()]),
        (8, [account_counts(), data_age(), refresh_duration()]),
        (9, [oldest_accounts(), slowest_accounts()]),
        row(100, "AWS requests"),
        (8, [requests_by_operation(), request_rate(), request_duration()]),
        (8, [request_errors(), throttled_accounts()]),
        row(101, "Resources"),
        (7, [scrape_duration(), scrape_size(), memory(), cpu()]),
    )
    return dashboard(
        EXPORTER,
        "AWS IAM keys / Exporter",
        "Whether the exporter refreshes all accounts, how old the data is, and what it costs.",
        [v.DATASOURCE, v.JOBS, v.INSTANCES],
        panels,
        start="now-6h",
        refresh="1m",
    )
