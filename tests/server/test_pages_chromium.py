"""
The pages in headless Chromium, without JavaScript: in dark and light, on screens and phones.

With SCREENSHOTS=DIRECTORY it writes what it sees there, to be looked at.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chromium import Browser, chromium
from tests.report_scene import key_id
from tests.server.pages_scene import HOSTILE, LONG, MARKUP, a_content, config_of
from tests.server.serving import SITE, serving

pytestmark = [pytest.mark.process, pytest.mark.slow]

PAGES = {
    "accounts": "/",
    "accounts-none": "/?q=nothing",
    "keys": "/keys",
    "keys-none": "/keys?q=nothing",
    "key": f"/keys/{HOSTILE}/{key_id(50)}",
    "key-long": f"/keys/{HOSTILE}/{key_id(52)}",
    "key-root": "/keys/111111111111/root",
    "configuration": "/config",
}
PHONE, TABLET, SCREEN = 375, 1000, 1600
FIRST_SCREEN = 800
"""Pixels that a phone shows without scrolling."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(scripts=False) as browser:
        yield browser


@pytest.fixture(scope="module")
def scripting() -> Iterator[Browser]:
    """A browser that runs scripts."""
    with chromium(scripts=True) as browser:
        yield browser


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with serving(replace(SITE, content=a_content())) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = Path(os.environ.get("SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def luminances(browser: Browser, selector: str) -> tuple[float, float]:
    """Return how bright the text of an element and the page are, from 0 to 1."""
    texts = browser.evaluate(
        f"[getComputedStyle(document.querySelector('{selector}')).color,"
        " getComputedStyle(document.body).backgroundColor]"
    )
    return _luminance(texts[0]), _luminance(texts[1])


def _luminance(color: str) -> float:
    """Return the relative luminance of WCAG 2 of ``rgb(r, g, b)``."""
    values = [int(text) / 255 for text in re.findall(r"\d+", color)[:3]]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [SCREEN, TABLET, PHONE])
@pytest.mark.parametrize("name", PAGES)
def test_pages_fit_the_screen(
    name: str, width: int, *, dark: bool, browser: Browser, site: str, pictures: Path
) -> None:
    """No page scrolls sideways, whatever names are in it; nothing violates the policy."""
    browser.show(width, dark=dark)
    browser.messages.clear()
    browser.open(site + PAGES[name])
    browser.take_screenshot(pictures / f"{name}-{width}-{'dark' if dark else 'light'}.png")

    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.messages == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("selector", ["body", "main a", ".failing", ".pending", ".up", ".muted"])
def test_text_has_contrast(selector: str, *, dark: bool, browser: Browser, site: str) -> None:
    """Text is readable in dark and light: WCAG 2 asks for a contrast of at least 4.5."""
    browser.show(SCREEN, dark=dark)
    browser.open(f"{site}/")

    text, page = luminances(browser, selector)
    lighter, darker = max(text, page), min(text, page)

    assert (lighter + 0.05) / (darker + 0.05) >= 4.5
    assert (page < 0.5) is dark


def test_a_phone_shows_why_an_account_fails(browser: Browser, site: str) -> None:
    """The name, the reason and what to do are the first thing on a failing account's card."""
    browser.show(PHONE, dark=False)
    browser.open(f"{site}/?q=audit")

    tops = browser.evaluate(
        "['td.title', '.why strong', '.why p:nth-child(2)', 'td[data-label=ID]'].map("
        "each => document.querySelector('tbody ' + each).getBoundingClientRect().top)"
    )
    assert tops == sorted(tops)
    assert tops[1] < FIRST_SCREEN


@pytest.mark.parametrize("path", PAGES.values())
def test_values_stay_text(path: str, scripting: Browser, site: str) -> None:
    """Where scripts are allowed, hostile values run none and add no elements to a page."""
    scripting.show(SCREEN, dark=False)
    scripting.open(site + path)

    assert scripting.evaluate("document.querySelectorAll('script, img, iframe').length") == 0
    assert scripting.messages == []


def test_hostile_values_are_seen_as_they_are(browser: Browser, site: str) -> None:
    """Markup, direction and control characters are seen, and do nothing."""
    browser.show(SCREEN, dark=False)
    browser.open(f"{site}/keys?account={HOSTILE}")

    text = browser.text("table")

    assert MARKUP in text
    assert "evil\\u202egnp.exe\\u2066\\x07\\x1b[31m" in text
    assert LONG in text.replace("\n", "")


def test_a_person_finds_a_key(browser: Browser, site: str) -> None:
    """From the accounts to a key's page, by links and a form, without JavaScript."""
    browser.show(SCREEN, dark=False)
    browser.open(f"{site}/")
    browser.click("header nav a:nth-child(2)")
    browser.type("input[name=user]", "dorm*")
    browser.press_enter()
    found = browser.text("table")
    browser.click("td.title a")

    assert "dormant" in found
    assert "partner" not in found
    assert key_id(9) in browser.text("h1")
    assert "used after 300 idle days" in browser.text("main ul")
    assert "aws cloudtrail lookup-events" in browser.text("ol")


def test_a_person_sorts_and_searches(browser: Browser, site: str) -> None:
    """Headings sort, keep the filters, and say how the table is sorted."""
    browser.show(SCREEN, dark=False)
    browser.open(f"{site}/keys?account=prod")
    browser.click("th:nth-child(10) a")
    once = browser.evaluate("document.querySelector('th[aria-sort]').innerText")
    first = browser.text("tbody tr")
    browser.click("th[aria-sort] a")

    assert once == "Age"
    assert key_id(2) in first
    assert browser.evaluate("document.querySelector('th[aria-sort]').ariaSort") == "ascending"
    assert key_id(5) in browser.text("tbody tr")
    assert "account=prod" in browser.evaluate("location.search")


def test_key_ids_are_masked_in_addresses(browser: Browser) -> None:
    """With masked key IDs neither a page nor a link that it leads to has a full one."""
    with serving(replace(SITE, content=a_content(config=config_of("masked")))) as port:
        browser.show(SCREEN, dark=False)
        browser.open(f"http://127.0.0.1:{port}/keys?q=bot")
        browser.click("td.title a")
        address = browser.evaluate("location.href")
        page = browser.evaluate("document.documentElement.outerHTML")

    assert address.endswith("/AKIA****0053")
    assert "AKIA0000" not in page
