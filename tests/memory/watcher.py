"""Who looks at an account from day to day, and remembers."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from exporter.memory import Options, remember
from exporter.model import (
    UNKNOWN,
    AccessKey,
    AccountMemory,
    Event,
    EventKind,
    KeyMemory,
    LastUse,
    User,
)
from tests.builders import NOON, a_snapshot, a_user

OPTIONS: Final = Options(
    shown_for=timedelta(days=1), min_idle=timedelta(days=30), learning=timedelta(days=7)
)

KEY: Final = "AKIAALICEALICEALICE1"


def day(number: float) -> datetime:
    return NOON + timedelta(days=number)


def used(number: float, service: str = "s3", region: str = "eu-west-1") -> LastUse:
    return LastUse(day(number), service, region)


def owner(name: str = "alice", *, listed: datetime | None = None, **fields: Any) -> User:
    """A user whose keys were *listed* then."""
    defaults = {"id": f"AIDA{name.upper()}", "keys_at": listed, "keys_as_of": listed}
    return a_user(name, **{**defaults, **fields})


class Watcher:
    """
    A process that looks at an account.

    Attributes:
        memory: What it remembers.
    """

    def __init__(self, memory: AccountMemory | None = None, **options: Any) -> None:
        self.memory = memory or AccountMemory()
        self.options = replace(OPTIONS, **options)

    def look(
        self,
        at: float,
        *keys: AccessKey,
        users: tuple[User, ...] | None = None,
        **fields: Any,
    ) -> list[Event]:
        """
        Look on day *at*, and remember.

        Args:
            users: By default alice and the users of *keys*, whose keys are listed now.
            fields: Of the snapshot.

        Returns:
            The new events.
        """
        now = day(at)
        if users is None:
            names = dict.fromkeys(["alice", *(key.user for key in keys)])
            users = tuple(owner(name, listed=now) for name in names)
        confirmed = tuple(
            replace(key, as_of=None if key.last_use is UNKNOWN else now)
            if key.as_of in (None, NOON)
            else key
            for key in keys
        )
        defaults = {"users": users, "listed_at": now, "finished_at": now}
        snapshot = a_snapshot(*confirmed, **{**defaults, **fields})
        self.memory, events = remember(self.memory, snapshot, self.options)
        return list(events)

    @property
    def key(self) -> KeyMemory:
        """What is remembered of the only key."""
        (known,) = self.memory.keys.values()
        return known


def kinds(events: list[Event]) -> list[EventKind]:
    return [event.kind for event in events]
