"""Labels, in the syntax that the text format and OpenMetrics share."""

from collections.abc import Sequence


def labels(names: Sequence[str], values: Sequence[str]) -> str:
    """Render labels, each after a comma."""
    return template(names) % tuple(map(escape, values))


def template(names: Sequence[str]) -> str:
    """Render labels, each after a comma, with `%s` in place of their escaped values."""
    return "".join([f',{name}="%s"' for name in names])


def escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
