"""The pages for people: how they are served, and how values are shown."""

import re
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from html import unescape
from html.parser import HTMLParser

import pytest

from exporter.server import AccountRow, Limits
from exporter.server.pages import PAGES, Facts
from exporter.server.pages.responses import ACCOUNTS_PER_PAGE, render_landing
from exporter.server.pages.templates import STYLE, shown, span
from tests.server.serving import NOON, ROW, SITE, Accounts, connect, get, read_all, request, serving

FACTS = Facts("1.2.3", "/metrics")
HTML = ["/", "/config", "/keys/111111111111/known", "/keys/111111111111/unknown"]


def render(*rows: AccountRow, **asked: str) -> str:
    return render_landing(FACTS, rows, NOON, asked).decode()


def cells(page: str) -> list[str]:
    """Return the texts of the cells of a table on *page*."""
    return [
        " ".join(unescape(re.sub(r"<.*?>", " ", cell)).split())
        for cell in re.findall(r"(?s)<td.*?>(.*?)</td>", page)
    ]


def names(page: str) -> list[str]:
    """Return the names in the table of accounts on *page*."""
    return re.findall(r'<td class="title"><bdi>(.*?)</bdi></td>', page)


class Links(HTMLParser):
    """Collects where the links of a page lead to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("href", "action", "src")]


# -- values ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("<b>&\"'", "&lt;b&gt;&amp;&quot;&#x27;"),
        ("a\u202eb\u2066c\u200fd", "a\\u202eb\\u2066c\\u200fd"),
        ("\x00\x07\x1b[31m\x7f\x9b\n\t", "\\x00\\x07\\x1b[31m\\x7f\\x9b\\x0a\\x09"),
        ("\u200b\ufeff\u00ad", "\\u200b\\ufeff\\xad"),
        ("grüße 日本語 עברית", "grüße 日本語 עברית"),
    ],
)
def test_values_are_shown_as_they_are(text: str, html: str) -> None:
    """Markup is escaped; what is not seen, or changes the direction of text, is written out."""
    assert shown(text.encode()).replace("&#39;", "&#x27;") == html


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (172800, "2d")],
)
def test_durations_are_short(seconds: int, text: str) -> None:
    """A duration is written in the largest unit of which it has at least two."""
    assert span(timedelta(seconds=seconds)) == text


# -- accounts ----------------------------------------------------------------------------------


def test_the_landing_page_escapes_text() -> None:
    """Names, errors, the search and the telemetry path cannot inject markup."""
    with serving(replace(SITE, telemetry_path='/"><b>')) as port:
        bodies = [request(port, path)[1].decode() for path in ("/", "/?q=%22%3E%3Cb%3E")]

    assert "prod &lt;b&gt;" in bodies[0]
    assert "assume_role: &lt;no&gt;" in bodies[0]
    assert 'href="&quot;&gt;&lt;b&gt;"' in bodies[0]
    assert 'value="&quot;&gt;&lt;b&gt;"' in bodies[1]


def test_the_landing_page_shows_an_account() -> None:
    """A row shows state, name, ID, keys, findings, times, mode, calls, and what to do."""
    row = replace(
        ROW,
        name="prod",
        error="assume_role: no",
        reason="The role cannot be assumed.",
        advice="Create it.",
        findings=2,
        mode="guide",
        calls=42,
    )

    assert cells(render(row)) == [
        *("failing", "prod", "111111111111", "3", "2", "2h ago", "in 5m", "guide", "about 42"),
        "The role cannot be assumed. Create it. assume_role: no",
    ]


def test_the_landing_page_shows_what_is_unknown() -> None:
    """Before the first refresh of an account its row shows what is unknown."""
    row = AccountRow(
        id="", name="default", up=None, keys=None, last_success=None, next_refresh=None, error=""
    )

    assert cells(render(row)) == [
        *("not refreshed yet", "default", "unknown", "unknown", "unknown", "never"),
        *("refreshing now", "unknown", "unknown"),
    ]


def test_no_keys_are_not_unknown_keys() -> None:
    """An account without keys is up, has 0 keys and no findings."""
    row = cells(render(replace(ROW, up=True, keys=0, findings=0, error="")))

    assert (row[0], row[3], row[4]) == ("up", "0", "0")


def test_the_landing_page_says_which_accounts_it_does_not_show() -> None:
    """Accounts of an organization that cannot be asked are missing, and not simply absent."""
    with serving() as port:
        _, body = request(port, "/")

    page = body.decode()
    assert "<li><bdi>others &lt;b&gt;</bdi></li>" in page
    assert "Not all accounts are here" not in render(ROW)


def test_numbers_of_some_keys_are_lower_bounds() -> None:
    """Where not all keys are known, the numbers of keys and findings may be larger."""
    page = render(replace(ROW, keys=2, findings=1, complete=False), replace(ROW, keys=5))

    assert cells(page)[3:5] == ["at least 2", "at least 1"]
    assert "at least <b>7</b>" in page


def test_failing_accounts_come_first() -> None:
    """Accounts are sorted by state, then by name in any case: what needs attention comes first."""
    states = {"b": True, "A": True, "new": None, "z": False, "Y": False}
    rows = [replace(ROW, name=name, up=up) for name, up in states.items()]

    assert names(render(*rows)) == ["Y", "z", "new", "A", "b"]


@pytest.mark.parametrize(
    ("search", "found"), [("PRO", ["prod"]), ("222", ["test"]), ("denied", ["test"]), ("x", [])]
)
def test_accounts_are_found(search: str, found: list[str]) -> None:
    """A search is for a part of the name, the ID or the error, in any case."""
    prod = replace(ROW, name="prod", error="")
    test = replace(ROW, name="test", id="222222222222", error="access_denied: no")

    page = render(prod, test, q=search)

    assert names(page) == found
    assert f"{len(found)} of 2 accounts match" in page


def test_a_thousand_accounts_are_on_several_pages() -> None:
    """All accounts are on one page each, in order, and the totals are those of all."""
    rows = [replace(ROW, name=f"account-{number:04}", keys=10) for number in range(1000)]
    pages = [render(*rows, page=str(page)) for page in range(1, 1000 // ACCOUNTS_PER_PAGE + 1)]

    assert [name for page in pages for name in names(page)] == [row.name for row in rows]
    assert all("<b>1,000</b> accounts" in page and "<b>10,000</b>" in page for page in pages)


@pytest.mark.parametrize("page", ["0", "-1", "x", "", "99999999999999999999", "٣"])
def test_any_number_of_a_page_is_answered(page: str) -> None:
    """A page that does not exist is the first or the last."""
    assert names(render(ROW, page=page)) == ["prod &lt;b&gt;"]


# -- serving -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", HTML)
def test_pages_run_and_load_nothing(path: str) -> None:
    """The policy allows our own style and forms; no scripts, no frames, nothing from elsewhere."""
    with serving() as port:
        answer, body = request(port, path)

    policy = answer.headers["Content-Security-Policy"]
    directives = dict(part.split(" ", 1) for part in policy.split("; "))
    assert directives.pop("style-src").startswith("'sha256-")
    assert directives == {
        "default-src": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
    }
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    assert f"<style>{STYLE}</style>" in body.decode()
    assert not re.search(r"(?i)<script|style=|\son\w+=|javascript:", body.decode())


@pytest.mark.parametrize("path", HTML)
def test_links_work_behind_a_prefix(path: str) -> None:
    """All links to other pages are relative: they work wherever a proxy serves the exporter."""
    links = Links()
    with serving() as port:
        links.feed(request(port, path)[1].decode())

    assert len(links.found) >= 5
    assert [link for link in links.found if link.startswith("/") or ":" in link] == []


@pytest.mark.parametrize("path", [page.name for page in PAGES])
def test_pages_can_be_disabled(path: str) -> None:
    """Without content there is no page, and metrics and probes are served."""
    paths = {"key": "/keys/1/2", "landing": "/", "keys_csv": "/keys.csv", "keys_json": "/keys.json"}
    with serving(replace(SITE, content=None)) as port:
        page = request(port, paths.get(path, f"/{path}"))[0].status
        others = [request(port, path)[0].status for path in ("/metrics", "/-/healthy")]

    assert (page, others) == (404, [200, 200])


def test_an_unknown_key_is_not_found() -> None:
    """The page of a key that does not exist is 404, and leads to all keys."""
    with serving() as port:
        answer, body = request(port, "/keys/111111111111/unknown")

    assert (answer.status, b'href="../../keys"' in body) == (404, True)


def test_parts_of_paths_are_decoded() -> None:
    """What the URL of a key escapes is part of the key, not of the path."""
    asked = []

    class Recording(Accounts):
        def key(self, account_id: str, key: str, user: str) -> None:
            asked.append((account_id, key, user))

    with serving(replace(SITE, content=Recording())) as port:
        request(port, "/keys/a%2Fb/%3Cc%3E%25?user=d%26e")

    assert asked == [("a/b", "<c>%", "d&e")]


@pytest.mark.parametrize("path", ["/keys/%ff/x", "/?q=%ff"])
def test_urls_that_are_not_utf_8_are_bad_requests(path: str) -> None:
    """They are the client's mistake."""
    with serving() as port:
        assert request(port, path)[0].status == 400


