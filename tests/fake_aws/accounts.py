"""
AWS accounts with their users, roles and limits, and the world that contains them.

User names are case-insensitive.
"""

import random
import time
from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from itertools import count
from string import ascii_uppercase
from threading import RLock
from typing import Final

from .report import CredentialReport
from .throttle import TokenBucket
from .users import ROOT_NAME, USER_NAME, AccessKey, Root, Status, User, whole_second

Now = Callable[[], datetime]
"""Returns the current time; aware."""

ID_LETTERS: Final = ascii_uppercase + "234567"


def system_time() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Role:
    """
    A role that can be assumed.

    Attributes:
        external_id: None: none is required, any is accepted.
        trusts: Ids of the accounts that may assume it. None: all.
        max_seconds: The longest session it allows.
        allows_tags: Whether the trust policy allows sts:TagSession.
    """

    account: "Account"
    name: str
    path: str
    id: str
    external_id: str | None
    trusts: frozenset[str] | None
    max_seconds: int
    allows_tags: bool = True

    @property
    def arn(self) -> str:
        return f"arn:{self.account.partition}:iam::{self.account.id}:role{self.path}{self.name}"

    def trusts_caller(self, account_id: str, external_id: str | None) -> bool:
        trusted = self.trusts is None or account_id in self.trusts
        return trusted and self.external_id in (None, external_id)


@dataclass(frozen=True)
class Denial:
    """A missing permission: an action, which may contain ``*``, for all users or one."""

    action: str
    user: str | None
    reason: str

    def matches(self, action: str, user: str | None) -> bool:
        if self.user is not None and (user is None or self.user.lower() != user.lower()):
            return False
        return fnmatchcase(action.lower(), self.action.lower())


