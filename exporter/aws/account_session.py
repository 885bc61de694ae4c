"""Account sessions: the credentials of one account, verified to belong to it, and their expiry."""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from botocore.credentials import Credentials

from exporter.aws.base_credentials import (
    BaseCredentials,
    ExpiringCredentials,
    Request,
    expiring,
)
from exporter.aws.clients import Clients
from exporter.aws.credential_process import PROCESS_SECONDS
from exporter.aws.operations import Operation
from exporter.aws.rate_limiter import RateLimiter
from exporter.model import Account, Clock, Partition, ReadError, Reason, RoleArn

log = logging.getLogger(__name__)


class AccountSession:
    """
    How one account is accessed: its credentials, region and rate limit.

    Kept from one refresh to the next, and used by one at a time.

    Attributes:
        account: As configured, with the id and partition that AWS reported.
        region: A region of the account's partition. Empty until there are credentials.
        rate_limiter: Limits the account's IAM requests.
    """

    def __init__(
        self,
        account: Account,
        base: BaseCredentials,
        rate_limiter: RateLimiter,
        claim: Callable[[str], None],
        clock: Clock,
    ) -> None:
        self.account = account
        self.region = ""
        self.rate_limiter = rate_limiter
        self._base = base
        self._claim = claim
        self._clock = clock
        self._current: ExpiringCredentials | None = None
        self._signed_in_with: ExpiringCredentials | None = None

    def credentials(self, request: Request) -> Credentials:
        """
        Return credentials that belong to the account, renewed if need be.

        They are frozen: what is signed with them acts in the account that was verified.

        Args:
            request: Makes the requests that this takes.

        Raises:
            ReadError: There are none, the role cannot be assumed, or they belong to another
                account. There is no fallback to other credentials.
        """
        if self._current is None or self._clock.monotonic() >= self._current.renew_at:
            self._current = None
            self._current = self._sign_in(request)
        return self._current.credentials

    def discard(self) -> bool:
        """
        Discard credentials that AWS rejected, or that belong to another account.

        Returns:
            Whether signing in again may help.
        """
        assumed = self._current is not None and self.account.role_arn is not None
        self._current = None
        return assumed or self._base.discard(self._signed_in_with)

    def _sign_in(self, request: Request) -> ExpiringCredentials:
        base, self.region = self._base.get(self.account)
        self._signed_in_with = base
        current = self._assume_roles(request, base)
        identity = request(Operation.GET_CALLER_IDENTITY, {}, current.credentials)
        try:
            self._verify(identity["Account"], identity["Arn"])
        except ReadError:
            # Whoever corrects this does not have to wait until these expire.
            if self.account.role_arn is None:
                self._base.discard(self._signed_in_with)
            raise
        return current

    def _assume_roles(self, request: Request, base: ExpiringCredentials) -> ExpiringCredentials:
        """Assume the role, and those on the way to it, from the one that we already have."""
        if self.account.role_arn is None:
            return base
        roles = (*self.account.role_session.via, self.account.role_arn)
        current = base
        for number, role in enumerate(roles):
            if number == 0 and self._base.is_role(role, base, request):
                continue
            current = self._assume_role(request, current.credentials, role)
        return current

    def _assume_role(
        self, request: Request, base: Credentials, role: RoleArn
    ) -> ExpiringCredentials:
        session, is_last = self.account.role_session, role == self.account.role_arn
        parameters: dict[str, Any] = {
            "RoleArn": str(role),
            "RoleSessionName": session.name,
            "DurationSeconds": session.seconds,
        }
        if session.source_identity:
            parameters["SourceIdentity"] = session.source_identity
        if is_last and session.external_id:
            parameters["ExternalId"] = session.external_id
        if is_last and session.tags:
            parameters["Tags"] = [{"Key": name, "Value": value} for name, value in session.tags]
        try:
            result = request(Operation.ASSUME_ROLE, parameters, base)["Credentials"]
        except ReadError as error:
            if error.reason is not Reason.ACCESS_DENIED:
                raise
            # From IAM the same code is about the permission policy; here it is the trust policy.
            raise ReadError(Reason.ASSUME_ROLE, str(error), code=error.code) from error
        return expiring(
            result["AccessKeyId"],
            result["SecretAccessKey"],
            result["SessionToken"],
            result["Expiration"],
            self._clock,
        )

    def _verify(self, account_id: str, arn: str) -> None:
        expected = self.account.id
        if expected and expected != account_id:
            text = f"the credentials belong to account {account_id}, not to {expected}"
            raise ReadError(Reason.WRONG_ACCOUNT, text)
        self._claim(account_id)
        if not expected:
            log.info("identified AWS caller", extra={"account": account_id, "arn": arn})
        if self.account.role_arn is None:
            # Not even a configured id says in which partition the account is.
            partition = Partition(arn.split(":")[1])
            self.account = replace(self.account, id=account_id, partition=partition)


