"""AWS's and botocore's errors, translated into ours."""

import logging
import re
import ssl

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
    "RequestTimeTooSkewed": Reason.CREDENTIALS,
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
    (botocore.UnknownTokenProviderError, Reason.CREDENTIALS),
    (botocore.RefreshWithMFAUnsupportedError, Reason.CREDENTIALS),
    (botocore.MissingDependencyException, Reason.CREDENTIALS),  # of a way to find credentials
    (botocore.InvalidIMDSEndpointError, Reason.CREDENTIALS),
    (botocore.InvalidIMDSEndpointModeError, Reason.CREDENTIALS),
    (botocore.ConnectionError, Reason.NETWORK),
    (botocore.HTTPClientError, Reason.NETWORK),
    (botocore.IncompleteReadError, Reason.NETWORK),
    (ResponseParserError, Reason.MALFORMED),
    (botocore.ChecksumError, Reason.MALFORMED),
    (botocore.FlexibleChecksumError, Reason.MALFORMED),
    (botocore.ParamValidationError, Reason.INVALID_REQUEST),
    # The region, an endpoint or an option of botocore's own that the operator chose.
    (botocore.BaseEndpointResolverError, Reason.INVALID_REQUEST),
    (botocore.EndpointProviderError, Reason.INVALID_REQUEST),
    (botocore.InvalidDefaultsMode, Reason.INVALID_REQUEST),
    (botocore.InvalidEndpointConfigurationError, Reason.INVALID_REQUEST),
    (botocore.InvalidHostLabelError, Reason.INVALID_REQUEST),
    (botocore.InvalidProxiesConfigError, Reason.INVALID_REQUEST),
    (botocore.InvalidRegionError, Reason.INVALID_REQUEST),
    (botocore.InvalidRetryConfigurationError, Reason.INVALID_REQUEST),
    (botocore.InvalidSTSRegionalEndpointsConfigError, Reason.INVALID_REQUEST),
    (botocore.UnknownRegionError, Reason.INVALID_REQUEST),
)
"""botocore's own errors, the most specific first."""

NOT_TRANSLATED: frozenset[type[Exception]] = frozenset(
    {
        botocore.AliasConflictParameterError,
        botocore.ApiVersionNotFoundError,
        botocore.AwsChunkedWrapperError,
        botocore.BotoCoreError,
        botocore.CapacityNotAvailableError,
        botocore.DataNotFoundError,
        botocore.ImminentRemovalWarning,
        botocore.InvalidChecksumConfigError,
        botocore.InvalidDNSNameError,
        botocore.InvalidEndpointDiscoveryConfigurationError,
        botocore.InvalidExpressionError,
        botocore.InvalidS3AddressingStyleError,
        botocore.InvalidS3UsEast1RegionalEndpointConfigError,
        botocore.MD5UnavailableError,
        botocore.MissingParametersError,
        botocore.MissingServiceIdError,
        botocore.OperationNotPageableError,
        botocore.PaginationError,
        botocore.RangeError,
        botocore.ServiceNotInRegionError,
        botocore.StubAssertionError,
        botocore.StubResponseError,
        botocore.UnStubbedResponseError,
        botocore.UndefinedModelAttributeError,
        botocore.UnknownClientMethodError,
        botocore.UnknownKeyError,
        botocore.UnknownParameterError,
        botocore.UnknownServiceError,
        botocore.UnknownServiceStyle,
        botocore.UnknownSignatureVersionError,
        botocore.UnseekableStreamError,
        botocore.UnsupportedOutpostResourceError,
        botocore.UnsupportedS3AccesspointConfigurationError,
        botocore.UnsupportedS3ArnError,
        botocore.UnsupportedS3ConfigurationError,
        botocore.UnsupportedS3ControlArnError,
        botocore.UnsupportedS3ControlConfigurationError,
        botocore.UnsupportedServiceProtocolsError,
        botocore.UnsupportedSignatureVersionError,
        botocore.UnsupportedTLSVersionWarning,
        botocore.ValidationError,
        botocore.WaiterConfigError,
        botocore.WaiterError,
    }
)
"""
Errors that only a bug can cause, ours or botocore's, or that belong to services that we do not use.

They are raised as they are, so that whoever reports bugs has their traceback.
"""

WORTH_RETRYING = frozenset(
    {Reason.THROTTLED, Reason.SERVICE_FAILURE, Reason.TIMEOUT, Reason.NETWORK, Reason.MALFORMED}
)
"""Reasons that can go away within seconds. The others need a person."""

NOT_WORTH_RETRYING = frozenset(
    {"LimitExceeded", "ReportExpired", "ReportInProgress", "ReportNotPresent"}
)
"""Codes that go away, but not within seconds."""

MAX_MESSAGE = 600
"""Characters of AWS's own message that we repeat."""

for _name in ("botocore.credentials", "botocore.tokens", "urllib3.connection"):
    # They log tracebacks of errors that reach us as well, and quote what a program or a server
    # wrote, which may be a secret. It is for us to log them.
    logging.getLogger(_name).setLevel(logging.CRITICAL)

_USER_INFO = re.compile(r"//[^/@\s]*@")

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,99}")