@pytest.mark.parametrize(
    ("format_", "content_type"),
    [("csv", "text/csv; charset=utf-8"), ("json", "application/json")],
)
def test_keys_are_exported(format_: str, content_type: str) -> None:
    """Exports have the parameters of the page, and their content type."""
    with serving() as port:
        answer, body = request(port, f"/keys.{format_}?q=a&user=b")

    assert body.decode() == f"{format_}{ {'q': 'a', 'user': 'b'} }"
    assert answer.headers["Content-Type"] == content_type


class Exporting(Accounts):
    """Exports the chunks of *make*."""

    def __init__(self, make: Callable[[], Iterator[bytes]]) -> None:
        super().__init__()
        self._make = make

    def export(self, parameters: Mapping[str, str], format_: str) -> Iterable[bytes]:
        return self._make()


@pytest.mark.parametrize("path", [*HTML, "/keys.csv", "/keys.json"])
def test_head_is_answered_like_get(path: str) -> None:
    """HEAD has the status and the headers of GET, and says nothing about a size unless GET does."""
    with serving() as port:
        head, body = request(port, path, "HEAD")
        got, _ = request(port, path)

    assert (head.status, body) == (got.status, b"")
    assert {**head.headers, "Date": ""} == {
        name: "" if name == "Date" else value
        for name, value in got.headers.items()
        if name != "Transfer-Encoding"
    }