class Account:
    """
    One account.

    Attributes:
        created: When the account, and so its root user, was created.
        users: By name as created. Changed by `add_user`, `User.rename` and `User.delete` only.
        report: The credential report.
        bucket: Throttles its IAM calls. None: they are not throttled.
    """

    def __init__(self, world: "World", id: str, *, partition: str) -> None:
        self.world = world
        self.id = id
        self.partition = partition
        self.created = world.now()
        self.users: dict[str, User] = {}
        self.roles: dict[str, Role] = {}
        self.root = Root(self, ROOT_NAME, id=id, created=self.created)
        self.root.password_enabled = True
        self.report = CredentialReport(self)
        self.bucket: TokenBucket | None = None
        self.denials: list[Denial] = []
        self._by_lower: dict[str, User] = {}
        self._sorted_names: list[str] = []

    def __repr__(self) -> str:
        return f"<Account {self.id}, {len(self.users)} users>"

    # -- users and keys ------------------------------------------------------------------------

    def add_user(
        self,
        name: str,
        path: str = "/",
        created: datetime | None = None,
        tags: Mapping[str, str] | None = None,
        *,
        password_enabled: bool = False,
        password_last_used: datetime | None = None,
    ) -> User:
        if not USER_NAME.fullmatch(name):
            msg = f"not a valid user name: {name!r}"
            raise ValueError(msg)
        with self.world.lock:
            lower = name.lower()
            if lower in self._by_lower:
                msg = f"a user of that name exists already: {name}"
                raise ValueError(msg)
            if created is None:
                created = self.world.now()
            user = User(self, name, id=self.world.new_id("AIDA"), created=whole_second(created))
            user.move(path)
            user.tags = dict(tags or {})
            user.password_enabled = password_enabled or password_last_used is not None
            if password_last_used is not None:
                user.password_last_used = whole_second(password_last_used)
            self.users[name] = self._by_lower[lower] = user
            insort(self._sorted_names, lower)
            return user

    def find_user(self, name: str) -> User | None:
        return self._by_lower.get(name.lower())

    def rename(self, user: User, name: str) -> None:
        with self.world.lock:
            if name.lower() in self._by_lower:
                msg = f"a user of that name exists already: {name}"
                raise ValueError(msg)
            lower = user.name.lower()
            del self.users[user.name], self._by_lower[lower]
            del self._sorted_names[bisect_left(self._sorted_names, lower)]
            user.name = name
            self.users[name] = self._by_lower[name.lower()] = user
            insort(self._sorted_names, name.lower())

    def forget(self, user: User) -> None:
        with self.world.lock:
            if user.deleted:
                return
            for key in tuple(user.keys):
                key.delete()
            user.deleted = True
            lower = user.name.lower()
            del self.users[user.name], self._by_lower[lower]
            del self._sorted_names[bisect_left(self._sorted_names, lower)]

    @property
    def sorted_names(self) -> list[str]:
        """All user names in lower case, in the order in which AWS lists them."""
        return self._sorted_names

    @property
    def keys(self) -> Iterator[AccessKey]:
        """All keys of all users, without those of root."""
        return (key for user in self.users.values() for key in user.keys)

    # -- root ----------------------------------------------------------------------------------

    @property
    def root_keys(self) -> list[AccessKey]:
        return self.root.keys

    def add_root_key(
        self, id: str | None = None, created: datetime | None = None, status: Status = "Active"
    ) -> AccessKey:
        return self.root.add_key(id, created, status)

    @property
    def root_password_last_used(self) -> datetime | None:
        return self.root.password_last_used

    @root_password_last_used.setter
    def root_password_last_used(self, moment: datetime | None) -> None:
        self.root.password_last_used = None if moment is None else whole_second(moment)

    # -- roles, permissions and limits ---------------------------------------------------------

    def role(
        self,
        name: str,
        external_id: str | None = None,
        *,
        path: str = "/",
        trusts: Collection[str] | None = None,
        max_seconds: int = 3600,
        allows_tags: bool = True,
    ) -> Role:
        """Create a role that can be assumed; one of the same name is replaced."""
        role = Role(
            account=self,
            name=name,
            path=path,
            id=self.world.new_id("AROA"),
            external_id=external_id,
            trusts=None if trusts is None else frozenset(trusts),
            max_seconds=max_seconds,
            allows_tags=allows_tags,
        )
        self.roles[name] = role
        return role

    def remove_role(self, name: str) -> None:
        """Delete a role; its sessions stay valid until they expire."""
        del self.roles[name]

    def deny(
        self,
        action: str,
        user: str | None = None,
        reason: str = "because no identity-based policy allows the {action} action",
    ) -> None:
        """Deny *action*, such as "iam:ListAccessKeys" or "iam:*", to callers of this account."""
        self.denials.append(Denial(action, user, reason))

    def allow(self, action: str, user: str | None = None) -> None:
        """Undo what `deny` did with the same arguments."""
        self.denials = [
            denial for denial in self.denials if (denial.action, denial.user) != (action, user)
        ]

    def throttle(
        self,
        rate: float | None = 5.0,
        burst: float = 10,
        seconds: Callable[[], float] | None = None,
    ) -> TokenBucket | None:
        """
        Throttle all IAM calls to this account together. *rate* None: stop throttling them.

        Args:
            seconds: The clock of the bucket. By default that of this simulated AWS: while that
                clock does not advance, the bucket is not refilled.
        """
        if seconds is None:
            seconds = self.world.seconds
        self.bucket = None if rate is None else TokenBucket(rate=rate, burst=burst, seconds=seconds)
        return self.bucket


class World:
    """
    The clock, all accounts, and all access keys by id.

    Attributes:
        lock: Held while something changes and while a response is computed.
        clock: The clock that was passed, with fractions of a second.
        real_time: Whether no clock was passed.
    """

    def __init__(self, now: Now | None) -> None:
        self.clock = now or system_time
        self.real_time = now is None
        self.lock = RLock()
        self.accounts: dict[str, Account] = {}
        self.keys: dict[str, AccessKey] = {}
        # Seeded, so that a failed run can be repeated with the same ids.
        self._random = random.Random(20150422)
        self._serials = count(1)

    def now(self) -> datetime:
        return whole_second(self.clock())

    def seconds(self) -> float:
        """Seconds, with fractions that AWS's times do not have."""
        return time.monotonic() if self.real_time else self.clock().timestamp()

    def new_id(self, prefix: str) -> str:
        return prefix + "".join(self._random.choices(ID_LETTERS, k=16))

    def next_serial(self) -> int:
        return next(self._serials)

    def account(self, id: str, *, partition: str | None = None) -> Account:
        """Find or create an account; *partition* None: the one it has, or "aws"."""
        with self.lock:
            account = self.accounts.get(id)
            if account is None:
                if not (len(id) == 12 and id.isascii() and id.isdigit()):
                    msg = f"not a valid account id: {id!r}"
                    raise ValueError(msg)
                account = self.accounts[id] = Account(self, id, partition=partition or "aws")
            elif partition not in (None, account.partition):
                msg = f"account {id} is in partition {account.partition!r}, not {partition!r}"
                raise ValueError(msg)
            return account
