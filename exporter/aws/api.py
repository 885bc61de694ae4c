"""The AWS API as one refresh or discovery calls it: rate limited, retried, with a deadline."""

import logging
import random
from collections.abc import Iterator, Mapping
from typing import Any, Final

from botocore.credentials import Credentials

from exporter.aws.account_session import AccountSession
from exporter.aws.clients import Clients
from exporter.aws.errors import is_worth_retrying, malformed
from exporter.aws.operations import Operation
from exporter.model import Account, Clock, ReadError, Reason

log = logging.getLogger(__name__)

MAX_ATTEMPTS: Final = 5
"""Maximum attempts per API call, including the first."""

MAX_CONSECUTIVE_FAILURES: Final = 3
"""Abort the refresh after this many consecutive calls to one operation have failed all attempts."""

MAX_DENIALS: Final = 20
"""Stop calling an operation that was denied this many times and did not succeed once."""

MAX_IDLE_PAGES: Final = 5
"""Consecutive pages without anything new after which a list is taken to be endless."""

MAX_PAGES: Final = 1000
"""Pages after which a list is taken to be endless: an account has at most a few thousand users."""

MAX_ITEMS: Final = 1000
"""The largest page that IAM returns."""


class Aborted(Exception):
    """
    The refresh cannot go on: no further call will succeed, or there is no time for one.

    Attributes:
        error: Why.
    """

    def __init__(self, error: ReadError) -> None:
        super().__init__(str(error))
        self.error = error


