"""What AWS and botocore call a failure, and what we call it."""

from botocore import exceptions as botocore
from botocore.parsers import ResponseParserError

from exporter.model import ReadError, Reason

THROTTLING_CODES = frozenset(
    {
        "BandwidthLimitExceeded",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "Throttling",
        "ThrottledException",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)

REASON_OF_CODE: dict[str, Reason] = {
    **dict.fromkeys(THROTTLING_CODES, Reason.THROTTLED),
    "AccessDenied": Reason.ACCESS_DENIED,
    "AccessDeniedException": Reason.ACCESS_DENIED,
    "AuthFailure": Reason.CREDENTIALS,
    "ExpiredToken": Reason.CREDENTIALS,
    "ExpiredTokenException": Reason.CREDENTIALS,
    "IncompleteSignature": Reason.CREDENTIALS,
    "InvalidAccessKeyId": Reason.CREDENTIALS,
    "InvalidClientTokenId": Reason.CREDENTIALS,
    "MissingAuthenticationToken": Reason.CREDENTIALS,
    "OptInRequired": Reason.CREDENTIALS,
    "RegionDisabledException": Reason.CREDENTIALS,
    "RequestExpired": Reason.CREDENTIALS,
    "SignatureDoesNotMatch": Reason.CREDENTIALS,
    "UnrecognizedClientException": Reason.CREDENTIALS,
    "InternalError": Reason.SERVICE_FAILURE,
    "InternalFailure": Reason.SERVICE_FAILURE,
    "ServiceFailure": Reason.SERVICE_FAILURE,
    "ServiceUnavailable": Reason.SERVICE_FAILURE,
    "LimitExceeded": Reason.SERVICE_FAILURE,
    "ReportExpired": Reason.SERVICE_FAILURE,
    "ReportInProgress": Reason.SERVICE_FAILURE,
    "ReportNotPresent": Reason.SERVICE_FAILURE,
    "InvalidAction": Reason.INVALID_REQUEST,
    "InvalidInput": Reason.INVALID_REQUEST,
    "InvalidParameterValue": Reason.INVALID_REQUEST,
    "MalformedInput": Reason.INVALID_REQUEST,
    "NoSuchEntity": Reason.INVALID_REQUEST,
    "PackedPolicyTooLarge": Reason.INVALID_REQUEST,
    "ValidationError": Reason.INVALID_REQUEST,
    "RequestTimeout": Reason.TIMEOUT,
}
"""AWS's codes as botocore shows them: those of the query protocol, without "Exception"."""

REASON_OF_TYPE: tuple[tuple[type[BaseException], Reason], ...] = (
    (botocore.ConnectTimeoutError, Reason.TIMEOUT),
    (botocore.ReadTimeoutError, Reason.TIMEOUT),
    (botocore.NoCredentialsError, Reason.CREDENTIALS),
    (botocore.PartialCredentialsError, Reason.CREDENTIALS),
    (botocore.CredentialRetrievalError, Reason.CREDENTIALS),
    (botocore.MetadataRetrievalError, Reason.CREDENTIALS),
    (botocore.ProfileNotFound, Reason.CREDENTIALS),
    (botocore.ConfigParseError, Reason.CREDENTIALS),
    (botocore.ConfigNotFound, Reason.CREDENTIALS),
    (botocore.InvalidConfigError, Reason.CREDENTIALS),
    (botocore.InfiniteLoopConfigError, Reason.CREDENTIALS),
    (botocore.TokenRetrievalError, Reason.CREDENTIALS),
    (botocore.SSOError, Reason.CREDENTIALS),
    (botocore.LoginError, Reason.CREDENTIALS),
    (botocore.NoAuthTokenError, Reason.CREDENTIALS),
    (botocore.UnknownCredentialError, Reason.CREDENTIALS),
    (botocore.RefreshWithMFAUnsupportedError, Reason.CREDENTIALS),
    (botocore.ConnectionError, Reason.NETWORK),
    (botocore.HTTPClientError, Reason.NETWORK),
    (botocore.IncompleteReadError, Reason.NETWORK),
    (ResponseParserError, Reason.MALFORMED),
    (KeyError, Reason.MALFORMED),  # its parser met XML that is not IAM's, such as a proxy's page
    (botocore.ParamValidationError, Reason.INVALID_REQUEST),
)
"""botocore's own errors, the most specific first."""

WORTH_RETRYING = frozenset(
    {Reason.THROTTLED, Reason.SERVICE_FAILURE, Reason.TIMEOUT, Reason.NETWORK, Reason.MALFORMED}
)
"""What can pass by itself within seconds. The others need a person."""

NOT_WORTH_RETRYING = frozenset(
    {"LimitExceeded", "ReportExpired", "ReportInProgress", "ReportNotPresent"}
)
"""Codes that pass by themselves, but not within seconds."""


def to_read_error(error: Exception, operation: str) -> ReadError:
    """Translate *error*, met by *operation*. Its cause is for the caller to chain."""
    if isinstance(error, botocore.ClientError):
        told = error.response.get("Error", {})
        code = str(told.get("Code", "Unknown"))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        by_status = {403: Reason.ACCESS_DENIED, 429: Reason.THROTTLED}.get(
            status, Reason.SERVICE_FAILURE if status >= 500 else Reason.UNEXPECTED
        )
        reason = REASON_OF_CODE.get(code, by_status)
        return ReadError(reason, f"{operation}: {code}: {told.get('Message', '')}", code=code)
    reason = next(
        (reason for type_, reason in REASON_OF_TYPE if isinstance(error, type_)), Reason.UNEXPECTED
    )
    return ReadError(reason, f"{operation}: {error}", code=type(error).__name__)


def is_worth_retrying(error: ReadError) -> bool:
    return error.reason in WORTH_RETRYING and error.code not in NOT_WORTH_RETRYING