def test_an_invalid_filter_is_a_bad_request() -> None:
    """The page says what is wrong with the filter; where there is no page, a sentence does."""
    with serving() as port:
        page, html = request(port, "/keys")
        export, text = request(port, "/keys.csv?invalid=x")

    assert (page.status, export.status) == (400, 400)
    assert b"&lt;b&gt; is invalid." in html
    assert text == b"<b> is invalid.\n"
    assert export.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_exports_are_rendered_in_threads() -> None:
    """While a chunk is rendered, probes are answered."""
    rendering, done = threading.Event(), threading.Event()

    def chunks() -> Iterator[bytes]:
        rendering.set()
        done.wait(5)
        yield b"rows"

    with serving(replace(SITE, content=Exporting(chunks))) as port:
        client = threading.Thread(target=request, args=(port, "/keys.csv"))
        client.start()
        assert rendering.wait(5)
        status = request(port, "/-/healthy")[0].status
        done.set()
        client.join(5)

    assert status == 200


class Leaving:
    """Rows that are rendered until the client is gone."""

    def __init__(self) -> None:
        self.gone = threading.Event()
        self.ended = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        yield b"rows"
        self.gone.wait(5)
        try:
            while True:
                yield b"x" * 65536
        finally:
            self.ended.set()


def test_clients_that_leave_during_an_export_are_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A download that its client gives up ends, and does not fill the log."""
    rows = Leaving()
    with serving(replace(SITE, content=Exporting(rows.__iter__))) as port:
        with connect(port) as client:
            client.sendall(get("/keys.csv"))
            client.recv(1000)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        rows.gone.set()
        assert rows.ended.wait(5)

    assert caplog.messages == []


def test_a_slow_export_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A download that takes too long is cut off, and does not fill the log."""
    rows = Leaving()
    rows.gone.set()
    site, limits = replace(SITE, content=Exporting(rows.__iter__)), Limits(response=0.3)
    with serving(site, limits) as port, connect(port, receive_buffer=4096) as client:
        client.sendall(get("/keys.csv"))
        assert rows.ended.wait(5)
        read_all(client)

    assert caplog.messages == []


def test_an_export_that_fails_is_not_complete() -> None:
    """When rendering fails, the connection ends before the end of the body."""

    def chunks() -> Iterator[bytes]:
        yield b"rows"
        raise ValueError("a bug")

    with serving(replace(SITE, content=Exporting(chunks))) as port, connect(port) as client:
        client.sendall(get("/keys.csv"))
        received = read_all(client)

    assert b"rows" in received
    assert not received.endswith(b"0\r\n\r\n")
