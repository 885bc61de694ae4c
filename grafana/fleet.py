"""The fleet: what is wrong in all accounts together, and where to begin."""

from grafana import queries as q
from grafana import variables as v
from grafana.common import (
    ACCESS_KEY,
    ACCOUNT,
    ACCOUNT_ID,
    ID,
    REGION,
    SERVICE,
    TEAM,
    USER,
    findings,
    firing,
    in_days,
)
from grafana.panels import (
    ANY_IS_BAD,
    ANY_IS_WORSE,
    NONE_IS_GOOD,
    Json,
    bars,
    colored,
    column,
    grid,
    now,
    row,
    series,
    stat,
    table,
    target,
    words,
)
from grafana.places import FLEET, dashboard, runbooks, to_account, to_exporter

HERE = q.FLEET
NOTE = " Exempt keys are left out. Below the number: of how many accounts it is the number."
RULES = "are the rules loaded?"
WORST = 25
"""Rows of a list of the worst. More is a report's business."""


def count(number: int, title: str, about: str, found: str, *alerts: str) -> Json:
    return stat(
        number,
        title,
        about + NOTE,
        [now("count", found, q.COVERAGE)],
        name=True,
        width=8,
        steps=ANY_IS_BAD,
        none=RULES,
        links=runbooks(*alerts),
    )


def blind() -> Json:
    return stat(
        1,
        "Accounts not seen?",
        "Accounts of which nothing, or not everything, is known: no number here covers them. And"
        " accounts that are known, but whose latest reading failed: what is told is as old as their"
        " last success.",
        [
            now("unseen", q.known(q.unseen(HERE), q.of(q.UP, HERE)), "not seen"),
            now("outdated", q.known(q.outdated(HERE), q.of(q.UP, HERE)), "not lately"),
        ],
        name=True,
        width=8,
        wide=True,
        steps=NONE_IS_GOOD,
        none="no exporter",
        links=runbooks("AwsIamExporterAccountDown", "AwsIamExporterDown"),
        data_links=[to_exporter()],
    )


def headline() -> list[Json]:
    return [
        blind(),
        count(
            2,
            "Can be deleted?",
            f"Inactive and silent for {q.RETIRED} days; or active, but silent for {q.MOVED} days"
            " when the same user's other key was last used. The list is further down.",
            DELETABLE,
            "AwsIamAccessKeySafeToDelete",
            "AwsIamAccessKeyInactiveNotDeleted",
        ),
        count(
            3,
            "Unused for $unused_days d?",
            "Active keys that were used, but not for $unused_days days.",
            q.counted("access_keys_unused", ',days="$unused_days"'),
            "AwsIamAccessKeyUnused",
        ),
        count(
            4,
            "Never used in $never_used_days d?",
            "Active keys that AWS says were never used, made over $never_used_days days ago.",
            q.counted("access_keys_never_used", ',days="$never_used_days"'),
            "AwsIamAccessKeyNeverUsed",
        ),
        count(
            5,
            "Over $rotate_days d old?",
            "Active keys made over $rotate_days days ago.",
            q.counted("access_keys_old", ',days="$rotate_days"'),
            "AwsIamAccessKeyNotRotated",
        ),
        stat(
            6,
            "Root keys?",
            "Active access keys of root users. There should be none. Accounts whose root user could"
            " not be looked at are not counted: below the number.",
            [now("count", ROOT_KEYS, q.COVERAGE)],
            name=True,
            width=8,
            steps=ANY_IS_WORSE,
            links=runbooks("AwsIamRootAccessKeyPresent"),
        ),
    ]


ROOT = "aws_iam_account_root_access_keys"
ROOT_KEYS = (
    f"sum({q.per_account(ROOT, HERE)}) * on () group_left (seen, all)"
    f' (count_values("seen", count({q.per_account(ROOT, HERE)}))'
    f' * on () group_left (all) count_values("all", count({q.per_account(q.UP, HERE)})))'
)

# Its series are keys, not counts: counted here.
DELETABLE = q.counted("access_key_deletable").replace("sum(", "count(", 1)


