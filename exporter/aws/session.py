"""
Who asks: base credentials, the clients, and which account they turned out to belong to.

One IAM and one STS client per partition serve all accounts; each request is signed with the
credentials of the account that is being read. A client per account would cost 0.4 MB and 21 ms
each, a session per account 10 MB and 113 ms.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Protocol

import boto3
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import NoCredentialsError

from exporter.aws.errors import to_read_error
from exporter.aws.rate_limiter import RateLimiter
from exporter.model import Account, Partition, ReadError, Reason

log = logging.getLogger(__name__)

HOME_REGION = {
    Partition.AWS: "us-east-1",
    Partition.CHINA: "cn-north-1",
    Partition.EUROPEAN_SOVEREIGN: "eusc-de-east-1",
    Partition.ISO: "us-iso-east-1",
    Partition.ISO_B: "us-isob-east-1",
    Partition.ISO_E: "eu-isoe-west-1",
    Partition.ISO_F: "us-isof-south-1",
    Partition.US_GOV: "us-gov-west-1",
}
"""A region of each partition. Any of them finds the partition's one IAM endpoint."""

REBUILD_AFTER = 10.0
"""Seconds for which base credentials are kept, even refused ones."""

Observe = Callable[[str, float, str], None]
"""Told of every request: operation, seconds, and the code of its error or nothing."""

_signer: ContextVar["Signer"] = ContextVar("signer")


