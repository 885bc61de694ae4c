"""The two protocols on the wire, AWS query with XML and JSON, and pagination."""

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
    """An HTTP response, without the headers that all responses have."""

    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str] = {}


class Page(NamedTuple):
    """A range of a sorted list, and the marker of the next page, if there is one."""

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
    """An XML element; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        value = f"{value:%Y-%m-%dT%H:%M:%SZ}"
    return f"<{name}>{escape(str(value))}</{name}>"


def xml_reply(service: str, operation: str, result: str, request_id: str) -> Reply:
    """The response with the result of an operation of IAM or STS."""
    text = (
        f'<{operation}Response xmlns="{NAMESPACES[service]}">'
        f"<{operation}Result>{result}</{operation}Result>"
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
        f"</{operation}Response>"
    )
    return Reply(200, XML, text.encode())


def json_reply(result: Mapping[str, Any]) -> Reply:
    return Reply(200, JSON, json.dumps(result).encode())


def error_reply(service: str, refusal: Refusal, request_id: str) -> Reply:
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
    The page of the sorted *names* that *params* request.

    A page begins after the last name of the previous one, so that creations and deletions between
    two pages neither repeat nor skip other names.

    Args:
        scope: The list that a marker belongs to; markers of other lists are refused.
    """
    size = integer(params, "MaxItems", 100)
    if size < 1:
        raise constraint(size, "maxItems", "have value greater than or equal to 1")
    if size > 1000:
        raise constraint(size, "maxItems", "have value less than or equal to 1000")
    start = 0
    if marker := params.get("Marker"):
        start = bisect_right(names, from_marker(marker, scope))
    end = min(start + min(size, at_most), len(names))
    more = end < len(names)
    return Page(start, end, to_marker(names[end - 1], scope) if more else None)


def to_marker(name: str, scope: str) -> str:
    return urlsafe_b64encode(f"{scope}\0{name}".encode()).decode()


def from_marker(marker: str, scope: str) -> str:
    try:
        marker_scope, _, name = urlsafe_b64decode(marker).decode().partition("\0")
    except ValueError:
        marker_scope = name = ""
    if marker_scope != scope:
        raise Refusal("ValidationError", f"Invalid Marker: {marker}")
    return name


def more(page: Page) -> str:
    """The elements that end a page."""
    return element("IsTruncated", "true" if page.marker else "false") + element(
        "Marker", page.marker
    )
