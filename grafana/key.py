"""The key dashboard: one key, its history, and its user."""

from grafana import columns as c
from grafana import queries as q
from grafana import variables as v
from grafana.fields import DAYS, Json, hidden, override, value_mappings
from grafana.layout import dashboard, grid, row
from grafana.links import KEY, runbooks, to_account
from grafana.panels import instant, stat, state_timeline, target, text, time_series
from grafana.shared_panels import firing_alerts, key_table

HERE = q.ONE_KEY
NO_USE = "never used, or unknown"
LAST_USE = value_mappings({"1": ("last used", "blue")})

COMMANDS = """
**What did it do?** CloudTrail keeps the management events of 90 days, by region. The key was last
used in region `${last_region}`. (`N/A`: a service without regions. Look in `us-east-1`.)

```sh
aws cloudtrail lookup-events --region ${last_region} --max-items 50 \\
  --lookup-attributes AttributeKey=AccessKeyId,AttributeValue=${access_key_id} \\
  --query 'Events[].[EventTime,EventSource,EventName,Username]' --output table
```

**What does AWS report now?**

```sh
aws iam get-access-key-last-used --access-key-id ${access_key_id}
aws iam list-access-keys --user-name '${user:raw}'
```

**Deactivate it**, watch for a while, then delete it. Activating it again undoes the first step.

```sh
aws iam update-access-key --status Inactive \\
  --user-name '${user:raw}' --access-key-id ${access_key_id}
aws iam delete-access-key --user-name '${user:raw}' --access-key-id ${access_key_id}
```

All with credentials for account `${account_id}`. If the exporter masks or hashes key IDs, look up
the ID with `list-access-keys` first.
"""


# Facts


def status() -> Json:
    return stat(
        1,
        "Key status",
        "Only active keys can sign requests.",
        [instant("active", f"max({q.select('aws_iam_access_key_active', HERE)})")],
        width=6,
        mappings=value_mappings({"0": ("inactive", "blue"), "1": ("active", "text")}),
        no_value="no such key",
        data_links=[to_account(account_id="${account_id}")],
        size=28,
    )


def usage() -> Json:
    return stat(
        2,
        "Usage",
        "What AWS reports. Unknown is not the same as never used.",
        [instant("usage", f"max({q.usage(HERE)})")],
        width=6,
        mappings=c.USAGE,
        no_value="no such key",
        links=runbooks("AwsIamAccessKeyNeverUsed"),
        size=28,
    )


def idle_days() -> Json:
    return stat(
        3,
        "Idle time (days)",
        "Days since the last use. AWS updates the last use at most every 15 minutes.",
        [instant("idle", f"max({q.idle_days(HERE)})")],
        width=6,
        decimals=1,
        steps=DAYS,
        no_value=NO_USE,
        links=runbooks("AwsIamAccessKeyUnused", "AwsIamAccessKeyAwakened"),
        size=28,
    )


def age_days() -> Json:
    return stat(
        4,
        "Key age (days)",
        "Days since the key was created.",
        [instant("age", f"max({q.age_days(HERE)})")],
        width=6,
        decimals=0,
        steps=DAYS,
        no_value="no such key",
        links=runbooks("AwsIamAccessKeyNotRotated"),
        size=28,
    )


def times() -> Json:
    return stat(
        5,
        "Last use and creation",
        "When the key was last used, and when it was created.",
        [
            instant("used", f"1000 * max({q.per_key(q.LAST_USED, HERE)})", "last used"),
            instant("created", f"1000 * max({q.per_key(q.CREATED, HERE)})", "created"),
        ],
        width=10,
        unit="dateTimeAsIso",
        no_value=NO_USE,
        text="value_and_name",
        size=20,
    )


def last_used_by() -> Json:
    expr = f"max by (service, region) ({q.select(q.LAST_USED_AGE, HERE)})"
    return stat(
        6,
        "Last used by",
        "The service and the region of the last use, as AWS names them.",
        [instant("last_use", expr, "{{service}} · {{region}}")],
        width=8,
        no_value=NO_USE,
        text="name",
        size=24,
        unit="s",
        links=runbooks("AwsIamAccessKeyNewService", "AwsIamAccessKeyNewRegion"),
    )


