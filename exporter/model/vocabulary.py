"""The vocabulary that modules share: enumerations, clocks, errors and dates."""

from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Final, Protocol

ACTIVE: Final = "Active"
"""The only status in which a key can sign requests. IAM has two others: Inactive and Expired."""


class Reason(StrEnum):
    """Why a refresh failed. Closed and public: the values are label values."""

    ACCESS_DENIED = "access_denied"
    ASSUME_ROLE = "assume_role"
    WRONG_ACCOUNT = "wrong_account"
    CREDENTIALS = "credentials"
    THROTTLED = "throttled"
    SERVICE_FAILURE = "service_failure"
    INVALID_REQUEST = "invalid_request"
    TIMEOUT = "timeout"
    NETWORK = "network"
    MALFORMED = "malformed"
    DEADLINE = "deadline"
    UNEXPECTED = "unexpected"


class Partition(StrEnum):
    """AWS's partitions: separate clouds, each with its own IAM."""

    AWS = "aws"
    CHINA = "aws-cn"
    EUROPEAN_SOVEREIGN = "aws-eusc"
    ISO = "aws-iso"
    ISO_B = "aws-iso-b"
    ISO_E = "aws-iso-e"
    ISO_F = "aws-iso-f"
    US_GOV = "aws-us-gov"


class ReportMode(StrEnum):
    """What the credential report is used for; `auto` chooses `off` or `guide` by account."""

    AUTO = "auto"
    GUIDE = "guide"
    OFF = "off"
    VALUES = "values"


class TagSource(StrEnum):
    """Where users' tags come from: nowhere, one call for all users, or one call per user."""

    OFF = "off"
    BULK = "bulk"
    PER_USER = "per_user"


class KeyIdFormat(StrEnum):
    """How access key ids are shown."""

    FULL = "full"
    MASKED = "masked"
    HASHED = "hashed"


class Clock(Protocol):
    """The two clocks that everything is measured by. Injected, so that tests can set them."""

    def now(self) -> datetime:
        """The current time; aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go backwards."""
        ...


class Stopped(BaseException):
    """
    The exporter is shutting down.

    Not an Exception, so that no error handling takes it for a failure.
    """


class ReadError(Exception):
    """
    AWS did not give a usable answer.

    Attributes:
        reason: What operators alert on.
        code: AWS's error code, or the name of the exception where AWS did not answer.
    """

    def __init__(self, reason: Reason, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.code = code


def parse_expiry(text: str) -> datetime:
    """
    Parse an ISO date, which lasts until its end, or an ISO time; UTC unless it says otherwise.

    Raises:
        ValueError: *text* is neither.
    """
    try:
        day = date.fromisoformat(text)
    except ValueError:
        pass
    else:
        last = day == date.max
        return datetime.combine(day if last else day + timedelta(days=1), time(), UTC)
    try:
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from error
