"""The chart's values.yaml: each value with the comment above it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm" / "aws-iam-key-exporter"
VALUES = CHART / "values.yaml"

Keys = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Value:
    """
    A value of the chart.

    Attributes:
        heading: That of the section of the file in which it is.
        keys: Where it is, such as ("image", "tag").
        default: As parsed from YAML.
        text: The comment above it. Empty: there is none.
        has_parts: Whether it is an object of which each key is a value of its own.
    """

    heading: str
    keys: Keys
    default: Any
    text: str
    has_parts: bool

    @property
    def path(self) -> str:
        return ".".join(self.keys)


def read_values(text: str) -> list[Value]:
    """List the values in *text*, in its order, objects before their keys."""
    lines = text.splitlines()
    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode)
    defaults = yaml.safe_load(text)
    return list(_values(lines, root, defaults, ()))


def _values(
    lines: list[str], node: yaml.MappingNode, defaults: dict[str, Any], above: Keys
) -> Iterator[Value]:
    for key, value in node.value:
        keys = (*above, str(key.value))
        default = defaults[key.value]
        has_parts = isinstance(value, yaml.MappingNode) and _has_comments(lines, value)
        text = _comment(lines, key)
        yield Value(_heading(lines, key.start_mark.line), keys, default, text, has_parts)
        if has_parts:
            yield from _values(lines, value, default, keys)


def _has_comments(lines: list[str], node: yaml.MappingNode) -> bool:
    """Whether any key of *node* has a comment, or a key of such a key."""
    return any(
        _comment(lines, key)
        or (isinstance(value, yaml.MappingNode) and _has_comments(lines, value))
        for key, value in node.value
    )


def _comment(lines: list[str], key: yaml.Node) -> str:
    """Return the comment directly above *key*, in one line."""
    mark = key.start_mark
    if key.end_mark.line != mark.line or lines[mark.line][: mark.column].strip():
        return ""  # within {}
    begin = f"{' ' * mark.column}# "
    texts: list[str] = []
    for line in reversed(lines[: mark.line]):
        if not line.startswith(begin) or line.startswith(f"{begin}-- "):
            break
        texts.insert(0, line.removeprefix(begin))
    return " ".join(texts)


def _heading(lines: list[str], number: int) -> str:
    headings = [line for line in lines[:number] if line.startswith("## ")]
    return headings[-1].removeprefix("## ") if headings else ""
