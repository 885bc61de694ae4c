"""The generated files are up to date."""

import pytest

from tests.generate import EXPOSITIONS, ROOT, files


@pytest.mark.parametrize("path", files())
def test_generating_changes_nothing(path: str) -> None:
    """A generated file is what the generator would write."""
    assert (ROOT / path).read_text() == files()[path]


def test_every_exposition_is_generated() -> None:
    """No expected exposition is left over from a scene that no longer exists."""
    stored = {str(path.relative_to(ROOT)) for path in (ROOT / EXPOSITIONS).iterdir()}

    assert stored == {path for path in files() if path.startswith(EXPOSITIONS)}
