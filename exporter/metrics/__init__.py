"""Everything that is exposed: the metric families, the samples of all accounts, self metrics."""

from exporter.metrics.exposition import Exposition, Format, Page, negotiate
from exporter.metrics.families import FAMILIES
from exporter.metrics.options import Counts, RenderOptions
from exporter.metrics.self_metrics import SelfMetrics
from exporter.metrics.store import MetricsStore

__all__ = [
    "FAMILIES",
    "Counts",
    "Exposition",
    "Format",
    "MetricsStore",
    "Page",
    "RenderOptions",
    "SelfMetrics",
    "negotiate",
]
