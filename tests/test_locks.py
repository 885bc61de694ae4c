"""The locks: what the image contains, and what builds a release, with hashes."""

import re
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LOCKS = ("requirements.lock", "requirements-build.lock")

PINNED = re.compile(r"([\w.-]+)==([\w.]+)( ; [^\\]+)?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n")
"""A version of a package, the platforms that need it, and the hashes of its files."""


def locked(lock: str) -> dict[str, str]:
    """Return the version of each package in *lock*."""
    text = (ROOT / lock).read_text()
    return {name: version for name, version, _, _ in PINNED.findall(text)}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_nothing_but_hashes(lock: str) -> None:
    """Every line belongs to a version with hashes: no option, and no address of a registry."""
    comment, _, packages = (ROOT / lock).read_text().partition("\n")

    assert comment.startswith("# ")
    assert PINNED.sub("", packages) == ""


def test_the_image_contains_what_ci_tests() -> None:
    """The locks have the versions of constraints.txt, except what only Windows needs."""
    pins = (line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines()[1:])
    tested = {canonicalize_name(name): version for name, version in pins}

    for lock in LOCKS:
        versions = locked(lock)
        versions.pop("tzdata", None)
        assert versions.items() <= tested.items()


def test_the_lock_is_complete() -> None:
    """The lock has what the exporter requires with PostgreSQL, and what that requires, no more."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    postgres = project["optional-dependencies"]["postgres"]
    waiting = [Requirement(text) for text in (*project["dependencies"], *postgres)]
    needed: dict[str, set[str]] = {}
    while waiting:
        requirement = waiting.pop()
        known = needed.setdefault(canonicalize_name(requirement.name), set())
        for extra in {"", *requirement.extras} - known:
            known.add(extra)
            further = [Requirement(text) for text in requires(requirement.name) or ()]
            waiting += [r for r in further if not r.marker or r.marker.evaluate({"extra": extra})]

    assert set(locked("requirements.lock")) - {"tzdata"} == set(needed)
