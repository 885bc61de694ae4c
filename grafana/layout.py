"""Dashboards: their settings, and where their panels are."""

from collections.abc import Sequence

from grafana import queries as q
from grafana.fields import Json
from grafana.links import dashboard_links
from grafana.panels import DATASOURCE

TAG = "aws-iam-keys"


def annotation(name: str, color: str, expr: str, text: str) -> Json:
    """Marks in all charts, while *expr* has results. *text* can name their labels."""
    return {
        "name": name,
        "enable": True,
        "hide": False,
        "iconColor": color,
        "datasource": DATASOURCE,
        "target": {"refId": "annotation", "expr": expr, "interval": ""},
        "titleFormat": name,
        "textFormat": text,
        "tagKeys": "",
    }


ANNOTATIONS = (
    annotation(
        "Exporter restarts",
        "blue",
        f"changes(process_start_time_seconds{{{q.JOB}}}[$__interval]) > 0"
        f" and on (job) group by (job) ({q.select(q.BUILD_INFO, q.JOB)})",
        "{{instance}}",
    ),
    annotation(
        "Critical alerts",
        "red",
        f'ALERTS{{alertname=~"AwsIam.+",alertstate="firing",severity="critical",{q.JOB}}}',
        "{{alertname}} {{account}} {{user}} {{access_key_id}}",
    ),
)


def row(panel_id: int, title: str) -> Json:
    """A heading over the panels below it."""
    return {"id": panel_id, "type": "row", "title": title, "collapsed": False, "panels": []}


def grid(*rows: Json | tuple[int, Sequence[Json]]) -> list[Json]:
    """
    Arrange panels from left to right and from top to bottom.

    Args:
        rows: Either a heading, or the height of some panels and these panels.
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
        for panel in panels:
            width = panel["gridPos"]["w"]
            placed.append({**panel, "gridPos": {"x": left, "y": top, "w": width, "h": height}})
            left += width
        top += height
    return placed


def dashboard(
    uid: str,
    title: str,
    description: str,
    variables: Sequence[Json],
    panels: Sequence[Json],
    *,
    start: str,
    refresh: str = "5m",
) -> Json:
    """
    A dashboard.

    Args:
        start: Where the default time range begins, e.g. ``now-7d``.
        refresh: How often the browser repeats the queries.
    """
    return {
        "id": None,
        "uid": uid,
        "title": title,
        "description": description,
        "tags": [TAG],
        # Grafana 11 to 13 all read it; what later versions changed concerns nothing of ours.
        "schemaVersion": 39,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": refresh,
        "time": {"from": start, "to": "now"},
        "annotations": {"list": list(ANNOTATIONS)},
        "links": dashboard_links(uid),
        "templating": {"list": list(variables)},
        "panels": list(panels),
    }
