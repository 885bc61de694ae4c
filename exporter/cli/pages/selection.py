"""Which keys a request asks for, and in which order."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import partial
from heapq import nlargest, nsmallest
from typing import Final

from exporter.model import NoUse
from exporter.report import ROOT, FindingKind, KeyRow, Order, sort_key
from exporter.server import InvalidParameter

ANY, NONE = "any", "none"
"""Values of the filter of findings: keys with findings, and those without."""

FINDINGS: Final = (ANY, NONE, *FindingKind)
LAST_USES: Final = ("used", *(each.value for each in NoUse))
STATUSES: Final = ("Active", "Inactive", "Expired")

SORTS: Final = (
    ("", "most urgent first"),
    ("-urgency", "least urgent first"),
    ("idle", "longest idle first"),
    ("-idle", "latest use first"),
    ("age", "oldest first"),
    ("-age", "newest first"),
    ("account", "account"),
    ("-account", "account, reversed"),
    ("user", "user"),
    ("-user", "user, reversed"),
)
"""The orders, and what they are called. Public: values of the parameter ``sort``."""

MAX_LENGTH: Final = 200
"""The length to which a parameter is cut, in characters."""

_REVERSED: Final = "-"
"""What precedes an order that is reversed."""

_DURATIONS: Final[Mapping[Order, Callable[[KeyRow], timedelta | None]]] = {
    Order.IDLE: lambda row: row.idle,
    Order.AGE: lambda row: row.age,
}


class Field(StrEnum):
    """The filters, but for those of tags. Public: names of parameters, and of columns."""

    ACCOUNT = "account"
    USER = "user"
    FINDING = "finding"
    STATUS = "status"
    LAST_USE = "last_use"
    SERVICE = "service"
    REGION = "region"


Test = Callable[[KeyRow], bool]


@dataclass(frozen=True, slots=True)
class Selected:
    """
    What a request asks for.

    Attributes:
        asked: The parameters that are known and not empty, as they may be shown.
        account: Whether the keys of an account can be among it, by its id and its name.
        tests: What a key has to meet.
        sort: An order; reversed if it begins with ``-``.
    """

    asked: Mapping[str, str]
    account: Callable[[str, str], bool]
    tests: Sequence[Test]
    order: Order
    reversed: bool

    @classmethod
    def of(
        cls, parameters: Mapping[str, str], tags: Iterable[str], redact: Callable[[str], str]
    ) -> "Selected":
        """
        Read the *parameters* of a request. Those that are not known are ignored.

        Args:
            tags: The names of the parameters of tags, in the order of `KeyRow.tags`.
            redact: As in `ShowOptions`: who knows a key id finds it as it is shown.

        Raises:
            InvalidParameter: A filter that has a fixed set of values has another.
        """
        given = {
            name: redact(text.strip()[:MAX_LENGTH]) for name, text in parameters.items() if text
        }
        given |= {
            name: _one_of(choices, name, given[name])
            for name, choices in _CHOICES.items()
            if given.get(name)
        }
        tests: list[Test] = []
        asked: dict[str, str] = {}
        search = given.get("q", "")
        if search:
            asked["q"] = search
            tests.append(partial(_contains, search.casefold()))
        account: Callable[[str, str], bool] = lambda id_, name: True  # noqa: E731
        if text := given.get(Field.ACCOUNT, ""):
            asked[Field.ACCOUNT] = text
            has = pattern(text)
            account = lambda id_, name: has(id_) or has(name)  # noqa: E731
        for name, test in _TESTS.items():
            if text := given.get(name, ""):
                asked[name] = text
                tests.append(test(text))
        for place, tag in enumerate(tags):
            if text := given.get(tag, ""):
                asked[tag] = text
                tests.append(partial(_has_tag, place, pattern(text)))
        sort = given.get("sort", "")
        if sort and sort in dict(SORTS):
            asked["sort"] = sort
        else:
            sort = Order.URGENCY
        order = Order(sort.removeprefix(_REVERSED))
        return cls(asked, account, tests, order, sort.startswith(_REVERSED))

    def has(self, row: KeyRow) -> bool:
        return all(test(row) for test in self.tests)

    def sorted(self, rows: Iterable[KeyRow]) -> list[KeyRow]:
        """Sort *rows*. Unknown durations come last, also in reverse."""
        return sorted(rows, key=self._key(), reverse=self.reversed)

    def first(self, count: int, rows: Iterable[KeyRow]) -> list[KeyRow]:
        """Return the first rows of `sorted`, without keeping the others."""
        return (nlargest if self.reversed else nsmallest)(count, rows, key=self._key())

    def _key(self) -> Callable[[KeyRow], tuple[object, ...]]:
        key, duration = sort_key(self.order), _DURATIONS.get(self.order)
        if not self.reversed or duration is None:
            return key
        return lambda row: (duration(row) is not None, *key(row))


_CHOICES: Final[Mapping[str, Sequence[str]]] = {
    Field.FINDING: FINDINGS,
    Field.STATUS: STATUSES,
    Field.LAST_USE: LAST_USES,
}
"""The values of the filters that can have no others."""


def _one_of(choices: Sequence[str], name: str, text: str) -> str:
    """
    Return *text*, the value of a parameter, as it is written among *choices*.

    Raises:
        InvalidParameter: It is none of them.
    """
    for choice in choices:
        if choice.casefold() == text.casefold():
            return choice
    raise InvalidParameter(f"{name} must be one of {', '.join(choices)}, not {text!r}.")


def pattern(text: str) -> Callable[[str], bool]:
    """Return whether a text is *text*, in any case, where ``*`` stands for any characters."""
    expression = ".*".join(map(re.escape, re.split(r"\*+", text)))
    compiled = re.compile(expression, re.IGNORECASE | re.DOTALL)
    return lambda value: compiled.fullmatch(value) is not None


def _contains(search: str, row: KeyRow) -> bool:
    texts = (row.account, row.account_id, row.user, row.access_key_id, *row.tags)
    return any(search in text.casefold() for text in texts)


def _has_tag(place: int, has: Callable[[str], bool], row: KeyRow) -> bool:
    return has(row.tags[place])


def _user(text: str) -> Test:
    has = pattern(text)
    return lambda row: has(row.user)


def _finding(text: str) -> Test:
    if text == ANY:
        return lambda row: bool(row.findings)
    if text == NONE:
        return lambda row: not row.findings
    return lambda row: any(finding.kind == text for finding in row.findings)


def _status(text: str) -> Test:
    return lambda row: row.status == text


def _last_use(text: str) -> Test:
    return lambda row: use_of(row) == text


def _service(text: str) -> Test:
    has = pattern(text)
    return lambda row: not isinstance(row.last_use, NoUse) and has(row.last_use.service)


def _region(text: str) -> Test:
    has = pattern(text)
    return lambda row: not isinstance(row.last_use, NoUse) and has(row.last_use.region)


_TESTS: Final[Mapping[str, Callable[[str], Test]]] = {
    Field.USER: _user,
    Field.FINDING: _finding,
    Field.STATUS: _status,
    Field.LAST_USE: _last_use,
    Field.SERVICE: _service,
    Field.REGION: _region,
}


def use_of(row: KeyRow) -> str:
    """Return one of `LAST_USES`."""
    return row.last_use.value if isinstance(row.last_use, NoUse) else "used"


def is_root(row: KeyRow) -> bool:
    return row.user == ROOT and not row.access_key_id
