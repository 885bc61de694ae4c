"""The shipped rule files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RUNBOOKS = PROMETHEUS / "runbooks"
RULES = PROMETHEUS / "rules"
FILES = tuple(RULES / f"{name}.yaml" for name in ("hygiene", "security", "exporter"))
"""What the example configurations load."""

EARLY = PROMETHEUS / "optional" / "early.yaml"
"""What they do not load."""


def rules(kind: str, *files: Path) -> Iterator[dict[str, Any]]:
    """Yield every rule of this *kind*, "alert" or "record", as it is parsed from YAML."""
    for file in files or (*FILES, EARLY):
        for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]:
            yield from (rule for rule in group["rules"] if kind in rule)


def alerts(*files: Path) -> dict[str, dict[str, Any]]:
    """Return the alerting rules of *files* by name."""
    return {str(rule["alert"]): rule for rule in rules("alert", *files)}


ALERTS = alerts(*FILES, EARLY)
"""Alerting rules by name, also those that are optional."""
