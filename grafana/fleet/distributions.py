"""Charts of how idle times, ages, services and regions are distributed."""

from grafana import key_lists as lists
from grafana import queries as q
from grafana.fields import Json, override
from grafana.fleet.selection import HERE, here
from grafana.links import to_list
from grafana.panels import bar_gauge, instant

AGE_BUCKETS = (0, 1, 7, 30, 90, 365)
"""Lower bounds in days."""

OLD_BUCKETS = [override("90-365 d", color="orange"), override("365 d +", color="red")]


def _no_exporter_bar() -> Json:
    return instant("no_exporter", q.NO_EXPORTER, q.NO_EXPORTER_TEXT)


def _buckets(family: str) -> list[Json]:
    """One query per age bucket, from cumulative counts."""
    queries = []
    bounds = zip(AGE_BUCKETS, (*AGE_BUCKETS[1:], None), strict=True)
    for index, (low, high) in enumerate(bounds):
        expr = here(family, q.at_least(low))
        if high is None:
            legend = f"{low} d +"
        else:
            legend = f"{low}-{high} d" if low else f"< {high} d"
            expr += f" - {here(family, q.at_least(high))}"
        queries.append(instant(f"bucket{index}", expr, legend))
    return queries


def keys_by_idle_time() -> Json:
    never_used = here(q.COUNT_NEVER_USED, q.at_least(0))
    return bar_gauge(
        50,
        "Keys by idle time",
        "Active keys by the days since their last use. Never used is not the same as unknown."
        " Without exempt keys.",
        [
            *_buckets(q.COUNT_IDLE),
            instant("never_used", never_used, "never used"),
            instant("unknown", here(q.COUNT_UNKNOWN), "unknown"),
            _no_exporter_bar(),
        ],
        overrides=[
            *OLD_BUCKETS,
            override("never used", color="purple"),
            override("unknown", color="text"),
        ],
        data_links=[to_list("List the unused and never used keys", lists.IDLE)],
    )


def keys_by_age() -> Json:
    return bar_gauge(
        51,
        "Keys by age",
        "Active keys by the days since their creation. Without exempt keys.",
        [*_buckets(q.COUNT_AGE), _no_exporter_bar()],
        overrides=OLD_BUCKETS,
        data_links=[to_list("List the keys that were not rotated", lists.NOT_ROTATED)],
    )


def _top_10(label: str) -> list[Json]:
    expr = f"sort_desc(topk(10, {q.counted_by(label, q.COUNT_USED_IN, HERE)}))"
    unknown = q.total(q.COUNT_UNKNOWN, HERE)
    unread = f"vector({q.UNKNOWN_VALUE}) unless {unknown} unless {q.NO_EXPORTER}"
    return [
        instant(label, expr, f"{{{{{label}}}}}"),
        instant("unknown", f"({unknown} > 0) or ({unread})", "unknown"),
        _no_exporter_bar(),
    ]


def keys_by_service() -> Json:
    return bar_gauge(
        52,
        "Keys by last used service",
        "Active keys by the service of their last use: the ten most frequent. With exempt keys, of"
        " all teams.",
        _top_10("service"),
        overrides=[override("unknown", color="text")],
        no_value="none",
    )


def keys_by_region() -> Json:
    return bar_gauge(
        53,
        "Keys by last used region",
        "Active keys by the region of their last use: the ten most frequent. N/A: a service"
        " without regions. With exempt keys, of all teams.",
        _top_10("region"),
        overrides=[override("unknown", color="text")],
        no_value="none",
    )