def totals() -> list[Json]:
    def total(number: int, title: str, about: str, name: str) -> Json:
        return stat(number, title, about, [now("count", q.counted(name))], size=24, none=RULES)

    unknown = f"sum({q.per_account('aws_iam_exporter_account_keys_unknown', HERE)})"
    return [
        stat(
            7,
            "Accounts",
            "Accounts that the exporter reads, seen or not.",
            [now("count", f"count({q.per_account(q.UP, HERE)})")],
            size=24,
        ),
        stat(
            8,
            "Users",
            "IAM users of the accounts that are seen, of all teams, with or without keys.",
            [now("count", f"sum({q.per_account(q.USERS, HERE)})")],
            size=24,
        ),
        total(
            9, "Active keys", "Keys that can sign requests, of seen accounts.", "access_keys_active"
        ),
        total(
            10,
            "Inactive keys",
            "Inactive or expired keys, of seen accounts.",
            "access_keys_inactive",
        ),
        total(
            11,
            "Exempt keys",
            "Active keys whose findings are exempt until a date; no finding includes them.",
            "access_keys_exempt",
        ),
        stat(
            12,
            "Last use not known",
            "Keys whose last use could not be learned, of all teams. They may be unused, and are"
            " not counted as such.",
            [now("count", unknown)],
            steps=ANY_IS_BAD,
            size=24,
        ),
    ]


def blind_accounts() -> Json:
    failures = q.of("aws_iam_exporter_account_failures_total", HERE)
    down = f"{q.per_account(q.UP, HERE)} == 0"
    seen = f"({q.per_account(q.KEYS, HERE)} >= bool 0)"
    success = f"({q.per_account(q.SUCCESS, HERE)} > 0)"
    state = words({"0": ("not seen", "red"), "1": ("seen, but not lately", "orange")})
    return table(
        13,
        "Which accounts can we not see, and why?",
        "Accounts whose latest reading failed, or that were not read yet. Reason: the one that was"
        " counted most in the last hour.",
        {
            "state": f"({down}) + on ({q.A}) group_left () {seen} or ({down})",
            "since": f"time() - {success} and on ({q.A}) ({down})",
            "why": f"topk by ({q.A}) (1, sum by ({q.A}, reason) (increase({failures}[1h])) > 0)"
            f" and on ({q.A}) ({down})",
        },
        [
            ACCOUNT,
            ID,
            column("Value #state", "State", cell="color-text", mappings=state, width=150),
            column("reason", "Reason", width=130, noValue=""),
            column(
                "Value #since",
                "Since last success",
                unit="s",
                decimals=0,
                noValue="never",
                plain=True,
            ),
        ],
        sort="State^",
        width=14,
        none="none, of the accounts that the exporter reads",
        drop=("job", "Value #why"),
        links=runbooks("AwsIamExporterAccountDown"),
    )


def trend() -> list[Json]:
    def of_fleet(name: str, more: str = "") -> str:
        where = f'job=~"$job"{more}'
        return f"sum({q.recorded(f'fleet_{name}', where)})"

    team = f",{q.TEAM}"
    active = of_fleet("access_keys_active", team)

    def finding(kind: str, days: str) -> str:
        found = of_fleet(f"access_keys_{kind}", f'{team},days="${days}"')
        return f"{found} or 0 * {active}"

    return [
        findings(
            20,
            "How did all accounts develop?",
            "Active keys and the findings among them, in all accounts, whichever are chosen: an"
            " account's own page shows its development. A gap: nothing was recorded.",
            width=16,
            exprs={
                "active": active,
                "unused": finding("unused", "unused_days"),
                "never": finding("never_used", "never_used_days"),
                "unrotated": finding("old", "rotate_days"),
            },
        ),
        series(
            21,
            "Of how many accounts was that?",
            "A count that falls because accounts went out of sight is no success: compare.",
            [
                target("all", of_fleet("accounts"), "accounts"),
                target("seen", of_fleet("accounts_seen"), "seen"),
            ],
            width=8,
            none=RULES,
            overrides=[
                colored("accounts", "text", **{"custom.fillOpacity": 0}),
                colored("seen", "blue"),
            ],
            decimals=0,
        ),
    ]


