"""The facts that samples are computed from."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from exporter.model import AccessKey, Account, AccountSnapshot, Event, User


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """
    What is known of an access key.

    Attributes:
        exempt_until: None: the key is not exempt.
        description: Empty: it has none, or tags are not read.
        superseded: Seconds by which the last use of the user's other active key is later than that
            of this active key, or than its creation. None: it is not, or that is unknown.
        inactive_since: When the key was first seen inactive. None: it is active.
    """

    key: AccessKey
    user: User
    exempt_until: datetime | None = None
    description: str = ""
    superseded: int | None = None
    inactive_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """
    What is known of an account.

    Attributes:
        keys: Those of the snapshot.
        root_events: The recent events of the root user.
        requests_per_second: The configured rate limit.
    """

    snapshot: AccountSnapshot
    keys: Sequence[AccessKey]
    root_events: Sequence[Event]
    requests_per_second: float

    @property
    def account(self) -> Account:
        return self.snapshot.account
