"""The exporter itself: whether it sees all accounts, and what that costs."""

from grafana import queries as q
from grafana import variables as v
from grafana.common import firing
from grafana.panels import (
    NONE_IS_GOOD,
    Json,
    colored,
    column,
    grid,
    now,
    row,
    series,
    stat,
    table,
    target,
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
DASHED = {"custom.lineStyle": {"fill": "dash"}}
SLOWEST = 10
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
            "Are exporters up?",
            "Targets that answered the latest scrape, of all that Prometheus knows.",
            [
                now("down", f"count({exporters} == 0) or 0 * count({exporters})", "down"),
                now("up", f"count({exporters} == 1) or 0 * count({exporters})", "up"),
            ],
            name=True,
            wide=True,
            overrides=[
                {
                    "matcher": {"id": "byName", "options": "down"},
                    "properties": [
                        {
                            "id": "thresholds",
                            "value": {
                                "mode": "absolute",
                                "steps": [
                                    {"value": None, "color": "text"},
                                    {"value": 1, "color": "red"},
                                ],
                            },
                        }
                    ],
                },
            ],
            none="no target",
            links=runbooks("AwsIamExporterDown"),
        ),
        stat(
            2,
            "How many accounts can it not see?",
            "Accounts of which nothing, or not everything, is known; accounts whose latest"
            " reading failed, with older facts; and accounts that are configured, but not told of"
            " at all.",
            [
                now("unseen", q.known(q.unseen(HERE), UP), "not seen"),
                now("outdated", q.known(q.outdated(HERE), UP), "not lately"),
                now("missing", f"{CONFIGURED} - count({q.per_account(q.UP, HERE)})", "missing"),
            ],
            width=6,
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
            width=3,
            unit="percentunit",
            decimals=1,
            steps=((None, "text"), (0.01, "orange"), (0.05, "red")),
            links=runbooks("AwsIamExporterApiErrors"),
        ),
        stat(
            6,
            "Version?",
            "The exporter's version, and how many replicas run it.",
            [
                now(
                    "version",
                    f"count by (version) ({q.of(f'{OWN}_build_info', HERE)})",
                    "{{version}}",
                )
            ],
            width=3,
            name=True,
            none="no exporter",
            size=24,
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
                column("account", "Account", links=[to_account(days=False)], minWidth=120),
                column("account_id", "Account id", width=125),
                column(
                    "Value #since",
                    "Since last success",
                    unit="s",
                    decimals=0,
                    cell="color-text",
                    steps=((None, "text"), (3600, "orange"), (86400, "red")),
                    # No success yet is told as a success in 1970.
                    mappings=[{"type": "range", "options": NEVER}],
                    width=160,
                    plain=True,
                ),
                column("reason", "Reason", width=130, noValue=""),
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
                column("account", "Account", links=[to_account(days=False)], minWidth=120),
                column("account_id", "Account id", width=125),
                column("Value #took", "Reading took", unit="s", decimals=1, width=130, plain=True),
                column("Value #throttled", "Throttled", decimals=0, width=110, plain=True),
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
    def each(name: str, rate: bool = False) -> str:
        selected = f"{name}{{{HERE}}}"
        return f"max by (instance) ({f'rate({selected}{RATE})' if rate else selected})"

    return [
        series(
            30,
            "How long does a scrape take?",
            "As Prometheus measured it. It must stay well below the scrape's timeout (10 s).",
            [target("seconds", each("scrape_duration_seconds"), "{{instance}}")],
            width=6,
            unit="s",
            steps=((None, "text"), (10, "red")),
        ),
        series(
            31,
            "How large is a scrape?",
            "Samples on the exporter's page.",
            [target("samples", each("scrape_samples_scraped"), "{{instance}}")],
            width=6,
            unit="short",
        ),
        series(
            32,
            "How much memory does it use?",
            "Resident memory of the process.",
            [target("bytes", each("process_resident_memory_bytes"), "{{instance}}")],
            width=6,
            unit="bytes",
        ),
        series(
            33,
            "How much processor does it use?",
            "Share of one processor.",
            [
                target(
                    "cpu",
                    each("process_cpu_seconds_total", rate=True),
                    "{{instance}}",
                    interval="1m",
                )
            ],
            width=6,
            unit="percentunit",
        ),
        series(
            34,
            "Does it run out of files?",
            "Open file descriptors, as a share of what the process may open.",
            [
                target(
                    "files",
                    f"max by (instance) (process_open_fds{{{HERE}}} / process_max_fds{{{HERE}}})",
                    "{{instance}}",
                )
            ],
            width=12,
            unit="percentunit",
            steps=((None, "text"), (0.8, "red")),
        ),
        series(
            35,
            "Did it restart?",
            "Time since the process began: a fall to nothing is a restart.",
            [
                target(
                    "age",
                    f"time() - max by (instance) (process_start_time_seconds{{{HERE}}})",
                    "{{instance}}",
                )
            ],
            width=12,
            unit="s",
        ),
    ]


def exporter() -> Json:
    overview = accounts()
    asked = calls()
    spent = cost()
    panels = grid(
        (5, headline()),
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
