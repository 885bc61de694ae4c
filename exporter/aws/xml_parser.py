"""
How responses are parsed: a value that is not what AWS documents is kept as text.

botocore fails for a whole page of a thousand users if one date cannot be parsed, and takes every
boolean that is not "true" for false: an IsTruncated that is garbled would end a list early.
"""

import re
from datetime import UTC, datetime
from typing import Any, Final

from botocore.parsers import QueryParser, ResponseParserFactory

_TIME: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?(Z|[+-]\d{2}:\d{2})?", re.ASCII
)


def parse_time(text: str) -> datetime:
    """
    Parse a time as AWS writes it, in UTC unless it says otherwise.

    Stricter than botocore, which takes "Monday", and numbers for seconds since 1970.

    Raises:
        ValueError: It is none.
    """
    if not _TIME.fullmatch(text):
        raise ValueError("not a time")
    time = datetime.fromisoformat(text)
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from error


class ParserFactory(ResponseParserFactory):
    """Creates the parsers of a client: a component of botocore's sessions."""

    def create_parser(self, protocol_name: str) -> Any:
        if protocol_name == "query":
            return _TolerantParser()
        return super().create_parser(protocol_name)


class _TolerantParser(QueryParser):
    def _do_error_parse(self, response: Any, shape: Any) -> Any:
        # botocore relies on an error having members, and on these being text.
        parsed = super()._do_error_parse(response, shape)  # type: ignore[misc]
        if "Error" in parsed:
            members = parsed["Error"] if isinstance(parsed["Error"], dict) else {}
            parsed["Error"] = {
                member: text if isinstance(text := members.get(member), str) else ""
                for member in ("Code", "Message")
            }
        return parsed

    def _handle_timestamp(self, _: Any, node: Any) -> Any:
        text = _text(node)
        try:
            return parse_time(text)
        except ValueError:
            return text

    def _handle_boolean(self, _: Any, node: Any) -> Any:
        text = _text(node)
        return {"true": True, "false": False}.get(text, text)

    def _handle_integer(self, _: Any, node: Any) -> Any:
        text = _text(node)
        return int(text) if re.fullmatch(r"-?\d{1,18}", text, re.ASCII) else text


def _text(node: Any) -> str:
    # A member that occurs twice is a list of nodes.
    text = getattr(node, "text", None)
    return text if isinstance(text, str) else ""
