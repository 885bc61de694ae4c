"""Base credentials: those of a profile or of the default chain, as every AWS tool finds them."""

import contextlib
import difflib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import NoCredentialsError, ProfileNotFound, UnknownRegionError

from exporter.aws import credential_process
from exporter.aws.errors import WORTH_RETRYING, single_line, to_read_error
from exporter.aws.operations import Operation
from exporter.aws.responses import is_credential
from exporter.model import Account, Clock, Partition, ReadError, Reason, RoleArn

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

NONE_FOUND: Final = (
    "find credentials: there are none in the environment, in AWS's files, or of a role of this"
    " machine"
)
"""What botocore calls "Unable to locate credentials"."""

REBUILD_AFTER: Final = 10.0
"""
Minimum seconds between two lookups of base credentials that AWS rejected.

Many accounts may share them, and creating a session takes 100 ms.
"""

RENEW_BEFORE: Final = 300.0
"""Seconds before their expiry at which credentials are renewed."""

LIFETIME: Final = 3600.0
"""Seconds after which credentials that do not expire are looked up again."""

MIN_LIFETIME: Final = 60.0
"""
Seconds for which credentials are used, however soon they expire.

If AWS's clock and ours differ, they may seem to have expired already, and yet be accepted.
"""

MAX_LIFETIME: Final = 43200.0
"""Seconds after which credentials are renewed in any case: the longest session that AWS allows."""


Request = Callable[[Operation, Mapping[str, Any], Credentials], dict[str, Any]]
"""Makes a request, signed with the given credentials, and retries it where that helps."""


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
    seconds = min(max(seconds, MIN_LIFETIME), MAX_LIFETIME)
    return ExpiringCredentials(
        Credentials(access_key, secret_key, token), clock.monotonic() + seconds
    )


