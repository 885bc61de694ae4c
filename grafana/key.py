"""One key's life, and its user."""

from grafana import queries as q
from grafana import variables as v
from grafana.account import USE, keys_of
from grafana.common import firing
from grafana.panels import (
    DASHED,
    Json,
    colored,
    grid,
    now,
    row,
    series,
    stat,
    target,
    text,
    timeline,
    words,
)
from grafana.places import KEY, dashboard, runbooks, to_account

HERE = q.ONE_KEY
BACK = [to_account(account="${account_id}")]

LOOK_UP = """
**What did it do?** CloudTrail tells for 90 days, region by region, without data events; the key was
last used in region `${last_region}`. (`N/A`: a service without regions. Look in `us-east-1`.)

```sh
aws cloudtrail lookup-events --region ${last_region} --max-items 50 \\
  --lookup-attributes AttributeKey=AccessKeyId,AttributeValue=${access_key_id} \\
  --query 'Events[].[EventTime,EventSource,EventName,Username]' --output table
```

**What does AWS say now?**

```sh
aws iam get-access-key-last-used --access-key-id ${access_key_id}
aws iam list-access-keys --user-name '${user:raw}'
```

**Take it out of use**, watch for a while, then delete it. Making it active undoes the first step.

```sh
aws iam update-access-key --status Inactive \\
  --user-name '${user:raw}' --access-key-id ${access_key_id}
aws iam delete-access-key --user-name '${user:raw}' --access-key-id ${access_key_id}
```

All with credentials of account `${account_id}`. Where the exporter masks or hashes key ids, find
the id with `list-access-keys` first.
"""


def facts() -> list[Json]:
    created = q.per_key(q.CREATED, HERE)
    used = q.per_key(q.LAST_USED, HERE)
    never = f"min by ({q.K}) ({q.of(q.NEVER, HERE)})"
    # 0 used, 1 never, -1 not known; an active key's colour is nobody's business but its use is.
    use = f"max({never} or (0 * {created} - 1))"
    days = ((None, "text"), (90, "orange"), (365, "red"))
    exempt = f"max({q.of(q.EXEMPT, HERE)})"
    return [
        stat(
            1,
            "Is it active?",
            "The key's status. Only an active key can sign requests.",
            [now("active", f"max({q.of('aws_iam_access_key_active', HERE)})")],
            width=6,
            mappings=words({"0": ("no", "blue"), "1": ("yes", "text")}),
            none="no such key",
            data_links=BACK,
            size=28,
        ),
        stat(
            2,
            "Ever used?",
            "What AWS says. Unknown is not the same as never.",
            [now("use", use)],
            width=6,
            mappings=words(USE),
            none="no such key",
            links=runbooks("AwsIamAccessKeyNeverUsed"),
            size=28,
        ),
        stat(
            3,
            "Days idle?",
            "Days since its last use. AWS records at most one use in 15 minutes.",
            [now("idle", f"max({q.idle(HERE)})")],
            width=6,
            decimals=1,
            steps=days,
            none="never or unknown",
            links=runbooks("AwsIamAccessKeyUnused", "AwsIamAccessKeyAwakened"),
            size=28,
        ),
        stat(
            4,
            "Days old?",
            "Days since it was made.",
            [now("age", f"max({q.age(HERE)})")],
            width=6,
            decimals=0,
            steps=days,
            none="no such key",
            links=runbooks("AwsIamAccessKeyNotRotated"),
            size=28,
        ),
        stat(
            5,
            "When was it last used, and when made?",
            "Times of the last use, and of its creation.",
            [
                now("used", f"1000 * max({used})", "used"),
                now("created", f"1000 * max({created})", "made"),
            ],
            width=10,
            unit="dateTimeAsIso",
            none="never or unknown",
            name=True,
            size=20,
        ),
        stat(
            6,
            "Used by, in?",
            "By which service and in which region was it used last? In AWS's words.",
            [
                now(
                    "where",
                    f"max by (service, region) ({q.of(q.AGE, HERE)})",
                    "{{service}} · {{region}}",
                )
            ],
            width=8,
            none="never or unknown",
            text="name",
            size=24,
            unit="s",
            links=runbooks("AwsIamAccessKeyNewService", "AwsIamAccessKeyNewRegion"),
        ),
        stat(
            7,
            "Is it exempt?",
            "Until when findings about it are exempt, by its user's tag or the configuration.",
            [now("exempt", f"1000 * ({exempt} > time())")],
            width=6,
            unit="dateTimeAsIso",
            none="no",
            size=18,
        ),
    ]


