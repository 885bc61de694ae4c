"""Base credentials: those of a profile or of the default chain, as every AWS tool finds them."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

import boto3
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, NoCredentialsError

from exporter.aws.errors import single_line, to_read_error
from exporter.model import Account, Clock, Partition, ReadError, Reason

HOME_REGION: Final[Mapping[Partition, str]] = MappingProxyType(
    {
        Partition.AWS: "us-east-1",
        Partition.CHINA: "cn-north-1",
        Partition.EUROPEAN_SOVEREIGN: "eusc-de-east-1",
        Partition.ISO: "us-iso-east-1",
        Partition.ISO_B: "us-isob-east-1",
        Partition.ISO_E: "eu-isoe-west-1",
        Partition.ISO_F: "us-isof-south-1",
        Partition.US_GOV: "us-gov-west-1",
    }
)
"""A region of each partition. Any of them leads to the partition's only IAM endpoint."""

REBUILD_AFTER: Final = 10.0
"""
Minimum seconds between two lookups of base credentials that AWS rejected.

Many accounts may share them, and creating a session takes 100 ms.
"""

RENEW_BEFORE: Final = 300.0
"""Seconds before their expiry at which credentials are renewed."""

LIFETIME: Final = 3600.0
"""Seconds for which credentials that do not expire are trusted without another look."""


@dataclass(frozen=True, slots=True)
class ExpiringCredentials:
    """
    Credentials, frozen: nothing renews or replaces them behind our back.

    Attributes:
        renew_at: When to look for new ones, in seconds of the monotonic clock.
    """

    credentials: Credentials
    renew_at: float


def expiring(
    access_key: str, secret_key: str, token: str | None, expiry: datetime | None, clock: Clock
) -> ExpiringCredentials:
    """Freeze credentials that AWS accepts until *expiry*. None: they do not expire."""
    seconds = LIFETIME
    if expiry is not None:
        left = (expiry - clock.now()).total_seconds()
        # Credentials that live for minutes only are still used for three quarters of that.
        seconds = left - min(RENEW_BEFORE, left / 4)
    return ExpiringCredentials(
        Credentials(access_key, secret_key, token), clock.monotonic() + seconds
    )


class BaseCredentials:
    """
    The credentials of one profile, shared by the accounts that begin with them.

    Args:
        profile: None: the default chain.
        region: Overrides the environment's and the profile's.
    """

    def __init__(self, profile: str | None, region: str | None, clock: Clock) -> None:
        self._profile = profile
        self._region = region or ""
        self._clock = clock
        # Sessions are not thread-safe. Each has its own lock, since finding credentials can take
        # long: it may run a program, or wait for a metadata service.
        self._lock = threading.Lock()
        self._session: boto3.Session | None = None
        self._session_region = ""
        self._built_at = 0.0
        self._current: ExpiringCredentials | None = None

    def get(self, account: Account) -> tuple[ExpiringCredentials, str]:
        """
        Find the credentials, and a region of the account's partition.

        Raises:
            ReadError: There are none, or looking for them failed.
        """
        with self._lock:
            current = self._current
            if current is None or self._clock.monotonic() >= current.renew_at:
                current = self._current = self._find()
            region = self._region or self._session_region
        if not region or (account.role_arn and _partition(region) != account.partition):
            region = HOME_REGION[account.partition]
        return current, region

    def discard(self) -> bool:
        """
        Discard credentials that AWS rejected, so that they are looked up again.

        Returns:
            Whether they were: not if they have only just been looked up.
        """
        with self._lock:
            if self._clock.monotonic() - self._built_at < REBUILD_AFTER:
                return False
            self._session = self._current = None
            return True

    def _find(self) -> ExpiringCredentials:
        self._current = None
        try:
            if self._session is None:
                self._session = boto3.Session(profile_name=self._profile)
                self._session_region = self._session.region_name or ""
                self._built_at = self._clock.monotonic()
            found: Any = self._session.get_credentials()
            if found is None:
                raise NoCredentialsError
            frozen = found.get_frozen_credentials()
        except (BotoCoreError, OSError, ValueError) as error:
            self._session = None
            raise _credentials_error(error) from error
        # Refreshable credentials have an expiry, but no public name for it.
        expiry = getattr(found, "_expiry_time", None)
        return expiring(frozen.access_key, frozen.secret_key, frozen.token, expiry, self._clock)


def _credentials_error(error: Exception) -> ReadError:
    known = to_read_error(error, "find credentials")
    if known is not None:
        return known
    text = f"find credentials: {single_line(str(error))}"
    return ReadError(Reason.CREDENTIALS, text, code=type(error).__name__)


@lru_cache
def _partition(region: str) -> str:
    return str(boto3.Session().get_partition_for_region(region)) if region else ""