class AccountApi:
    """
    The calls of one refresh of one account.

    Args:
        seconds: The deadline of the refresh, from now.
        rng: Spreads retries.

    Attributes:
        throttles: Requests that AWS has throttled during this refresh.
    """

    def __init__(
        self,
        clients: Clients,
        session: AccountSession,
        *,
        seconds: float,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._clients = clients
        self._session = session
        self._clock = clock
        self._rng = rng
        self._deadline = clock.monotonic() + seconds
        # Per operation: one that always fails may alternate with one that succeeds.
        self._failures: dict[Operation, int] = {}
        self._succeeded: set[Operation] = set()
        self._warned = False
        self._denials: dict[Operation, int] = {}
        self.throttles = 0

    @property
    def account(self) -> Account:
        """The account, with the id and partition that AWS reported."""
        return self._session.account

    def sign_in(self) -> None:
        """
        Make sure that there are credentials of the account.

        Raises:
            Aborted: There are none, the role cannot be assumed, or they belong to another account.
        """
        self._credentials()

    def call(self, operation: Operation, **parameters: Any) -> dict[str, Any]:
        """
        Call *operation* of IAM.

        Raises:
            ReadError: This call failed, after all attempts.
            Aborted: It failed in a way that makes further calls pointless.
        """
        try:
            result = self._call_signed(operation, parameters)
        except ReadError as error:
            self._record_failure(operation, error)
            raise
        self._failures[operation] = 0
        self._succeeded.add(operation)
        return result

    def pages(self, operation: Operation, **parameters: Any) -> Iterator[dict[str, Any]]:
        """
        Call *operation* of IAM, page by page, and return its items.

        Raises:
            ReadError: See `call`; also if the pages do not come to an end.
            Aborted: See `call`.
        """
        markers: set[str] = set()
        seen: set[str] = set()
        idle = 0
        for _ in range(MAX_PAGES):
            page = self.call(operation, MaxItems=MAX_ITEMS, **parameters)
            items = page[operation.member]
            yield from items
            # A page that is shorter than requested, even empty, need not be the last.
            marker, truncated = page.get("Marker"), page.get("IsTruncated")
            if truncated in (False, None) and not marker:
                return
            ids = {str(item.get(operation.item_id)) for item in items}
            idle = idle + 1 if ids <= seen else 0
            if (
                truncated is not True
                or not isinstance(marker, str)
                or not marker
                or marker in markers
                or idle == MAX_IDLE_PAGES
            ):
                break
            seen |= ids
            markers.add(marker)
            parameters["Marker"] = marker
        self.count_malformed(operation)
        raise malformed(operation, "the pages of the response do not come to a proper end")

    def token_pages(self, operation: Operation, **parameters: Any) -> Iterator[dict[str, Any]]:
        """
        Call *operation* of Organizations, page by page, and return its items.

        Pages may be empty although others follow. Only a token that is repeated shows that there is
        no end.

        Raises:
            ReadError: See `call`; also if the pages do not come to an end.
            Aborted: See `call`.
        """
        tokens: set[str] = set()
        for _ in range(MAX_PAGES):
            page = self.call(operation, **parameters)
            yield from page[operation.member]
            token = page.get("NextToken")
            if not token:
                return
            if not isinstance(token, str) or token in tokens:
                break
            tokens.add(token)
            parameters["NextToken"] = token
        self.count_malformed(operation)
        raise malformed(operation, "the pages of the response do not come to a proper end")

    def has_ended(self, operation: Operation) -> bool:
        """Whether *operation* fails for everything, and is not called again in this refresh."""
        return self._denials.get(operation, 0) >= MAX_DENIALS

    def count_denial(self, operation: Operation, error: ReadError) -> None:
        """Count a failure of *operation*, if it is a denial and the operation never succeeded."""
        if error.reason is Reason.ACCESS_DENIED and operation not in self._succeeded:
            self._denials[operation] = self._denials.get(operation, 0) + 1

    def count_malformed(self, operation: Operation) -> None:
        """Count a response to *operation*, or an item of it, that is not what AWS documents."""
        self._clients.count_error(operation, "Malformed")

    def discard_credentials(self) -> None:
        """Sign in again at the next refresh."""
        self._session.discard()

    def has_time_for(self, seconds: float) -> bool:
        """Whether the deadline is further away than *seconds*."""
        return self._clock.monotonic() + seconds <= self._deadline

    def sleep(self, seconds: float) -> None:
        """
        Wait.

        Raises:
            Aborted: The deadline would pass meanwhile.
            Stopped: The exporter is shutting down.
        """
        self._check_deadline(seconds)
        self._session.rate_limiter.sleep(seconds)

    def _call_signed(self, operation: Operation, parameters: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return self._request_with_retries(operation, parameters, self._credentials())
        except ReadError as error:
            if error.reason is not Reason.CREDENTIALS or not self._session.discard():
                raise
        # A session that was revoked, or keys that were rotated: sign in once more and repeat.
        return self._request_with_retries(operation, parameters, self._credentials())

    def _credentials(self) -> Credentials:
        try:
            try:
                return self._session.credentials(self._request_with_retries)
            except ReadError as error:
                if error.reason is not Reason.CREDENTIALS or not self._session.discard():
                    raise
            return self._session.credentials(self._request_with_retries)
        except ReadError as error:
            raise Aborted(error) from error

    def _request_with_retries(
        self, operation: Operation, parameters: Mapping[str, Any], credentials: Credentials
    ) -> dict[str, Any]:
        rate_limiter = self._session.rate_limiter
        attempt = 1
        while True:
            if operation.service != "sts":  # which has a limit of its own, and a generous one
                self._check_deadline(rate_limiter.delay())
                rate_limiter.take()
            self._check_deadline(0)
            try:
                return self._request(operation, parameters, credentials)
            except ReadError as error:
                if error.reason is Reason.THROTTLED:
                    self.throttles += 1
                    rate_limiter.throttled()
                if attempt == MAX_ATTEMPTS or not is_worth_retrying(error):
                    raise
            self.sleep(self._rng.uniform(0, 0.1 * 2**attempt))
            attempt += 1

    def _request(
        self, operation: Operation, parameters: Mapping[str, Any], credentials: Credentials
    ) -> dict[str, Any]:
        """Make one attempt, and log it."""
        began = self._clock.monotonic()
        code = ""
        try:
            return self._clients.request(
                operation,
                parameters,
                credentials=credentials,
                region=self._session.region,
                seconds=self._deadline - began,
            )
        except ReadError as error:
            code = error.code
            if error.reason in (Reason.TIMEOUT, Reason.NETWORK) and not self._warned:
                self._warned = True  # not when all attempts have failed, which takes minutes
                log.warning(
                    "request failed, retrying",
                    extra={"account": self.account.label, "error": str(error)},
                )
            raise
        finally:
            if log.isEnabledFor(logging.DEBUG):
                facts = {
                    "operation": str(operation),
                    "account": self.account.label,
                    "seconds": round(self._clock.monotonic() - began, 4),
                    "code": code,
                }
                log.debug("AWS request", extra=facts)

    def _record_failure(self, operation: Operation, error: ReadError) -> None:
        retryable = is_worth_retrying(error)
        failures = self._failures.get(operation, 0) + 1 if retryable else 0
        self._failures[operation] = failures
        if error.reason is Reason.CREDENTIALS:
            raise Aborted(error) from error
        if failures == MAX_CONSECUTIVE_FAILURES:
            if operation is not Operation.LIST_USER_TAGS:
                raise Aborted(error) from error
            self._denials[operation] = MAX_DENIALS  # keys matter more: go on without tags

    def _check_deadline(self, seconds: float) -> None:
        if not self.has_time_for(seconds):
            text = "the refresh did not finish before its deadline"
            raise Aborted(ReadError(Reason.DEADLINE, text))
