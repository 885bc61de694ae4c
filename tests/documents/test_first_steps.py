"""The first commands of README.md, in a fresh copy of the repository."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.documents.markdown import ROOT
from tests.servers import free_port, get, wait_until

MINUTES = 10.0
"""Within which the dependencies must be installed."""


def _copy(directory: Path) -> Path:
    """Copy the repository as a `git clone` has it, without what is only here."""
    ignored = shutil.ignore_patterns(".git", ".venv*", ".*_cache", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, directory, ignore=ignored, symlinks=True)
    return directory


@pytest.mark.slow
def test_make_demo_serves_what_it_prints(tmp_path: Path) -> None:
    """`make demo` installs the exporter, and serves each URL that it prints, until Ctrl-C."""
    output = tmp_path / "output"
    with output.open("w") as file:
        process = subprocess.Popen(
            ["make", "demo", f"LISTEN=127.0.0.1:{free_port()}"],
            cwd=_copy(tmp_path / "copy"),
            env={name: text for name, text in os.environ.items() if name != "MAKEFLAGS"},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_until(
                lambda: "msg=listening" in output.read_text() or process.poll() is not None,
                "the demo listens",
                MINUTES * 60,
            )
            urls = re.findall(r"(?m)^  (?:accounts|keys|metrics) +(\S+)$", output.read_text())
            pages = [get(url) for url in urls]
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(60)

    assert len(urls) == 3, output.read_text()
    assert all(pages)
