"""Pages: the bodies of scrapes, rendered chunk by chunk."""

import gzip
from dataclasses import replace
from datetime import timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from exporter.metrics import Exposition, Format, MetricsStore, Page, SelfMetrics
from exporter.metrics.store import AGE_LINES
from tests.exposition import COMPLETE, FakeClock, a_store
from tests.facts import NOON, a_key, a_snapshot, a_use, an_account

POWERS = [10**digits + offset for digits in range(9) for offset in (-1, 0, 1)]


def exposition_of(store: MetricsStore) -> Exposition:
    return Exposition(store, SelfMetrics(version="1", process=False), FakeClock())


def many_keys() -> MetricsStore:
    """A store with more ages than are rendered at once, in two accounts."""
    keys = [a_key(f"AKIA{number:016}", user=f"u{number}") for number in range(AGE_LINES + 1)]
    accounts = [an_account("111111111111", "a"), an_account("222222222222", "b")]
    return a_store(*[a_snapshot(*keys, account=account) for account in accounts])


@example(ages=[0])
@example(ages=[-1, -(10**6)])
@example(ages=POWERS)
@given(ages=st.lists(st.integers(-(10**6), 10**9), max_size=30))
def test_the_size_is_known_before_the_ages_are_rendered(ages: list[int]) -> None:
    """The size of a page is that of its chunks, whatever the ages are."""
    keys = [
        replace(
            a_key(f"AKIA{number:016}"), last_use=replace(a_use(), at=NOON - timedelta(seconds=age))
        )
        for number, age in enumerate(ages)
    ]
    page = exposition_of(a_store(a_snapshot(*keys, account=COMPLETE.account))).page(Format.TEXT)

    assert page.size == sum(map(len, page))


def test_a_page_can_be_sent_to_several_clients() -> None:
    """A page that is iterated by several clients at the same time is the same for all."""
    page = exposition_of(many_keys()).page(Format.TEXT)

    first, second = iter(page), iter(page)
    pairs = list(zip(first, second, strict=True))

    assert [one for one, _ in pairs] == [other for _, other in pairs]


def test_a_page_does_not_change() -> None:
    """A page that is being sent does not change when an account is refreshed."""
    store = a_store(COMPLETE)
    page = exposition_of(store).page(Format.TEXT)
    before = b"".join(page)

    store.publish(COMPLETE.account, replace(COMPLETE, keys=()))

    assert b"".join(page) == before


def test_chunks_are_small() -> None:
    """However large a page is, its chunks are limited."""
    page = Page([b"x" * 1_000_000, b"y", b"z" * (Page.CHUNK - 1), b"x"], 0)

    assert max(map(len, page)) < 2 * Page.CHUNK
    assert b"".join(page) == b"x" * 1_000_000 + b"y" + b"z" * (Page.CHUNK - 1) + b"x"


def test_small_pieces_are_sent_together() -> None:
    """Many small pieces are few chunks."""
    page = Page([b"x"] * Page.CHUNK * 2, 0)

    assert len(list(page)) == 2


def test_a_compressed_page_is_the_page() -> None:
    """A compressed page has its own size, and the content of the page."""
    exposition = exposition_of(many_keys())
    page = exposition.page(Format.OPENMETRICS, gzip=True)

    compressed = b"".join(page)
    assert len(compressed) == page.size
    assert gzip.decompress(compressed) == exposition.render(Format.OPENMETRICS)


def test_no_samples_are_a_page() -> None:
    """A selection without families is an empty page."""
    page = exposition_of(a_store(COMPLETE)).page(Format.TEXT, names=frozenset({"nothing"}))

    assert (page.size, b"".join(page)) == (0, b"")
