"""Our own counters, kept by the client library."""

import platform
from collections.abc import Iterable
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.openmetrics import exposition as openmetrics

from exporter.metrics.families import FAMILIES, ExporterFamily

BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds. IAM answers in some tens of milliseconds; reading times out after 30 s."""

KINDS: dict[str, Any] = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}


class SelfMetrics:
    """
    What the exporter tells of itself, and the usual families of process and interpreter.

    Args:
        operations: What AWS is asked, so that each counter begins at 0.
        process: Whether to tell of process and interpreter.
    """

    def __init__(
        self, *, version: str, operations: Iterable[str] = (), process: bool = True
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry(auto_describe=True)
        if process:
            ProcessCollector(registry=self._registry)
            PlatformCollector(registry=self._registry)
            GCCollector(registry=self._registry)
        self._metrics: dict[str, Any] = {}
        for family in FAMILIES:
            if isinstance(family, ExporterFamily):
                options = {"buckets": BUCKETS} if family.kind == "histogram" else {}
                self._metrics[family.name.removeprefix("aws_iam_exporter_")] = KINDS[family.kind](
                    family.name, family.help, family.labels, registry=self._registry, **options
                )
        self._metrics["build_info"].labels(version, platform.python_version()).set(1)
        for operation in operations:
            self._metrics["api_requests_total"].labels(operation)
            self._metrics["api_request_duration_seconds"].labels(operation)

    def configured(self, *, accounts: int, interval: float) -> None:
        self._metrics["accounts_configured"].set(accounts)
        self._metrics["refresh_interval_seconds"].set(interval)

    def observe(self, operation: str, seconds: float, code: str) -> None:
        """Count a request to AWS. *code* is that of its error, or empty."""
        self._metrics["api_requests_total"].labels(operation).inc()
        self._metrics["api_request_duration_seconds"].labels(operation).observe(seconds)
        if code:
            self._metrics["api_request_errors_total"].labels(operation, code).inc()

    def text(self, *, as_openmetrics: bool, names: frozenset[str]) -> bytes:
        """Render the families called *names*, or all if there are none; without an end mark."""
        registry = self._registry.restricted_registry(names) if names else self._registry
        if as_openmetrics:
            return openmetrics.generate_latest(registry).removesuffix(b"# EOF\n")  # type: ignore[no-any-return, no-untyped-call]
        return generate_latest(registry)
