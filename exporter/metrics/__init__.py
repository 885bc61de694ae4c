"""What Prometheus is told: the table of families, the page of all facts, and our own counters."""

from exporter.metrics.exposition import Exposition, Format, negotiate
from exporter.metrics.families import FAMILIES
from exporter.metrics.self_metrics import SelfMetrics
from exporter.metrics.store import MetricsStore, RenderOptions

__all__ = [
    "FAMILIES",
    "Exposition",
    "Format",
    "MetricsStore",
    "RenderOptions",
    "SelfMetrics",
    "negotiate",
]
