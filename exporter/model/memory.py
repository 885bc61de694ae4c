"""What is remembered of an account from refresh to refresh, and the events that are noticed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from exporter.model.facts import AccessKey, Root, User


class EventKind(StrEnum):
    """What can happen to an access key, or to the root user. Public: part of logs and the store."""

    CREATED = "created"
    DELETED = "deleted"
    ACTIVATED = "activated"
    DEACTIVATED = "deactivated"
    EXPIRED = "expired"
    FIRST_USED = "first_used"
    AWAKENED = "awakened"
    NEW_SERVICE = "new_service"
    NEW_REGION = "new_region"
    ROOT_USED = "root_used"
    ROOT_KEY_CREATED = "root_key_created"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """
    Something that happened in an account between two refreshes.

    Attributes:
        at: When it happened, where AWS reports that (the use, or the creation); otherwise the time
            as of which it was noticed.
        noticed_at: When the refresh that noticed it finished.
        user: The name of the key's user at that time. Empty: the root user.
        access_key_id: Empty: the root user.
        occurrence: What tells this event from others of the same kind of the same key. It does not
            depend on who notices the event, or when: two processes that notice the same event agree
            about it.
        seconds: For `awakened`: the proven idle time that the use ended. For `first_used`: how old
            the key was. Otherwise None.
        service: Of the use, in AWS's spelling. Empty: not a use.
        region: Of the use, in AWS's spelling. Empty: not a use.
        credential: For `root_used`: ``password`` or ``access_key``. Otherwise empty.
    """

    kind: EventKind
    at: datetime
    noticed_at: datetime
    user: str = ""
    access_key_id: str = ""
    occurrence: str = ""
    seconds: float | None = None
    service: str = ""
    region: str = ""
    credential: str = ""

    @property
    def identity(self) -> tuple[str, str, str]:
        """What no two events of one account have in common."""
        return self.access_key_id, str(self.kind), self.occurrence


@dataclass(frozen=True, slots=True)
class SeenUse:
    """A service and region in which a key was seen used, with the first and latest use there."""

    service: str
    region: str
    first: datetime
    latest: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyMemory:
    """
    What is remembered of a key.

    Attributes:
        key: The latest known facts. Unlike those of a snapshot, they are never dropped as stale.
            *as_of* is the latest time at which AWS reported this very last use.
        user_id: IAM's unique id of the key's user, who may be renamed.
        status_as_of: The time as of which the key's existence and status are right.
        watched_since: When its last use was known for the first time. None: it is still unknown.
        uses: Where it was seen used.
        inactive_since: When it was first seen inactive or expired. None: it is active.
        status_changes: How often its status was seen to change.
        deleted_at: As of when it was gone. None: it exists.
    """

    key: AccessKey
    user_id: str
    status_as_of: datetime
    watched_since: datetime | None = None
    uses: tuple[SeenUse, ...] = ()
    inactive_since: datetime | None = None
    status_changes: int = 0
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountMemory:
    """
    What is remembered of an account.

    Attributes:
        users: The latest known users by id, in IAM's order.
        users_as_of: When they were listed. None: not yet.
        keys: By key id, in the order of their users; recently deleted ones last.
        events: The recent ones, in the order in which they were noticed.
    """

    users: Mapping[str, User] = field(default_factory=lambda: MappingProxyType({}))
    users_as_of: datetime | None = None
    keys: Mapping[str, KeyMemory] = field(default_factory=lambda: MappingProxyType({}))
    root: Root | None = None
    events: tuple[Event, ...] = ()
