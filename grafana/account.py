"""One account: its keys, how they developed, and how well we see it."""

from grafana import queries as q
from grafana import variables as v
from grafana.common import (
    ACCESS_KEY,
    ACCOUNT_ID,
    REGION,
    SERVICE,
    TEAM,
    USER,
    all_keys,
    findings,
    firing,
    in_days,
    known_zero,
)
from grafana.panels import (
    ANY_IS_BAD,
    ANY_IS_WORSE,
    DASHED,
    TROUBLE,
    Json,
    colored,
    column,
    grid,
    hidden,
    now,
    row,
    series,
    stat,
    table,
    target,
    timeline,
    words,
)
from grafana.places import ACCOUNT, dashboard, runbooks, to_exporter

HERE = q.ONE_ACCOUNT
KEYS = q.ITS_USERS
FACTS = " Unknown while the account is not seen."

ANY = f"{q.of(q.INFO, f'{KEYS},{q.TEAM}')}"
STATUS = {
    "Active": ("Active", "text"),
    "Inactive": ("Inactive", "blue"),
    "Expired": ("Expired", "blue"),
}


def known_count(found: str) -> str:
    """Count keys: 0 only where those of all users are known."""
    return f"count({found}) or 0 * max({q.of(q.KEYS, HERE)})"


def seen() -> list[Json]:
    state = f"({q.per_account(q.UP, HERE)} + on ({q.A}) ({q.per_account(q.KEYS, HERE)} >= bool 0))"
    states = {"0": ("not seen", "red"), "1": ("not lately", "orange"), "2": ("seen", "green")}
    success = f"(max({q.of(q.SUCCESS, HERE)}) > 0)"
    unknown = f"max({q.of('aws_iam_exporter_account_keys_unknown', HERE)})"
    return [
        stat(
            1,
            "Seen?",
            "Seen: the latest reading succeeded whole. Not lately: it failed, and what is told is"
            " as of the last success. Not seen: nothing is known, or not the keys"
            " of all users.",
            [now("state", f"max({state} or {q.per_account(q.UP, HERE)})")],
            mappings=words(states),
            none="no such account",
            links=runbooks("AwsIamExporterAccountDown", "AwsIamExporterAccountStale"),
            data_links=[to_exporter()],
        ),
        stat(
            2,
            "As of?",
            "The time since the latest reading that succeeded whole began.",
            [now("since", f"time() - {success}")],
            unit="s",
            decimals=0,
            steps=((None, "text"), (3600, "orange"), (86400, "red")),
            none="never seen",
        ),
        stat(
            3,
            "Use unknown?",
            "Keys whose last use could not be learned. They may be unused, and are not counted as"
            " such." + FACTS,
            [now("unknown", unknown)],
            steps=ANY_IS_BAD,
            mappings=words({"0": ("all known", "text")}),
            size=28,
        ),
        stat(
            4,
            "Root key?",
            "Active access keys of the root user. There should be none.",
            [now("root", f"max({q.of('aws_iam_account_root_access_keys', HERE)})")],
            steps=ANY_IS_WORSE,
            mappings=words({"0": ("none", "text")}),
            links=runbooks("AwsIamRootAccessKeyPresent"),
        ),
        stat(
            5,
            "Root last used?",
            "The root user's password and access key, where the credential report tells; it is"
            " up to 4 hours old.",
            [now("used", f"1000 * max by (credential) ({ROOT_USED})", "{{credential}}")],
            width=8,
            unit="dateTimeFromNow",
            none="never, or not known",
            name=True,
            wide=True,
            size=20,
            links=runbooks("AwsIamRootUsed"),
        ),
    ]


ROOT_USED = q.of("aws_iam_account_root_last_used_timestamp_seconds", HERE)


