"""The table of keys, with everything that is known about each."""

from grafana import columns as c
from grafana import queries as q
from grafana import states
from grafana.fields import Column, Json, column, value_mappings
from grafana.panels import table

USER = column("user", "User", min_width=160, colored=True, mappings=states.ROWS)
"""Also says why there are no keys."""
STATUS = value_mappings(
    {
        "Active": ("Active", "text"),
        "Inactive": ("Inactive", "blue"),
        "Expired": ("Expired", "blue"),
    }
)

_ONLY_INFO: Json = {
    "id": "filterByValue",
    "options": {
        "type": "include",
        "match": "all",
        "filters": [{"fieldName": "Value #info", "config": {"id": "isNotNull", "options": {}}}],
    },
}
"""So that only one query has to select the keys."""


def key_table(
    panel_id: int,
    title: str,
    description: str,
    where: str,
    *,
    only: str = "",
    missing: states.Reasons,
    user: Column = USER,
    sort: str = "Idle (days)",
    paginate: bool = False,
    states_in: str = "user",
) -> Json:
    """
    Keys, with everything that is known about each.

    Args:
        where: Selects the keys.
        only: An expression: show only the keys that it has results for.
        missing: Why keys are missing: a row says so.
        states_in: The label with that text.
    """
    labels = f"{q.KEY_LABELS}, status, path, description, tag_team, tag_owner"
    # While replicas disagree, one of them is taken.
    info = f"topk by ({q.KEY_LABELS}) (1, group by ({labels}) ({q.select(q.INFO, where)}))"
    last_use = f"max by ({q.KEY_LABELS}, service, region) ({q.select(q.LAST_USED_AGE, where)})"
    one_use = f"bottomk by ({q.KEY_LABELS}) (1, {last_use})"
    shown = f"{info} and on ({q.KEY_LABELS}) ({only})" if only else info
    built = table(
        panel_id,
        title,
        description,
        {
            "info": f"({shown}) or ({states.either(*states.named(missing, states_in))})",
            "age": q.age_days(where),
            "idle": q.days_since(q.idle_since(where)),
            "usage": q.usage(where),
            "last_use": one_use,
            "superseded": f"{q.per_key(q.SUPERSEDED, where)} / {q.DAY}",
            "inactive": f"1000 * {q.per_key(q.INACTIVE_SINCE, where)}",
            "exempt": f"1000 * {q.per_key(q.EXEMPT_UNTIL, where)}",
        },
        [
            c.HIDDEN_ACCOUNT_ID,
            user,
            c.ACCESS_KEY,
            column("status", "Status", colored=True, mappings=STATUS, width=80),
            c.days("Value #age", "Age (days)"),
            c.days("Value #idle", "Idle (days)"),
            column("Value #usage", "Usage", colored=True, mappings=c.USAGE, width=105),
            c.SERVICE,
            c.REGION,
            c.TEAM,
            column("tag_owner", "Owner", min_width=150),
            column(
                "Value #superseded",
                "Superseded (days)",
                decimals=0,
                width=140,
                filterable=False,
            ),
            _date("Value #inactive", "Inactive since"),
            _date("Value #exempt", "Exempt until"),
            column("description", "Description", min_width=110),
            column("path", "Path", width=120),
        ],
        sort=sort,
        drop=("job", "account", "Value #info", "Value #last_use"),
        paginate=paginate,
    )
    return {
        **built,
        "transformations": [built["transformations"][0], _ONLY_INFO, *built["transformations"][1:]],
    }


def _date(field: str, title: str) -> Column:
    return column(field, title, unit="dateTimeAsIsoNoDateIfToday", width=165, filterable=False)
