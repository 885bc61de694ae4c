"""
The custom resources have the types and values that their operators publish.

The TypeScript compiler finds unknown fields and wrong types, the validation of the packages values
such as an invalid duration.
"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helm.charts import CUSTOM, GOOD, Manifest, helm_tools, missing, render

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.xdist_group("helm_types")]

SOURCE = Path(__file__).parent / "custom_resources"

KINDS = sorted(CUSTOM - {"Certificate"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the TypeScript compiler and the types. Skips without them."""
    modules = helm_tools() / "node_modules"
    if shutil.which("node") is None or not (modules / "typescript").exists():
        missing(f"node and {modules} are needed: install nodejs and npm, then run .ci/helm")
    folder = tmp_path_factory.mktemp("custom_resources")
    (folder / "node_modules").symlink_to(modules)
    for file in SOURCE.iterdir():
        shutil.copy(file, folder)
    return folder


def problems(folder: Path, manifests: dict[str, Manifest]) -> list[str]:
    """What is wrong with *manifests*, which have names of files."""
    for name, manifest in manifests.items():
        kind = json.dumps(manifest["kind"])
        text = f"export const manifest: Kinds[{kind}] = {json.dumps(manifest)};\n"
        file = folder / f"{name}.ts"
        file.write_text(f'import type {{ Kinds }} from "./types.js";\n{text}', encoding="utf-8")
    (folder / "manifests.json").write_text(json.dumps(manifests), encoding="utf-8")
    compiler = ["node", "node_modules/typescript/bin/tsc", "--noEmit", "--strict", "--pretty"]
    options = ["false", "--skipLibCheck", "--module", "nodenext", "--target", "esnext"]
    lines = []
    for command in (
        [*compiler, *options, *(f"{name}.ts" for name in manifests)],
        ["node", "validate.mjs", "manifests.json"],
    ):
        run = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)
        lines += [*run.stdout.splitlines(), *run.stderr.splitlines()]
    return lines


def rendered() -> dict[str, Manifest]:
    """Each custom resource of all values, by the names of file and object."""
    return {
        f"{file.stem}_{manifest['kind']}_{number}": manifest
        for file in GOOD
        for number, manifest in enumerate(render(file).of(*KINDS))
    }


def test_types(folder: Path) -> None:
    """Every field exists, and has a value that the operator accepts."""
    manifests = rendered()

    assert problems(folder, manifests) == []
    assert sorted({manifest["kind"] for manifest in manifests.values()}) == KINDS


MISTAKES: list[tuple[str, tuple[str | int, ...], object]] = [
    ("ServiceMonitor", ("spec", "endpoints", 0, "intervall"), "30s"),
    ("ServiceMonitor", ("spec", "endpoints", 0, "interval"), "30 seconds"),
    ("ServiceMonitor", ("spec", "endpoints", 0, "relabelings", 0, "action"), "dropp"),
    ("ServiceMonitor", ("spec", "sampleLimit"), "10"),
    ("ServiceMonitor", ("spec", "bodySizeLimit"), "10M"),
    ("PodMonitor", ("spec", "endpoints"), []),
    ("PrometheusRule", ("spec", "groups", 0, "rules", 0, "for"), "1 hour"),
    ("PrometheusRule", ("spec", "groups", 0, "rules", 0, "limit"), 1),
    ("HTTPRoute", ("spec", "rules", 0, "backendRefs", 0, "port"), "http"),
    ("GrafanaDashboard", ("spec", "folderName"), "x"),
]
"""A kind, where in it, and a value that must not be there."""


def test_mistakes_are_found(folder: Path) -> None:
    """An unknown field, or a value that the operator refuses, is an error."""
    manifests = {}
    for number, (kind, path, value) in enumerate(MISTAKES):
        first = next(of for of in rendered().values() if of["kind"] == kind)
        place = manifests[f"mistake{number}"] = json.loads(json.dumps(first))
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    found = problems(folder, manifests)

    names = {line.replace(":", ".").split(".")[0].split("(")[0] for line in found}
    assert {*manifests} <= names, found