def life() -> list[Json]:
    used = q.of(q.LAST_USED, HERE)
    limits = [
        colored("unused after", "orange", **DASHED),
        colored("idle", "blue"),
    ]
    by_service = f"group by (service) ({q.of(q.AGE, HERE)})"
    by_region = f"group by (region) ({q.of(q.AGE, HERE)})"
    there = words({"1": ("last used", "blue")})
    return [
        series(
            20,
            "How long was it silent?",
            "Days since its last use, over time: each fall is a use. Nothing is drawn while it was"
            " never used, or not known.",
            [
                target("idle", f"max({q.idle(HERE)})", "idle"),
                target("limit", "vector($unused_days)", "unused after"),
            ],
            unit="none",
            axis="days",
            overrides=limits,
            decimals=0,
            none="never used, or not known",
        ),
        series(
            21,
            "When was it used?",
            "New uses seen in each span of at least an hour. AWS tells at most four an hour, so the"
            " bars show when, not how much.",
            [
                target(
                    "uses",
                    f"max(changes({used}[$__interval]))",
                    "new uses",
                    interval="1h",
                )
            ],
            bars=True,
            overrides=[colored("new uses", "blue")],
            decimals=0,
            calcs=["sum"],
            highest=4,
            none="never used, or not known",
        ),
        timeline(
            22,
            "Which service used it last, and when did that change?",
            "A service has a bar while the key's last use was by it.",
            [target("service", by_service, "{{service}}")],
            mappings=there,
            none="never used, or not known",
        ),
        timeline(
            23,
            "In which region was it used last, and when did that change?",
            "A region has a bar while the key's last use was in it.",
            [target("region", by_region, "{{region}}")],
            mappings=there,
            none="never used, or not known",
        ),
    ]


def password() -> Json:
    when = q.of("aws_iam_user_password_last_used_timestamp_seconds", q.ONE_USER)
    return stat(
        8,
        "When did the user last log in?",
        "When the console password was last used. Only where the exporter's configuration asks for"
        " passwords; absent as well if there is none, or it was never used.",
        [now("password", f"1000 * max({when})")],
        width=6,
        unit="dateTimeFromNow",
        none="never, or not known",
        size=20,
    )


def key() -> Json:
    mark = ',account_id="$account_id",user="$user",access_key_id=~"$access_key_id|"'
    siblings = keys_of(
        12,
        "Which keys does the user have?",
        "This key and its sibling. A rotation is safe to end when the old one is silent while the"
        " new one is in use.",
        q.ONE_USER,
        team="",
        sort="Age (days)",
    )
    panels = grid(
        (4, facts()[:4]),
        (4, facts()[4:]),
        (5, [{**siblings, "gridPos": {"w": 18}}, password()]),
        row(100, "Its life"),
        (8, life()[:2]),
        (6, life()[2:]),
        row(101, "What to do"),
        (
            15,
            [
                text(
                    30,
                    "What to run?",
                    "Commands with this key's names filled in.",
                    LOOK_UP,
                    width=14,
                ),
                firing(31, mark, "Alerts about this key, or its user.", width=10),
            ],
        ),
    )
    variables = [
        v.DATASOURCE,
        v.JOBS,
        v.ACCOUNT,
        v.KEY,
        v.USER,
        *v.THRESHOLDS,
        {
            **v.asked(
                "last_region",
                "Region of the last use",
                f"query_result(max by (region) ({q.of(q.AGE, HERE)}))",
                regex='/region="([^"]*)"/',
            ),
            "hide": 2,
        },
    ]
    return dashboard(
        KEY,
        "AWS IAM keys / Key and user",
        "One access key: when it was made and used, by what, and how to look further.",
        variables,
        panels,
        start="now-30d",
        refresh="1m",
    )
