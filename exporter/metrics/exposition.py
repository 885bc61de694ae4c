"""The response to a scrape: content negotiation, selection of families, and the body."""

import zlib
from enum import StrEnum

from exporter.metrics.families import Family
from exporter.metrics.self_metrics import SelfMetrics
from exporter.metrics.store import MetricsStore
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

    def render(
        self, format_: Format, *, names: frozenset[str] = frozenset(), gzip: bool = False
    ) -> bytes:
        """
        Render all current samples.

        Args:
            names: Render only the families with these names. Empty: all.
            gzip: Compress, at the lowest level: CPU time is scarcer than bandwidth.
        """
        is_openmetrics = format_ is Format.OPENMETRICS
        pieces: list[bytes] = []
        for family, lines in self._store.samples(self._clock.now()):
            if not names or family.name in names:
                pieces.append(_header(family, as_openmetrics=is_openmetrics))
                pieces.extend(lines)
        pieces.append(self._self_metrics.render(as_openmetrics=is_openmetrics, names=names))
        if is_openmetrics:
            pieces.append(b"# EOF\n")
        body = b"".join(pieces)
        if gzip:
            compressor = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
            return compressor.compress(body) + compressor.flush()
        return body


def _header(family: Family, *, as_openmetrics: bool) -> bytes:
    name = family.name
    if as_openmetrics and family.kind == "counter":
        name = name.removesuffix("_total")
    return f"# HELP {name} {family.help}\n# TYPE {name} {family.kind}\n".encode()
