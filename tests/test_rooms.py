"""Who may import whom: each foreign vocabulary has one room, and only `cli` knows the rooms."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "exporter"

FOREIGN: dict[str, set[str]] = {
    "__main__": set(),
    "aws": {"boto3", "botocore"},
    "cli": {"structlog"},
    "config": {"pydantic", "pydantic_core", "yaml"},
    "demo": {"moto", "werkzeug"},
    "exemptions": set(),
    "metrics": {"prometheus_client"},
    "model": set(),
    "key_ids": set(),
    "refresh": set(),
    "server": {"tornado"},
}
"""What each room may import from outside, besides the standard library."""

WIRING = {"cli", "__main__"}


def imports(source: str) -> Iterator[str]:
    """Give the dotted names that *source* imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def trespasses(room: str, source: str) -> list[str]:
    """List what *source*, in *room*, imports and must not."""
    found = []
    for name in imports(source):
        top, *rest = name.split(".")
        if top == "exporter":
            other = rest[0]
            allowed = other in (room, "model", "__version__") or room in WIRING
        else:
            allowed = top in sys.stdlib_module_names or top in FOREIGN[room]
        if not allowed:
            found.append(name)
    return found


def files() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_rooms_import_the_model_and_their_own_foreign_words(path: Path) -> None:
    """A room imports nothing of ours but `model`, and no foreign library but its own."""
    assert trespasses(room_of(path), path.read_text()) == []


def test_each_room_is_in_the_plan() -> None:
    """The table of rooms names just those that exist."""
    assert {room_of(path) for path in files()} == set(FOREIGN)


def test_a_foreign_import_is_found() -> None:
    """A library in the wrong room is a trespass."""
    assert trespasses("metrics", "import boto3.session") == ["boto3.session"]


def test_a_room_that_imports_another_is_found() -> None:
    """A room that imports another is a trespass, even within a function."""
    source = "def f():\n    from exporter.aws import AccountRefresher"

    assert trespasses("refresh", source) == ["exporter.aws.AccountRefresher"]
