"""
Programs that some tests need, each installed into a virtual environment outside the repository.

They, or what they depend on, do not go together with the other dependencies of the tests.
"""

import fcntl
import os
import subprocess
import venv
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Final, NoReturn

import pytest

ENVIRONMENTS: Final = {
    "cloudformation": ("cfn-lint==1.58.0", "moto[all,server]==5.2.5"),
    "ministack": ("ministack==1.5.33",),
    "terraform-provider": ("tf==1.2.0",),
    "zizmor": ("zizmor==1.32.0",),
}
"""What is installed in each environment."""


@lru_cache
def environment(name: str) -> Path:
    """
    Install an environment unless it is, and return the directory of its programs.

    Skips the test if it cannot be installed; with REQUIRE_REAL_SERVERS=1 fails it.
    """
    requirements = ENVIRONMENTS[name]
    version = sha256(" ".join(requirements).encode()).hexdigest()[:8]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "aws-iam-key-exporter" / f"{name}-{version}"
    folder.mkdir(parents=True, exist_ok=True)
    installed = folder / ".installed"
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        if not installed.exists():
            _install(folder, requirements)
            installed.touch()
    return folder / "bin"


def _install(folder: Path, requirements: Sequence[str]) -> None:
    venv.create(folder, with_pip=True, symlinks=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    result = subprocess.run(
        [*pip, "install", "--quiet", *requirements],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if result.returncode != 0:
        last = result.stderr.strip().rpartition("\n")[2]
        missing(f"{' '.join(requirements)} cannot be installed into {folder}: {last}")


def missing(text: str) -> NoReturn:
    """Skip the test for what *text* says; with REQUIRE_REAL_SERVERS=1 fail it."""
    if os.environ.get("REQUIRE_REAL_SERVERS") == "1":
        pytest.fail(text)
    pytest.skip(text)
