"""
The clients: one of each service (IAM, STS, Organizations) for each region, shared by all accounts.

Each request is signed with the credentials of the account that is being refreshed. A client for
each account would cost 0.4 MB and 21 ms, a session for each account 10 MB and 113 ms.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import boto3
import botocore.session
from botocore import xform_name
from botocore.config import Config
from botocore.credentials import Credentials

from exporter.aws import responses
from exporter.aws.errors import malformed, source, to_read_error
from exporter.aws.operations import Operation
from exporter.aws.transport import (
    REQUEST_SECONDS,
    Call,
    ResponseTooLargeError,
    Transport,
    Watchdog,
    current_call,
)
from exporter.aws.xml_parser import ParserFactory
from exporter.model import Clock, ReadError, Reason

RequestObserver = Callable[[str, float, str], None]
"""
Called after each request with the operation, its duration in seconds, and the AWS error code (""
on success).
"""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """
    Where AWS is. The defaults are those of the public cloud.

    Attributes:
        region: None: that of the environment or profile.
        urls: URLs that replace AWS's own, by service.
        connect_timeout: Seconds to wait for a connection.
        read_timeout: Seconds to wait for the next byte of a response.
    """

    region: str | None = None
    urls: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    use_fips: bool = False
    use_dualstack: bool = False
    connect_timeout: float = 5.0
    read_timeout: float = 30.0


class Clients:
    """
    The clients of all accounts, created when they are first used.

    Args:
        workers: The number of requests that can be in flight at once.
        observe: Called after each request.
        count_error: Called with the operation and a code for what is wrong with its response,
            found after *observe* was called.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        *,
        workers: int,
        observe: RequestObserver,
        count_error: Callable[[str, str], None],
        clock: Clock,
    ) -> None:
        self.endpoints = endpoints
        self._workers = workers
        self._observe = observe
        self.count_error = count_error
        self._clock = clock
        self._lock = threading.Lock()
        self._clients: dict[tuple[str, str], Any] = {}
        self._watchdog = Watchdog(clock)

    def set_workers(self, workers: int) -> None:
        """Set the number of requests that can be in flight; those under way are not interrupted."""
        with self._lock:
            if workers != self._workers:
                self._workers, self._clients = workers, {}

    def request(
        self,
        operation: Operation,
        parameters: Mapping[str, Any],
        *,
        credentials: Credentials,
        region: str,
        seconds: float,
    ) -> dict[str, Any]:
        """
        Make one request: a single attempt.

        Args:
            region: Chooses the partition.
            seconds: The longest that it may take in total.

        Raises:
            ReadError: AWS returned an error or nothing usable, or could not be reached.
        """
        began = self._clock.monotonic()
        call = Call(credentials, began + min(seconds, REQUEST_SECONDS))
        code = ""
        try:
            method = getattr(self._client(operation.service, region), _method(operation))
            current_call.set(call)
            with self._watchdog.watch(call):
                result: dict[str, Any] = method(**parameters)
            responses.check(operation, result)
            return result
        except Exception as error:
            failure = self._failure(operation, call, error)
            if failure is None:  # ours, or a bug: not for us to explain
                raise
            code = failure.code
            # Not `from error`: a traceback would show it, and it may quote the response's body.
            raise failure from None
        finally:
            self._observe(operation, self._clock.monotonic() - began, code)

    def _failure(self, operation: Operation, call: Call, error: Exception) -> ReadError | None:
        if isinstance(error, ReadError):
            return error
        if call.expired:
            text = f"{operation}: no complete response in time"
            return ReadError(Reason.TIMEOUT, text, code="RequestTimeout")
        if isinstance(error, ResponseTooLargeError):
            return malformed(operation, str(error))
        response = source(call.status, call.content_type)
        return to_read_error(error, operation, response, call.status)

    def _client(self, service: str, region: str) -> Any:
        # Any: which client it is depends on the service, and stubs have no common type.
        with self._lock:
            client = self._clients.get((service, region))
            if client is None:
                try:
                    client = self._new_client(service, region)
                except ValueError as error:
                    text = f"cannot create a client of {service}: invalid endpoint URL"
                    raise ReadError(Reason.INVALID_REQUEST, text, code="InvalidURL") from error
                self._clients[service, region] = client
        return client

    def _new_client(self, service: str, region: str) -> Any:
        session = botocore.session.Session()
        session.register_component("response_parser_factory", ParserFactory())
        client: Any = boto3.Session(botocore_session=session).client(
            service,  # type: ignore[call-overload]
            region_name=region,
            endpoint_url=self.endpoints.urls.get(service),
            # Never used: each request brings its own. They keep the default chain out.
            aws_access_key_id="-",
            aws_secret_access_key="-",
            config=Config(
                # We retry ourselves: botocore's retries would share one budget among all
                # accounts, could not be cancelled, and would bypass the rate limit.
                retries={"mode": "standard", "total_max_attempts": 1},
                max_pool_connections=self._workers,
                connect_timeout=self.endpoints.connect_timeout,
                read_timeout=self.endpoints.read_timeout,
                use_fips_endpoint=self.endpoints.use_fips or None,
                use_dualstack_endpoint=self.endpoints.use_dualstack or None,
                user_agent_extra="aws-iam-key-exporter",
            ),
        )

        client.meta.events.register(f"before-sign.{service}", _sign_with_account_credentials)
        transport = Transport(client._endpoint.http_session, self._clock)
        client.meta.events.register(f"before-send.{service}", transport.send)
        return client


def _sign_with_account_credentials(request: Any, **_: object) -> None:
    # botocore signs with the credentials that a client was created with, unless a handler puts
    # others into the request's context.
    request.context.setdefault("signing", {})["request_credentials"] = (
        current_call.get().credentials
    )


@lru_cache
def _method(operation: Operation) -> str:
    return str(xform_name(operation))
