"""How the tests find Prometheus and Alertmanager, and how the newer releases get there."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.servers import PACKAGES, Release, find, newer_servers

SCRIPT = Path(__file__).resolve().parents[1] / ".ci" / "newer-servers"


@pytest.mark.parametrize(
    ("variables", "directory"),
    [
        ({"NEWER_SERVERS": "/opt/servers", "XDG_CACHE_HOME": "/cache"}, "/opt/servers"),
        ({"XDG_CACHE_HOME": "/cache"}, "/cache/aws-iam-key-exporter/servers"),
        ({"HOME": "/var/ada"}, "/var/ada/.cache/aws-iam-key-exporter/servers"),
    ],
)
def test_directory_of_the_newer_servers(
    variables: dict[str, str], directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is NEWER_SERVERS, or a directory in the user's cache."""
    for name in ("NEWER_SERVERS", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert newer_servers() == Path(directory)


@pytest.mark.parametrize("release", Release)
@pytest.mark.parametrize("program", PACKAGES)
def test_a_missing_program_skips_the_test(
    program: str, release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason says how to get it. Where real servers are required, the test fails instead."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("NEWER_SERVERS", str(tmp_path))
    sentence = rf"{program}.*: (apt-get install|run \.ci/newer-servers)"

    monkeypatch.delenv("REQUIRE_REAL_SERVERS", raising=False)
    with pytest.raises(pytest.skip.Exception, match=sentence):
        find(program, release)
    monkeypatch.setenv("REQUIRE_REAL_SERVERS", "1")
    with pytest.raises(pytest.fail.Exception, match=sentence):
        find(program, release)


@pytest.mark.process
def test_without_network_the_download_ends_with_one_sentence(tmp_path: Path) -> None:
    """`.ci/newer-servers` says what apt reported and what to do instead, and leaves nothing."""
    apt = tmp_path / "bin" / "apt-get"
    apt.parent.mkdir()
    apt.write_text("#!/bin/sh\necho E: Failed to fetch >&2\nexit 100\n", encoding="utf-8")
    apt.chmod(0o755)
    directory = tmp_path / "servers"
    directory.mkdir()

    run = subprocess.run(
        [SCRIPT, directory],
        env={**os.environ, "PATH": f"{apt.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 1
    (line,) = run.stderr.splitlines()
    assert line.endswith("and set NEWER_SERVERS to it.")
    assert list(directory.iterdir()) == []
