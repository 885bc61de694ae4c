"""AWS's error responses: code, HTTP status and message."""

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
"""The HTTP status of error codes; all others are sent with 400."""

MESSAGE_OF_CODE: Final = {
    "ExpiredToken": "The security token included in the request is expired",
    "InvalidClientTokenId": "The security token included in the request is invalid.",
    "MissingAuthenticationToken": "Request is missing Authentication Token",
    "RequestLimitExceeded": "Request limit exceeded.",
    "Throttling": "Rate exceeded",
    "TooManyRequestsException": "AWS Organizations can't complete your request because you have "
    "exceeded your allotted request rate.",
}
"""AWS's messages of codes that always have the same one."""


class Refusal(Exception):
    """
    An error response.

    Attributes:
        code: As on the wire: without the suffix "Exception" for IAM and STS.
        status: The HTTP status; by default the usual one of this code.
    """

    def __init__(self, code: str, message: str | None = None, *, status: int | None = None) -> None:
        self.code = code
        self.status = STATUS_OF_CODE.get(code, 400) if status is None else status
        self.message = MESSAGE_OF_CODE.get(code, code) if message is None else message
        super().__init__(f"{self.code} ({self.status}): {self.message}")