def counts() -> list[Json]:
    def number(ident: int, title: str, about: str, found: str, *alerts: str) -> Json:
        steps = ANY_IS_BAD if alerts else ((None, "text"),)
        query = now("count", known_count(found))
        links = runbooks(*alerts)
        return stat(ident, title, about + FACTS, [query], width=8, steps=steps, links=links)

    users = f"max({q.of(q.USERS, HERE)})"
    active = f"{all_keys(KEYS)} {q.is_active(KEYS)}"
    return [
        stat(
            6,
            "Users?",
            "IAM users, with or without keys. The filters do not change it." + FACTS,
            [now("count", users)],
            width=8,
        ),
        number(7, "Active keys?", "Keys that can sign requests.", active),
        number(
            8,
            "Unused for $unused_days d?",
            "Active keys that were used, but not for $unused_days days, and are not exempt.",
            q.unused(KEYS),
            "AwsIamAccessKeyUnused",
        ),
        number(
            9,
            "Never used in $never_used_days d?",
            "Active keys never used, made over $never_used_days days ago, and not exempt.",
            q.never_used(KEYS),
            "AwsIamAccessKeyNeverUsed",
        ),
        number(
            10,
            "Over $rotate_days d old?",
            "Active keys made over $rotate_days days ago that are not exempt.",
            q.unrotated(KEYS),
            "AwsIamAccessKeyNotRotated",
        ),
        number(
            11,
            "Can be deleted?",
            "Inactive and silent for long; or active, but silent while the same user's other key is"
            " in use.",
            f"({q.retired(KEYS)}) or ({q.superseded(KEYS)})",
            "AwsIamAccessKeySafeToDelete",
            "AwsIamAccessKeyInactiveNotDeleted",
        ),
    ]


def keys_of(number: int, title: str, about: str, where: str, *, team: str, **more: object) -> Json:
    """List keys with all that is known of each."""
    user = hidden("user") if where == q.ONE_USER else USER
    chosen = f"and on ({q.K}) {q.INFO}{{{where}{team}}}"
    exempt = q.per_key(q.EXEMPT, where)
    info = f"group by ({q.K}, status, path, description, tag_team, tag_owner)"
    used = f"max by ({q.K}, service, region) ({q.of(q.AGE, where)})"
    # Told apart on purpose: 1 never used, 0 used, -1 not known.
    never = f"min by ({q.K}) ({q.of(q.NEVER, where)})"
    use = f"{never} or (0 * {q.per_key(q.CREATED, where)} - 1)"
    return table(
        number,
        title,
        about,
        {
            "info": f"{info} ({q.of(q.INFO, f'{where}{team}')})",
            "age": f"{q.age(where)} {chosen}",
            "idle": f"{q.idle(where)} {chosen}",
            "use": f"({use}) {chosen}",
            "where": f"{used} {chosen}",
            "exempt": f"1000 * {exempt} {chosen}",
        },
        [
            ACCOUNT_ID,
            user,
            ACCESS_KEY,
            column("status", "Status", cell="color-text", mappings=words(STATUS), width=80),
            in_days("age", "Age (days)"),
            in_days("idle", "Idle (days)"),
            column("Value #use", "Used", cell="color-text", mappings=words(USE), width=95),
            SERVICE,
            REGION,
            TEAM,
            column("tag_owner", "Owner", minWidth=120, noValue=""),
            column(
                "Value #exempt",
                "Exempt until",
                unit="dateTimeAsIsoNoDateIfToday",
                width=130,
                noValue="",
                plain=True,
            ),
            column("description", "Description", minWidth=110, noValue=""),
            column("path", "Path", width=120),
        ],
        drop=("job", "account", "Value #info", "Value #where"),
        **{"sort": "Idle (days)", **more},  # type: ignore[arg-type]
    )


USE = {"1": ("never", "purple"), "0": ("yes", "text"), "-1": ("unknown", "orange")}


def trend() -> Json:
    active = f"{all_keys(KEYS)} {q.is_active(KEYS)}"

    def kind(found: str) -> str:
        return known_zero(found, active)

    return findings(
        20,
        "How did it develop?",
        "Active keys and the findings among them, in Prometheus's memory. Gaps: not scraped, or not"
        " known.",
        width=12,
        exprs={
            "active": f"count({active})",
            "unused": kind(q.unused(KEYS)),
            "never": kind(q.never_used(KEYS)),
            "unrotated": kind(q.unrotated(KEYS)),
        },
    )


