"""The columns of keys: texts for tables, values for programs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from exporter.model import NEVER, LastUse, NoUse
from exporter.report.formats import NARROW, SPACES, Record, widths_of
from exporter.report.keys import ROOT, KeyRow

_UNKNOWN: Final = "unknown"

_ACCOUNT, _ACCOUNT_ID, _USER = "ACCOUNT", "ACCOUNT ID", "USER"
_KEY, _STATUS, _CREATED, _AGE = "ACCESS KEY ID", "STATUS", "CREATED", "AGE"
_LAST_USED, _SERVICE, _REGION, _IDLE = "LAST USED", "SERVICE", "REGION", "IDLE"
_FINDING, _EXEMPT = "FINDING", "EXEMPT UNTIL"

UNWRAPPED: Final = (_ACCOUNT_ID, _KEY, _STATUS, _CREATED, _AGE, _LAST_USED, _IDLE, _EXEMPT)
"""The columns that are in one line even on a narrow terminal."""

_DISPENSABLE: Final = (_ACCOUNT_ID, _CREATED, _REGION, _SERVICE, _AGE)
"""The columns that a terminal leaves out first, before those of tags, if it is too narrow."""

FINDING_WIDTH: Final = 22
"""The width to which findings are wrapped at most, in characters."""


def key_names(tags: Mapping[str, str]) -> list[str]:
    """
    Return the names of `key_record`. Public.

    Args:
        tags: As in `ShowOptions`.
    """
    return [
        *("account_id", "account", "user", *tags.values(), "access_key_id", "status"),
        *("created_at", "age_days", "last_use", "last_used_at", "service", "region"),
        *("confirmed_at", "idle_days", "finding", "exempt_until"),
    ]


def key_record(row: KeyRow, tags: Mapping[str, str]) -> Record:
    """
    Return the values of *row* by their names. None: unknown, or there is none.

    ``last_use`` tells a key that was never used from one of which that is unknown.

    Args:
        tags: As in `ShowOptions`.
    """
    use = row.last_use
    used = use if isinstance(use, LastUse) else None
    return {
        "account_id": row.account_id,
        "account": row.account,
        "user": None if row.user == ROOT else row.user,
        **{name: value or None for name, value in zip(tags.values(), row.tags, strict=True)},
        "access_key_id": row.access_key_id or None,
        "status": row.status,
        "created_at": row.created,
        "age_days": _days(row.age),
        "last_use": use.value if isinstance(use, NoUse) else "used",
        "last_used_at": used.at if used else None,
        "service": (used and used.service) or None,
        "region": (used and used.region) or None,
        "confirmed_at": row.as_of,
        "idle_days": _days(row.idle),
        "finding": " ".join(finding.kind for finding in row.findings) or None,
        "exempt_until": row.exempt_until,
    }


def key_headings(tags: Iterable[str]) -> list[str]:
    """
    Return the headings of `key_texts`.

    Args:
        tags: Their names.
    """
    return [
        *(_ACCOUNT, _ACCOUNT_ID, _USER, *(f"TAG {tag}" for tag in tags), _KEY, _STATUS, _CREATED),
        *(_AGE, _LAST_USED, _SERVICE, _REGION, _IDLE, _FINDING, _EXEMPT),
    ]


def key_texts(row: KeyRow, escape: Callable[[str], str]) -> list[str]:
    """
    Return the cells of a table.

    Args:
        escape: Escapes the control characters in a text.
    """
    use = row.last_use
    if isinstance(use, LastUse):
        service, region = use.service or _UNKNOWN, use.region or _UNKNOWN
    else:
        service = region = "" if use is NEVER else _UNKNOWN
    return [
        escape(row.account),
        row.account_id,
        escape(row.user),
        *map(escape, row.tags),
        escape(row.access_key_id),
        escape(row.status),
        _date(row.created),
        _span(row.age),
        use.value if isinstance(use, NoUse) else _date(use.at),
        escape(service),
        escape(region),
        _span(row.idle),
        "; ".join(map(str, row.findings)) or ("exempt" if row.exempt_until else ""),
        _end(row.exempt_until),
    ]


def fitting(
    headings: Sequence[str], rows: Sequence[Sequence[str]], width: int, tags: int
) -> tuple[list[str], list[list[str]], list[str]]:
    """
    Leave out the columns that do not fit, and those of tags and exemptions that are empty.

    Args:
        width: That of the terminal.
        tags: The number of tags.

    Returns:
        The headings and rows that are left, and the headings of what does not fit.
    """
    widths = widths_of(headings, rows)
    place = {heading: number for number, heading in enumerate(headings)}
    of_tags = range(place[_KEY] - tags, place[_KEY])
    optional = {*of_tags, place[_EXEMPT]}
    kept = [
        number
        for number in range(len(headings))
        if number not in optional or any(row[number] for row in rows)
    ]
    omitted = []
    for number in (*map(place.__getitem__, _DISPENSABLE), *of_tags, place[_EXEMPT], place[_STATUS]):
        if sum(_least(headings[each], widths[each]) for each in kept) <= width:
            break
        if number in kept:
            kept.remove(number)
            omitted.append(headings[number])
    return (
        [headings[number] for number in kept],
        [[row[number] for number in kept] for row in rows],
        omitted,
    )


def _least(heading: str, width: int) -> int:
    """Return how narrow a column can be, with the space beside it."""
    if heading in UNWRAPPED:
        return width + SPACES
    return min(width, FINDING_WIDTH if heading == _FINDING else NARROW) + SPACES


def _days(duration: timedelta | None) -> int | None:
    return None if duration is None else duration.days


def _date(at: datetime | None) -> str:
    return _UNKNOWN if at is None else f"{at.astimezone(UTC):%Y-%m-%d}"


def _span(duration: timedelta | None) -> str:
    return _UNKNOWN if duration is None else f"{duration.days}d"


def _end(at: datetime | None) -> str:
    """Write the end of an exemption. One that ends at midnight lasts until the end of a day."""
    if at is None:
        return ""
    at = at.astimezone(UTC)
    return (
        _date(at - timedelta(seconds=1)) if at.time() == at.min.time() else f"{at:%Y-%m-%d %H:%M}"
    )
