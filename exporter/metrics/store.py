"""The samples of all accounts: rendered when a snapshot is published, sent when scraped."""

import threading
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from exporter.metrics.families import (
    ACCOUNT,
    ACCOUNT_FAMILIES,
    KEY_FAMILIES,
    USER_FAMILIES,
    AccountFamily,
    Family,
    KeyFacts,
    KeyFamily,
    Samples,
    UserFamily,
)
from exporter.metrics.options import RenderOptions
from exporter.model import AccessKey, Account, AccountSnapshot, LastUse, User

Series = tuple[str, float]
"""A line up to its value, and the value."""


AGE_LINES = 1000
"""How many ages are rendered at once: a fraction of a millisecond's work."""


class AgeLines:
    """
    Lines whose values are ages, which depend on the time of the scrape.

    Their size is known before they are rendered, so that a response can begin at once, and only the
    lines that are being sent are in memory.
    """

    __slots__ = ("_bytes", "_series", "_times")

    def __init__(self, series: Sequence[Series]) -> None:
        """*series*: the value is the Unix time that the age is counted from."""
        self._series = tuple([(line.encode(), int(time)) for line, time in series])
        self._times = tuple(sorted([time for _, time in self._series]))
        # Each line ends with at least one digit and a newline.
        self._bytes = sum([len(line) + 2 for line, _ in self._series])

    def size(self, at: int) -> int:
        """Return the number of bytes as of Unix time *at*."""
        size, ten = self._bytes, 10
        while longer := bisect_right(self._times, at - ten):
            size += longer
            ten *= 10
        return size

    def render(self, at: int) -> bytes:
        """Render the lines as of Unix time *at*."""
        # A clock behind AWS's must not make an age negative.
        return b"".join([b"%b%d\n" % (line, max(0, at - time)) for line, time in self._series])


@dataclass(frozen=True, slots=True)
class _AccountSamples:
    """
    The samples of one account, by family name.

    Attributes:
        lines: Complete lines.
        ages: The families of ages.
    """

    lines: Mapping[str, bytes]
    ages: Mapping[str, tuple[AgeLines, ...]]


class MetricsStore:
    """
    Holds the samples of all accounts. Thread-safe.

    Publishing replaces one reference, which a scrape reads once: neither waits for the other.
    """

    def __init__(
        self,
        options: RenderOptions,
        *,
        key_families: Sequence[KeyFamily] = KEY_FAMILIES,
        user_families: Sequence[UserFamily] = USER_FAMILIES,
        account_families: Sequence[AccountFamily] = ACCOUNT_FAMILIES,
    ) -> None:
        self._options = options
        self._families: tuple[Family, ...] = (*key_families, *user_families, *account_families)
        self._key_families = tuple(f for f in key_families if f.enabled(options))
        self._user_families = tuple(f for f in user_families if f.enabled(options))
        self._account_families = tuple(f for f in account_families if f.enabled(options))
        self._ages = frozenset(family.name for family in key_families if family.age)
        self._accounts: Mapping[Account, _AccountSamples] = MappingProxyType({})
        self._lock = threading.Lock()

    def publish(self, account: Account, snapshot: AccountSnapshot) -> None:
        """Replace the samples of *account*."""
        samples = self._render(snapshot)
        with self._lock:
            self._accounts = MappingProxyType({**self._accounts, account: samples})

    def samples(self) -> Iterator[tuple[Family, list[bytes | AgeLines]]]:
        """Yield each family with its lines."""
        accounts = tuple(self._accounts.values())
        for family in self._families:
            name = family.name
            if name in self._ages:
                yield family, [lines for account in accounts for lines in account.ages[name]]
            else:
                yield family, [account.lines[name] for account in accounts]

    def _render(self, snapshot: AccountSnapshot) -> _AccountSamples:
        series: dict[str, list[Series]] = {family.name: [] for family in self._families}
        for family, labels, samples, tags in self._samples_of(snapshot):
            for values, value in samples:
                line = f"{family.name}{{{labels}{_labels(family.extra_labels, values)}{tags}}} "
                series[family.name].append((line, value))
        lines = {
            name: "".join([f"{line}{_number(value)}\n" for line, value in of_family]).encode()
            for name, of_family in series.items()
            if name not in self._ages
        }
        ages = {
            name: tuple(
                [
                    AgeLines(series[name][start : start + AGE_LINES])
                    for start in range(0, len(series[name]), AGE_LINES)
                ]
            )
            for name in self._ages
        }
        return _AccountSamples(MappingProxyType(lines), MappingProxyType(ages))

    def _samples_of(self, snapshot: AccountSnapshot) -> Iterator[tuple[Family, str, Samples, str]]:
        """Yield (family, labels of the subject, samples, tag labels) of every subject."""
        options = self._options
        label = options.redact(snapshot.account.label)
        account = _labels(ACCOUNT, (snapshot.account.id, label)).removeprefix(",")
        for account_family in self._account_families:
            if snapshot.account.id or account_family.unidentified:
                yield account_family, account, account_family.samples(snapshot), ""
        names = options.user_names(user.name for user in snapshot.users)
        for user, keys in _keys_by_user(snapshot):
            of_user = account + _labels(("user",), (names.get(user.name, user.name),))
            for user_family in self._user_families:
                yield user_family, of_user, user_family.samples(user), ""
            values = dict(user.tags)
            tags = _labels(
                tuple(options.tags.values()),
                [options.redact(values.get(tag, "")) for tag in options.tags],
            )
            key_labels = options.key_labels(keys)
            path = options.redact(user.path)
            shown = user if path == user.path else replace(user, path=path)
            for key in keys:
                of_key = of_user + _labels(("access_key_id",), (key_labels[key.id],))
                facts = KeyFacts(
                    self._shown(key),
                    shown,
                    options.exempt_until(snapshot.account, user, key),
                    options.redact(options.description(user, key)),
                )
                for key_family in self._key_families:
                    tag_labels = tags if key_family.tag_labels else ""
                    yield key_family, of_key, key_family.samples(facts), tag_labels

    def _shown(self, key: AccessKey) -> AccessKey:
        """Format the key ids in what AWS says of a key's last use, where there should be none."""
        use = key.last_use
        if not isinstance(use, LastUse):
            return key
        shown = LastUse(use.at, self._options.redact(use.service), self._options.redact(use.region))
        return key if shown == use else replace(key, last_use=shown)


def _keys_by_user(snapshot: AccountSnapshot) -> Iterator[tuple[User, Sequence[AccessKey]]]:
    keys: dict[str, list[AccessKey]] = {}
    for key in snapshot.keys:
        keys.setdefault(key.user, []).append(key)
    for user in snapshot.users:
        yield user, keys.get(user.name, ())


def _labels(names: Sequence[str], values: Sequence[str]) -> str:
    """Render labels, each after a comma."""
    return "".join(
        [f',{name}="{_escape(value)}"' for name, value in zip(names, values, strict=True)]
    )


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    # An int above 2^53 never occurs; below, it reads the same as the client library's float.
    return repr(int(value) if value == int(value) else value)
