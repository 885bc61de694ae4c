"""The table of what happened to keys in the last day."""

from collections.abc import Sequence

from grafana import queries as q
from grafana import states
from grafana.fields import Column, Json, column, value_mappings
from grafana.links import runbooks
from grafana.panels import table

UNKNOWN_USES = "last uses unknown"
WHAT = value_mappings(
    {
        "awakened": ("awakened", "red"),
        "first use": ("first use", "orange"),
        UNKNOWN_USES: (UNKNOWN_USES, "orange"),
        **{state.text: (state.text, state.color) for state in states.STATES},
    }
)


def recent_events(
    panel_id: int,
    description: str,
    where: str,
    *,
    missing: states.Reasons,
    columns: Sequence[Column],
    root: bool = False,
    width: int = 24,
) -> Json:
    """
    What happened to the keys that *where* selects.

    Args:
        missing: Why events are missing: a row says so.
        columns: What to show of the keys.
        root: With the uses of the root user.
    """
    events = f"{q.events(where)} or {q.root_uses(where)}" if root else q.events(where)
    queries = {"at": f"1000 * ({events})", "after": f"{q.lengths(where)} / {q.DAY}"}
    used = q.select(q.NEVER_USED, where)
    unknown = f"max({q.select(q.CREATED, where)} unless on ({q.KEY_LABELS}) {used})"
    fields = {each.field for each in columns}
    if "tag_team" in fields:
        queries["tags"] = q.event_tags(where)
    keys = {"account_id", "user", "access_key_id"}
    return table(
        panel_id,
        "What happened in the last day",
        f"{description} When: of the use; of a new key, when it was noticed. After: how long the"
        " key was provably idle, or how old it was at its first use.",
        queries,
        [
            column("what", "What", colored=True, mappings=WHAT, width=165),
            column("Value #at", "When", unit="dateTimeAsIsoNoDateIfToday", width=160),
            column("Value #after", "After (days)", decimals=0, width=105, filterable=False),
            *columns,
        ],
        sort="When",
        width=width,
        no_value="nothing",
        drop=("job", "account", "Value #tags", *sorted(keys - fields)),
        unknown=states.either(
            *states.named(missing, "what"), q.labeled(unknown, "what", UNKNOWN_USES)
        ),
        links=runbooks("AwsIamAccessKeyAwakened", "AwsIamAccessKeyFirstUse", "AwsIamRootUsed"),
    )
