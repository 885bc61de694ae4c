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
    """Unite where two processes saw the same key used, in the order of the latest use there."""
    found: dict[tuple[str, str], SeenUse] = {}
    for use in (*uses, *others):
        known = found.get((use.service, use.region), use)
        first, latest = min(known.first, use.first), max(known.latest, use.latest)
        found[use.service, use.region] = replace(use, first=first, latest=latest)
    in_order = sorted(found.values(), key=lambda use: (use.latest, use.service, use.region))
    return tuple(in_order[-MAX_USES:])
