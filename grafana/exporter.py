"""The exporter itself: whether it sees all accounts, and what that costs."""

from typing import Any

from grafana import queries as q
from grafana import variables as v
from grafana.common import ID, firing
from grafana.panels import (
    ANY_IS_WORSE,
    DASHED,
    NONE_IS_GOOD,
    TROUBLE,
    Json,
    by_name,
    colored,
    column,
    grid,
    now,
    row,
    series,
    stat,
    table,
    target,
    thresholds,
)
from grafana.places import EXPORTER, dashboard, runbooks, to_account

HERE = 'job=~"$job",instance=~"$instance"'
OWN = "aws_iam_exporter"
UP = q.of(q.UP, HERE)
REQUESTS = q.of(f"{OWN}_api_requests_total", HERE)
ERRORS = q.of(f"{OWN}_api_request_errors_total", HERE)
BUCKETS = q.of(f"{OWN}_api_request_duration_seconds_bucket", HERE)
TOOK = q.per_account(f"{OWN}_account_refresh_duration_seconds", HERE)
THROTTLES = q.of(f"{OWN}_account_throttles_total", HERE)
FAILURES = q.of(f"{OWN}_account_failures_total", HERE)
INTERVAL = f"max({q.of(f'{OWN}_refresh_interval_seconds', HERE)})"
CONFIGURED = f"sum(max by (job) ({q.of(f'{OWN}_accounts_configured', HERE)}))"
RATE = "[$__rate_interval]"
SLOWEST = 10
ACCOUNT = column("account", "Account", links=[to_account(days=False)], minWidth=100)
NEVER = {
    "from": 1e9,
    "to": 1e12,
    "result": {"text": "never", "color": "red", "index": 0},
}


def since_success(q_where: str = HERE) -> str:
    return f"time() - ({q.per_account(q.SUCCESS, q_where)} > 0)"


def headline() -> list[Json]:
    exporters = f"up{{{HERE}}}"
    latest = f"max({since_success()})"
    return [
        stat(
            1,
            "Exporters up?",
            "Targets that answered the latest scrape, of all that Prometheus knows.",
            [
                now("down", f"count({exporters} == 0) or 0 * count({exporters})", "down"),
                now("up", f"count({exporters} == 1) or 0 * count({exporters})", "up"),
            ],
            name=True,
            wide=True,
            overrides=[
                by_name("down", thresholds=thresholds(ANY_IS_WORSE)),
            ],
            none="no target",
            links=runbooks("AwsIamExporterDown"),
        ),
        stat(
            2,
            "Accounts not seen?",
            "Accounts of which nothing, or not everything, is known; accounts whose latest"
            " reading failed, with older facts; and accounts that are configured, but not told of"
            " at all.",
            [
                now("unseen", q.known(q.unseen(HERE), UP), "not seen"),
                now("outdated", q.known(q.outdated(HERE), UP), "not lately"),
                now("missing", f"{CONFIGURED} - count({q.per_account(q.UP, HERE)})", "missing"),
            ],
            name=True,
            wide=True,
            steps=NONE_IS_GOOD,
            none="no exporter",
            links=runbooks("AwsIamExporterAccountDown", "AwsIamExporterAccountsMissing"),
        ),
        stat(
            3,
            "Oldest reading?",
            "Of the accounts that were ever seen: the longest time since one's last success.",
            [now("age", latest)],
            unit="s",
            decimals=0,
            steps=((None, "text"), (3600, "orange"), (86400, "red")),
            none="no success yet",
            links=runbooks("AwsIamExporterAccountStale"),
        ),
        stat(
            4,
            "Calls to AWS a day?",
            "Requests to AWS in the last 24 hours, each attempt counted, over all replicas.",
            [now("calls", f"sum(increase({REQUESTS}[1d]))")],
            unit="locale",
            decimals=0,
            none="unknown",
        ),
        stat(
            5,
            "Failed?",
            "The share of requests that AWS refused or did not answer in the last 24 hours.",
            [
                now(
                    "failed",
                    f"(sum(increase({ERRORS}[1d])) or vector(0)) / sum(increase({REQUESTS}[1d]))",
                )
            ],
            unit="percentunit",
            decimals=1,
            steps=((None, "text"), (0.01, "orange"), (0.05, "red")),
            links=runbooks("AwsIamExporterApiErrors"),
        ),
        stat(
            6,
            "Version?",
            "The exporter's version: several while replicas differ.",
            [
                now(
                    "version",
                    f"count by (version) ({q.of(f'{OWN}_build_info', HERE)})",
                    "{{version}}",
                )
            ],
            text="name",
            none="no exporter",
            size=28,
        ),
    ]


