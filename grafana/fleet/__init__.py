"""The fleet dashboard: what is not known, what happened, findings, and where to start."""

from grafana.fleet.layout import fleet

__all__ = ["fleet"]
