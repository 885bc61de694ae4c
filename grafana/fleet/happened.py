"""The panel about what happened in the last day."""

from grafana import columns as c
from grafana import queries as q
from grafana.fields import Json, column, regex_mapping
from grafana.fleet.selection import HERE
from grafana.links import runbooks
from grafana.panels import table


def events() -> Json:
    what = [
        regex_mapping("^(account root: .*|awakened)$", "red"),
        regex_mapping("^(first use)$", "orange"),
    ]
    return table(
        17,
        "What happened in the last day",
        "Keys that were used again after a long time, used for the first time, or used for a"
        " service or in a region for the first time since the exporter watches them; new keys; uses"
        " of root. When: of the use; of a new key, when it was noticed. After: how long the key was"
        " provably idle, or how old it was at its first use. Of all teams.",
        {
            "at": f"1000 * ({q.events(HERE)} or {q.root_uses(HERE)})",
            "after": f"{q.lengths(HERE)} / {q.DAY}",
            "tags": q.event_tags(HERE),
        },
        [
            column("what", "What", colored=True, mappings=what, width=170),
            column("Value #at", "When", unit="dateTimeFromNow", width=120),
            column("Value #after", "After (days)", decimals=0, width=100, filterable=False),
            c.USER,
            c.ACCESS_KEY,
            c.ACCOUNT_NAME,
            c.OWNER,
            c.HIDDEN_ACCOUNT_ID,
        ],
        # By importance, which is the order of the alphabet.
        sort="What",
        descending=False,
        then="When",
        no_value="nothing",
        drop=("job", "tag_team", "Value #tags"),
        unknown=q.unknown_rows(HERE, uses=True),
        links=runbooks("AwsIamAccessKeyAwakened", "AwsIamAccessKeyFirstUse", "AwsIamRootUsed"),
    )
