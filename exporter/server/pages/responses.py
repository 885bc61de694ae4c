"""Pages, and what each of them responds."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote, urlencode

from exporter.server.pages.templates import CONTENT_SECURITY_POLICY, fill
from exporter.server.pages.values import (
    AccountRow,
    Column,
    Content,
    InvalidParameter,
    KeyRow,
    Namesakes,
)

ACCOUNTS_PER_PAGE: Final = 250

_STATES: Final = ("failing", "pending", "up")
"""In the order in which accounts are shown."""

_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What all pages show."""

    version: str
    telemetry_path: str


@dataclass(frozen=True, slots=True)
class Response:
    """
    A response.

    Attributes:
        body: If these are chunks, they are not rendered yet.
    """

    body: bytes | Iterable[bytes]
    headers: Mapping[str, str]
    status: int = 200


Respond = Callable[[Content, Facts, Sequence[str], Mapping[str, str]], Response]
"""Responds, given the variable parts of the path and the parameters. Takes a while."""


@dataclass(frozen=True, slots=True)
class Page:
    """
    A page.

    Attributes:
        name: The label value of the requests for it.
        path: A regular expression.
        clients: How many clients it is sent to at the same time at most. None: as configured.
    """

    name: str
    path: str
    respond: Respond
    clients: int | None = None


@dataclass(frozen=True, slots=True)
class Pager:
    """
    Links between the pages of a table.

    Attributes:
        asked: The parameters that all of them have.
        path: Relative, of the page itself.
    """

    path: str
    page: int
    pages: int
    asked: Mapping[str, str] = field(default_factory=dict)

    def to(self, page: int) -> str:
        return link(self.path, {**self.asked, "page": str(page)})


def link(path: str, parameters: Mapping[str, str]) -> str:
    """Return the relative URL of *path* with those parameters that are not empty."""
    query = urlencode({name: text for name, text in parameters.items() if text})
    return f"{path}?{query}" if query else path


def key_path(account_id: str, key: str) -> str:
    """Return the path of the page of a key, relative to the root."""
    return f"keys/{quote(account_id, safe='')}/{quote(key, safe='*')}"


def _html(facts: Facts, template: str, title: str, **values: Any) -> bytes:
    return fill(template, **{"root": "./", "facts": facts, "title": title, "link": link, **values})


def _page(body: bytes, status: int = 200) -> Response:
    return Response(body, {"Content-Type": "text/html; charset=utf-8", **_HEADERS}, status)


def landing(content: Content, facts: Facts, _: Sequence[str], asked: Mapping[str, str]) -> Response:
    now = datetime.now(UTC)
    return _page(render_landing(facts, content.accounts(), now, asked, content.unseen()))