def readings() -> list[Json]:
    failures = q.of("aws_iam_exporter_account_failures_total", HERE)
    throttles = q.of("aws_iam_exporter_account_throttles_total", HERE)
    duration = q.of("aws_iam_exporter_account_refresh_duration_seconds", HERE)
    interval = 'aws_iam_exporter_refresh_interval_seconds{job=~"$job"}'
    report = q.of("aws_iam_exporter_account_report_timestamp_seconds", HERE)
    usable = q.of("aws_iam_exporter_account_report_usable", HERE)
    up = words({"0": ("failed", "red"), "1": ("succeeded", "green")})
    return [
        timeline(
            22,
            "When did its readings succeed?",
            "Reading: red while the latest one had failed, or none was made yet. Report: red while"
            " users had to be asked one by one, which takes more calls. A gap: not scraped.",
            [
                target("up", f"max({q.of(q.UP, HERE)})", "reading"),
                target("report", f"max({usable})", "report"),
            ],
            mappings=up,
        ),
        series(
            23,
            "How long does a reading take?",
            "The latest reading. One that takes longer than the interval delays the next.",
            [
                target("duration", f"max({duration})", "reading"),
                target("interval", f"max({interval})", "interval"),
            ],
            unit="s",
            overrides=[colored("interval", "text", **DASHED), colored("reading", "blue")],
            links=runbooks("AwsIamExporterRefreshSlow"),
        ),
        series(
            24,
            "Why did readings fail?",
            "Readings that did not succeed whole, by the first reason. Bars: how many in each.",
            [
                target(
                    "failures",
                    f"max by (reason) (increase({failures}[$__rate_interval])) > 0",
                    "{{reason}}",
                    interval="30m",
                )
            ],
            bars=True,
            stack=True,
            calcs=["sum"],
            decimals=0,
            none="no failure counted",
            color=TROUBLE,
            links=runbooks("AwsIamExporterAccountDown"),
        ),
        series(
            25,
            "How often did AWS throttle us, and how old is the report?",
            "Requests that AWS refused because too many were made, by us or by others, in each"
            " span; and the age of the credential report. AWS makes one every 4 hours at most.",
            [
                target(
                    "throttles",
                    f"max(increase({throttles}[$__rate_interval]))",
                    "throttled requests",
                    interval="30m",
                ),
                target("report", f"time() - max({report})", "age of the report"),
            ],
            overrides=[
                colored("throttled requests", "orange", decimals=0, **{"custom.drawStyle": "bars"}),
                colored(
                    "age of the report",
                    "blue",
                    unit="s",
                    **{"custom.axisPlacement": "right"},
                ),
            ],
            links=runbooks("AwsIamExporterThrottled", "AwsIamExporterReportUnusable"),
        ),
    ]


def account() -> Json:
    states, duration, failures, throttles = readings()
    numbers = counts()
    panels = grid(
        (4, seen()),
        (3, numbers[:3]),
        (3, numbers[3:]),
        (
            14,
            [
                keys_of(
                    12,
                    "Which keys are there?",
                    "All keys of the chosen users and teams, active or not, exempt or not. A key"
                    " without days of idleness was never used, or its last use is not known: Used"
                    " says which. Service and region are those of the last use.",
                    KEYS,
                    team=f",{q.TEAM}",
                    pages=True,
                )
            ],
        ),
        row(100, "Over time"),
        (
            8,
            [
                trend(),
                {
                    **firing(21, ',account_id="$account_id"', "Alerts about this account."),
                    "gridPos": {"w": 12},
                },
            ],
        ),
        row(101, "How well we see it"),
        (6, [states, duration]),
        (7, [failures, throttles]),
    )
    teams = {
        **v.TEAMS,
        "definition": TEAM_VALUES,
        "query": {**v.TEAMS["query"], "query": TEAM_VALUES},
    }
    variables = [v.DATASOURCE, v.JOBS, v.ACCOUNT, v.USERS, teams, *v.THRESHOLDS]
    return dashboard(
        ACCOUNT,
        "AWS IAM keys / Account",
        "One account: its keys, how they developed, and how well we see it.",
        variables,
        panels,
        start="now-7d",
    )


TEAM_VALUES = f"label_values({q.of(q.INFO, HERE)}, tag_team)"
