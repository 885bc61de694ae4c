"""
Which module may import which.

Modules of the exporter import `model` and nothing else of the exporter; `cli` alone connects them.
Each third-party library is used by one module. YAML is used by two, since the configuration and the
web configuration are two formats: ours, and the one of Go's exporters.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "exporter"

LIBRARIES: dict[str, set[str]] = {
    "__main__": set(),
    "aws": {"boto3", "botocore", "urllib3"},
    "cli": {"structlog"},
    "config": {"pydantic", "pydantic_core", "yaml"},
    "demo": {"moto", "werkzeug"},
    "exemptions": set(),
    "key_ids": set(),
    "memory": set(),
    "metrics": {"prometheus_client"},
    "model": set(),
    "policy": set(),
    "refresh": set(),
    "report": {"rich"},
    "server": {"bcrypt", "tornado", "yaml"},
    "sharding": set(),
    "store": {"sqlalchemy"},
}
"""The third-party libraries that each module, or package, may import."""

WIRING = {"cli", "__main__"}
"""The modules that may import all others."""


def imports(source: str) -> Iterator[str]:
    """Yield the dotted names that *source* imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def violations(module: str, source: str) -> list[str]:
    """Return what *source*, a part of *module*, imports and must not."""
    found = []
    for name in imports(source):
        top, *rest = name.split(".")
        if top == "exporter":
            imported = rest[0]
            allowed = imported in (module, "model", "__version__") or module in WIRING
        else:
            allowed = top in sys.stdlib_module_names or top in LIBRARIES[module]
        if not allowed:
            found.append(name)
    return found


def files() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def module_of(path: Path) -> str:
    """Return the module, or package, directly below `exporter` that *path* is part of."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_layering(path: Path) -> None:
    """A module imports nothing of the exporter except `model`, and only its own libraries."""
    assert violations(module_of(path), path.read_text()) == []


def test_all_modules_are_listed() -> None:
    """The table of libraries lists exactly the modules that exist."""
    assert {module_of(path) for path in files()} == set(LIBRARIES)


def test_a_library_in_the_wrong_module_is_a_violation() -> None:
    """A module must not import the library of another."""
    assert violations("metrics", "import boto3.session") == ["boto3.session"]


def test_importing_another_module_is_a_violation() -> None:
    """A module must not import another one, not even within a function."""
    source = "def f():\n    from exporter.aws import AccountRefresher"

    assert violations("refresh", source) == ["exporter.aws.AccountRefresher"]
