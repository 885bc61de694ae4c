"""What Prometheus is told: the table of families, the page of all facts, and our own counters."""

from exporter.metrics.exposition import Exposition, Format, negotiate
from exporter.metrics.families import FAMILIES
from exporter.metrics.own import Own
from exporter.metrics.page import Page, Shown

__all__ = ["FAMILIES", "Exposition", "Format", "Own", "Page", "Shown", "negotiate"]