def render_landing(
    facts: Facts,
    accounts: Sequence[AccountRow],
    now: datetime,
    asked: Mapping[str, str],
    unseen: Sequence[str] = (),
) -> bytes:
    """
    Render the landing page as HTML.

    Args:
        now: Aware.
        unseen: Which accounts are not among them, in sentences.
    """
    search = asked.get("q", "").strip()
    found = [each for each in accounts if _has(each, search.casefold())]
    found.sort(key=lambda each: (_STATES.index(each.state), each.name.casefold(), each.id))
    pages = max(1, -(-len(found) // ACCOUNTS_PER_PAGE))
    number = min(max(1, _number(asked.get("page", ""))), pages)
    start = (number - 1) * ACCOUNTS_PER_PAGE
    return _html(
        facts,
        "landing.html",
        "Accounts",
        accounts=found[start : start + ACCOUNTS_PER_PAGE],
        found=len(found),
        pager=Pager("./", number, pages, {"q": search}),
        search=search,
        totals=Totals.of(accounts),
        unseen=unseen,
        least=_least,
        now=now,
        timedelta=timedelta,
    )


def _least(row: AccountRow) -> str:
    """Return what precedes a number that may be larger."""
    return "" if row.complete or row.keys is None else "at least "


def _has(row: AccountRow, search: str) -> bool:
    return not search or any(search in text.casefold() for text in (row.name, row.id, row.error))


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 1


@dataclass(frozen=True, slots=True)
class Totals:
    """
    All accounts together.

    Attributes:
        keys: Those that are known.
        findings: The number of known keys with findings.
        unknown: The number of accounts whose keys are not known completely.
    """

    accounts: int
    failing: int
    pending: int
    refreshing: int
    keys: int
    findings: int
    unknown: int

    @classmethod
    def of(cls, accounts: Sequence[AccountRow]) -> "Totals":
        states = [each.state for each in accounts]
        return cls(
            accounts=len(accounts),
            failing=states.count("failing"),
            pending=states.count("pending"),
            refreshing=sum(each.next_refresh is None for each in accounts),
            keys=sum(each.keys or 0 for each in accounts),
            findings=sum(each.findings or 0 for each in accounts),
            unknown=sum(each.keys is None or not each.complete for each in accounts),
        )


def keys(content: Content, facts: Facts, _: Sequence[str], asked: Mapping[str, str]) -> Response:
    try:
        table = content.keys(asked)
    except InvalidParameter as error:
        now = datetime.now(UTC)
        return _page(_html(facts, "invalid.html", "Invalid filter", error=str(error), now=now), 400)
    html = _html(
        facts,
        "keys.html",
        "Access keys",
        table=table,
        pager=Pager("keys", table.page, table.pages, table.asked),
        now=table.at,
        key_path=key_path,
        column_class=_column_class,
    )
    return _page(html)


def _column_class(column: Column, row: KeyRow, cell: str) -> str:
    """Return the classes of a cell."""
    if not cell:
        return "none"
    if column.finding:
        return "finding failing" if row.finding else "finding"
    return "short" if column.unwrapped else ""


def keys_csv(content: Content, _: Facts, __: Sequence[str], asked: Mapping[str, str]) -> Response:
    return _exported(content, asked, "csv", "text/csv; charset=utf-8")


def keys_json(content: Content, _: Facts, __: Sequence[str], asked: Mapping[str, str]) -> Response:
    return _exported(content, asked, "json", "application/json")


def _exported(
    content: Content, asked: Mapping[str, str], format_: str, content_type: str
) -> Response:
    try:
        body: bytes | Iterable[bytes] = content.export(asked, format_)
    except InvalidParameter as error:
        # No rows would look as if all were well.
        headers = {"Content-Type": "text/plain; charset=utf-8", **_HEADERS}
        return Response(f"{error}\n".encode(), headers, 400)
    return Response(body, {"Content-Type": content_type, **_HEADERS})


def key(content: Content, facts: Facts, path: Sequence[str], asked: Mapping[str, str]) -> Response:
    account_id, name = path
    found = content.key(account_id, name, asked.get("user", ""))
    up = {"root": "../../", "link": link}
    if found is None:
        html = _html(facts, "missing.html", "Not found", now=datetime.now(UTC), **up)
        return _page(html, 404)
    if isinstance(found, Namesakes):
        html = _html(facts, "namesakes.html", found.key, found=found, now=datetime.now(UTC), **up)
        return _page(html)
    return _page(_html(facts, "key.html", found.key or "Root user", key=found, now=found.at, **up))


def configuration(
    content: Content, facts: Facts, _: Sequence[str], __: Mapping[str, str]
) -> Response:
    text = content.configuration()
    now = datetime.now(UTC)
    return _page(_html(facts, "config.html", "Configuration", text=text, now=now))


EXPORTS: Final = 2
"""How many clients download all keys at the same time: the rows are kept until they are sent."""

PAGES: Final = (
    Page("landing", "/", landing),
    Page("keys", "/keys", keys),
    Page("keys_csv", r"/keys\.csv", keys_csv, EXPORTS),
    Page("keys_json", r"/keys\.json", keys_json, EXPORTS),
    Page("key", "/keys/([^/]+)/([^/]+)", key),
    Page("config", "/config", configuration),
)


def is_page(path: str) -> bool:
    """Return whether *path* is that of a page."""
    return any(re.fullmatch(page.path, path) for page in PAGES)