def accounts() -> list[Json]:
    why = f"topk by ({q.A}) (1, sum by ({q.A}, reason) (increase({FAILURES}[1d])) > 0)"
    old = f"({since_success()})"
    slow = f"topk(25, {TOOK})"
    late = f"topk(25, time() - {q.per_account(q.SUCCESS, HERE)})"
    return [
        series(
            10,
            "How many accounts does it see?",
            "Accounts configured, told of, and up: the latest reading succeeded whole.",
            [
                target("configured", CONFIGURED, "configured"),
                target("known", f"count({q.per_account(q.UP, HERE)})", "told of"),
                target("up", f"count({q.per_account(q.UP, HERE)} == 1) or 0 * count({UP})", "up"),
            ],
            width=8,
            decimals=0,
            overrides=[
                colored("configured", "text", **DASHED),
                colored("told of", "purple"),
                colored("up", "blue"),
            ],
            links=runbooks("AwsIamExporterAccountDown", "AwsIamExporterAccountsMissing"),
        ),
        series(
            11,
            "How fresh is what it tells?",
            "Time since the last success, over the accounts that were ever seen, against three"
            " intervals.",
            [
                target("worst", f"max({old})", "oldest account"),
                target("median", f"quantile(0.5, {old})", "median account"),
                target("limit", f"3 * {INTERVAL}", "three intervals"),
            ],
            width=8,
            unit="s",
            overrides=[colored("three intervals", "orange", **DASHED)],
            links=runbooks("AwsIamExporterAccountStale"),
        ),
        series(
            12,
            "Do readings fit into their interval?",
            "How long the latest readings took, as a share of the interval. Above 100 % they delay"
            " the next.",
            [
                target("slowest", f"max({TOOK}) / {INTERVAL}", "slowest account"),
                target("median", f"quantile(0.5, {TOOK}) / {INTERVAL}", "median account"),
            ],
            width=8,
            unit="percentunit",
            steps=((None, "text"), (1, "red")),
            lines=True,
            links=runbooks("AwsIamExporterRefreshSlow"),
        ),
        table(
            13,
            "Which accounts are behind?",
            "Accounts without a success, and the 25 whose last success is longest ago. Reason: the"
            " one that was counted most in the last day.",
            {"since": late, "why": f"({why}) and on ({q.A}) ({late})"},
            [
                ACCOUNT,
                column(
                    "Value #since",
                    "Since last success",
                    unit="s",
                    decimals=0,
                    cell="color-text",
                    steps=((None, "text"), (3600, "orange"), (86400, "red")),
                    # No success yet is told as a success in 1970.
                    mappings=[{"type": "range", "options": NEVER}],
                    width=165,
                    plain=True,
                ),
                column("reason", "Reason", width=130, noValue=""),
                ID,
            ],
            sort="Since last success",
            width=12,
            drop=("job", "Value #why"),
            none="no account",
            links=runbooks("AwsIamExporterAccountStale"),
        ),
        table(
            14,
            "Which accounts take longest?",
            "The 25 whose latest reading took longest, and how often AWS throttled them in the last"
            " day.",
            {
                "took": slow,
                "throttled": f"sum by ({q.A}) (increase({THROTTLES}[1d])) and on ({q.A}) {slow}",
            },
            [
                ACCOUNT,
                column("Value #took", "Reading took", unit="s", decimals=1, width=130, plain=True),
                column("Value #throttled", "Throttled", decimals=0, width=110, plain=True),
                ID,
            ],
            sort="Reading took",
            width=12,
            drop=("job",),
            none="no reading yet",
            links=runbooks("AwsIamExporterRefreshSlow", "AwsIamExporterThrottled"),
        ),
    ]


