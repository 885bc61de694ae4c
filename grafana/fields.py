"""Field configuration in Grafana's JSON: thresholds, value mappings, columns, overrides, links."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
Steps = Sequence[tuple[float | None, str]]
"""
Lower bounds and their colors.

The first bound is None: its color also applies where there is no value.
"""

TROUBLE: Json = {"mode": "shades", "fixedColor": "orange"}
"""For failures: the default palette starts with green."""

NEUTRAL: Steps = ((None, "text"),)
WARN_IF_ANY: Steps = ((None, "text"), (1, "orange"))
ALARM_IF_ANY: Steps = ((None, "text"), (1, "red"))
GOOD_IF_NONE: Steps = ((None, "text"), (0, "green"), (1, "red"))
DATA_AGE: Steps = ((None, "text"), (3600, "orange"), (86400, "red"))
"""Seconds since the last successful refresh."""
DAYS: Steps = ((None, "text"), (90, "orange"), (365, "red"))
"""Days since a key was created or used. Independent of the limits chosen in the dashboard."""


@dataclass(frozen=True, slots=True)
class Column:
    """
    A column of a table.

    Attributes:
        field: The name of the field in the query results.
        title: The heading.
        properties: Overrides of the field's configuration, by Grafana's property id.
    """

    field: str
    title: str
    properties: Json


def thresholds(steps: Steps) -> Json:
    return {
        "mode": "absolute",
        "steps": [{"value": value, "color": color} for value, color in steps],
    }


def value_mappings(texts: Mapping[str, tuple[str, str]]) -> list[Json]:
    """Map values to (text, color)."""
    options = {
        value: {"text": text, "color": color, "index": index}
        for index, (value, (text, color)) in enumerate(texts.items())
    }
    return [{"type": "value", "options": options}]


def range_mapping(low: float, high: float, text: str, color: str) -> Json:
    """Map all values from *low* to *high* to *text*."""
    result = {"text": text, "color": color, "index": 0}
    return {"type": "range", "options": {"from": low, "to": high, "result": result}}


NO_EXPORTER: Json = range_mapping(-1, -1, "no exporter", "red")
"""For `queries.NO_EXPORTER`. Without an exporter nothing is known, which is as bad as it gets."""


UNKNOWN: Json = range_mapping(-9, -9, "unknown", "text")
"""For `queries.UNKNOWN_VALUE`."""


def regex_mapping(pattern: str, color: str) -> Json:
    """Color the values that *pattern*, which has one group, matches."""
    result = {"text": "$1", "color": color, "index": 0}
    return {"type": "regex", "options": {"pattern": pattern, "result": result}}


UNKNOWN_ROWS = [
    regex_mapping("^(no exporter)$", "red"),
    regex_mapping(r"^(unknown (?:accounts|last use): \d+)$", "orange"),
]
"""For the rows of `queries.unknown_rows`. No user has a name with a space."""


def column(
    field: str,
    title: str,
    *,
    width: int | None = None,
    min_width: int | None = None,
    unit: str | None = None,
    decimals: int | None = None,
    no_value: str = "",
    steps: Steps | None = None,
    mappings: Sequence[Json] | None = None,
    colored: bool = False,
    filterable: bool = True,
    links: Sequence[Json] | None = None,
) -> Column:
    """
    Show *field* as *title*.

    Args:
        no_value: The text of a cell without a value.
        colored: Draw the text in the color of its threshold or value mapping.
    """
    properties: Json = {
        "custom.width": width,
        "custom.minWidth": min_width,
        "unit": unit,
        "decimals": decimals,
        "noValue": no_value,
        "thresholds": None if steps is None else thresholds(steps),
        "mappings": None if mappings is None else list(mappings),
        "custom.cellOptions": {"type": "color-text"} if colored else None,
        "custom.filterable": None if filterable else False,
        "links": None if links is None else list(links),
    }
    return Column(field, title, _without_none(properties))


def hidden(field: str) -> Column:
    """Keep *field* for use in links without showing it. The second property is Grafana 12.2's."""
    hide = {"viz": True, "legend": True, "tooltip": True}
    return Column(field, field, {"custom.hidden": True, "custom.hideFrom": hide})


def override(
    name: str,
    *,
    color: str | None = None,
    steps: Steps | None = None,
    unit: str | None = None,
    decimals: int | None = None,
    fill_opacity: int | None = None,
    dashed: bool = False,
    bars: bool = False,
    right_axis: bool = False,
    text: str = "",
    links: Sequence[Json] | None = None,
) -> Json:
    """
    Configure the series called *name*.

    Args:
        fill_opacity: Of the area below the line, in percent.
        dashed: Draw a dashed line without an area: a limit.
        text: What the legend shows instead of 0.
    """
    properties: Json = {
        "color": None if color is None else {"mode": "fixed", "fixedColor": color},
        "thresholds": None if steps is None else thresholds(steps),
        "unit": unit,
        "decimals": decimals,
        "custom.lineStyle": {"fill": "dash"} if dashed else None,
        "custom.fillOpacity": 0 if dashed else fill_opacity,
        "custom.drawStyle": "bars" if bars else None,
        "custom.axisPlacement": "right" if right_axis else None,
        "links": None if links is None else list(links),
        "mappings": [range_mapping(0, 0, text, "text")] if text else None,
    }
    return override_properties(name, _without_none(properties))


def override_properties(name: str, properties: Json) -> Json:
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key, "value": value} for key, value in properties.items()],
    }


def link(title: str, url: str, *, new_tab: bool = False) -> Json:
    return {"title": title, "url": url, "targetBlank": new_tab}


def _without_none(properties: Json) -> Json:
    return {key: value for key, value in properties.items() if value is not None}
