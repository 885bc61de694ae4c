"""The samples of all accounts, each account's rendered once, when its reading is published."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from exporter.metrics.families import (
    FAMILIES,
    KEY,
    USER,
    AccountFamily,
    ExporterFamily,
    Family,
    Key,
    KeyFamily,
    UserFamily,
)
from exporter.model import AccessKey, Account, AccountSnapshot, User


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """
    What of the facts is shown, and how.

    Attributes:
        tags: The user tags that become labels, each with its label's name.
        passwords: Whether users' passwords are told of.
        key_labels: How the ids of one user's keys are shown, by id.
        exempt_until: Until when a key is exempt.
        redact: Shows key ids within free text as labels do.
    """

    tags: Mapping[str, str] = field(default_factory=dict)
    passwords: bool = False
    key_labels: Callable[[Iterable[AccessKey]], Mapping[str, str]] = lambda keys: {
        key.id: key.id for key in keys
    }
    exempt_until: Callable[[Account, User, AccessKey], datetime | None] = lambda *_: None
    redact: Callable[[str], str] = str


@dataclass(frozen=True, slots=True)
class _Part:
    """
    One account's samples.

    Attributes:
        blocks: The lines of each family, by its name.
        ages: The lines of each family of ages: what stands before the value, and a Unix time.
    """

    blocks: dict[str, bytes]
    ages: dict[str, tuple[tuple[bytes, int], ...]]


class MetricsStore:
    """
    The page of all facts.

    Publishing replaces one reference, which a scrape takes once: neither waits for the other.
    """

    def __init__(self, shown: RenderOptions = RenderOptions()) -> None:
        self._shown = shown
        self._parts: dict[Account, _Part] = {}
        self._lock = threading.Lock()
        self.families = tuple(self._configured(family) for family in FAMILIES)

    def _configured(self, family: Family) -> Family:
        if family.name == "aws_iam_access_key_info":
            return replace(family, labels=(*family.labels, *self._shown.tags.values()))
        return family

    def publish(self, account: Account, snapshot: AccountSnapshot) -> None:
        """Put what is known of *account* in the place of what was published of it before."""
        part = self._render(snapshot)
        with self._lock:
            self._parts = {**self._parts, account: part}

    def blocks(self, now: float) -> Iterator[tuple[Family, Iterable[bytes]]]:
        """Give each family with its lines, as of the Unix time *now*."""
        parts = tuple(self._parts.values())
        at = int(now)
        for family in self.families:
            if isinstance(family, KeyFamily) and family.ages:
                lines = (pair for part in parts for pair in part.ages.get(family.name, ()))
                # A clock behind AWS's must not make a use lie in the future.
                yield family, [b"%b%d\n" % (name, max(0, at - then)) for name, then in lines]
            elif not isinstance(family, ExporterFamily):
                yield family, [part.blocks[family.name] for part in parts]

    def _render(self, snapshot: AccountSnapshot) -> _Part:
        account = _pairs(KEY[:2], (snapshot.account.id, snapshot.account.label))
        lines: dict[str, list[bytes]] = {
            family.name: [] for family in self.families if not isinstance(family, ExporterFamily)
        }
        ages: dict[str, list[tuple[bytes, int]]] = {}
        for family in self.families:
            if isinstance(family, AccountFamily):
                extra = family.labels[2:]
                lines[family.name] = [
                    _line(family.name, account + _pairs(extra, values, ","), value)
                    for values, value in family.samples(snapshot)
                ]
        if self._shown.passwords:
            self._render_users(snapshot, account, lines)
        self._render_keys(snapshot, account, lines, ages)
        return _Part(
            {name: b"".join(of_family) for name, of_family in lines.items()},
            {name: tuple(of_family) for name, of_family in ages.items()},
        )

    def _render_users(
        self, snapshot: AccountSnapshot, account: str, lines: dict[str, list[bytes]]
    ) -> None:
        for family in self.families:
            if isinstance(family, UserFamily):
                for user in snapshot.users:
                    name = account + _pairs(USER[2:], (user.name,), ",")
                    for values, value in family.samples(user):
                        pairs = name + _pairs(family.labels[3:], values, ",")
                        lines[family.name].append(_line(family.name, pairs, value))

    def _render_keys(
        self,
        snapshot: AccountSnapshot,
        account: str,
        lines: dict[str, list[bytes]],
        ages: dict[str, list[tuple[bytes, int]]],
    ) -> None:
        families = [family for family in self.families if isinstance(family, KeyFamily)]
        for label, key in self._keys(snapshot):
            subject = account + _pairs(KEY[2:], (key.user.name, label), ",")
            for family in families:
                for values, value in family.samples(key):
                    pairs = subject + _pairs(family.labels[4:], values, ",")
                    if family.ages:
                        name = f"{family.name}{{{pairs}}} ".encode()
                        ages.setdefault(family.name, []).append((name, int(value)))
                    else:
                        lines[family.name].append(_line(family.name, pairs, value))

    def _keys(self, snapshot: AccountSnapshot) -> Iterator[tuple[str, Key]]:
        """Give the keys of *reading*, each with how its id is shown."""
        of_user: dict[str, list[AccessKey]] = {}
        for key in snapshot.keys:
            of_user.setdefault(key.user, []).append(key)
        for user in snapshot.users:
            keys = of_user.get(user.name, ())
            labels = self._shown.key_labels(keys)
            tags = {name: self._shown.redact(value) for name, value in user.tags}
            for key in keys:
                yield (
                    labels[key.id],
                    Key(
                        key,
                        user,
                        self._shown.exempt_until(snapshot.account, user, key),
                        tags.get(key.id, ""),
                        tuple(tags.get(tag, "") for tag in self._shown.tags),
                    ),
                )


def _line(name: str, pairs: str, value: float) -> bytes:
    # An int beyond 2^53 never occurs; below, it reads the same as the library's float.
    number = int(value) if value == int(value) else value
    return f"{name}{{{pairs}}} {number!r}\n".encode()


def _pairs(names: Sequence[str], values: Sequence[str], before: str = "") -> str:
    pairs = ",".join(
        f'{name}="{_escape(value)}"' for name, value in zip(names, values, strict=True)
    )
    return before + pairs if pairs else ""


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