class AccountSessions:
    """
    The sessions of all accounts.

    Args:
        requests_per_second: Default rate limit, for accounts that do not set one.
        burst: Default burst size.
        stop: Ends all waiting.
        process_timeout: Seconds that a credential_process may take.
    """

    def __init__(
        self,
        clients: Clients,
        *,
        requests_per_second: float,
        burst: int,
        stop: threading.Event,
        clock: Clock,
        process_timeout: float = PROCESS_SECONDS,
    ) -> None:
        self.clients = clients
        self._process_timeout = process_timeout
        self._rate = requests_per_second
        self._burst = burst
        self._stop = stop
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: dict[Account, AccountSession] = {}
        self._bases: dict[str | None, BaseCredentials] = {}
        self._owners: dict[str, Account] = {}

    def get(self, account: Account) -> AccountSession:
        """Return the session of *account*, created at its first refresh."""
        with self._lock:
            session = self._sessions.get(account)
            if session is None:
                claim = partial(self._claim, account)
                session = self._sessions[account] = self._new_session(account, claim)
        return session

    def set_rate(self, requests_per_second: float, burst: int) -> None:
        """Set the default rate limit, also that of refreshes that are under way."""
        with self._lock:
            self._rate, self._burst = requests_per_second, burst
            for account, session in self._sessions.items():
                session.rate_limiter.set_rate(*self._rate_of(account))

    def _rate_of(self, account: Account) -> tuple[float, int]:
        return account.requests_per_second or self._rate, account.burst or self._burst

    def forget(self, account: Account) -> None:
        """Keep nothing of *account*, which is no longer read."""
        with self._lock:
            self._sessions.pop(account, None)
            self._owners = {id_: owner for id_, owner in self._owners.items() if owner != account}

    def new_session(self, account: Account) -> AccountSession:
        """Create a session that does not keep others from reading the same AWS account."""
        with self._lock:
            return self._new_session(account, lambda account_id: None)

    def _new_session(self, account: Account, claim: Callable[[str], None]) -> AccountSession:
        if account.profile not in self._bases:
            region = self.clients.endpoints.region
            self._bases[account.profile] = BaseCredentials(
                account.profile, region, self._clock, process_timeout=self._process_timeout
            )
        rate_limiter = RateLimiter(
            *self._rate_of(account),
            wait=self._stop.wait,
            clock=self._clock,
        )
        base = self._bases[account.profile]
        return AccountSession(account, base, rate_limiter, claim, self._clock)

    def _claim(self, account: Account, account_id: str) -> None:
        """
        Make *account* the one entry of the configuration that reads this AWS account.

        Raises:
            ReadError: Another entry does already.
        """
        with self._lock:
            owner = self._owners.setdefault(account_id, account)
            if owner.id == account.id != "":
                # The same one as it was before it changed, whose last refresh is still under way.
                owner = self._owners[account_id] = account
        if owner != account:
            text = f"account {account_id} is already read, as {owner.label!r}"
            raise ReadError(Reason.WRONG_ACCOUNT, text)
