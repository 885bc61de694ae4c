"""Series of single metrics, written by hand, where a whole company would say too much."""

from collections.abc import Callable, Iterable, Iterator

from tests.grafana.history import JOB, sample

Value = float | Callable[[float], float | None]
"""A number, or a function of the time that returns None while there is no sample."""
Series = tuple[str, Value, dict[str, str]]


def series(name: str, value: Value, **labels: str) -> Series:
    return name, value, labels


def scrapes(every: Iterable[Series], times: Iterable[float]) -> Iterator[str]:
    """Lines of OpenMetrics. Series without a job or an instance are those of one exporter."""
    listed = list(every)
    for at in times:
        for name, value, labels in listed:
            number = value(at) if callable(value) else value
            if number is not None:
                by = {"job": JOB, "instance": "one:10064", **labels}
                yield sample(name, by, repr(number), at)
    yield "# EOF\n"