def worst_accounts() -> Json:
    none = f"0 * max by ({q.A}) ({q.recorded('accounts_seen', HERE)})"

    def each(name: str, more: str = "") -> str:
        """Count by account: 0 where it is seen, nothing where it is not."""
        return f"(sum by ({q.A}) ({q.recorded(name, f'{HERE},{q.TEAM}{more}')}) or {none})"

    findings = {
        "unused": each("access_keys_unused", ',days="$unused_days"'),
        "never": each("access_keys_never_used", ',days="$never_used_days"'),
        "unrotated": each("access_keys_old", ',days="$rotate_days"'),
    }

    state = words({"0": ("not seen", "red"), "1": ("not lately", "orange"), "2": ("seen", "text")})
    seen = f"{q.per_account(q.KEYS, HERE)} >= bool 0"
    up = q.per_account(q.UP, HERE)
    number = {
        "cell": "color-text",
        "steps": ANY_IS_BAD,
        "width": 110,
        "noValue": "?",
        "plain": True,
    }
    return table(
        30,
        "Which accounts are worst?",
        "All accounts, those with most findings first. A key can be several findings. ?: not known;"
        " the state says why.",
        {
            "state": f"({up} + on ({q.A}) ({seen})) or ({up})",
            "keys": each("access_keys_active"),
            "findings": " + ".join(findings.values()),
            **findings,
            "root": q.per_account(ROOT, HERE),
        },
        [
            ACCOUNT,
            ID,
            column("Value #state", "State", cell="color-text", mappings=state, width=95),
            column("Value #findings", "Findings", width=105, noValue="?", plain=True),
            column("Value #unused", "Unused", **number),
            column("Value #never", "Never used", **number),
            column("Value #unrotated", "Not rotated", **number),
            column("Value #root", "Root keys", **{**number, "steps": ANY_IS_WORSE}),
            column("Value #keys", "Active keys", width=110, noValue="?", plain=True),
        ],
        sort="Findings",
        drop=("job",),
        pages=True,
    )


def deletable() -> Json:
    found = q.recorded("access_key_deletable", f"{HERE},{q.TEAM}")
    why = words(
        {
            "inactive": ("inactive and silent", "blue"),
            "superseded": ("the user's other key is in use", "orange"),
        }
    )
    return table(
        40,
        "Which keys can be deleted?",
        f"The {WORST} that are silent for longest, or exist unused for longest. Deactivate, wait,"
        " watch, then delete: the runbook tells how. Exempt keys are left out.",
        {"since": f"(time() - bottomk({WORST}, {found})) / {q.DAY}"},
        [
            ACCOUNT_ID,
            ACCOUNT,
            USER,
            ACCESS_KEY,
            column("why", "Why", cell="color-text", mappings=why, width=220),
            column("Value", "Silent (days)", decimals=0, width=125, plain=True),
            TEAM,
        ],
        sort="Silent (days)",
        width=24,
        drop=("job",),
        none="none, or the rules are not loaded",
        links=runbooks("AwsIamAccessKeySafeToDelete", "AwsIamAccessKeyInactiveNotDeleted"),
    )


NARROW_ACCOUNT = column("account", "Account", links=[to_account()], width=115)


