"""A release: its files, its notes, its SBOM, and the packages that the image is built from."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

from exporter import __version__
from tests.test_locks import ROOT, locked

CHANGELOG = f"""\
# Changelog

## Unreleased

- Nothing yet.

## {__version__} - 2026-12-24

### Added

- Metrics.

## 0.0.1 - 2026-11-01

- The first.
"""


def run(*command: str | Path, cwd: Path, umask: int = 0o022, **environment: str) -> str:
    """Run *command*, which must succeed, and return its output."""
    result = subprocess.run(
        command,
        check=False,
        cwd=cwd,
        umask=umask,
        env={**os.environ, "PYTHON": sys.executable, **environment},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def tagged_copy(folder: Path) -> Path:
    """Commit a copy of this repository's files in *folder*, on a certain day, and tag it."""
    names = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in names.split("\0"):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    run("git", "init", "--quiet", "--initial-branch=main", cwd=folder)
    run("git", "add", "--all", "--force", cwd=folder)
    run(
        *("git", "-c", "user.name=x", "-c", "user.email=x@example.com"),
        *("-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false"),
        *("commit", "--quiet", "--message=x"),
        cwd=folder,
        GIT_AUTHOR_DATE="2026-12-24T12:00Z",
        GIT_COMMITTER_DATE="2026-12-24T12:00Z",
    )
    run("git", "tag", f"v{__version__}", cwd=folder)
    return folder


def notes(folder: Path, version: str, changelog: str) -> subprocess.CompletedProcess[str]:
    """Ask for the notes of *version* in a repository with *changelog*."""
    (folder / ".ci").mkdir()
    (folder / "exporter").mkdir()
    shutil.copy(ROOT / ".ci/release-notes", folder / ".ci")
    shutil.copy(ROOT / "exporter/__init__.py", folder / "exporter")
    (folder / "CHANGELOG.md").write_text(changelog)
    return subprocess.run(
        [folder / ".ci/release-notes", version], check=False, capture_output=True, text=True
    )


@pytest.mark.process
def test_the_notes_are_a_section_of_the_changelog(tmp_path: Path) -> None:
    """The notes of a version are its section, without the heading, and of no other version."""
    result = notes(tmp_path, __version__, CHANGELOG)

    assert (result.returncode, result.stdout) == (0, "### Added\n\n- Metrics.\n")


@pytest.mark.process
@pytest.mark.parametrize(
    ("version", "changelog", "message"),
    [
        ("9.9.9", CHANGELOG, f"exporter/__init__.py has the version {__version__}, not 9.9.9"),
        (__version__, "## Unreleased\n\n- x\n", f"CHANGELOG.md has nothing about {__version__}"),
        (__version__, f"## {__version__}1\n\n- x\n", f"has nothing about {__version__}"),
        (__version__, f"## {__version__}\n\n\n## 0\n\n- x\n", f"has nothing about {__version__}"),
    ],
)
def test_no_release_without_notes(
    version: str, changelog: str, message: str, tmp_path: Path
) -> None:
    """A tag that is not the version of the package, or without notes, is refused with a reason."""
    result = notes(tmp_path, version, changelog)

    assert (result.returncode, result.stdout) == (1, "")
    assert message in result.stderr


@pytest.mark.process
@pytest.mark.slow
def test_a_release_can_be_reproduced(tmp_path: Path) -> None:
    """`make dist` in two clones of a commit gives the same files, whatever the environment."""
    first = tagged_copy(tmp_path / "first")
    second = tmp_path / "second"
    run("git", "clone", "--quiet", first, second, cwd=tmp_path, umask=0o077)
    run("git", "checkout", "--quiet", "--detach", f"v{__version__}", cwd=second)
    (second / "exporter" / "untracked.py").touch()
    (second / "README.md").write_text("changed")

    run("make", "dist", cwd=first)
    run("make", "dist", cwd=second, umask=0o077, SOURCE_DATE_EPOCH="0", TZ="Asia/Tokyo")

    files, again = (
        {path.name: path.read_bytes() for path in (clone / "dist").iterdir()}
        for clone in (first, second)
    )
    assert files == again
    assert len(files) == 2


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a virtual environment with the lock and a release."""
    folder = tmp_path_factory.mktemp("image")
    sources = tagged_copy(folder / "sources")
    run("make", "dist", cwd=sources)
    (wheel,) = (sources / "dist").glob("*.whl")
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    pip = (folder / "venv/bin/python", "-m", "pip", "install", "--quiet")
    lock = (sources / "requirements.lock").as_posix()
    run(*pip, "--require-hashes", "--only-binary", ":all:", "--requirement", lock, cwd=folder)
    run(*pip, "--no-deps", "--no-index", wheel, cwd=folder)
    return folder / "venv/bin"


@pytest.mark.process
@pytest.mark.slow
def test_the_lock_is_all_that_a_release_needs(image: Path, tmp_path: Path) -> None:
    """With the locked packages and nothing else the program runs, and `pip check` is content."""
    (tmp_path / "config.yaml").write_text("state: {url: postgresql://u@db/x}\n")
    revision = run("git", "rev-parse", "HEAD", cwd=image.parent.parent / "sources").strip()

    version = run(image / "aws-iam-key-exporter", "--version", cwd=tmp_path)
    check = ("--config.file=config.yaml", "--config.check")
    run(image / "aws-iam-key-exporter", *check, cwd=tmp_path)
    run(image / "python", "-m", "pip", "check", cwd=tmp_path)

    assert f"version {__version__} (branch: v{__version__}, revision: {revision})" in version


@pytest.mark.process
@pytest.mark.slow
def test_a_file_with_another_hash_is_refused(tmp_path: Path) -> None:
    """pip does not install a package whose file is not the one that was locked."""
    text = (ROOT / "requirements-build.lock").read_text()
    (tmp_path / "wrong.lock").write_text(re.sub(r"sha256:\w{8}", "sha256:00000000", text))
    command = [sys.executable, "-m", "pip", "download", "--require-hashes", "-r", "wrong.lock"]

    result = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True)

    assert result.returncode != 0
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"wrong.lock"}


@pytest.mark.process
@pytest.mark.slow
def test_the_sbom_lists_what_is_locked(tmp_path: Path) -> None:
    """The SBOM has the exporter's version, and every locked package with its URL and licence."""
    sources = tagged_copy(tmp_path / "sources")
    run("make", "sbom", cwd=sources)
    sbom = json.loads((sources / f"dist/aws-iam-key-exporter-{__version__}.cdx.json").read_text())
    exporter, components = sbom["metadata"]["component"], sbom["components"]

    assert (sbom["bomFormat"], exporter["name"]) == ("CycloneDX", "aws-iam-key-exporter")
    assert exporter["version"] == __version__
    expected = locked("requirements.lock")
    expected.pop("tzdata", None)  # only Windows needs it
    urls = {unquote(component["purl"]) for component in components}
    assert urls == {f"pkg:pypi/{name}@{version}" for name, version in expected.items()}
    assert [c["name"] for c in components if not c.get("licenses")] == []
    dependencies = {d["ref"]: d.get("dependsOn", []) for d in sbom["dependencies"]}
    assert any("boto3" in ref for ref in dependencies[exporter["bom-ref"]])
    assert sbom["metadata"]["timestamp"] == "2026-12-24T12:00:00+00:00"
