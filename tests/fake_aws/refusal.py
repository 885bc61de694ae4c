"""
How AWS says no: a code, an HTTP status and a message, in AWS's own words.
"""

from typing import Final

STATUS_OF_CODE: Final = {
    "AccessDenied": 403,
    "ConcurrentModification": 409,
    "ExpiredToken": 403,
    "InternalFailure": 500,
    "InternalServerError": 500,
    "InvalidClientTokenId": 403,
    "LimitExceeded": 409,
    "MissingAuthenticationToken": 403,
    "NoSuchEntity": 404,
    "OptInRequired": 403,
    "RegionDisabledException": 403,
    "ReportExpired": 410,
    "ReportInProgress": 404,
    "ReportNotPresent": 410,
    "RequestLimitExceeded": 503,
    "ServiceException": 500,
    "ServiceFailure": 500,
    "ServiceUnavailable": 503,
    "SignatureDoesNotMatch": 403,
}
"""The HTTP status AWS sends a code with; codes not listed are sent with 400."""

MESSAGE_OF_CODE: Final = {
    "ExpiredToken": "The security token included in the request is expired",
    "InvalidClientTokenId": "The security token included in the request is invalid.",
    "MissingAuthenticationToken": "Request is missing Authentication Token",
    "RequestLimitExceeded": "Request limit exceeded.",
    "Throttling": "Rate exceeded",
    "TooManyRequestsException": "AWS Organizations can't complete your request because you have "
    "exceeded your allotted request rate.",
}
"""What AWS says with a code where it always says the same."""


class Refusal(Exception):
    """
    An answer that is an error.

    Attributes:
        code: As on the wire: without "Exception" for IAM and STS, with it for Organizations.
        status: The HTTP status; by default the one that AWS sends this code with.
    """

    def __init__(self, code: str, message: str | None = None, *, status: int | None = None) -> None:
        self.code = code
        self.status = STATUS_OF_CODE.get(code, 400) if status is None else status
        self.message = MESSAGE_OF_CODE.get(code, code) if message is None else message
        super().__init__(f"{self.code} ({self.status}): {self.message}")
