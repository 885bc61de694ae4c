"""Metrics about the exporter itself, kept by the client library."""

import platform
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, Final

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
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from exporter.metrics.families import EXPORTER_FAMILIES, ExporterFamily

BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds. IAM usually responds within 0.1 s; requests time out after 30 s."""


MAX_CODES: Final = 50
"""Error codes of one operation that get a series of their own."""

OTHER_CODE: Final = "other"
"""Stands for codes that are malformed or too many: a server cannot create series at will."""

UNKNOWN: Final = "unknown"
"""Revision and branch of an exporter that was not built, but runs from its sources."""

_HISTOGRAMS: Final = {family.name for family in EXPORTER_FAMILIES if family.kind == "histogram"}
_SUFFIXES: Final = ("_bucket", "_count", "_sum")

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.:*~-]{0,99}", re.ASCII)


class SelfMetrics:
    """
    Metrics about the exporter itself, its process and the Python interpreter.

    Args:
        operations: The AWS operations that will be called, so that their counters start at 0.
        revision: What the exporter was built from.
        branch: What *revision* is on.
        process: Expose metrics about the process and the interpreter.
        serving: Expose metrics about requests to the exporter.
        redact: Formats the key ids in a text.

    Attributes:
        api_requests: The number of requests to AWS so far.
    """

    def __init__(
        self,
        *,
        version: str,
        revision: str = UNKNOWN,
        branch: str = UNKNOWN,
        operations: Iterable[str] = (),
        process: bool = True,
        serving: bool = True,
        redact: Callable[[str], str] = str,
    ) -> None:
        self.api_requests = 0
        self._redact = redact
        self._codes: dict[str, set[str]] = {}
        self._lock = threading.Lock()
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry(auto_describe=True)
        if process:
            ProcessCollector(registry=self._registry)
            PlatformCollector(registry=self._registry)
            GCCollector(registry=self._registry)
        metrics = {
            family.name: _create(family, self._registry if serving or not family.serving else None)
            for family in EXPORTER_FAMILIES
        }
        self._requests: Counter = metrics["aws_iam_exporter_api_requests_total"]
        self._errors: Counter = metrics["aws_iam_exporter_api_request_errors_total"]
        self._durations: Histogram = metrics["aws_iam_exporter_api_request_duration_seconds"]
        self._http_requests: Counter = metrics["aws_iam_exporter_http_requests_total"]
        self._http_in_flight: Gauge = metrics["aws_iam_exporter_http_requests_in_flight"]
        self._http_durations: Histogram = metrics["aws_iam_exporter_http_request_duration_seconds"]
        self._reloaded: Gauge = metrics["aws_iam_exporter_config_last_reload_successful"]
        self._reloaded_at: Gauge = metrics[
            "aws_iam_exporter_config_last_reload_success_timestamp_seconds"
        ]
        self._accounts: Gauge = metrics["aws_iam_exporter_accounts_configured"]
        self._interval: Gauge = metrics["aws_iam_exporter_refresh_interval_seconds"]
        self._total_shards: Gauge = metrics["aws_iam_exporter_total_shards"]
        self._shard_ordinal: Gauge = metrics["aws_iam_exporter_shard_ordinal"]
        self._discovery_up: OptionalGauge = metrics["aws_iam_exporter_discovery_up"]
        self._store_up: OptionalGauge = metrics["aws_iam_exporter_store_up"]
        self._dropped: Counter = metrics["aws_iam_exporter_log_messages_dropped_total"]
        build = version, revision, branch, platform.python_version()
        metrics["aws_iam_exporter_build_info"].labels(*build).set(1)
        for operation in operations:
            self._requests.labels(operation)
            self._durations.labels(operation)

    def configured(self, *, accounts: int, interval: float) -> None:
        """Set the number of accounts, and the seconds between two refreshes of an account."""
        self._accounts.set(accounts)
        self._interval.set(interval)

    def shard(self, ordinal: int, total: int) -> None:
        """Set which one of how many processes this is."""
        self._total_shards.set(total)
        self._shard_ordinal.labels(ordinal).set(ordinal)

    def discovery_up(self, is_up: bool | None) -> None:  # noqa: FBT001 (the only argument)
        """Set whether accounts could be listed. None: none are discovered, as before the call."""
        self._discovery_up.set(is_up)

    def store_up(self, is_up: bool) -> None:  # noqa: FBT001 (the only argument)
        """Set whether the store can be used. Never called: none is configured."""
        self._store_up.set(is_up)

    def observe(self, operation: str, seconds: float, code: str) -> None:
        """Count a request to AWS. *code* is its error code, empty on success."""
        with self._lock:
            self.api_requests += 1
        self._requests.labels(operation).inc()
        self._durations.labels(operation).observe(seconds)
        if code:
            self.count_error(operation, code)

    def count_error(self, operation: str, code: str) -> None:
        """Count a failed request, or a response that cannot be used."""
        self._errors.labels(operation, self._known_code(operation, code)).inc()

    def _known_code(self, operation: str, code: str) -> str:
        code = self._redact(code)
        if not _CODE.fullmatch(code):
            return OTHER_CODE
        with self._lock:
            codes = self._codes.setdefault(operation, set())
            if code not in codes and len(codes) >= MAX_CODES:
                return OTHER_CODE
            codes.add(code)
        return code

    def count_dropped_log_messages(self, count: int) -> None:
        """Count log messages that were not written."""
        self._dropped.inc(count)

    def count_http_request(self, handler: str, code: int) -> None:
        """Count a request to the exporter."""
        self._http_requests.labels(code, handler).inc()

    def count_requests_in_flight(self, change: int) -> None:
        """Count a request to the exporter that begins (1) or ends (-1)."""
        self._http_in_flight.inc(change)

    def observe_http_request(self, handler: str, seconds: float) -> None:
        """Observe how long the answer to a request took."""
        self._http_durations.labels(handler).observe(seconds)

    def configuration_loaded(self, at: datetime | None) -> None:
        """Set when the configuration was loaded. None: that has failed."""
        self._reloaded.set(at is not None)
        if at is not None:
            self._reloaded_at.set(int(at.timestamp()))

    def render(
        self, *, as_openmetrics: bool, names: frozenset[str], exclude: frozenset[str] = frozenset()
    ) -> bytes:
        """
        Render the families with these *names*, all if empty; without OpenMetrics' `# EOF`.

        Args:
            exclude: The names of families that are left out in any case.
        """
        registry: Any = self._registry
        if names:
            # The client library selects samples, and those of a histogram have other names.
            of_histograms = {name + suffix for name in names & _HISTOGRAMS for suffix in _SUFFIXES}
            registry = registry.restricted_registry(names | of_histograms)
        if exclude:
            registry = _Remaining(registry, exclude)
        if as_openmetrics:
            return openmetrics.generate_latest(registry).removesuffix(b"# EOF\n")  # type: ignore[no-any-return, no-untyped-call]
        return generate_latest(registry)


class _Remaining(Collector):
    """The families of a registry without those that are excluded."""

    def __init__(self, registry: Collector, exclude: frozenset[str]) -> None:
        self._registry = registry
        self._exclude = exclude

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            # The client library has counters without their suffix.
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            if name not in self._exclude:
                yield metric


class OptionalGauge(Collector):
    """A gauge that has no sample until its value is set."""

    def __init__(self, name: str, help_: str, registry: CollectorRegistry) -> None:
        self._name = name
        self._help = help_
        self._value: float | None = None
        registry.register(self)

    def set(self, value: float | None) -> None:
        self._value = value

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily(self._name, self._help, value=self._value)


def _create(family: ExporterFamily, registry: CollectorRegistry | None) -> Any:
    """Create the client library's metric of *family*. It is exposed if there is a *registry*."""
    if family.kind == "histogram":
        return Histogram(
            family.name, family.help, family.labels, registry=registry, buckets=BUCKETS
        )
    if family.optional and registry is not None:
        return OptionalGauge(family.name, family.help, registry)
    kind = Counter if family.kind == "counter" else Gauge
    return kind(family.name, family.help, family.labels, registry=registry)
