"""The response to a scrape: content negotiation, selection of families, and the body."""

import zlib
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import ClassVar

from exporter.metrics.families import Family
from exporter.metrics.self_metrics import SelfMetrics
from exporter.metrics.store import AgeLines, MetricsStore
from exporter.model import Clock


class Format(StrEnum):
    """The supported formats. The values are their content types."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


SUPPORTED = {
    ("application", "openmetrics-text"): (Format.OPENMETRICS, "1.0.0"),
    ("text", "plain"): (Format.TEXT, "0.0.4"),
}


def negotiate(accept: str) -> Format:
    """
    Choose the format that the Accept header *accept* prefers; the text format if it accepts none.

    Source: RFC 9110, section 12.5.1; Prometheus, "Content negotiation".
    """
    best, best_quality = Format.TEXT, 0.0
    for item in accept.split(","):
        media, *parameters = (part.strip() for part in item.split(";"))
        options = dict(part.split("=", 1) for part in parameters if "=" in part)
        kind, _, subtype = media.lower().partition("/")
        format_, version = SUPPORTED.get((kind, subtype), (Format.TEXT, "0.0.4"))
        acceptable = (kind, subtype) in SUPPORTED or (kind in ("*", "text") and subtype == "*")
        if not acceptable or options.get("version", version).strip('"') != version:
            continue
        try:
            quality = float(options.get("q", "1"))
        except ValueError:
            continue
        if quality > best_quality:
            best, best_quality = format_, quality
    return best


class Page:
    """
    The body of a response to a scrape.

    It holds references to the samples of the store, and can be iterated several times, also at the
    same time: however many clients it is sent to, and however slow they are, it costs no memory but
    the chunks that are being sent.

    Attributes:
        size: Its length in bytes.
    """

    CHUNK: ClassVar[int] = 256 * 1024
    """Bytes, roughly: large enough to send quickly, small enough not to hold up others."""

    def __init__(self, pieces: Sequence[bytes | AgeLines], at: int) -> None:
        """*at*: the Unix time that ages are computed at."""
        self._pieces = pieces
        self._at = at
        self.size = sum(
            [len(piece) if isinstance(piece, bytes) else piece.size(at) for piece in pieces]
        )

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body in chunks."""
        chunk: list[bytes] = []
        size = 0
        for piece in self._pieces:
            lines = piece if isinstance(piece, bytes) else piece.render(self._at)
            for start in range(0, len(lines), self.CHUNK):
                chunk.append(lines[start : start + self.CHUNK])
                size += len(chunk[-1])
                if size >= self.CHUNK:
                    yield b"".join(chunk)
                    chunk, size = [], 0
        if chunk:
            yield b"".join(chunk)

    def compressed(self) -> "Page":
        """Compress with gzip, at the lowest level: CPU time is scarcer than bandwidth."""
        compressor = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        return Page([*map(compressor.compress, self), compressor.flush()], self._at)


class Exposition:
    """
    Renders scrapes.

    Args:
        clock: The time that ages are computed from.
    """

    def __init__(self, store: MetricsStore, self_metrics: SelfMetrics, clock: Clock) -> None:
        self._store = store
        self._self_metrics = self_metrics
        self._clock = clock

    def use(self, store: MetricsStore) -> None:
        """Expose the samples of *store* from the next scrape on."""
        self._store = store

    def count_request(self, handler: str, code: int) -> None:
        """Count a request to the exporter, not only for the metrics."""
        self._self_metrics.count_http_request(handler, code)

    def page(
        self, format_: Format, *, names: frozenset[str] = frozenset(), gzip: bool = False
    ) -> Page:
        """
        Return all current samples.

        Args:
            names: Only the families with these names. Empty: all.
        """
        is_openmetrics = format_ is Format.OPENMETRICS
        pieces: list[bytes | AgeLines] = []
        for family, lines in self._store.samples():
            if not names or family.name in names:
                pieces.append(_header(family, as_openmetrics=is_openmetrics))
                pieces.extend(lines)
        pieces.append(self._self_metrics.render(as_openmetrics=is_openmetrics, names=names))
        if is_openmetrics:
            pieces.append(b"# EOF\n")
        page = Page(pieces, int(self._clock.now().timestamp()))
        return page.compressed() if gzip else page

    def render(
        self, format_: Format, *, names: frozenset[str] = frozenset(), gzip: bool = False
    ) -> bytes:
        """Return the bytes of the `page` with these arguments."""
        return b"".join(self.page(format_, names=names, gzip=gzip))


def _header(family: Family, *, as_openmetrics: bool) -> bytes:
    name = family.name
    if as_openmetrics and family.kind == "counter":
        name = name.removesuffix("_total")
    return f"# HELP {name} {family.help}\n# TYPE {name} {family.kind}\n".encode()
