"""The generated files: up to date, with fixed identifiers and a sound layout."""

import pytest

from grafana import generate
from tests.grafana.boards import BOARDS, ROOT, panels


def test_files_are_up_to_date() -> None:
    """The committed dashboards are what grafana.generate writes."""
    for name, content in generate.files().items():
        assert content == (ROOT / name).read_text(encoding="utf-8"), name


def test_identifiers_are_fixed() -> None:
    """Links and alerts refer to dashboards by uid, and to panels by unique IDs."""
    uids = {name: board["uid"] for name, board in BOARDS.items()}

    assert uids == {name: f"aws-iam-keys-{name}" for name in BOARDS}
    for name, board in BOARDS.items():
        ids = [panel["id"] for panel in panels(name)]
        assert len(ids) == len(set(ids)), name
        assert board["id"] is None
        assert board["schemaVersion"] == 39
        assert "__inputs" not in board


@pytest.mark.parametrize("name", BOARDS)
def test_panels_do_not_overlap(name: str) -> None:
    """Each cell of the grid belongs to at most one panel, and no panel exceeds 24 columns."""
    taken: set[tuple[int, int]] = set()
    for panel in panels(name):
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("name", BOARDS)
def test_titles_are_not_questions(name: str) -> None:
    """The title of a panel names what it shows."""
    assert not [panel["title"] for panel in panels(name) if panel["title"].endswith("?")]
