"""The key dashboard: one key, its history, and its user."""

from grafana import columns as c
from grafana import queries as q
from grafana import states
from grafana import variables as v
from grafana.fields import DAYS, Json, hidden, override, override_properties, value_mappings
from grafana.key_table import key_table
from grafana.layout import dashboard, grid, row
from grafana.links import KEY, runbooks, to_account
from grafana.panels import instant, stat, state_timeline, target, text, time_series
from grafana.recent_events import recent_events
from grafana.shared_panels import NO_EXPORTER_LINE, firing_alerts, no_exporter

HERE = q.ONE_KEY
SIGNED_IN = "aws_iam_user_password_last_used_timestamp_seconds"
EXISTS = f"max({q.select(q.CREATED, HERE)})"
NEVER_USED = f"max({q.never_used_flag(HERE)}) == 1"
NO_KEY = f"({states.key_states()[states.NO_KEY]})"
NOW = override_properties(
    "now",
    {
        "color": {"mode": "fixed", "fixedColor": "blue"},
        "custom.drawStyle": "points",
        "custom.pointSize": 8,
        "custom.showPoints": "always",
    },
)
LINE = override_properties(
    "not idle",
    {
        "color": {"mode": "fixed", "fixedColor": "text"},
        "custom.drawStyle": "line",
        "custom.fillOpacity": 0,
        "custom.lineStyle": {"fill": "dash"},
        "custom.lineWidth": 1,
        "custom.showPoints": "never",
    },
)
UNKNOWN = f"{EXISTS} unless max({q.select(q.NEVER_USED, HERE)})"

