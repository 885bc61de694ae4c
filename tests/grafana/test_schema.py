"""The dashboards have the types that Grafana publishes. What is waived: schema/types.ts says."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.grafana.boards import BOARDS

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.xdist_group("grafana_schema")]

SOURCE = Path(__file__).parent / "schema"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    A folder with the TypeScript compiler and Grafana's types.

    They are downloaded once and kept in the user's cache. Skips if they cannot be had.
    """
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed: apt-get install npm")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    package = (SOURCE / "package.json").read_text(encoding="utf-8")
    kept = cache / "aws-iam-key-exporter" / "grafana-schema"
    installed = kept / "package.json"
    if not installed.exists() or installed.read_text(encoding="utf-8") != package:
        kept.mkdir(parents=True, exist_ok=True)
        (kept / "new").mkdir(exist_ok=True)
        (kept / "new" / "package.json").write_text(package, encoding="utf-8")
        command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(
            command, check=False, cwd=kept / "new", capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"npm cannot install Grafana's types: {done.stderr.strip()[-200:]}")
        shutil.rmtree(kept / "node_modules", ignore_errors=True)
        (kept / "new" / "node_modules").rename(kept / "node_modules")
        installed.write_text(package, encoding="utf-8")
    folder = tmp_path_factory.mktemp("schema")
    (folder / "node_modules").symlink_to(kept / "node_modules")
    shutil.copy(SOURCE / "types.ts", folder)
    return folder


def problems(folder: Path, boards: dict[str, dict[str, Any]]) -> list[str]:
    """What the TypeScript compiler says about *boards*."""
    for name, board in boards.items():
        (folder / f"{name}.ts").write_text(as_typescript(board), encoding="utf-8")
    files = [f"{name}.ts" for name in boards]
    compiler = ["node", "node_modules/typescript/bin/tsc", "--noEmit", "--strict", "--pretty"]
    options = ["false", "--skipLibCheck", "--module", "nodenext", "--target", "esnext"]
    done = subprocess.run(
        [*compiler, *options, *files], check=False, cwd=folder, capture_output=True, text=True
    )
    return done.stdout.splitlines()


def as_typescript(board: dict[str, Any]) -> str:
    """The dashboard and its panels as values with types: literals must not have other names."""
    lines = ['import type { Dashboard, Panels } from "./types.js";']
    rest = {name: value for name, value in board.items() if name != "panels"}
    lines.append(f"export const dashboard: Dashboard = {json.dumps(rest)};")
    for panel in board["panels"]:
        kind = json.dumps(panel["type"])
        lines.append(f"export const panel{panel['id']}: Panels[{kind}] = {json.dumps(panel)};")
    return "\n".join(lines)


def test_types(folder: Path) -> None:
    """Grafana knows every property of the dashboards, and their values have the right types."""
    assert problems(folder, BOARDS) == []


MISTAKES: list[tuple[str, tuple[str, ...], str, object]] = [
    ("stat", ("options",), "colourMode", "value"),
    ("stat", ("options",), "colorMode", "values"),
    ("stat", ("fieldConfig", "defaults"), "noValeu", "unknown"),
    ("timeseries", ("fieldConfig", "defaults", "custom"), "lineWidht", 2),
    ("timeseries", ("options", "legend"), "placement", "left"),
    ("table", ("options",), "cellHeight", "tiny"),
    ("table", (), "transparant", True),
]
"""The kind of a panel, where in it, which property, and its value."""


@pytest.fixture(scope="module")
def found(folder: Path) -> list[str]:
    """What the compiler says about dashboards with one mistake each."""
    boards = {}
    for number, (kind, path, name, value) in enumerate(MISTAKES):
        board = json.loads(json.dumps(BOARDS["fleet"]))
        place = next(panel for panel in board["panels"] if panel["type"] == kind)
        board["panels"] = [place]
        for step in path:
            place = place[step]
        place[name] = value
        boards[f"mistake{number}"] = board
    return problems(folder, boards)


@pytest.mark.parametrize("number", range(len(MISTAKES)))
def test_mistakes_are_found(found: list[str], number: int) -> None:
    """A misspelled property, or a value that Grafana does not know, is an error."""
    name, value = MISTAKES[number][2:]
    of_file = [line for line in found if line.startswith(f"mistake{number}.ts")]

    assert len(of_file) == 1
    assert f'"{name}"' in of_file[0] or f'"{value}"' in of_file[0]
