"""The samples of all accounts: rendered when a snapshot is published, sent when scraped."""

import threading
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from exporter.metrics.families import SNAPSHOT_FAMILIES, Family, KeyFamily, SnapshotFamily
from exporter.metrics.labels import escape, template
from exporter.metrics.options import RenderOptions
from exporter.metrics.subjects import Subjects, subjects
from exporter.model import Account, AccountMemory, AccountSnapshot

Series = tuple[str, float]
"""A line up to its value, and the value."""


NO_MEMORY: Final = AccountMemory()

AGE_LINES = 1000
"""How many ages are rendered at once: a fraction of a millisecond's work."""


class AgeLines:
    """
    Lines whose values are ages, which depend on the time of the scrape.

    Their size is known before they are rendered, so that a response can begin at once, and only the
    lines that are being sent are in memory.
    """

    __slots__ = ("_size", "_sorted", "_template", "_times")

    def __init__(self, series: Sequence[Series]) -> None:
        """*series*: the value is the Unix time that the age is counted from."""
        lines = [line.replace("%", "%%") + "%d\n" for line, _ in series]
        self._template = "".join(lines).encode()
        self._times = array("q", [int(time) for _, time in series])
        self._sorted = array("q", sorted(self._times))
        self._size = len(self._template % ((0,) * len(series)))

    def size(self, at: int) -> int:
        """Return the number of bytes as of Unix time *at*."""
        size, ten = self._size, 10
        while longer := bisect_right(self._sorted, at - ten):
            size += longer
            ten *= 10
        return size

    def render(self, at: int) -> bytes:
        """Render the lines as of Unix time *at*."""
        # A clock behind AWS's must not make an age negative.
        return self._template % tuple([at - time if time < at else 0 for time in self._times])


Lines = bytes | AgeLines


class MetricsStore:
    """
    Holds the samples of all accounts. Thread-safe.

    Publishing replaces one reference, which a scrape reads once: neither waits for the other.
    """

    def __init__(
        self,
        options: RenderOptions,
        *,
        families: Sequence[SnapshotFamily[Any]] = SNAPSHOT_FAMILIES,
    ) -> None:
        self._options = options
        self.exclude = options.exclude
        self._families = [family for family in families if family.name not in options.exclude]
        self._enabled = [family for family in self._families if family.enabled(options)]
        self._accounts: Mapping[str, Mapping[str, Sequence[Lines]]] = {}
        self._lock = threading.Lock()

    def publish(
        self,
        account: Account,
        snapshot: AccountSnapshot,
        memory: AccountMemory = NO_MEMORY,
    ) -> None:
        """Replace the samples of *account*."""
        of = subjects(snapshot, memory, self._options)
        samples = {family.name: lines for family in self._enabled if (lines := _lines(family, of))}
        with self._lock:
            self._accounts = {**self._accounts, _key(account): samples}

    def remove(self, account: Account) -> None:
        """Remove the samples of *account*."""
        with self._lock:
            accounts = self._accounts.items()
            self._accounts = {key: of for key, of in accounts if key != _key(account)}

    def samples(self) -> Iterator[tuple[Family, list[Lines]]]:
        """Yield each family with its lines."""
        accounts = tuple(self._accounts.values())
        for family in self._families:
            name = family.name
            yield family, [lines for account in accounts for lines in account.get(name, ())]


def _key(account: Account) -> str:
    return account.id or account.label


def _lines(family: SnapshotFamily[Any], of: Subjects) -> Sequence[Lines]:
    """Render the samples of *family*. Empty: there are none."""
    series = _series(family, of)
    if isinstance(family, KeyFamily) and family.age:
        ages = []
        while chunk := list(islice(series, AGE_LINES)):
            ages.append(AgeLines(chunk))
        return ages
    text = "".join([f"{line}{_number(value)}\n" for line, value in series])
    return (text.encode(),) if text else ()


def _series(family: SnapshotFamily[Any], of: Subjects) -> Iterator[Series]:
    start, extra = family.name + "{", template(family.extra_labels)
    value_of = family.value
    for labels, facts, tags in family.subjects(of):
        end = tags if family.tag_labels else ""
        if value_of is not None:
            value = value_of(facts)
            if value is not None:
                yield f"{start}{labels}{end}}} ", value
        else:
            for values, value in family.samples_of(facts):
                yield f"{start}{labels}{extra % tuple(map(escape, values))}{end}}} ", value


def _number(value: float) -> str:
    # An int above 2^53 never occurs; below, it reads the same as the client library's float.
    return repr(int(value) if value == int(value) else value)