def calls() -> list[Json]:
    reading = f"(sum({TOOK}) / {INTERVAL})"
    per_second = f"sum(rate({REQUESTS}{RATE}))"
    noisy = f"topk({SLOWEST}, increase({THROTTLES}[$__range] @ end()) > 0)"
    quantile = f"sum by (le) (rate({BUCKETS}{RATE}))"
    minute = {"interval": "1m"}
    return [
        series(
            20,
            "What does it ask AWS?",
            "Requests per second by operation, each attempt counted, over all replicas.",
            [
                target(
                    "calls",
                    f"sum by (operation) (rate({REQUESTS}{RATE}))",
                    "{{operation}}",
                    **minute,
                )
            ],
            width=12,
            unit="reqps",
            stack=True,
            calcs=["mean"],
        ),
        series(
            21,
            "Which errors does AWS return?",
            "Failed requests per second by AWS's error code, or by the kind of error where AWS did"
            " not answer.",
            [
                target(
                    "errors",
                    f"sum by (operation, code) (rate({ERRORS}{RATE})) > 0",
                    "{{operation}}: {{code}}",
                    **minute,
                )
            ],
            width=12,
            unit="reqps",
            calcs=["mean"],
            none="no failed request",
            color=TROUBLE,
            links=runbooks("AwsIamExporterApiErrors"),
        ),
        series(
            22,
            "How near is the pace to its limit?",
            "Requests per second while an account is read, on average over accounts; the limit is"
            " collection.requests_per_second, which you tell above. Near it, readings take as long"
            " as the limit makes them.",
            [
                target("pace", f"{per_second} / {reading}", "pace", **minute),
                target("limit", "vector($pace)", "limit"),
            ],
            width=8,
            unit="reqps",
            overrides=[colored("limit", "orange", **DASHED), colored("pace", "blue")],
            calcs=["mean"],
        ),
        series(
            23,
            "Which accounts are throttled?",
            "Requests a second that AWS refused because too many were made, by us or by others: the"
            f" {SLOWEST} accounts with most in the chosen time.",
            [
                target(
                    "throttles",
                    f"max by (account) (rate({THROTTLES}{RATE}) and on ({q.A}, instance) {noisy})",
                    "{{account}}",
                    **minute,
                )
            ],
            width=8,
            unit="reqps",
            calcs=["mean"],
            none="no throttled request",
            color=TROUBLE,
            links=runbooks("AwsIamExporterThrottled"),
        ),
        series(
            24,
            "How fast does AWS answer?",
            "How long requests took, of all operations.",
            [
                target("p50", f"histogram_quantile(0.5, {quantile})", "half below", **minute),
                target("p95", f"histogram_quantile(0.95, {quantile})", "95 % below", **minute),
                target("p99", f"histogram_quantile(0.99, {quantile})", "99 % below", **minute),
            ],
            width=8,
            unit="s",
            calcs=["mean"],
        ),
    ]


def cost() -> list[Json]:
    def each(
        number: int, title: str, about: str, found: str, unit: str, width: int = 6, **more: Any
    ) -> Json:
        """Draw a line for each replica."""
        shown = target("replica", found, "{{instance}}", **more.pop("asked", {}))
        return series(number, title, about, [shown], unit=unit, width=width, **more)

    def of(name: str) -> str:
        return f"max by (instance) ({name}{{{HERE}}})"

    cpu = f"max by (instance) (rate(process_cpu_seconds_total{{{HERE}}}{RATE}))"
    files = f"max by (instance) (process_open_fds{{{HERE}}} / process_max_fds{{{HERE}}})"
    scrape = "As Prometheus measured it. It must stay well below the scrape's timeout (10 s)."
    full = ((None, "text"), (0.8, "red"))
    since = "Time since the process began: a fall to nothing is a restart."
    age = f"time() - {of('process_start_time_seconds')}"
    share = "Open file descriptors, as a share of what the process may open."
    size, memory = of("scrape_samples_scraped"), of("process_resident_memory_bytes")
    late = ((None, "text"), (10, "red"))
    return [
        each(30, "Scrape time?", scrape, of("scrape_duration_seconds"), "s", steps=late),
        each(31, "Scrape size?", "Samples on the exporter's page.", size, "short"),
        each(32, "Memory?", "Resident memory of the process.", memory, "bytes"),
        each(
            33,
            "Processor?",
            "Share of one processor.",
            cpu,
            "percentunit",
            asked={"interval": "1m"},
        ),
        each(34, "Does it run out of files?", share, files, "percentunit", 12, steps=full),
        each(35, "Did it restart?", since, age, "s", 12),
    ]


def exporter() -> Json:
    top = [{**panel, "gridPos": {"w": 8}} for panel in headline()]
    overview = accounts()
    asked = calls()
    spent = cost()
    panels = grid(
        (4, top[:3]),
        (4, top[3:]),
        (8, overview[:3]),
        (8, overview[3:]),
        row(100, "What it asks of AWS"),
        (8, asked[:2]),
        (8, asked[2:]),
        row(101, "What it costs"),
        (7, spent[:4]),
        (7, spent[4:]),
        row(102, "Alerts"),
        (6, [firing(40, "", "Alerts about the exporter.", width=24, names="AwsIamExporter.+")]),
    )
    variables = [v.DATASOURCE, v.JOBS, v.INSTANCES, v.PACE]
    return dashboard(
        EXPORTER,
        "AWS IAM keys / Exporter",
        "Whether the exporter sees all accounts, how fresh that is, and what it costs.",
        variables,
        panels,
        start="now-6h",
        refresh="1m",
    )
