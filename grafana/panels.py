"""Panels, variables and links, in Grafana's classic form. Knows nothing of keys and accounts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Json = dict[str, Any]
Steps = Sequence[tuple[float | None, str]]
"""Where a colour begins. The first begins at None, and also colours what has no value."""

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WRITTEN_FOR = "13.2.2"
"""Without a version, Grafana takes a panel for one of version 6."""

TROUBLE = {"mode": "shades", "fixedColor": "orange"}
"""The palette begins with green, which no failure should be."""

DASHED = {"custom.lineStyle": {"fill": "dash"}, "custom.fillOpacity": 0}
"""How a limit is drawn."""

NEUTRAL: Steps = ((None, "text"),)
ANY_IS_BAD: Steps = ((None, "text"), (1, "orange"))
ANY_IS_WORSE: Steps = ((None, "text"), (1, "red"))
NONE_IS_GOOD: Steps = ((None, "text"), (0, "green"), (1, "red"))


def thresholds(steps: Steps) -> Json:
    return {
        "mode": "absolute",
        "steps": [{"value": value, "color": color} for value, color in steps],
    }


def target(ref: str, expr: str, legend: str = "__auto", **more: object) -> Json:
    """Ask for a range of samples."""
    query = {"refId": ref, "datasource": SOURCE, "editorMode": "code", "expr": expr}
    return {**query, "legendFormat": legend, "range": True, "instant": False, **more}


def now(ref: str, expr: str, legend: str = "__auto", **more: object) -> Json:
    """Ask for the samples as of the end of the range."""
    return target(ref, expr, legend, **{"range": False, "instant": True, **more})


def panel(
    kind: str,
    number: int,
    title: str,
    about: str,
    targets: Sequence[Json],
    width: int,
    defaults: Json,
    options: Json,
    overrides: Sequence[Json] = (),
    links: Sequence[Json] = (),
) -> Json:
    """
    Make a panel.

    Args:
        number: The panel's id: links to it hang on it, so it never changes.
        about: The description.
        width: Of 24 columns. Where the panel is, `grid` says.
    """
    return {
        "id": number,
        "type": kind,
        "title": title,
        "description": about,
        "pluginVersion": WRITTEN_FOR,
        "datasource": SOURCE,
        "gridPos": {"w": width},
        "targets": list(targets),
        "options": options,
        "fieldConfig": {"defaults": defaults, "overrides": list(overrides)},
        "links": list(links),
    }


def stat(
    number: int,
    title: str,
    about: str,
    targets: Sequence[Json],
    *,
    width: int = 4,
    unit: str = "locale",
    steps: Steps = NEUTRAL,
    none: str = "unknown",
    links: Sequence[Json] = (),
    data_links: Sequence[Json] = (),
    **more: Any,
) -> Json:
    """
    Show a number.

    Args:
        none: What to show when there is none.
        more: ``name`` (show the legend too), ``text`` (Grafana's textMode), ``mappings``,
            ``overrides``, ``decimals``, ``wide`` (several beside each other), ``size``.
    """
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": ""},
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "center",
        "orientation": "vertical" if more.get("wide") else "auto",
        "textMode": more.get("text", "value_and_name" if more.get("name") else "value"),
        "text": {
            "titleSize": more["size"] if more.get("text") == "name" else 13,
            **({"valueSize": more["size"]} if "size" in more else {}),
        },
        "wideLayout": False,
    }
    defaults = {
        "unit": unit,
        "noValue": none,
        "color": {"mode": "thresholds"},
        "thresholds": thresholds(steps),
        "mappings": more.get("mappings", []),
        "links": list(data_links),
        **({"decimals": more["decimals"]} if "decimals" in more else {}),
    }
    return panel(
        "stat",
        number,
        title,
        about,
        targets,
        width,
        defaults,
        options,
        more.get("overrides", ()),
        links,
    )


def series(
    number: int,
    title: str,
    about: str,
    targets: Sequence[Json],
    *,
    width: int = 12,
    unit: str = "locale",
    steps: Steps = NEUTRAL,
    links: Sequence[Json] = (),
    overrides: Sequence[Json] = (),
    **more: Any,
) -> Json:
    """
    Draw lines over time.

    Args:
        more: ``stack``, ``bars``, ``lines`` (the steps are drawn), ``calcs`` (of the legend),
            ``none``, ``decimals``, ``highest`` (what the axis shows at least), ``axis``, ``color``.
    """
    custom = {
        "drawStyle": "bars" if more.get("bars") else "line",
        "lineWidth": 1 if more.get("bars") else 2,
        "fillOpacity": 60 if more.get("bars") else 25 if more.get("stack") else 8,
        "showPoints": "never",
        "spanNulls": False,
        "axisSoftMin": 0,
        "stacking": {"mode": "normal" if more.get("stack") else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if more.get("lines") else "off"},
        **({"axisSoftMax": more["highest"]} if "highest" in more else {}),
        **({"axisLabel": more["axis"]} if "axis" in more else {}),
    }
    defaults = {
        "unit": unit,
        "min": 0,
        "noValue": more.get("none", "no data"),
        "color": more.get("color", {"mode": "palette-classic"}),
        "thresholds": thresholds(steps),
        "custom": custom,
        **({"decimals": more["decimals"]} if "decimals" in more else {}),
    }
    legend = {
        "showLegend": True,
        "displayMode": "list",
        "placement": "bottom",
        "calcs": more.get("calcs", ["lastNotNull"]),
    }
    options = {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
    return panel(
        "timeseries", number, title, about, targets, width, defaults, options, overrides, links
    )


def bars(
    number: int,
    title: str,
    about: str,
    targets: Sequence[Json],
    *,
    width: int = 12,
    overrides: Sequence[Json] = (),
    data_links: Sequence[Json] = (),
) -> Json:
    """Show counts as horizontal bars."""
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
        "noValue": "unknown",
        "color": {"mode": "fixed", "fixedColor": "blue"},
        "thresholds": thresholds(NEUTRAL),
        "links": list(data_links),
    }
    return panel("bargauge", number, title, about, targets, width, defaults, options, overrides)


def timeline(
    number: int,
    title: str,
    about: str,
    targets: Sequence[Json],
    *,
    width: int = 12,
    mappings: Sequence[Json] = (),
    steps: Steps = NEUTRAL,
    none: str = "no data",
) -> Json:
    """Show which states there were, and when."""
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
        "noValue": none,
        "color": {"mode": "thresholds"},
        "thresholds": thresholds(steps),
        "mappings": list(mappings),
        "custom": {"lineWidth": 0, "fillOpacity": 80},
    }
    return panel("state-timeline", number, title, about, targets, width, defaults, options)


def text(number: int, title: str, about: str, content: str, *, width: int = 12) -> Json:
    made = panel(
        "text", number, title, about, (), width, {}, {"mode": "markdown", "content": content}
    )
    return {key: value for key, value in made.items() if key not in ("targets", "datasource")}


def column(field: str, title: str, **properties: Any) -> tuple[str, str, Json]:
    """
    Show *field* as *title*.

    Args:
        properties: Grafana's, with ``width``, ``minWidth``, ``cell``, ``steps`` and ``plain`` (no
            filter) for the common ones.
    """
    shown: Json = {}
    for name, value in properties.items():
        if name in ("width", "minWidth"):
            shown[f"custom.{name}"] = value
        elif name == "plain":
            shown["custom.filterable"] = not value
        elif name == "cell":
            shown["custom.cellOptions"] = {"type": value}
        elif name == "steps":
            shown["thresholds"] = thresholds(value)
        else:
            shown[name] = value
    return field, title, shown


def hidden(field: str) -> tuple[str, str, Json]:
    """Keep *field* for links, out of sight. Two names: the second is Grafana 12.2's."""
    return field, field, {"custom.hidden": True, "custom.hideFrom": HIDE}


