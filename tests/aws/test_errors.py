"""Errors of AWS and botocore are translated on purpose, and no others are."""

import inspect
from typing import Any

import pytest
from botocore import exceptions as botocore
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from exporter.aws.errors import MAX_MESSAGE, NOT_TRANSLATED, REASON_OF_TYPE, to_read_error
from exporter.model import Reason


def botocore_errors() -> list[type[Exception]]:
    classes = [value for _, value in inspect.getmembers(botocore, inspect.isclass)]
    return [
        class_
        for class_ in classes
        if issubclass(class_, Exception) and class_.__module__ == botocore.__name__
    ]


@pytest.mark.parametrize("class_", botocore_errors(), ids=lambda class_: class_.__name__)
def test_every_botocore_error_is_mapped_on_purpose(class_: type[Exception]) -> None:
    """Each is translated by the table, or listed as one that is not; never both."""
    translated = issubclass(class_, (ClientError, *(type_ for type_, _ in REASON_OF_TYPE)))

    assert translated != (class_ in NOT_TRANSLATED)


def test_an_error_of_ours_is_not_translated() -> None:
    """An error that is neither AWS's nor botocore's is left to whoever reports bugs."""
    assert to_read_error(AttributeError("typo"), "ListUsers") is None


def client_error(code: str, message: str, status: int) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "ListUsers")


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("AccessDenied", 403, Reason.ACCESS_DENIED),
        ("Strange", 400, Reason.INVALID_REQUEST),
        ("Strange", 403, Reason.ACCESS_DENIED),
        ("Strange", 429, Reason.THROTTLED),
        ("Strange", 503, Reason.SERVICE_FAILURE),
        ("429", 429, Reason.THROTTLED),
        ("404", 404, Reason.MALFORMED),
        ("407", 407, Reason.NETWORK),
        ("302", 302, Reason.NETWORK),
        ("500", 500, Reason.SERVICE_FAILURE),
        ("", 400, Reason.MALFORMED),
        ("<html>", 400, Reason.MALFORMED),
    ],
)
def test_reason(code: str, status: int, reason: Reason) -> None:
    """The code decides, else the HTTP status; nothing that a proxy answers is unexpected."""
    error = to_read_error(client_error(code, "", status), "ListUsers")

    assert error is not None
    assert error.reason is reason


def test_messages_are_one_short_line() -> None:
    """AWS's message is shortened to one line without control characters."""
    error = to_read_error(
        client_error("AccessDenied", "a\nb\x1b[31m" + "x" * 999, 403), "ListUsers"
    )

    assert error is not None
    text = str(error)
    assert text.startswith("ListUsers: AccessDenied: a b [31mxxx")
    assert len(text) <= len("ListUsers: AccessDenied: ") + MAX_MESSAGE
    assert text.isprintable()


def test_the_body_of_an_unparseable_response_is_not_repeated() -> None:
    """botocore quotes the body in its message; we do not."""
    error = to_read_error(ResponseParserError("invalid XML received:\nSECRET"), "AssumeRole")

    assert error is not None
    assert error.reason is Reason.MALFORMED
    assert "SECRET" not in str(error)
