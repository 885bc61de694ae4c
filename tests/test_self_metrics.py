"""Metrics about the exporter: error codes as a label, and the state of the store."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from exporter.key_ids import KeyIdFormatter
from exporter.metrics.self_metrics import MAX_CODES, OTHER_CODE, SelfMetrics
from exporter.model import KeyIdFormat

KEY_ID = "AKIAIOSFODNN7EXAMPLE"


def codes(metrics: SelfMetrics, operation: str = "ListUsers") -> dict[str, float]:
    """The errors counted so far for *operation*, by code."""
    text = metrics.render(as_openmetrics=False, names=frozenset()).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            counted = sample.name == "aws_iam_exporter_api_request_errors_total"
            if counted and sample.labels["operation"] == operation:
                found[sample.labels["code"]] = sample.value
    return found


def metrics_with(format_: KeyIdFormat = KeyIdFormat.FULL) -> SelfMetrics:
    redact = KeyIdFormatter(format_, "secret").redact
    return SelfMetrics(version="1", process=False, redact=redact)


@pytest.mark.parametrize(
    "code", ["AccessDenied", "HTTP502", "x:y.z", "ReadTimeoutError", "A" * 100, "AKIA****MPLE"]
)
def test_a_well_formed_code(code: str) -> None:
    """A code that looks like one is a label value as it is."""
    metrics = metrics_with()
    metrics.count_error("ListUsers", code)

    assert codes(metrics) == {code: 1}


@pytest.mark.parametrize(
    "code",
    [
        "",
        " ",
        "502",
        "<html>",
        "a b",
        'a"b',
        "a\nb",
        "Zugriff\u00e4",
        "\x00",
        "A" * 101,
        "a\u202eb",
    ],
)
def test_a_malformed_code(code: str) -> None:
    """Anything else counts as other."""
    metrics = metrics_with()
    metrics.count_error("ListUsers", code)

    assert codes(metrics) == {OTHER_CODE: 1}


def test_many_codes() -> None:
    """Beyond the limit new codes of an operation count as other, and known ones as before."""
    metrics = metrics_with()
    for number in range(1000):
        metrics.observe("ListUsers", 0.1, f"Code{number}")
    metrics.observe("ListUsers", 0.1, "Code7")
    metrics.observe("ListAccessKeys", 0.1, "Code999")

    counted = codes(metrics)
    assert len(counted) == MAX_CODES + 1
    assert (counted["Code7"], counted[OTHER_CODE]) == (2, 1000 - MAX_CODES)
    assert codes(metrics, "ListAccessKeys") == {"Code999": 1}


@pytest.mark.parametrize("format_", [KeyIdFormat.MASKED, KeyIdFormat.HASHED])
def test_a_key_id_in_a_code(format_: KeyIdFormat) -> None:
    """A key id in a code is formatted as everywhere."""
    metrics = metrics_with(format_)
    metrics.count_error("ListUsers", f"NoSuch.{KEY_ID}")

    (code,) = codes(metrics)
    assert KEY_ID not in code
    assert code == f"NoSuch.{KeyIdFormatter(format_, 'secret').label(KEY_ID)}"


def store_up(metrics: SelfMetrics) -> list[float]:
    text = metrics.render(as_openmetrics=False, names=frozenset({"aws_iam_exporter_store_up"}))
    families = text_string_to_metric_families(text.decode())
    return [sample.value for family in families for sample in family.samples]


def test_without_a_store() -> None:
    """Its state is absent, not 0, if no store is configured."""
    assert store_up(metrics_with()) == []


@pytest.mark.parametrize("up", [True, False])
def test_the_state_of_the_store(up: bool) -> None:
    """1 if the store can be used, otherwise 0."""
    metrics = metrics_with()
    metrics.store_up(not up)
    metrics.store_up(up)

    assert store_up(metrics) == [up]


def test_a_histogram_is_selected_by_its_name() -> None:
    """A family has all of its samples if a scrape asks for it, although they have other names."""
    name = "aws_iam_exporter_api_request_duration_seconds"
    metrics = metrics_with()
    metrics.observe("ListUsers", 0.1, "")

    text = metrics.render(as_openmetrics=False, names=frozenset({name})).decode()
    (family,) = text_string_to_metric_families(text)

    assert family.name == name
    assert {sample.name for sample in family.samples} == {
        f"{name}_bucket",
        f"{name}_count",
        f"{name}_sum",
    }