HIDE = {"viz": True, "legend": True, "tooltip": True}


def table(
    number: int,
    title: str,
    about: str,
    queries: Mapping[str, str],
    columns: Sequence[tuple[str, str, Json]],
    *,
    sort: str,
    width: int = 24,
    none: str = "none",
    drop: Iterable[str] = (),
    links: Sequence[Json] = (),
    pages: bool = False,
) -> Json:
    """
    Show rows of what several queries tell about the same subjects.

    Args:
        queries: By refId. Their columns are called ``Value #refId``, or ``Value`` if there is one.
        sort: The title of the column to begin with; descending unless it ends in ``^``.
        drop: Fields besides Time that are not shown.
    """
    targets = [now(ref, expr, format="table") for ref, expr in queries.items()]
    overrides = [
        {
            "matcher": {"id": "byName", "options": title},
            "properties": [{"id": name, "value": value} for name, value in shown.items()],
        }
        for _, title, shown in columns
        if shown
    ]
    order = {field: place for place, (field, _, _) in enumerate(columns)}
    organize = {
        "excludeByName": {name: True for name in ("Time", *drop)},
        "indexByName": order,
        "renameByName": {field: title for field, title, _ in columns if field != title},
    }
    defaults = {
        # Not locale: it would write the commas of thousands into account ids.
        "unit": "none",
        "noValue": none,
        "color": {"mode": "thresholds"},
        "thresholds": thresholds(NEUTRAL),
        "custom": {"filterable": True, "align": "auto", "minWidth": 60},
    }
    options = {
        "showHeader": True,
        "cellHeight": "sm",
        "enablePagination": pages,
        "sortBy": [{"displayName": sort.rstrip("^"), "desc": not sort.endswith("^")}],
    }
    made = panel("table", number, title, about, targets, width, defaults, options, overrides, links)
    join = [{"id": "merge", "options": {}}] if len(queries) > 1 else []
    return {**made, "transformations": [*join, {"id": "organize", "options": organize}]}


def by_name(name: str, **properties: Any) -> Json:
    """Override properties of the series called *name*."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key, "value": value} for key, value in properties.items()],
    }


def colored(name: str, color: str, **properties: Any) -> Json:
    return by_name(name, color={"mode": "fixed", "fixedColor": color}, **properties)


def words(pairs: Mapping[str, tuple[str, str]]) -> list[Json]:
    """Map values to a text and a colour."""
    options = {
        value: {"text": shown, "color": color, "index": place}
        for place, (value, (shown, color)) in enumerate(pairs.items())
    }
    return [{"type": "value", "options": options}]


def link(title: str, url: str, *, elsewhere: bool = False) -> Json:
    return {"title": title, "url": url, "targetBlank": elsewhere}


def row(number: int, title: str) -> Json:
    return {"id": number, "type": "row", "title": title, "collapsed": False, "panels": []}


def grid(*rows: Json | tuple[int, Sequence[Json]]) -> list[Json]:
    """
    Put panels beside and below each other.

    Args:
        rows: A row's heading, or a height and the panels that have it.
    """
    placed = []
    top = 0
    for entry in rows:
        if isinstance(entry, dict):
            placed.append({**entry, "gridPos": {"x": 0, "y": top, "w": 24, "h": 1}})
            top += 1
            continue
        height, panels = entry
        left = 0
        for each in panels:
            width = each["gridPos"]["w"]
            placed.append({**each, "gridPos": {"x": left, "y": top, "w": width, "h": height}})
            left += width
        top += height
    return placed
