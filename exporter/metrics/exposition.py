"""One scrape: which format, which families, and the bytes."""

import time
import zlib
from collections.abc import Callable
from enum import StrEnum

from exporter.metrics.families import Family
from exporter.metrics.self_metrics import SelfMetrics
from exporter.metrics.store import MetricsStore


class Format(StrEnum):
    """The formats on offer. The values are their content types."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


OFFERS = {
    ("application", "openmetrics-text"): (Format.OPENMETRICS, "1.0.0"),
    ("text", "plain"): (Format.TEXT, "0.0.4"),
}


def negotiate(accept: str) -> Format:
    """
    Choose the format that the header *accept* likes best; the older one if it likes none.

    Source: RFC 9110, 12.5.1; Prometheus, Content Negotiation.
    """
    best, best_quality = Format.TEXT, 0.0
    for item in accept.split(","):
        media, *parameters = (part.strip() for part in item.split(";"))
        options = dict(part.split("=", 1) for part in parameters if "=" in part)
        kind, _, subtype = media.lower().partition("/")
        format_, version = OFFERS.get((kind, subtype), (Format.TEXT, "0.0.4"))
        acceptable = (kind, subtype) in OFFERS or (kind in ("*", "text") and subtype == "*")
        if not acceptable or options.get("version", version).strip('"') != version:
            continue
        try:
            quality = float(options.get("q", "1"))
        except ValueError:
            continue
        if quality > best_quality:
            best, best_quality = format_, quality
    return best


class Exposition:
    """
    Answers scrapes.

    Args:
        clock: Unix time in seconds.
    """

    def __init__(
        self, page: MetricsStore, self_metrics: SelfMetrics, clock: Callable[[], float] = time.time
    ) -> None:
        self._page = page
        self._own = self_metrics
        self._clock = clock

    def render(
        self, format_: Format, *, names: frozenset[str] = frozenset(), gzip: bool = False
    ) -> bytes:
        """
        Render everything that is known now.

        Args:
            names: Only the families that have one of these as their name or a sample's. Empty: all.
            gzip: Whether to compress, lightly: a scrape costs us more than the network.
        """
        in_openmetrics = format_ is Format.OPENMETRICS
        pieces: list[bytes] = []
        for family, lines in self._page.blocks(self._clock()):
            if not names or family.name in names:
                pieces.append(_header(family, in_openmetrics))
                pieces.extend(lines)
        pieces.append(self._own.text(as_openmetrics=in_openmetrics, names=names))
        if in_openmetrics:
            pieces.append(b"# EOF\n")
        body = b"".join(pieces)
        if gzip:
            packer = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
            return packer.compress(body) + packer.flush()
        return body


def _header(family: Family, in_openmetrics: bool) -> bytes:
    name = family.name
    if in_openmetrics and family.kind == "counter":
        name = name.removesuffix("_total")
    return f"# HELP {name} {family.help}\n# TYPE {name} {family.kind}\n".encode()
