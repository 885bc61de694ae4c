"""
The two protocols as text: query parameters in, XML out; JSON in, JSON out; pages and markers.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import unquote_plus
from xml.sax.saxutils import escape

from .refusal import Refusal

NAMESPACES: Final = {
    "iam": "https://iam.amazonaws.com/doc/2010-05-08/",
    "sts": "https://sts.amazonaws.com/doc/2011-06-15/",
}
XML: Final = "text/xml"
JSON: Final = "application/x-amz-json-1.1"

Params = Mapping[str, Any]


class Reply(NamedTuple):
    """An HTTP answer, but for what every answer has."""

    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str] = {}


class Page(NamedTuple):
    """A stretch of a sorted list, and the marker of the next one if there is more."""

    start: int
    end: int
    marker: str | None


def parse_form(body: bytes) -> dict[str, str]:
    params = {}
    for pair in body.decode("ascii", "replace").split("&"):
        name, _, value = pair.partition("=")
        if "%" in pair or "+" in pair:
            name, value = unquote_plus(name), unquote_plus(value)
        params[name] = value
    return params


def element(name: str, value: str | int | datetime | None) -> str:
    """Write one element; a value of None writes nothing."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        value = f"{value:%Y-%m-%dT%H:%M:%SZ}"
    return f"<{name}>{escape(str(value))}</{name}>"


def envelope(service: str, operation: str, result: str, request_id: str) -> Reply:
    """Wrap what an operation of IAM or STS answers."""
    text = (
        f'<{operation}Response xmlns="{NAMESPACES[service]}">'
        f"<{operation}Result>{result}</{operation}Result>"
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
        f"</{operation}Response>"
    )
    return Reply(200, XML, text.encode())


def json_reply(result: Mapping[str, Any]) -> Reply:
    return Reply(200, JSON, json.dumps(result).encode())


def error(service: str, refusal: Refusal, request_id: str) -> Reply:
    if service == "organizations":
        content = {"__type": refusal.code, "Message": refusal.message}
        return Reply(refusal.status, JSON, json.dumps(content).encode())
    text = (
        f'<ErrorResponse xmlns="{NAMESPACES[service]}"><Error>'
        f"<Type>{'Sender' if refusal.status < 500 else 'Receiver'}</Type>"
        f"{element('Code', refusal.code)}{element('Message', refusal.message)}"
        f"</Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    )
    return Reply(refusal.status, XML, text.encode())


def constraint(value: object, name: str, rule: str) -> Refusal:
    return Refusal(
        "ValidationError",
        f"1 validation error detected: Value '{value}' at '{name}' failed to satisfy constraint: "
        f"Member must {rule}",
    )


def integer(params: Params, name: str, default: int) -> int:
    text = params.get(name, default)
    try:
        return int(text)
    except ValueError:
        raise Refusal("MalformedInput", f"Unable to parse the value of {name}") from None


def page(names: Sequence[str], params: Params, *, scope: str, at_most: int) -> Page:
    """
    Choose the page of IAM that *params* ask for out of the sorted *names*.

    A page begins after the last name of the one before, so that what is made or deleted between two
    pages neither repeats nor hides another.

    Args:
        scope: What a marker belongs to; one of another scope is refused.
    """
    size = integer(params, "MaxItems", 100)
    if size < 1:
        raise constraint(size, "maxItems", "have value greater than or equal to 1")
    if size > 1000:
        raise constraint(size, "maxItems", "have value less than or equal to 1000")
    start = 0
    if marker := params.get("Marker"):
        start = bisect_right(names, unseal(marker, scope))
    end = min(start + min(size, at_most), len(names))
    more = end < len(names)
    return Page(start, end, seal(names[end - 1], scope) if more else None)


def seal(name: str, scope: str) -> str:
    return urlsafe_b64encode(f"{scope}\0{name}".encode()).decode()


def unseal(marker: str, scope: str) -> str:
    try:
        sealed_scope, _, name = urlsafe_b64decode(marker).decode().partition("\0")
    except ValueError:
        sealed_scope = name = ""
    if sealed_scope != scope:
        raise Refusal("ValidationError", f"Invalid Marker: {marker}")
    return name


def more(page: Page) -> str:
    """Write how a page ends."""
    return element("IsTruncated", "true" if page.marker else "false") + element(
        "Marker", page.marker
    )
