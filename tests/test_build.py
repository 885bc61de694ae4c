"""What an exporter says that it was built from."""

from pathlib import Path

import pytest

from exporter import __version__
from exporter.cli.build import Build, read_build


def test_a_build_knows_its_revision(tmp_path: Path) -> None:
    """The file that the build of the image adds to the package has the commit and its branch."""
    (tmp_path / "build.json").write_text('{"revision": "0a1b2c3", "branch": "main"}\n')

    assert str(read_build(tmp_path)) == f"{__version__} (branch: main, revision: 0a1b2c3)"


@pytest.mark.parametrize("text", [None, "", "x", "[]", "{}", '{"revision": "", "branch": ""}'])
def test_sources_have_no_revision(text: str | None, tmp_path: Path) -> None:
    """Without a file, or with one that says nothing, revision and branch are unknown."""
    if text is not None:
        (tmp_path / "build.json").write_text(text)

    assert read_build(tmp_path) == Build(__version__, "unknown", "unknown")