def lists() -> list[Json]:
    # In this family the labels tell the service and region. Two replicas can differ, but only
    # about keys that were used just now.
    idle = f"{q.of(q.AGE, HERE)} >= {q.DAY} {q.is_active(HERE)}"
    old = f"{q.of(q.CREATED, HERE)} < {q.before('30')} {q.is_active(HERE)}"
    most_idle = f"topk({WORST}, max by ({q.K}, service, region) ({idle}) / {q.DAY})"
    oldest = f"(time() - bottomk({WORST}, max by ({q.K}) ({old}))) / {q.DAY}"
    return [
        table(
            41,
            "Which active keys are most idle?",
            f"The {WORST} whose last use is longest ago, with the service and region of that use."
            " Exempt keys are here too; keys that were never used, or were within a day, are not.",
            {"idle": most_idle},
            [
                ACCOUNT_ID,
                NARROW_ACCOUNT,
                USER,
                in_days(None, "Idle (days)"),
                ACCESS_KEY,
                SERVICE,
                REGION,
            ],
            sort="Idle (days)",
            width=13,
            drop=("job",),
            links=runbooks("AwsIamAccessKeyUnused"),
        ),
        table(
            42,
            "Which active keys are oldest?",
            f"The {WORST} made longest ago, over 30 days. Exempt keys are here too.",
            {"age": oldest},
            [
                ACCOUNT_ID,
                NARROW_ACCOUNT,
                USER,
                in_days(None, "Age (days)"),
                ACCESS_KEY,
            ],
            sort="Age (days)",
            width=11,
            drop=("job",),
            links=runbooks("AwsIamAccessKeyNotRotated"),
        ),
    ]


SPANS = (0, 1, 7, 30, 90, 365)


def total_of(name: str, days: int | None = None) -> str:
    """Sum what rules counted; 0 where they counted other keys, but none of these."""
    more = "" if days is None else f',days="{days}"'
    found = q.recorded(name, f"{HERE},{q.TEAM}{more}")
    return f"(sum({found}) or 0 * sum({q.recorded('accounts_seen', HERE)}))"


def spread(name: str) -> list[Json]:
    shown = []
    for number, (low, high) in enumerate(zip(SPANS, (*SPANS[1:], None), strict=True)):
        legend = f"< {high} d" if not low else f"{low}-{high} d" if high else f"{low} d +"
        more = f" - {total_of(name, high)}" if high else ""
        shown.append(now(f"span{number}", total_of(name, low) + more, legend))
    return shown


def distributions() -> list[Json]:
    late = [colored("90-365 d", "orange"), colored("365 d +", "red")]
    left_out = " Exempt keys are left out."

    def by(label: str) -> Json:
        found = q.recorded(f"access_keys_by_{label}", f"{HERE},{q.TEAM}")
        most = f"sort_desc(topk(10, sum by ({label}) ({found})))"
        return now(label, most, f"{{{{{label}}}}}")

    return [
        bars(
            50,
            "How long ago were keys used?",
            "Active keys by the days since their last use. Never and unknown are different facts."
            + left_out,
            [
                *spread("access_keys_unused"),
                now("never", total_of("access_keys_never_used", 0), "never"),
                now("unknown", total_of("access_keys_unknown"), "unknown"),
            ],
            overrides=[*late, colored("never", "purple"), colored("unknown", "text")],
        ),
        bars(
            51,
            "How old are keys?",
            "Active keys by the days since they were made." + left_out,
            spread("access_keys_old"),
            overrides=late,
        ),
        bars(
            52,
            "Which services were used last?",
            "Active keys by the service of their last use: the ten most frequent.",
            [by("service")],
        ),
        bars(
            53,
            "In which regions were keys used last?",
            "Active keys by the region of their last use: the ten most frequent. N/A: a service"
            " without regions.",
            [by("region")],
        ),
    ]


def fleet() -> Json:
    spreads = distributions()
    panels = grid(
        (4, headline()[:3]),
        (4, headline()[3:]),
        (3, totals()),
        (7, [blind_accounts(), firing(14, "", "Alerts about all accounts and teams.", width=10)]),
        row(100, "Over time"),
        (8, trend()),
        row(101, "Where to begin"),
        (9, [worst_accounts()]),
        (7, [deletable()]),
        (11, lists()),
        row(102, "How it is spread"),
        (7, spreads[:2]),
        (9, spreads[2:]),
    )
    variables = [v.DATASOURCE, v.JOBS, v.ACCOUNTS, v.TEAMS, *v.THRESHOLDS]
    return dashboard(
        FLEET,
        "AWS IAM keys / Fleet",
        "All access keys of all accounts: what is stale, what can go, and what we cannot see.",
        variables,
        panels,
        start="now-90d",
    )
