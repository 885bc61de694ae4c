"""What pages show: values that are plain, and may be shown."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class AccountRow:
    """
    A row of the table of accounts.

    Attributes:
        id: Twelve digits. Empty: unknown.
        up: Whether the last refresh succeeded. None: there was none yet.
        keys: The number of access keys that are known. None: none is.
        complete: Whether there are no others.
        last_success: Aware. None: never.
        next_refresh: Seconds until the next refresh. None: it is in progress.
        error: Why the last refresh failed, as it was reported. Empty: it did not.
        reason: The same in plain words.
        advice: What to do about it.
        findings: The number of known keys with findings. None: unknown.
        mode: What the credential report is used for. Empty: unknown.
        calls: About how many calls a refresh takes. None: unknown.
    """

    id: str
    name: str
    up: bool | None
    keys: int | None
    last_success: datetime | None
    next_refresh: float | None
    error: str
    reason: str = ""
    advice: str = ""
    findings: int | None = None
    mode: str = ""
    calls: int | None = None
    complete: bool = True

    @property
    def state(self) -> str:
        if self.up is None:
            return "pending"
        return "up" if self.up else "failing"


@dataclass(frozen=True, slots=True)
class Column:
    """
    A column of the table of keys.

    Attributes:
        sort: The order that its heading links to. Empty: there is none.
        sorted: ``ascending`` or ``descending`` if the rows are sorted by it. Else empty.
        unwrapped: Whether its cells are one line.
        name: Whether its cells name the key.
        finding: Whether its cells say what is wrong with the key.
    """

    heading: str
    sort: str = ""
    sorted: str = ""
    unwrapped: bool = False
    name: bool = False
    finding: bool = False


@dataclass(frozen=True, slots=True)
class KeyRow:
    """
    A row of the table of keys.

    Attributes:
        cells: One for each column.
        path: The account's id and the key, as in ``/keys/<account>/<key>``.
        finding: Whether something is wrong with the key.
    """

    cells: Sequence[str]
    path: tuple[str, str]
    finding: bool


@dataclass(frozen=True, slots=True)
class Filter:
    """
    A field that restricts which keys are shown.

    Attributes:
        name: Of the parameter.
        value: Empty: all.
        choices: Values that it can have.
        closed: It can have no others.
    """

    name: str
    label: str
    value: str
    choices: Sequence[str]
    closed: bool = False


@dataclass(frozen=True, slots=True)
class KeyTable:
    """
    A page of the table of keys.

    Attributes:
        asked: The parameters that led to it, but for its number.
        sorts: The orders there are, with what they are called. Empty: the default.
        rows: Those of this page.
        total: The number of rows on all pages.
        known: The number of rows without filters.
        page: From 1.
        not_seen: What is unknown, in sentences.
        at: Aware.
    """

    columns: Sequence[Column]
    rows: Sequence[KeyRow]
    filters: Sequence[Filter]
    sorts: Sequence[tuple[str, str]]
    asked: Mapping[str, str]
    total: int
    known: int
    page: int
    pages: int
    not_seen: Sequence[str]
    at: datetime


@dataclass(frozen=True, slots=True)
class Step:
    """A part of what to do about a key, with the commands that do it."""

    text: str
    commands: Sequence[str]


@dataclass(frozen=True, slots=True)
class Problem:
    """
    A finding about a key.

    Attributes:
        runbook: The URL of its runbook.
    """

    text: str
    runbook: str


@dataclass(frozen=True, slots=True)
class KeyDetails:
    """
    Everything that is known of a key.

    Attributes:
        key: Empty: those of the root user.
        facts: Names and values.
        uses: Where it was seen used: service, region, first and latest use.
        events: When and what.
        events_error: Why earlier events are not shown. Empty: they are.
        note: How the commands have to be completed. Empty: they are complete.
    """

    account_id: str
    account: str
    user: str
    key: str
    facts: Sequence[tuple[str, str]]
    problems: Sequence[Problem]
    uses: Sequence[tuple[str, str, str, str]]
    events: Sequence[tuple[str, str]]
    events_error: str
    steps: Sequence[Step]
    note: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Namesakes:
    """Keys of one account that look the same: the users that have one each."""

    account_id: str
    key: str
    users: Sequence[str] = field(default_factory=tuple)


class InvalidParameter(Exception):
    """A parameter has a value that it cannot have. The message, a sentence, may be shown."""


class Content(Protocol):
    """
    Where pages get what they show. Called from several threads.

    The parameters of a request are those of its URL.
    """

    def accounts(self) -> Sequence[AccountRow]: ...

    def unseen(self) -> Sequence[str]:
        """Say which accounts are not among them, and why, in sentences."""

    def keys(self, parameters: Mapping[str, str]) -> KeyTable:
        """
        Return a page of the table of keys.

        Raises:
            InvalidParameter: No key could meet such a filter.
        """

    def export(self, parameters: Mapping[str, str], format_: str) -> Iterable[bytes]:
        """
        Return the rows of the table of keys in the format ``csv`` or ``json``, in chunks.

        Several requests may iterate over what is returned.

        Raises:
            InvalidParameter: No key could meet such a filter.
        """

    def key(self, account_id: str, key: str, user: str) -> KeyDetails | Namesakes | None:
        """
        Return what is known of a key, by how it is shown.

        Args:
            user: Its user, as it is shown. Empty: any.

        Returns:
            None: there is no such key.
        """

    def configuration(self) -> str:
        """Return the options in effect as YAML, with secrets hidden."""
