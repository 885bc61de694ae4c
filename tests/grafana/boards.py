"""The committed dashboards, as the tests read them."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from exporter import demo
from tests.grafana.history import BACKUP_KEY

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules"
BOARDS: dict[str, dict[str, Any]] = {
    name: json.loads((ROOT / "grafana" / "dashboards" / f"{name}.json").read_text())
    for name in ("fleet", "account", "key", "exporter")
}

SELECTED = {
    "job": ".+",
    "instance": ".+",
    "account_id": demo.PIPELINES,
    "user": "backup-2019",
    "access_key_id": BACKUP_KEY,
    "team": ".*",
    "__rate_interval": "4m",
    "__interval": "1h",
    "__range": "1h",
}
"""Values of the variables that have no default."""


def panels(board: str) -> list[dict[str, Any]]:
    return list(BOARDS[board]["panels"])


def targets() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Every query, with its dashboard and its panel."""
    for board in BOARDS:
        for panel in panels(board):
            for target in panel.get("targets", ()):
                yield board, panel, target


def expression(board: str, panel_id: int, ref: str) -> str:
    (expr,) = (
        target["expr"]
        for name, panel, target in targets()
        if (name, panel["id"], target["refId"]) == (board, panel_id, ref)
    )
    return str(expr)


def variables(board: str) -> dict[str, dict[str, Any]]:
    return {variable["name"]: variable for variable in BOARDS[board]["templating"]["list"]}


def urls(board: str) -> list[str]:
    """The URLs of all links."""
    return re.findall(r'"url": "([^"]+)"', json.dumps(BOARDS[board]))


def interpolate(text: str, board: str, selected: Mapping[str, str] | None = None) -> str:
    """Replace variables by their values, as Grafana does."""
    values = SELECTED | {
        variable["name"]: variable["current"]["value"]
        for variable in variables(board).values()
        if variable["type"] == "custom"
    }
    if board in ("fleet", "account"):
        values |= {"user": ".*"}
    if board == "fleet":
        values |= {"account_id": ".*"}
    values |= selected or {}
    return re.sub(
        r"\$(?:([A-Za-z_]\w*)|\{(\w+)(?::\w+)?\})", lambda hit: values[hit[1] or hit[2]], text
    )
