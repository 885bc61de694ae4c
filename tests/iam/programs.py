"""
Programs that some tests need, each installed into a virtual environment outside the repository.

They, or what they depend on, do not go together with the other dependencies of the tests.
"""

import fcntl
import os
import subprocess
import venv
from functools import lru_cache
from pathlib import Path
from typing import Final, NoReturn

import pytest

VERSIONS: Final = {"cfn-lint": "1.58.0", "ministack": "1.5.33", "tf": "1.2.0"}
"""The packages on PyPI. `tf` serves providers for Terraform."""


@lru_cache
def environment(package: str) -> Path:
    """
    Install *package* unless it is, and return the directory of its programs.

    Skips the test if it cannot be installed; with REQUIRE_REAL_SERVERS=1 fails it.
    """
    version = VERSIONS[package]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "aws-iam-key-exporter" / f"{package}-{version}"
    folder.mkdir(parents=True, exist_ok=True)
    installed = folder / ".installed"
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        if not installed.exists():
            _install(folder, f"{package}=={version}")
            installed.touch()
    return folder / "bin"


def _install(folder: Path, requirement: str) -> None:
    venv.create(folder, with_pip=True, symlinks=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    result = subprocess.run(
        [*pip, "install", "--quiet", requirement],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if result.returncode != 0:
        last = result.stderr.strip().rpartition("\n")[2]
        missing(f"{requirement} cannot be installed into {folder}: {last}")


def missing(text: str) -> NoReturn:
    """Skip the test for what *text* says; with REQUIRE_REAL_SERVERS=1 fail it."""
    if os.environ.get("REQUIRE_REAL_SERVERS") == "1":
        pytest.fail(text)
    pytest.skip(text)
