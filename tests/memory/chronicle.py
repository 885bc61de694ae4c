"""What really happened in an account: the record that random histories are compared with."""

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from exporter.model import ACTIVE, LastUse

T = TypeVar("T")


class Past(Generic[T]):
    """The values that something had, and since when."""

    def __init__(self, at: datetime, first: T) -> None:
        self._times = [at]
        self.values = [first]

    def set(self, at: datetime, value: T) -> None:
        self._times.append(at)
        self.values.append(value)

    @property
    def now(self) -> T:
        return self.values[-1]

    @property
    def changes(self) -> int:
        """How often the value changed."""
        return sum(one != other for one, other in zip(self.values, self.values[1:], strict=False))

    def between(self, since: datetime, until: datetime) -> list[T]:
        """All values from *since* until *until*, both included."""
        first = max(bisect_right(self._times, since) - 1, 0)
        return self.values[first : bisect_right(self._times, until)]


@dataclass(eq=False)
class TrueUser:
    """A user. *id* is IAM's unique id; times have whole seconds where AWS reports them."""

    id: str
    names: Past[str]
    created: datetime
    deleted: datetime | None = None


@dataclass(eq=False)
class TrueKey:
    """An access key. *uses* are in the order of time."""

    id: str
    user: TrueUser
    created: datetime
    status: Past[str]
    uses: list[LastUse] = field(default_factory=list)
    deleted: datetime | None = None


@dataclass(eq=False)
class Chronicle:
    """
    Everything that ever happened.

    Attributes:
        root_uses: The times of uses by credential.
        root_keys: When root's keys were created.
    """

    users: list[TrueUser] = field(default_factory=list)
    keys: dict[str, TrueKey] = field(default_factory=dict)
    root_uses: dict[str, list[datetime]] = field(
        default_factory=lambda: {"password": [], "access_key": []}
    )
    root_keys: list[datetime] = field(default_factory=list)

    @property
    def users_now(self) -> list[TrueUser]:
        return [user for user in self.users if user.deleted is None]

    @property
    def keys_now(self) -> list[TrueKey]:
        return [key for key in self.keys.values() if key.deleted is None]

    @property
    def active_keys(self) -> list[TrueKey]:
        return [key for key in self.keys_now if key.status.now == ACTIVE]

    def keys_of(self, user: TrueUser) -> list[TrueKey]:
        return [key for key in self.keys_now if key.user is user]

    def user(self, id_: str) -> TrueUser:
        return next(user for user in self.users if user.id == id_)
