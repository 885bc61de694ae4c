"""What developers rely on: make targets, pinned dependencies, and what CONTRIBUTING.md says."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.test_architecture import LIBRARIES

ROOT = Path(__file__).parent.parent
MAKEFILE = (ROOT / "Makefile").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()

PHONY = re.findall(r"\S+", MAKEFILE.partition(".PHONY:")[2].partition("\n")[0])


def normalized(name: str) -> str:
    """Return the name of a distribution as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("target", PHONY)
def test_every_target_is_described(target: str) -> None:
    """`make help` lists every target with a description."""
    assert re.search(rf"^{target}:.*  ## \w", MAKEFILE, re.MULTILINE)


def test_targets_exist() -> None:
    """Every target that CONTRIBUTING.md names exists."""
    named = {
        word
        for words in re.findall(r"(?:`|    )make ((?:[a-z-]+ ?)+)", CONTRIBUTING)
        for word in words.split()
    }

    assert named
    assert named <= set(PHONY)


def test_paths_exist() -> None:
    """Every path that CONTRIBUTING.md names exists."""
    paths = re.findall(r"`((?:exporter|tests|deploy|grafana|docs)/[\w./-]*)`", CONTRIBUTING)
    paths += re.findall(r"`(\w[\w.]*\.(?:md|yaml|txt))`", CONTRIBUTING)
    within = ("", "deploy/prometheus/rules")

    missing = {
        path
        for path in paths
        if "NAME" not in path and not any((ROOT / folder / path).exists() for folder in within)
    }

    assert missing == set()


def test_dependencies_are_pinned() -> None:
    """constraints.txt pins every direct dependency, by version only."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    requirements = [*project["dependencies"], *extras["demo"], *extras["dev"]]
    direct = {normalized(re.split(r"[\[<>=]", text)[0]) for text in requirements}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]

    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.!+-]+", pin)] == []
    assert direct - {project["name"]} <= {normalized(pin.partition("==")[0]) for pin in pins}


def test_the_architecture_names_every_module() -> None:
    """The diagram of the layers has every module."""
    diagram = ARCHITECTURE.split("```")[1]

    assert set(LIBRARIES) - {"__main__"} <= set(re.findall(r"\w+", diagram))
