"""Panels about what is not known."""

from grafana import columns as c
from grafana import queries as q
from grafana import states
from grafana.fields import GOOD_IF_NONE, Json, Steps, column, override, value_mappings
from grafana.fleet.selection import HERE
from grafana.links import runbooks, to_exporter
from grafana.panels import instant, stat, table

STALE_STEPS: Steps = ((None, "text"), (0, "green"), (1, "orange"))


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
