"""
IAM users and their access keys: plain data, changed by tests and read by operations.

Times are aware, UTC, whole seconds.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, get_args

if TYPE_CHECKING:
    from .accounts import Account

Status = Literal["Active", "Inactive", "Expired"]

ROOT_NAME: Final = "<root_account>"
USER_NAME: Final = re.compile(r"[\w+=,.@-]{1,64}", re.ASCII)
USER_PATH: Final = re.compile(r"/|/[\x21-\x7f]+/")
SPAN_OF_USE: Final = timedelta(minutes=15)
"""AWS records only the first of all uses within such a span."""


class LastUse(NamedTuple):
    at: datetime
    service: str
    region: str


def whole_second(moment: datetime) -> datetime:
    """The aware time *moment* as AWS has it: in UTC, without fractions of a second."""
    if moment.tzinfo is None:
        msg = f"not an aware time: {moment}"
        raise ValueError(msg)
    return moment.astimezone(UTC).replace(microsecond=0)


class AccessKey:
    """
    One access key.

    Attributes:
        serial: Increases with each key; keys are listed in this order.
        last_use: None: never used.
        deleted: Whether it was deleted; its attributes stay readable.
    """

    __slots__ = ("_status", "created", "deleted", "id", "last_use", "serial", "user")

    def __init__(self, user: "User", id: str, *, created: datetime, serial: int) -> None:
        self.user = user
        self.id = id
        self.created = created
        self.serial = serial
        self.last_use: LastUse | None = None
        self.deleted = False
        self._status: Status = "Active"

    def __repr__(self) -> str:
        return f"<AccessKey {self.id} of {self.user.name}, {self.status}>"

    @property
    def status(self) -> Status:
        return self._status

    @status.setter
    def status(self, status: Status) -> None:
        if status not in get_args(Status):
            msg = f"not a status of an access key: {status!r}"
            raise ValueError(msg)
        self._status = status

    @property
    def active(self) -> bool:
        return self._status == "Active"

    def use(
        self, service: str = "s3", region: str = "eu-west-1", at: datetime | None = None
    ) -> None:
        """Record a use, now by default, no matter how soon after the previous one."""
        moment = self.user.account.world.now() if at is None else whole_second(at)
        self.last_use = LastUse(moment, service, region)

    def sign(self, service: str, region: str) -> None:
        """Record a use as AWS does: not within a quarter of an hour of the previous one."""
        now = self.user.account.world.now()
        if self.last_use is None or now - self.last_use.at >= SPAN_OF_USE:
            self.last_use = LastUse(now.replace(second=0), service, region)

    def delete(self) -> None:
        world = self.user.account.world
        with world.lock:
            if not self.deleted:
                self.deleted = True
                self.user.keys.remove(self)
                del world.keys[self.id]


class User:
    """
    A user, with its keys in order of creation.

    There may be more than two keys, as in accounts with a raised quota.
    """

    __slots__ = (
        "account",
        "created",
        "deleted",
        "id",
        "keys",
        "name",
        "password_enabled",
        "password_last_used",
        "path",
        "tags",
    )

    def __init__(self, account: "Account", name: str, *, id: str, created: datetime) -> None:
        self.account = account
        self.name = name
        self.id = id
        self.created = created
        self.path = "/"
        self.tags: dict[str, str] = {}
        self.password_enabled = False
        self.password_last_used: datetime | None = None
        self.keys: list[AccessKey] = []
        self.deleted = False

    def __repr__(self) -> str:
        return f"<User {self.name} of {self.account.id}, {len(self.keys)} keys>"

    @property
    def arn(self) -> str:
        return f"arn:{self.account.partition}:iam::{self.account.id}:user{self.path}{self.name}"

    def add_key(
        self, id: str | None = None, created: datetime | None = None, status: Status = "Active"
    ) -> AccessKey:
        world = self.account.world
        with world.lock:
            if self.deleted:
                msg = f"the user was deleted: {self.name}"
                raise ValueError(msg)
            if id is None:
                id = world.new_id("AKIA")
            if id in world.keys:
                msg = f"the access key id exists already: {id}"
                raise ValueError(msg)
            if created is None:
                created = world.now()
            created = whole_second(created)
            key = AccessKey(self, id, created=created, serial=world.next_serial())
            key.status = status
            self.keys.append(key)
            world.keys[id] = key
            return key

    def move(self, path: str) -> None:
        """Change the path, and so the ARN, but nothing else."""
        if not USER_PATH.fullmatch(path):
            msg = f"not a valid user path: {path!r}"
            raise ValueError(msg)
        self.path = path

    def rename(self, name: str) -> None:
        """Change the name, and so the ARN, but nothing else."""
        self.account.rename(self, name)

    def delete(self) -> None:
        """Delete the user and its keys."""
        self.account.forget(self)


class Root(User):
    """The root user: in the credential report, but not among the users."""

    __slots__ = ()

    @property
    def arn(self) -> str:
        return f"arn:{self.account.partition}:iam::{self.account.id}:root"

    def move(self, path: str) -> None:
        raise TypeError("the root user has no path")

    def rename(self, name: str) -> None:
        raise TypeError("the root user cannot be renamed")

    def delete(self) -> None:
        raise TypeError("the root user cannot be deleted")