COMMANDS = """
**What did it do?** CloudTrail keeps the management events of 90 days, by region. Below: the region
of the last use, or `us-east-1` if none is known. (`N/A`: a service without regions. Look in
`us-east-1`.)

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
        [
            instant(
                "active",
                states.or_key_state(f"max({q.select('aws_iam_access_key_active', HERE)})"),
            )
        ],
        mappings=states.mappings({"0": ("inactive", "blue"), "1": ("active", "text")}),
        data_links=[to_account(account_id="${account_id}")],
        size=24,
    )


def usage() -> Json:
    return stat(
        2,
        "Usage",
        "What AWS reports. Unknown is not the same as never used.",
        [instant("usage", states.or_key_state(f"max({q.usage(HERE)})"))],
        mappings=[*c.USAGE, *states.MAPPINGS],
        links=runbooks("AwsIamAccessKeyNeverUsed", "AwsIamAccessKeyFirstUse"),
        size=24,
    )


def idle_days() -> Json:
    idle = states.or_key_state(
        f"max({q.idle_days(HERE)})", states.state(states.NEVER_USED, NEVER_USED)
    )
    return stat(
        3,
        "Idle (days)",
        "Days since the last use that is known. AWS updates it at most every 15 minutes.",
        [instant("idle", idle)],
        decimals=1,
        steps=DAYS,
        mappings=states.MAPPINGS,
        links=runbooks("AwsIamAccessKeyUnused", "AwsIamAccessKeyAwakened"),
        size=24,
    )


def age_days() -> Json:
    return stat(
        4,
        "Age (days)",
        "Days since the key was created.",
        [instant("age", states.or_key_state(f"max({q.age_days(HERE)})"))],
        decimals=0,
        steps=DAYS,
        mappings=states.MAPPINGS,
        links=runbooks("AwsIamAccessKeyNotRotated"),
        size=24,
    )


def last_used_by() -> Json:
    last_use = f"topk(1, max by (service, region) ({q.select(q.LAST_USED_AGE, HERE)}))"
    named = f'label_join({last_use}, "by", " · ", "service", "region")'
    expr = states.either(
        f"0 * {named}",
        *states.named(states.key_states(), "by"),
        q.labeled(states.state(states.NEVER_USED, NEVER_USED), "by", states.NEVER_USED.text),
        q.labeled(states.state(states.UNKNOWN, "vector(0)"), "by", states.UNKNOWN.text),
    )
    return stat(
        6,
        "Last used by",
        "The service and the region of the last use, as AWS names them.",
        [instant("last_use", expr, "{{by}}")],
        width=8,
        mappings=states.MAPPINGS,
        text="name",
        size=22,
        links=runbooks("AwsIamAccessKeyNewService", "AwsIamAccessKeyNewRegion"),
    )


def _time(ref: str, family: str, legend: str, *otherwise: str) -> Json:
    """A time in milliseconds, or why there is none."""
    at = f"1000 * max({q.select(family, HERE)})"
    unknown = states.state(states.UNKNOWN, "vector(0)")
    return instant(ref, states.or_key_state(at, *otherwise, unknown), legend)


def uses() -> Json:
    return stat(
        5,
        "Creation and last use",
        "When the key was created and last used. As of: when AWS last reported the last use, so"
        " that the key was idle from the last use until then.",
        [
            _time("created", q.CREATED, "created"),
            _time("used", q.LAST_USED, "last used", states.state(states.NEVER_USED, NEVER_USED)),
            _time("confirmed", q.CONFIRMED, "as of"),
        ],
        width=12,
        unit="dateTimeAsIso",
        mappings=states.MAPPINGS,
        text="value_and_name",
        side_by_side=True,
        size=15,
    )


def inactivity() -> Json:
    active = f"max({q.select('aws_iam_access_key_active', HERE)}) == 1"
    signed_in = q.select(SIGNED_IN, q.ONE_USER)
    sign_in = states.or_key_state(
        f"1000 * max({signed_in})",
        states.state(states.NOT_EXPORTED, f"absent({q.select(SIGNED_IN, q.JOB)})"),
        states.state(states.NEVER, "vector(0)"),
    )
    return stat(
        7,
        "Inactivity, exemption and sign-in",
        "Since when the exporter has seen the key inactive; until when it is exempt from findings,"
        " by its user's tag or by the configuration; and when the user's console password was last"
        " used, if the exporter is configured to export it.",
        [
            _time(
                "inactive", q.INACTIVE_SINCE, "inactive since", states.state(states.ACTIVE, active)
            ),
            _time(
                "exempt", q.EXEMPT_UNTIL, "exempt until", states.state(states.NOT_EXEMPT, EXISTS)
            ),
            instant("password", sign_in, "last sign-in"),
        ],
        width=12,
        unit="dateTimeAsIso",
        mappings=states.MAPPINGS,
        text="value_and_name",
        side_by_side=True,
        size=15,
        links=runbooks("AwsIamAccessKeyInactiveNotDeleted"),
    )


def events() -> Json:
    return recent_events(
        24,
        "Whether the key was used again after a long time, used for the first time, used for a"
        " service or in a region that is new for it, or created.",
        HERE,
        missing={**states.key_states(), **states.list_states(q.ONE_ACCOUNT)},
        columns=[],
        width=12,
    )


def keys_of_user() -> Json:
    return key_table(
        12,
        "Keys of the user",
        "This key and the user's other key. A rotation can be completed once the old key is idle"
        " and the new one is in use. Superseded: by how much the last use of the other key is"
        " later.",
        q.ONE_USER,
        missing=states.list_states(q.ONE_ACCOUNT),
        user=hidden("user"),
        states_in="access_key_id",
        sort="Age (days)",
    )


# History


def idle_time() -> Json:
    idle = q.days_since(q.idle_since(HERE))
    return time_series(
        20,
        "Idle time",
        "Days since the last use, or since the creation until the first use: it drops with each"
        " use.",
        [
            target("idle", f"max({idle})", "idle"),
            instant("now", f"max({idle})", "now"),
            target("limit", "vector($unused_days)", "unused after"),
            target("unknown", f"0 * ({UNKNOWN})", "last use unknown"),
            target("no_key", f"0 * {NO_KEY}", states.NO_KEY.text),
            no_exporter(),
        ],
        unit="none",
        axis_label="days",
        overrides=[
            override("unused after", color="orange", dashed=True),
            override("idle", color="blue"),
            NOW,
            override("last use unknown", color="orange", text="-"),
            override(states.NO_KEY.text, color="orange", text="-"),
            NO_EXPORTER_LINE,
        ],
        decimals=0,
    )


def new_uses() -> Json:
    last_used = f"max({q.select(q.LAST_USED, HERE)})"
    earlier = f"max({q.select(q.LAST_USED, HERE)} offset $__interval)"
    now = states.either(
        q.labeled(f"1000 * {last_used}", "use", "latest use"),
        *(
            q.labeled(f"1000 * time() + 0 * ({expr})", "use", reason.text)
            for reason, expr in states.key_states().items()
        ),
        q.labeled(f"1000 * time() * ({NEVER_USED})", "use", states.NEVER_USED.text),
        q.labeled("1000 * vector(time())", "use", states.UNKNOWN.text),
    )
    return time_series(
        21,
        "Uses",
        "A point for each use that was seen, at the time of the use. AWS updates the last use at"
        " most every 15 minutes, so the points show when the key was used, not how much. The point"
        " at the right is the latest use, or says why there is none. The further it is below the"
        " line, the longer the key has been idle.",
        [
            target("uses", f"1000 * ({last_used} unless ({last_used} == {earlier}))", "use"),
            instant("now", now, "{{use}}"),
            target("time", "1000 * vector(time())", "not idle"),
        ],
        points=True,
        from_zero=False,
        unit="dateTimeFromNow",
        overrides=[
            override("use", color="blue"),
            override("latest use", color="blue"),
            LINE,
            *(
                override(reason.text, color=reason.color)
                for reason in (*states.key_states(), states.NEVER_USED, states.UNKNOWN)
            ),
        ],
        links=runbooks("AwsIamAccessKeyAwakened"),
    )


def services_and_regions() -> Json:
    return state_timeline(
        22,
        "Services and regions of the last use",
        "A service, or region, has a bar while it was the one in which the key was used last.",
        [
            *(
                target(label, f"group by ({label}) ({q.select(q.LAST_USED_AGE, HERE)})", legend)
                for label, legend in (("service", "{{service}}"), ("region", "{{region}}"))
            ),
            target("never", f"2 * ({NEVER_USED})", "never used"),
            target("unknown", f"0 * ({UNKNOWN}) + 3", "unknown"),
            target("no_key", f"0 * {NO_KEY} + 4", states.NO_KEY.text),
            no_exporter(),
        ],
        width=24,
        mappings=value_mappings(
            {
                "0": (states.NO_EXPORTER.text, "gray"),
                "1": ("last used", "blue"),
                "2": ("never used", "purple"),
                "3": ("unknown", "orange"),
                "4": (states.NO_KEY.text, "text"),
            }
        ),
    )


def key() -> Json:
    commands = text(30, "Commands", "Commands for this key.", COMMANDS, width=24)
    alerts = firing_alerts(
        31,
        "Alerts about this key, or its user.",
        # Alerts about the user have no access_key_id.
        matchers=[
            'account_id="$account_id"',
            'user="$user"',
            'access_key_id=~"$access_key_id|"',
        ],
        width=12,
    )
    panels = grid(
        (4, [status(), usage(), idle_days(), age_days(), last_used_by()]),
        (3, [uses(), inactivity()]),
        (6, [alerts, events()]),
        (5, [keys_of_user()]),
        row(100, "History"),
        (8, [idle_time(), new_uses()]),
        (6, [services_and_regions()]),
        row(101, "What to do"),
        (13, [commands]),
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
