"""
Generates the README's metrics, their names, the configuration's schema, policies, and expositions.

    python -m tests.generate [--check]
"""

import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from exporter.metrics import FAMILIES, Format
from exporter.metrics.families import ACCOUNT, KEY, USER, CountFamily, Family, SnapshotFamily
from tests import config_schema
from tests.exposition import SCENES, a_scene, render
from tests.iam import policies
from tests.rules.files import FILES

ROOT = Path(__file__).parent.parent
EXPOSITIONS = "tests/data/exposition"
METRIC_NAMES = "exporter/config/metric_names.py"
BEGIN, END = "<!-- metrics: begin -->\n", "<!-- metrics: end -->"

SUFFIXES = {Format.TEXT: "txt", Format.OPENMETRICS: "openmetrics"}
SUBJECTS = {KEY: ["`K`"], USER: ["`A`", "`user`"], ACCOUNT: ["`A`"], (): []}
"""How the README writes the labels of a family's subject."""


def files() -> dict[str, str]:
    """Return the text of each generated file by its path in the repository."""
    head, _, rest = (ROOT / "README.md").read_text().partition(BEGIN)
    tail = rest.partition(END)[2]
    expositions = {
        f"{EXPOSITIONS}/{scene}.{suffix}": _without_python_version(render(a_scene(scene), format_))
        for scene in SCENES
        for format_, suffix in SUFFIXES.items()
    }
    readme = f"{head}{BEGIN}{metrics_table()}{END}{tail}"
    return {
        "README.md": readme,
        METRIC_NAMES: metric_names(),
        "config.schema.json": config_schema.text(),
        **expositions,
        **policies.files(),
    }


def metric_names() -> str:
    """Return the module with the names of all metrics, and of those that the rules refer to."""
    rules = "".join(file.read_text() for file in FILES)
    needed = set(re.findall(r"\baws_iam_\w+", rules))
    names = sorted(family.name for family in FAMILIES)
    return "\n".join(
        [
            '"""The names of metrics that can be left out. Written by make generate."""',
            "",
            "from typing import Final",
            "",
            *_frozenset("METRICS", names),
            "",
            *_frozenset("NEEDED_BY_RULES", [name for name in names if name in needed]),
            '"""What the shipped alerts refer to."""',
            "",
        ]
    )


def _frozenset(name: str, values: Sequence[str]) -> list[str]:
    lines = [f'        "{value}",' for value in values]
    return [f"{name}: Final = frozenset(", "    {", *lines, "    }", ")"]


def metrics_table() -> str:
    """Return the README's table of metrics."""
    rows = [f"| `{f.name}` ({f.kind}) | {_labels(f)} | {f.help} |" for f in FAMILIES]
    return "\n".join(["| metric | labels | |", "|---|---|---|", *rows]) + "\n"


def _labels(family: Family) -> str:
    extra = [f"`{name}`" for name in family.extra_labels]
    return ", ".join([*SUBJECTS[family.subject], *extra, *_tag_labels(family)])


def _tag_labels(family: Family) -> list[str]:
    if isinstance(family, CountFamily):
        return ["`C`"]
    return ["`T`"] if isinstance(family, SnapshotFamily) and family.tag_labels else []


def _without_python_version(text: str) -> str:
    return text.replace(f'pythonversion="{platform.python_version()}"', 'pythonversion="PYTHON"')


def outdated() -> dict[str, str]:
    """Return those of the generated files that differ from what is in the repository."""
    return {
        path: text
        for path, text in files().items()
        if not (ROOT / path).exists() or (ROOT / path).read_text() != text
    }


def main() -> int:
    if "--check" in sys.argv[1:]:
        for path in outdated():
            print(f"{path} is out of date: run python -m tests.generate", file=sys.stderr)
        return int(bool(outdated()))
    for path, text in outdated().items():
        (ROOT / path).write_text(text)
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
