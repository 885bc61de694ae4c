"""The sdist and the wheel: what they contain, and that anyone can build the same."""

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZipFile

import pytest

from exporter import __version__

ROOT = Path(__file__).parent.parent
SOURCES = (
    ".gitignore",
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "config.example.yaml",
    "config.schema.json",
    "exporter",
    "pyproject.toml",
)
WHEEL = f"aws_iam_key_exporter-{__version__}-py3-none-any.whl"
SDIST = f"aws_iam_key_exporter-{__version__}.tar.gz"

pytestmark = pytest.mark.process


def copy_sources(folder: Path) -> Path:
    """
    Copy what is built into *folder*, with a file that only the build of a release adds.

    What is not part of the distributions is there too.
    """
    folder.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "build.json")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copyfile(ROOT / name, folder / name)
    (folder / "exporter" / "build.json").write_text('{"revision": "0a1b2c3", "branch": "v1"}\n')
    (folder / "tests").mkdir()
    (folder / "tests" / "__init__.py").touch()
    return folder


def build(sources: Path, environment: Mapping[str, str] | None = None) -> dict[str, bytes]:
    """Build the sdist and the wheel, and return their contents by name."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--directory", "../built-" + sources.name],
        check=True,
        cwd=sources,
        env={**os.environ, **(environment or {})},
        capture_output=True,
    )
    return {
        path.name: path.read_bytes()
        for path in (sources.parent / f"built-{sources.name}").iterdir()
        if path.is_file()
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the sdist and the wheel."""
    folder = tmp_path_factory.mktemp("distribution")
    build(copy_sources(folder / "sources"))
    return folder / "built-sources"


def test_the_same_sources_give_the_same_files(tmp_path: Path) -> None:
    """Directory, permissions, times, locale, time zone and hash seed make no difference."""
    first = copy_sources(tmp_path / "one")
    second = copy_sources(tmp_path / "somewhere else")
    for number, path in enumerate(sorted(second.rglob("*"))):
        os.utime(path, (number, 2_000_000_000 + number))
        path.chmod(0o700 if path.is_dir() else 0o600)

    epoch = {"SOURCE_DATE_EPOCH": "1800000000"}
    other = {"TZ": "Asia/Tokyo", "LC_ALL": "C", "LANG": "C", "PYTHONHASHSEED": "7", **epoch}
    files = build(first, {"PYTHONHASHSEED": "1", **epoch})

    assert files == build(second, other)
    assert files.keys() == {WHEEL, SDIST}


def test_the_sdist_builds_the_same_wheel(built: Path, tmp_path: Path) -> None:
    """A wheel that is built from the sdist is the wheel of the release."""
    with tarfile.open(built / SDIST) as archive:
        archive.extractall(tmp_path, filter="data")

    again = build(tmp_path / SDIST.removesuffix(".tar.gz"))

    assert again[WHEEL] == (built / WHEEL).read_bytes()
    assert again[SDIST] == (built / SDIST).read_bytes()


def test_the_wheel_has_the_package_and_nothing_else(built: Path) -> None:
    """The wheel has every file of the package, what it was built from, and its metadata."""
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "exporter").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    with ZipFile(built / WHEEL) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        build_json = archive.read("exporter/build.json")

    assert names == package | {"exporter/build.json"}
    assert b"0a1b2c3" in build_json


def test_the_sdist_has_the_sources(built: Path) -> None:
    """The sdist has the package, its documents, and what builds it; no tests."""
    with tarfile.open(built / SDIST) as archive:
        names = {Path(name).parts[1] for name in archive.getnames()}

    assert names == {*SOURCES, "PKG-INFO"}


def test_an_installed_wheel_runs(built: Path, tmp_path: Path) -> None:
    """The installed program runs, with its pages, and reports what it was built from."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", tmp_path, built / WHEEL], check=True, timeout=110)
    result = subprocess.run(
        [sys.executable, "-c", "from exporter.__main__ import run; run()", "--version"],
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )

    assert f"version {__version__} (branch: v1, revision: 0a1b2c3)" in result.stdout
