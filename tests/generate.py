"""
Generates the README's table of metrics, IAM policies, and the expositions that the tests expect.

    python -m tests.generate [--check]
"""

import platform
import sys
from pathlib import Path

from exporter.metrics import FAMILIES, Format
from exporter.metrics.families import ACCOUNT, KEY, USER, CountFamily, Family, SnapshotFamily
from tests.exposition import SCENES, a_scene, render
from tests.iam import policies

ROOT = Path(__file__).parent.parent
EXPOSITIONS = "tests/data/exposition"
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
    return {"README.md": readme, **expositions, **policies.files()}


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
