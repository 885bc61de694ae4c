"""The builders of panels."""

from typing import Any

import pytest

from grafana.fields import column, override
from grafana.layout import grid
from grafana.panels import stat, table, time_series


def panel(title: str, width: int) -> dict[str, Any]:
    return stat(1, title, "", [], width=width)


class TestKeywords:
    """Without its comments, mypy rejects this file: each misspelling is a type error too."""

    def test_stat_rejects_a_misspelled_keyword(self) -> None:
        """A stat panel has no option decimls."""
        with pytest.raises(TypeError, match="decimls"):
            stat(1, "title", "description", [], decimls=3)  # type: ignore[call-arg]

    def test_time_series_rejects_a_misspelled_keyword(self) -> None:
        """A time series panel has no option stak."""
        with pytest.raises(TypeError, match="stak"):
            time_series(1, "title", "description", [], stak=True)  # type: ignore[call-arg]

    def test_column_rejects_a_misspelled_keyword(self) -> None:
        """A column has no property widht."""
        with pytest.raises(TypeError, match="widht"):
            column("field", "title", widht=100)  # type: ignore[call-arg]

    def test_override_rejects_a_misspelled_keyword(self) -> None:
        """A series has no property colour."""
        with pytest.raises(TypeError, match="colour"):
            override("series", colour="red")  # type: ignore[call-arg]


class TestTable:
    @pytest.mark.parametrize("descending", [True, False])
    def test_sort_order(self, descending: bool) -> None:
        """A table is sorted by a column, in the order requested."""
        built = table(1, "", "", {"a": "up"}, [], sort="Age", descending=descending)

        assert built["options"]["sortBy"] == [{"displayName": "Age", "desc": descending}]


class TestGrid:
    def test_panels_are_placed_beside_and_below_each_other(self) -> None:
        """Panels of a row have its height, and the next row begins below it."""
        placed = grid((4, [panel("a", 8), panel("b", 16)]), (3, [panel("c", 24)]))

        assert [each["gridPos"] for each in placed] == [
            {"x": 0, "y": 0, "w": 8, "h": 4},
            {"x": 8, "y": 0, "w": 16, "h": 4},
            {"x": 0, "y": 4, "w": 24, "h": 3},
        ]
