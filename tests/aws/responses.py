"""Bodies of IAM's responses, for faults that answer with something else than the truth."""

from base64 import b64encode
from datetime import datetime

from tests.builders import PROD


def response(operation: str, result: str) -> str:
    return (
        f'<{operation}Response xmlns="https://iam.amazonaws.com/doc/2010-05-08/">'
        f"<{operation}Result>{result}</{operation}Result></{operation}Response>"
    )


def last_use_response(fields: str) -> str:
    region = "<Region>N/A</Region>"
    return response(
        "GetAccessKeyLastUsed", f"<AccessKeyLastUsed>{fields}{region}</AccessKeyLastUsed>"
    )


def users_page(users: str, more: str) -> str:
    return response("ListUsers", f"<Users>{users}</Users>{more}")


def user_element(name: str) -> str:
    """A user of PROD in a page of ListUsers."""
    return (
        f"<member><Path>/</Path><UserName>{name}</UserName><UserId>AIDA{name}</UserId>"
        f"<Arn>arn:aws:iam::{PROD}:user/{name}</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate>"
        "</member>"
    )


def report_response(content: bytes, *, generated: datetime) -> str:
    return response(
        "GetCredentialReport",
        f"<Content>{b64encode(content).decode()}</Content>"
        f"<GeneratedTime>{generated:%Y-%m-%dT%H:%M:%SZ}</GeneratedTime>",
    )
