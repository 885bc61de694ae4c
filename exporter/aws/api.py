"""How one account is asked: signed in, paced, retried where that helps, ended by a deadline."""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from botocore.credentials import Credentials

from exporter.aws.errors import is_worth_retrying
from exporter.aws.rate_limiter import RateLimiter
from exporter.aws.session import Sessions, Signer
from exporter.model import Account, ReadError, Reason

MAX_ATTEMPTS = 5
"""How often one question is asked before it counts as failed."""

MAX_CONSECUTIVE_FAILURES = 3
"""So many questions of one kind in a row that failed after all attempts end the reading."""

SESSION_SECONDS = 3600
"""The longest that AWS allows when a role assumes a role."""

RENEWAL = 300.0
"""Seconds before its end at which a role is assumed anew."""


class AccountApi:
    """
    The questions of one reading to one account.

    Args:
        seconds: The deadline of the reading.

    Attributes:
        throttles: How often AWS has throttled this reading.
    """

    def __init__(
        self,
        sessions: Sessions,
        account: Account,
        *,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sessions = sessions
        self._door = sessions.door(account)
        self._deadline = clock() + seconds
        self._clock = clock
        self._given_up: dict[str, int] = {}
        self._shut: ReadError | None = None
        self.throttles = 0

    @property
    def account(self) -> Account:
        """The account, with the id and partition that its credentials told."""
        return self._door.account

    def sign_in(self) -> Signer:
        """
        Give the account's credentials, renewed if need be.

        Raises:
            ReadError: There are none, the role cannot be assumed, or they belong to another
                account. There is no falling back to other credentials.
        """
        door = self._door
        if door.signer is not None and self._clock() < door.until:
            return door.signer
        door.signer = None
        signer, door.region = self._sessions.base(door.account)
        if door.account.role_arn:
            signer = self._assume(str(door.account.role_arn), signer)
        found = self._ask("sts", "GetCallerIdentity", {}, signer, expect="Account")
        self._sessions.claim(door, found["Account"], found["Arn"])
        door.signer, door.until = signer, self._clock() + SESSION_SECONDS - RENEWAL
        return signer

    def _assume(self, role_arn: str, base: Signer) -> Signer:
        account = self._door.account
        parameters: dict[str, Any] = {
            "RoleArn": role_arn,
            "RoleSessionName": account.session_name,
            "DurationSeconds": SESSION_SECONDS,
        }
        if account.external_id:
            parameters["ExternalId"] = account.external_id
        try:
            answer = self._ask("sts", "AssumeRole", parameters, base, expect="Credentials")
        except ReadError as error:
            if error.reason is not Reason.ACCESS_DENIED:
                raise
            # The same code from IAM is about the permission policy; here it is the trust policy.
            raise ReadError(Reason.ASSUME_ROLE, str(error), code=error.code) from error
        given = answer["Credentials"]
        return Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])

    def call(self, operation: str, *, expect: str, **parameters: Any) -> dict[str, Any]:
        """
        Ask IAM for *operation*.

        Args:
            expect: The member that an answer must have. An answer without it is none.

        Raises:
            ReadError: No answer, after all attempts. Some reasons end the whole reading: then
                every later call raises the same error at once, without asking.
        """
        if self._shut is not None:
            raise self._shut
        try:
            signer = self.sign_in()
        except ReadError as error:
            self._shut = error
            raise
        return self._ask("iam", operation, parameters, signer, expect=expect, pace=self._door.pace)

    def pages(self, operation: str, member: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """
        Ask IAM for a list, page by page, and give the entries of *member*.

        Raises:
            ReadError: See `call`.
        """
        while True:
            page = self.call(operation, expect=member, MaxItems=1000, **parameters)
            yield from page[member]
            # A page can be shorter than asked for, even empty, and not be the last.
            if not page.get("IsTruncated"):
                return
            parameters["Marker"] = page["Marker"]

    def has_time_for(self, seconds: float) -> bool:
        """Tell whether the deadline is further away than *seconds*."""
        return self._clock() + seconds <= self._deadline

    def sleep(self, seconds: float) -> None:
        """
        Wait.

        Raises:
            Stopped: The exporter is to stop.
            ReadError: The deadline would pass meanwhile.
        """
        self._mind_deadline(seconds)
        self._door.pace.sleep(seconds)

    def _ask(
        self,
        service: str,
        operation: str,
        parameters: Mapping[str, Any],
        signer: Signer,
        *,
        expect: str,
        pace: RateLimiter | None = None,
    ) -> dict[str, Any]:
        attempt = 1
        while True:
            if pace is not None:
                self._mind_deadline(pace.delay())
                pace.take()
            try:
                answer = self._sessions.request(
                    service,
                    operation,
                    parameters,
                    signer=signer,
                    region=self._door.region,
                    expect=expect,
                )
            except ReadError as error:
                if error.reason is Reason.THROTTLED:
                    self.throttles += 1
                    self._door.pace.throttled()
                if attempt == MAX_ATTEMPTS or not is_worth_retrying(error):
                    self._give_up(operation, error)
                    raise
                self.sleep(random.uniform(0, 0.1 * 2**attempt))
                attempt += 1
            else:
                self._given_up[operation] = 0
                return answer

    def _give_up(self, operation: str, error: ReadError) -> None:
        # By operation: one that AWS refuses can be asked in turn with one that it does not.
        in_vain = self._given_up.get(operation, 0) + 1 if is_worth_retrying(error) else 0
        self._given_up[operation] = in_vain
        if error.reason is Reason.CREDENTIALS:
            self._sessions.forget(self._door)
            self._shut = error
        elif in_vain == MAX_CONSECUTIVE_FAILURES:
            self._shut = error

    def _mind_deadline(self, seconds: float) -> None:
        if not self.has_time_for(seconds):
            self._shut = ReadError(Reason.DEADLINE, "the reading took longer than its deadline")
            raise self._shut