def to_read_error(
    error: Exception, operation: str, response: str = "", status: int = 200
) -> ReadError | None:
    """
    Translate *error*, raised by a call to *operation*. None: it is no failure that we know of.

    Only AWS's own code and message are repeated: botocore's errors may quote a response body, and
    with it a secret.

    Args:
        response: Describes the response, if there was one: see `source`.
        status: Its HTTP status.
    """
    if isinstance(error, botocore.ClientError):
        return _from_response(error, operation, response)
    if isinstance(error, ResponseParserError) or _raised_by_parser(error):
        # botocore's parser raises whatever comes to hand: it met something that is not AWS's XML.
        if status >= 300:
            return _from_stranger(operation, status, response)
        return malformed(operation, f"unparseable response{response}")
    for type_, reason in REASON_OF_TYPE:
        if isinstance(error, type_):
            text = f"{operation}: {_text(error, reason)}{response}"
            return ReadError(reason, text, code=type(error).__name__)
    return None


def source(status: int, content_type: str) -> str:
    """Describe a response by its HTTP status and content type, to be appended to a sentence."""
    if not status:
        return ""
    return f" (HTTP status {status}, {single_line(content_type, 60) or 'no content type'})"


def _text(error: Exception, reason: Reason) -> str:
    if isinstance(error, botocore.CredentialRetrievalError):
        # It quotes what a program wrote, which may be a secret.
        provider = single_line(str(error.kwargs.get("provider", "a provider")), 60)
        return f"cannot get credentials from {provider}"
    if isinstance(error, botocore.HTTPClientError | botocore.ConnectionError):
        # They quote what they could not understand of a response, such as its status line.
        url = error.kwargs.get("endpoint_url") or error.kwargs.get("proxy_url") or ""
        where = f" ({_USER_INFO.sub('//***@', single_line(str(url)))})" if url else ""
        what = "no response in time" if reason is Reason.TIMEOUT else "no valid response"
        return f"{_root_cause(error) or what}{where}"
    return _USER_INFO.sub("//***@", single_line(str(error)))


def _root_cause(error: BaseException) -> str:
    """Find what the system said, such as "Connection refused". Empty: nothing."""
    found = ""
    seen: set[int] = set()
    inner: object = error
    while isinstance(inner, BaseException) and id(inner) not in seen:
        seen.add(id(inner))
        if isinstance(inner, OSError):
            found = _system_error(inner) or found
        kwargs = getattr(inner, "kwargs", None)
        nested = kwargs.get("error") if isinstance(kwargs, dict) else None
        inner = nested or getattr(inner, "reason", None) or inner.__cause__ or inner.__context__
    return found


def _system_error(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return single_line(f"TLS: certificate verify failed: {error.verify_message}", 200)
    if isinstance(error, ssl.SSLError):
        return f"TLS: {single_line(error.reason or 'handshake failed', 60)}"
    if error.errno is not None and error.strerror:
        return single_line(error.strerror, 100)
    # Python's http.client has no better way to say this. The proxy's own words are left out.
    refused = re.match(r"Tunnel connection failed: (\d{3})\b", str(error))
    return f"the proxy answered with HTTP status {refused[1]}" if refused else ""


def malformed(operation: str, text: str) -> ReadError:
    """Create the error for a response that is not what AWS documents."""
    return ReadError(Reason.MALFORMED, f"{operation}: {text}", code="Malformed")


def is_worth_retrying(error: ReadError) -> bool:
    return error.reason in WORTH_RETRYING and error.code not in NOT_WORTH_RETRYING


def single_line(text: str, limit: int = MAX_MESSAGE) -> str:
    """Shorten *text* to one line of at most *limit* characters, without control characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


def _from_response(error: botocore.ClientError, operation: str, response: str) -> ReadError:
    details = error.response.get("Error", {})
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code, message = (  # what is no text has elements of its own, and is none of AWS's
        text if isinstance(text := details.get(member), str) else ""
        for member in ("Code", "Message")
    )
    reason = REASON_OF_CODE.get(code)
    if reason is None and (not _CODE.fullmatch(code) or code == "Unknown"):
        return _from_stranger(operation, status, response)
    if reason is None:
        reason = _reason_of_status(status, otherwise=Reason.INVALID_REQUEST)
    return ReadError(reason, f"{operation}: {code}: {single_line(message)}", code=code)


def _from_stranger(operation: str, status: int, response: str) -> ReadError:
    """Describe an error that is not AWS's: something before AWS has answered, such as a proxy."""
    reason = _reason_of_status(status, otherwise=Reason.MALFORMED)
    return ReadError(
        Reason.NETWORK if reason is Reason.ACCESS_DENIED else reason,
        f"{operation}: no AWS error code{response or f' (HTTP status {status})'}",
        code=f"HTTP{status}",
    )


def _reason_of_status(status: int, *, otherwise: Reason) -> Reason:
    if status == 501:  # Not Implemented does not go away
        return Reason.INVALID_REQUEST
    if status >= 500:
        return Reason.SERVICE_FAILURE
    if 300 <= status < 400:
        return Reason.NETWORK
    known = {403: Reason.ACCESS_DENIED, 407: Reason.NETWORK, 429: Reason.THROTTLED}
    return known.get(status, otherwise)


def _raised_by_parser(error: Exception) -> bool:
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_globals.get("__name__") == "botocore.parsers":
            return True
        traceback = traceback.tb_next
    return False
