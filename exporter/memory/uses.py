"""Where a key was seen used."""

from dataclasses import replace
from typing import Final

from exporter.model import LastUse, SeenUse

MAX_USES: Final = 64
"""The number of services and regions that are remembered of a key."""


def with_use(uses: tuple[SeenUse, ...], use: LastUse) -> tuple[SeenUse, ...]:
    """Add *use* to where a key was seen used. The oldest use is forgotten if there are too many."""
    return united(uses, (SeenUse(use.service, use.region, use.at, use.at),))


def united(uses: tuple[SeenUse, ...], others: tuple[SeenUse, ...]) -> tuple[SeenUse, ...]:
    """Unite where two processes saw the same key used."""
    found = {(use.service, use.region): use for use in uses}
    for other in others:
        place = (other.service, other.region)
        use = found.get(place, other)
        first, latest = min(use.first, other.first), max(use.latest, other.latest)
        found[place] = replace(use, first=first, latest=latest)
    for use in sorted(found.values(), key=lambda use: use.latest)[:-MAX_USES]:
        del found[use.service, use.region]
    return tuple(found.values())
