"""Durations as Go writes them."""

import re
from typing import Final

NANOSECONDS: Final = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
PART: Final = re.compile(rf"(?=\.?\d)(\d*)(?:\.(\d*))?({'|'.join(NANOSECONDS)})", re.ASCII)
DURATION: Final = re.compile(rf"([-+]?)((?:{PART.pattern})+)", re.ASCII)
LONGEST: Final = 2**63
"""Nanoseconds. Only a negative duration can have as many."""
DIGITS: Final = 19
"""Of the longest duration. A fraction has no effect after as many."""


def parse(text: str) -> float | None:
    """
    Return the seconds of a duration such as ``1h2m0.5s``. None: it is no duration, or too long.

    Source: time.ParseDuration
    """
    if text in ("0", "+0", "-0"):
        return 0.0
    match = DURATION.fullmatch(text)
    if match is None:
        return None
    nanoseconds = 0
    for part in PART.finditer(match[2]):
        whole, fraction, unit = part[1].lstrip("0"), (part[2] or "")[:DIGITS], part[3]
        if len(whole) > DIGITS:
            return None
        nanoseconds += int(whole or 0) * NANOSECONDS[unit]
        nanoseconds += int(fraction or 0) * NANOSECONDS[unit] // 10 ** len(fraction)
    if match[1] == "-":
        return -nanoseconds / 1e9 if nanoseconds <= LONGEST else None
    return nanoseconds / 1e9 if nanoseconds < LONGEST else None