class Signer(Protocol):
    """What botocore signs a request with."""

    def get_frozen_credentials(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class Endpoints:
    """
    Where AWS is. The defaults are for the public cloud.

    Attributes:
        connect_timeout: Seconds until a connection has to be there.
        read_timeout: Seconds that an answer may keep us waiting.
    """

    region: str | None = None
    urls: Mapping[str, str] = field(default_factory=dict)
    use_fips: bool = False
    use_dualstack: bool = False
    connect_timeout: float = 5.0
    read_timeout: float = 30.0


@dataclass(slots=True)
class Door:
    """
    What is kept of one account between its readings.

    Attributes:
        configured: The account as the configuration has it.
        account: The same, with what its credentials told.
        until: When to sign in again.
    """

    configured: Account
    account: Account
    pace: RateLimiter
    signer: Signer | None = None
    region: str = ""
    until: float = 0.0


@dataclass(slots=True)
class _Base:
    """
    The session of one profile.

    Attributes:
        made_at: Seconds of the clock.
    """

    session: boto3.Session | None = None
    made_at: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Sessions:
    """
    The ways into all accounts.

    Args:
        requests_per_second: The pace for accounts that have none of their own.
        burst: Likewise.
        workers: How many readings there can be at once.
        observe: Told of every request.
        stop: Ends all waiting.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        *,
        requests_per_second: float,
        burst: int,
        workers: int,
        observe: Observe,
        stop: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoints = endpoints
        self._rate = requests_per_second
        self._burst = burst
        self._workers = workers
        self._observe = observe
        self._stop = stop
        self._clock = clock
        self._lock = threading.Lock()
        self._doors: dict[Account, Door] = {}
        self._clients: dict[tuple[str, str], Any] = {}
        self._bases: dict[str | None, _Base] = {}
        self._owners: dict[str, Account] = {}

    def door(self, account: Account) -> Door:
        """Give what is kept of *account*, which is new at its first reading."""
        with self._lock:
            door = self._doors.get(account)
            if door is None:
                pace = RateLimiter(
                    account.requests_per_second or self._rate,
                    account.burst or self._burst,
                    wait=self._stop.wait,
                    clock=self._clock,
                )
                door = self._doors[account] = Door(account, account, pace)
        return door

    def base(self, account: Account) -> tuple[Signer, str]:
        """
        Find the credentials to begin with, and a region of the account's partition.

        Raises:
            ReadError: There are none.
        """
        with self._lock:
            base = self._bases.setdefault(account.profile, _Base())
        try:
            # Sessions are not thread-safe. Each has its own lock, since finding credentials can
            # take long: it may run a program, or wait for a metadata service.
            with base.lock:
                if base.session is None:
                    base.session = boto3.Session(profile_name=account.profile)
                    base.made_at = self._clock()
                credentials = base.session.get_credentials()
                region = self._endpoints.region or base.session.region_name or ""
                if credentials is None:
                    base.session = None  # look anew the next time
                    raise NoCredentialsError
        except Exception as error:
            raise to_read_error(error, "find credentials") from error
        if not region or (account.role_arn and _partition(region) != account.partition):
            region = HOME_REGION[account.partition]
        return credentials, region

    def forget(self, door: Door) -> None:
        """Sign in anew the next time, with credentials looked up anew: these are refused."""
        door.signer = None
        with self._lock:
            base = self._bases.setdefault(door.account.profile, _Base())
        with base.lock:
            # Not for each of a thousand accounts that share them: a session takes 100 ms.
            if self._clock() - base.made_at >= REBUILD_AFTER:
                base.session = None

    def claim(self, door: Door, id_: str, arn: str) -> None:
        """
        Hold the account that the credentials belong to against the configured one.

        Raises:
            ReadError: It is another, or one that is read already.
        """
        account = door.account
        if account.id and account.id != id_:
            text = f"the credentials belong to account {id_}, not to {account.id}"
            raise ReadError(Reason.WRONG_ACCOUNT, text)
        with self._lock:
            owner = self._owners.setdefault(id_, door.configured)
        if owner != door.configured:
            text = f"account {id_} is read already, as {owner.label!r}"
            raise ReadError(Reason.WRONG_ACCOUNT, text)
        if not account.id:
            log.info("found whose credentials these are", extra={"account": id_, "arn": arn})
            door.account = replace(account, id=id_, partition=Partition(arn.split(":")[1]))

    def client(self, service: str, region: str) -> Any:
        """Give the one client of *service* for the partition of *region*."""
        with self._lock:
            client = self._clients.get((service, region))
            if client is None:
                client = self._clients[service, region] = self._new_client(service, region)
        return client

    def _new_client(self, service: str, region: str) -> Any:
        client: Any = boto3.Session().client(
            service,  # type: ignore[call-overload]
            region_name=region,
            endpoint_url=self._endpoints.urls.get(service),
            # Never used: each request brings its own. They keep the default chain out.
            aws_access_key_id="-",
            aws_secret_access_key="-",
            config=Config(
                # Retries are ours: botocore's would share one budget over all accounts,
                # could not be cancelled, and would not know the pace.
                retries={"mode": "standard", "total_max_attempts": 1},
                max_pool_connections=self._workers,
                connect_timeout=self._endpoints.connect_timeout,
                read_timeout=self._endpoints.read_timeout,
                use_fips_endpoint=self._endpoints.use_fips or None,
                use_dualstack_endpoint=self._endpoints.use_dualstack or None,
                user_agent_extra="aws-iam-key-exporter",
            ),
        )

        def sign(request: Any, **_: object) -> None:
            request.context.setdefault("signing", {})["request_credentials"] = _signer.get()

        client.meta.events.register(f"before-sign.{service}", sign)
        return client

    def request(
        self,
        service: str,
        operation: str,
        parameters: Mapping[str, Any],
        *,
        signer: Signer,
        region: str,
        expect: str,
    ) -> dict[str, Any]:
        """
        Make one request, once.

        Args:
            expect: The member that an answer must have. An answer without it is none.

        Raises:
            ReadError: It failed, for whatever cause.
        """
        began = self._clock()
        code = ""
        try:
            method = getattr(self.client(service, region), _method(operation))
            _signer.set(signer)
            answer: dict[str, Any] = method(**parameters)
            if expect not in answer:
                code = "Malformed"
                text = f"{operation}: the answer has no {expect}"
                raise ReadError(Reason.MALFORMED, text, code=code)
            return answer
        except ReadError:
            raise
        except Exception as error:
            failure = to_read_error(error, operation)
            code = failure.code
            raise failure from error
        finally:
            self._observe(operation, self._clock() - began, code)


@lru_cache
def _method(operation: str) -> str:
    return str(xform_name(operation))


@lru_cache
def _partition(region: str) -> str:
    return str(boto3.Session().get_partition_for_region(region)) if region else ""
