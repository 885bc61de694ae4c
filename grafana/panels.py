"""Panels in Grafana's classic JSON model. Knows nothing about keys and accounts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from grafana.fields import (
    NEUTRAL,
    NO_EXPORTER,
    UNKNOWN,
    Column,
    Json,
    Steps,
    override_properties,
    thresholds,
)

DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
PLUGIN_VERSION = "13.2.2"
"""Grafana migrates panels without a version as if they were written for version 6."""


def target(ref: str, expr: str, legend: str = "__auto", *, min_interval: str | None = None) -> Json:
    """
    A range query.

    Args:
        min_interval: The shortest step between samples, as a Prometheus duration.
    """
    query = _query(ref, expr, legend, instant=False)
    return query if min_interval is None else {**query, "interval": min_interval}


def instant(ref: str, expr: str, legend: str = "__auto") -> Json:
    """An instant query at the end of the time range."""
    return _query(ref, expr, legend, instant=True)


def _query(ref: str, expr: str, legend: str, *, instant: bool) -> Json:
    return {
        "refId": ref,
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": expr,
        "legendFormat": legend,
        "range": not instant,
        "instant": instant,
    }


def panel(
    kind: str,
    panel_id: int,
    title: str,
    description: str,
    targets: Sequence[Json],
    *,
    width: int,
    defaults: Json,
    options: Json,
    overrides: Sequence[Json] = (),
    links: Sequence[Json] = (),
) -> Json:
    """
    A panel of any kind.

    Args:
        panel_id: Never changes once published: links refer to it.
        width: In columns, of 24. `layout.grid` decides the position.
    """
    return {
        "id": panel_id,
        "type": kind,
        "title": title,
        "description": description,
        "pluginVersion": PLUGIN_VERSION,
        "datasource": DATASOURCE,
        "gridPos": {"w": width},
        "targets": list(targets),
        "options": options,
        "fieldConfig": {"defaults": defaults, "overrides": list(overrides)},
        "links": list(links),
    }


def stat(
    panel_id: int,
    title: str,
    description: str,
    targets: Sequence[Json],
    *,
    width: int = 4,
    unit: str = "locale",
    decimals: int | None = None,
    steps: Steps = NEUTRAL,
    no_value: str = "unknown",
    mappings: Sequence[Json] = (),
    overrides: Sequence[Json] = (),
    links: Sequence[Json] = (),
    data_links: Sequence[Json] = (),
    text: Literal["value", "name", "value_and_name"] = "value",
    side_by_side: bool = False,
    size: int | None = None,
) -> Json:
    """
    One or several numbers.

    Args:
        no_value: The text to show if there is no value.
        text: Show the value, the legend, or both.
        side_by_side: Arrange several numbers horizontally.
        size: Font size in pixels. Default: as large as fits.
    """
    name_size = size if text == "name" and size is not None else 13
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": ""},
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "center",
        "orientation": "vertical" if side_by_side else "auto",
        "textMode": text,
        "text": {"titleSize": name_size, **({} if size is None else {"valueSize": size})},
        "wideLayout": False,
    }
    defaults = {
        "unit": unit,
        "noValue": no_value,
        "color": {"mode": "thresholds"},
        "thresholds": thresholds(steps),
        "mappings": [*mappings, NO_EXPORTER, UNKNOWN],
        "links": list(data_links),
        **({} if decimals is None else {"decimals": decimals}),
    }
    return panel(
        "stat",
        panel_id,
        title,
        description,
        targets,
        width=width,
        defaults=defaults,
        options=options,
        overrides=overrides,
        links=links,
    )


def time_series(
    panel_id: int,
    title: str,
    description: str,
    targets: Sequence[Json],
    *,
    width: int = 12,
    unit: str = "locale",
    decimals: int | None = None,
    steps: Steps = NEUTRAL,
    show_steps: bool = False,
    no_value: str = "no data",
    color: Json | None = None,
    overrides: Sequence[Json] = (),
    links: Sequence[Json] = (),
    bars: bool = False,
    stack: bool = False,
    legend_calcs: Sequence[str] = ("last",),
    max_points: int | None = None,
    axis_label: str | None = None,
    axis_soft_max: float | None = None,
    points: bool = False,
    from_zero: bool = True,
    many: bool = False,
) -> Json:
    """
    Lines, bars or points over time.

    Args:
        show_steps: Draw the thresholds as dashed lines.
        legend_calcs: Reductions of each series that the legend shows.
        max_points: The number of samples of each series. Default: one per pixel. The fewer, the
            less Prometheus has to read.
        axis_soft_max: The value up to which the axis reaches at least.
        from_zero: The axis begins at zero. Not for timestamps.
        many: There can be many series: their legend is a table beside the chart, and scrolls.
    """
    custom = {
        "drawStyle": "points" if points else "bars" if bars else "line",
        "lineWidth": 1 if bars else 2,
        "fillOpacity": 60 if bars else 25 if stack else 8,
        "showPoints": "always" if points else "never",
        "spanNulls": False,
        **({"pointSize": 7} if points else {}),
        **({"axisSoftMin": 0} if from_zero else {}),
        "stacking": {"mode": "normal" if stack else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if show_steps else "off"},
        **({} if axis_soft_max is None else {"axisSoftMax": axis_soft_max}),
        **({} if axis_label is None else {"axisLabel": axis_label}),
    }
    defaults = {
        "unit": unit,
        **({"min": 0} if from_zero else {}),
        "noValue": no_value,
        "color": {"mode": "palette-classic"} if color is None else color,
        "thresholds": thresholds(steps),
        "custom": custom,
        **({} if decimals is None else {"decimals": decimals}),
    }
    legend = {
        "showLegend": True,
        "displayMode": "table" if many else "list",
        "placement": "right" if many else "bottom",
        "calcs": list(legend_calcs),
    }
    options = {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
    built = panel(
        "timeseries",
        panel_id,
        title,
        description,
        targets,
        width=width,
        defaults=defaults,
        options=options,
        overrides=overrides,
        links=links,
    )
    return built if max_points is None else {**built, "maxDataPoints": max_points}


def bar_gauge(
    panel_id: int,
    title: str,
    description: str,
    targets: Sequence[Json],
    *,
    width: int = 12,
    overrides: Sequence[Json] = (),
    data_links: Sequence[Json] = (),
    no_value: str = "unknown",
) -> Json:
    """Counts as horizontal bars."""
    options = {
        "orientation": "horizontal",
        "displayMode": "basic",
        "valueMode": "text",
        "namePlacement": "left",
        "showUnfilled": True,
        "sizing": "manual",
        "minVizHeight": 16,
        "maxVizHeight": 24,
        "text": {"valueSize": 15},
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": ""},
    }
    defaults = {
        "unit": "locale",
        "min": 0,
        "noValue": no_value,
        "color": {"mode": "fixed", "fixedColor": "blue"},
        "thresholds": thresholds(NEUTRAL),
        "mappings": [NO_EXPORTER, UNKNOWN],
        "links": list(data_links),
    }
    return panel(
        "bargauge",
        panel_id,
        title,
        description,
        targets,
        width=width,
        defaults=defaults,
        options=options,
        overrides=overrides,
    )


def state_timeline(
    panel_id: int,
    title: str,
    description: str,
    targets: Sequence[Json],
    *,
    width: int = 12,
    mappings: Sequence[Json] = (),
    steps: Steps = NEUTRAL,
    no_value: str = "no data",
) -> Json:
    """States over time, one row per series."""
    options = {
        "showValue": "never",
        "mergeValues": True,
        "rowHeight": 0.7,
        "alignValue": "left",
        "legend": {"showLegend": False, "displayMode": "list", "placement": "bottom"},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    defaults = {
        "unit": "none",
        "noValue": no_value,
        "color": {"mode": "thresholds"},
        "thresholds": thresholds(steps),
        "mappings": list(mappings),
        "custom": {"lineWidth": 0, "fillOpacity": 80},
    }
    return panel(
        "state-timeline",
        panel_id,
        title,
        description,
        targets,
        width=width,
        defaults=defaults,
        options=options,
    )


def text(panel_id: int, title: str, description: str, markdown: str, *, width: int = 12) -> Json:
    options = {"mode": "markdown", "content": markdown}
    built = panel(
        "text", panel_id, title, description, (), width=width, defaults={}, options=options
    )
    return {key: value for key, value in built.items() if key not in ("targets", "datasource")}


def table(
    panel_id: int,
    title: str,
    description: str,
    queries: Mapping[str, str],
    columns: Sequence[Column],
    *,
    sort: str,
    descending: bool = True,
    then: str = "",
    width: int = 24,
    no_value: str = "none",
    drop: Iterable[str] = (),
    links: Sequence[Json] = (),
    paginate: bool = False,
    unknown: str = "",
) -> Json:
    """
    The results of several instant queries, joined by their common labels.

    Args:
        queries: Expressions by refId. Their values are the fields ``Value #refId``, or ``Value`` if
            there is only one query, and no *unknown*.
        no_value: The text of an empty table. It has to be true: see *unknown*.
        unknown: An expression whose labels are the rows that say what the table leaves out.
        sort: The title of the column to sort by.
        then: The title of the column to sort by where the first is equal, descending.
        drop: Fields that are not shown, besides Time.
    """
    queries = {**queries, "unknown": unknown} if unknown else queries
    targets = [{**instant(ref, expr), "format": "table"} for ref, expr in queries.items()]
    overrides = [
        override_properties(column.title, column.properties)
        for column in columns
        if column.properties
    ]
    organize = {
        "excludeByName": dict.fromkeys(("Time", "Value #unknown", *drop), True),
        "indexByName": {column.field: index for index, column in enumerate(columns)},
        "renameByName": {
            column.field: column.title for column in columns if column.field != column.title
        },
    }
    defaults = {
        # Not "locale", which writes thousands separators into account IDs.
        "unit": "none",
        "noValue": no_value,
        "color": {"mode": "thresholds"},
        "thresholds": thresholds(NEUTRAL),
        "custom": {"filterable": True, "align": "auto", "minWidth": 60},
    }
    options = {
        "showHeader": True,
        "cellHeight": "sm",
        "enablePagination": paginate,
        "sortBy": [
            {"displayName": sort, "desc": descending},
            *([{"displayName": then, "desc": True}] if then else []),
        ],
    }
    built = panel(
        "table",
        panel_id,
        title,
        description,
        targets,
        width=width,
        defaults=defaults,
        options=options,
        overrides=overrides,
        links=links,
    )
    merge = [{"id": "merge", "options": {}}] if len(queries) > 1 else []
    return {**built, "transformations": [*merge, {"id": "organize", "options": organize}]}
