"""The types of options that say where something is: URLs, and the path of the state."""

import re
from importlib.util import find_spec
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator

from exporter.config.values import invalid, text_of

HOST = r"(?!.*[\w-]{64})[\w.-]{1,253}|[0-9a-f:.]+"
"""A host name or an IP address."""


def _url(value: object) -> object:
    """Refuse what botocore would only refuse when it is used; the message quotes nothing."""
    if isinstance(value, str):
        try:
            parts = urlsplit(value)
            host, _ = parts.hostname or "", parts.port
        except ValueError as error:
            raise invalid("must be an http or https URL") from error
        valid = re.fullmatch(r"[!-~]+", value) and parts.scheme in ("http", "https")
        if not valid or not re.fullmatch(HOST, host, re.ASCII):
            raise invalid("must be an http or https URL")
    return value


def _state_path(value: object) -> object:
    if isinstance(value, str):
        if "://" in value:
            raise invalid("must be the path of a file; the URL of a database belongs in state.url")
        if value.startswith("~"):
            raise invalid("must not begin with ~, which is not expanded")
        if value.endswith(("/", "/.", "/..")) or value in ("", ".", "..", ":memory:"):
            raise invalid("must be the path of a file")
        if re.search(r"[\x00-\x1f\x7f]", value):
            raise invalid("must not have control characters")
    return value


def _database_url(value: object) -> object:
    """Refuse what SQLAlchemy would only refuse when it connects; the message quotes nothing."""
    if isinstance(value, str):
        if not _is_database_url(value):
            raise invalid(
                "must be a URL such as postgresql://user:password@host:5432/database; in user and"
                " password, special characters are percent-encoded (@ is %40)"
            )
        if find_spec("psycopg") is None:
            raise invalid("requires: pip install 'aws-iam-key-exporter[postgres]'")
    return value


def _is_database_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    user_info = parts.netloc.rpartition("@")[0]
    return (
        parts.scheme == "postgresql"
        and text.startswith("postgresql://")
        and re.fullmatch(r"[!-~]+", text) is not None
        and "#" not in text
        and "@" not in user_info
        and user_info.count(":") <= 1
        and re.fullmatch(rf"{HOST}|", host, re.ASCII) is not None  # none: a local socket
    )


Url = Annotated[str, BeforeValidator(_url), text_of("[Hh][Tt][Tt][Pp][Ss]?://[!-~]+")]
StatePath = Annotated[
    str,
    BeforeValidator(_state_path),
    text_of(r"(?!~)(?!.*://)(?!(?:.*/)?\.{0,2}$)(?!:memory:$)[^\x00-\x1f\x7f]+"),
]
DatabaseUrl = Annotated[
    str,
    BeforeValidator(_database_url),
    text_of(
        r"postgresql://(?:[^:@/?#]*(?::[^:@/?#]*)?@)?"
        r"(?:[\w.-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?(?:[/?][^#]*)?"
    ),
]