class BaseCredentials:
    """
    The credentials of one profile, shared by the accounts that begin with them.

    Args:
        profile: None: the default chain.
        region: Overrides the environment's and the profile's.
        process_timeout: Seconds that a credential_process may take.
    """

    def __init__(
        self,
        profile: str | None,
        region: str | None,
        clock: Clock,
        *,
        process_timeout: float = credential_process.PROCESS_SECONDS,
    ) -> None:
        self._profile = profile
        self._process_timeout = process_timeout
        self._region = region or ""
        self._clock = clock
        # Sessions are not thread-safe. Each has its own lock, since finding credentials can take
        # long: it may run a program, or wait for a metadata service.
        self._lock = threading.Lock()
        self._session: boto3.Session | None = None
        self._session_region = ""
        self._found_at = 0.0
        self._expires = False
        self._current: ExpiringCredentials | None = None
        self._identity: tuple[Credentials | None, str] = (None, "")

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

    def is_role(self, role: RoleArn, current: ExpiringCredentials, request: Request) -> bool:
        """
        Whether the credentials are those of a session of *role*, which need not assume it again.

        Raises:
            ReadError: AWS does not say whose they are.
        """
        known, arn = self._identity
        if known is not current.credentials:
            arn = request(Operation.GET_CALLER_IDENTITY, {}, current.credentials)["Arn"]
            self._identity = current.credentials, arn
        # The ARN of a session lacks the path of its role.
        _, _, name = role.name.rpartition("/")
        session = f"arn:{role.partition}:sts::{role.account_id}:assumed-role/{name}/"
        return arn.startswith(session)

    def discard(self, rejected: ExpiringCredentials | None) -> bool:
        """
        Look again for credentials, since these were rejected or are of another account.

        Returns:
            Whether there may be others: not if they have only just been looked up.
        """
        with self._lock:
            current = self._current
            if current and (not rejected or current.credentials is not rejected.credentials):
                return True  # another account was faster
            self._session = None
            again_at = self._found_at + REBUILD_AFTER
            if current is not None and self._clock.monotonic() < again_at:
                self._current = replace(current, renew_at=min(current.renew_at, again_at))
                return False
            self._current = None
            return True

    def _find(self) -> ExpiringCredentials:
        self._current = None
        try:
            if self._session is None or not self._expires:  # a session keeps what does not expire
                self._session = self._new_session()
                self._session_region = self._session.region_name or ""
            found: Any = self._session.get_credentials()
            if found is None:
                raise NoCredentialsError
            frozen = found.get_frozen_credentials()
            # Refreshable credentials have an expiry, but no public name for it.
            expiry = getattr(found, "_expiry_time", None)
            valid = (
                is_credential(frozen.access_key)
                and is_credential(frozen.secret_key)
                and (not frozen.token or is_credential(frozen.token))
            )
            if not valid:
                text = "find credentials: what was found are no credentials"
                raise ReadError(Reason.CREDENTIALS, text, code="InvalidCredentials")
            current = expiring(
                frozen.access_key, frozen.secret_key, frozen.token, expiry, self._clock
            )
        except Exception as error:  # noqa: BLE001 (whatever it is: there are no credentials)
            self._session = None
            # Not `from error`: a traceback would show it, and it may quote what a program wrote.
            raise self._failure(error) from None
        self._expires = expiry is not None
        self._found_at = self._clock.monotonic()
        return current

    def _new_session(self) -> boto3.Session:
        session = botocore.session.Session(profile=self._profile)
        # For the requests by which botocore itself finds credentials.
        session.set_default_client_config(
            Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2})
        )
        credential_process.limit(
            session.get_component("credential_provider"), self._process_timeout
        )
        return boto3.Session(botocore_session=session)

    def _failure(self, error: Exception) -> ReadError:
        """Explain why there are no credentials: never as an unexpected error."""
        if isinstance(error, ReadError):
            return error
        code = type(error).__name__
        if unreadable := _unreadable_file():
            return ReadError(
                Reason.CREDENTIALS, f"find credentials: cannot read {unreadable}", code=code
            )
        if isinstance(error, ProfileNotFound):
            return ReadError(Reason.CREDENTIALS, self._profile_not_found(error), code=code)
        known = to_read_error(error, "find credentials")
        if known is not None:
            if known.reason in WORTH_RETRYING:
                return known
            text = NONE_FOUND if isinstance(error, NoCredentialsError) else str(known)
            return ReadError(Reason.CREDENTIALS, text, code=known.code)
        if isinstance(error, RuntimeError) and "still expired" in str(error):
            code = "ExpiredCredentials"
        text = code  # without its text, which may quote what a program wrote
        if isinstance(error, OSError) and error.strerror:
            text = error.strerror + (f": {error.filename}" if error.filename else "")
        return ReadError(Reason.CREDENTIALS, f"find credentials: {single_line(text)}", code=code)

    def _profile_not_found(self, error: ProfileNotFound) -> str:
        profile = str(error.kwargs.get("profile"))
        text = f"find credentials: there is no profile {profile!r}"
        known: list[str] = []
        with contextlib.suppress(Exception):  # the files may be broken as well
            known = botocore.session.Session().available_profiles
        close = difflib.get_close_matches(profile, known, n=1)
        if close:
            return f"{text}; did you mean {close[0]!r}?"
        return single_line(f"{text}; there are: {', '.join(known) or 'none at all'}")


def _unreadable_file() -> str:
    """Find the file of AWS's that exists and cannot be read, which botocore ignores."""
    session = botocore.session.Session()
    for variable in ("config_file", "credentials_file"):
        path = Path(session.get_config_variable(variable)).expanduser()
        try:
            path.open("rb").close()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            return f"{path}: {error.strerror}"
    return ""


@lru_cache
def _partition(region: str) -> str:
    """Return the partition of *region*, which may be newer than botocore. Empty: it has none."""
    try:
        return str(boto3.Session().get_partition_for_region(region))
    except UnknownRegionError:
        return ""