def exempt_until() -> Json:
    return stat(
        7,
        "Exempt until",
        "Until when the key is exempt from findings, by its user's tag or by the configuration.",
        [instant("exempt", f"1000 * (max({q.select(q.EXEMPT_UNTIL, HERE)}) > time())")],
        width=6,
        unit="dateTimeAsIso",
        no_value="not exempt",
        size=18,
    )


def last_sign_in() -> Json:
    last_used = q.select("aws_iam_user_password_last_used_timestamp_seconds", q.ONE_USER)
    return stat(
        8,
        "Last console sign-in",
        "When the user's console password was last used. Only if the exporter is configured to"
        " export passwords, and if the user has one and used it.",
        [instant("password", f"1000 * max({last_used})")],
        width=6,
        unit="dateTimeFromNow",
        no_value=NO_USE,
        size=20,
    )


def keys_of_user() -> Json:
    return key_table(
        12,
        "Keys of the user",
        "This key and the user's other key. A rotation can be completed once the old key is idle"
        " and the new one is in use.",
        q.ONE_USER,
        user=hidden("user"),
        sort="Age (days)",
        width=18,
    )


# History


def idle_time() -> Json:
    return time_series(
        20,
        "Idle time",
        "Days since the last use, over time: it drops with each use. Nothing is drawn while the key"
        " was never used, or its last use is unknown.",
        [
            target("idle", f"max({q.idle_days(HERE)})", "idle"),
            target("limit", "vector($unused_days)", "unused after"),
        ],
        unit="none",
        axis_label="days",
        overrides=[
            override("unused after", color="orange", dashed=True),
            override("idle", color="blue"),
        ],
        decimals=0,
        no_value=NO_USE,
    )


def new_uses() -> Json:
    return time_series(
        21,
        "New uses",
        "How often the last use changed, per hour or longer. AWS updates it at most four times an"
        " hour, so the bars show when the key was used, not how much.",
        [
            target(
                "uses",
                f"max(changes({q.select(q.LAST_USED, HERE)}[$__interval]))",
                "new uses",
                min_interval="1h",
            )
        ],
        bars=True,
        overrides=[override("new uses", color="blue")],
        decimals=0,
        legend_calcs=["sum"],
        axis_soft_max=4,
        no_value=NO_USE,
    )


def services() -> Json:
    return state_timeline(
        22,
        "Service of the last use",
        "A service has a bar while it was the one that used the key last.",
        [
            target(
                "service",
                f"group by (service) ({q.select(q.LAST_USED_AGE, HERE)})",
                "{{service}}",
            )
        ],
        mappings=LAST_USE,
        no_value=NO_USE,
    )


def regions() -> Json:
    return state_timeline(
        23,
        "Region of the last use",
        "A region has a bar while it was the one in which the key was used last.",
        [target("region", f"group by (region) ({q.select(q.LAST_USED_AGE, HERE)})", "{{region}}")],
        mappings=LAST_USE,
        no_value=NO_USE,
    )


def key() -> Json:
    commands = text(30, "Commands", "Commands for this key.", COMMANDS, width=14)
    alerts = firing_alerts(
        31,
        "Alerts about this key, or its user.",
        # Alerts about the user have no access_key_id.
        matchers=[
            'account_id="$account_id"',
            'user="$user"',
            'access_key_id=~"$access_key_id|"',
        ],
        width=10,
    )
    panels = grid(
        (4, [status(), usage(), idle_days(), age_days()]),
        (4, [times(), last_used_by(), exempt_until()]),
        (5, [keys_of_user(), last_sign_in()]),
        row(100, "History"),
        (8, [idle_time(), new_uses()]),
        (6, [services(), regions()]),
        row(101, "What to do"),
        (15, [commands, alerts]),
    )
    return dashboard(
        KEY,
        "AWS IAM keys / Key and user",
        "One access key: when it was created and used, by what, and how to investigate further.",
        [v.DATASOURCE, v.JOBS, v.ACCOUNT, v.KEY, v.USER, *v.LIMITS, v.LAST_REGION],
        panels,
        start="now-30d",
        refresh="1m",
    )
