"""Which keys are exempt from findings, and until when: by a tag of their user, or by a list."""

import logging
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from exporter.model import AccessKey, Account, AccountSnapshot, User, parse_expiry

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Exemption:
    """
    An entry of the list. It applies to the keys that match everything it names.

    Attributes:
        user: A pattern that has to match the complete user name.
        account: An account id or name.
    """

    until: datetime
    user: str | None = None
    access_key_id: str | None = None
    account: str | None = None

    def matches(self, account: Account, key: AccessKey) -> bool:
        return (
            self.account in (None, account.id, account.label)
            and self.access_key_id in (None, key.id)
            and (self.user is None or re.fullmatch(self.user, key.user) is not None)
        )


class Exemptions:
    """
    All exemptions. Thread-safe.

    Args:
        tag: The name of the user tag that holds a date. Empty: no tag does.
    """

    def __init__(self, tag: str = "", entries: Sequence[Exemption] = ()) -> None:
        self._tag = tag
        self._entries = tuple(entries)
        self._reported: set[tuple[str, str, str]] = set()
        self._lock = threading.Lock()

    def until(self, account: Account, user: User, key: AccessKey) -> datetime | None:
        """Return when the last exemption of *key*, of *user*, expires. None: not exempt."""
        ends = [entry.until for entry in self._entries if entry.matches(account, key)]
        tagged = _expiry(self._value(user))
        return max(ends if tagged is None else [*ends, tagged], default=None)

    def check(self, snapshot: AccountSnapshot) -> None:
        """Log the tags that are not a date, and so do not exempt anything; each value once."""
        malformed = {
            (snapshot.account.id, user.name, value)
            for user in snapshot.users
            if (value := self._value(user)) is not None and _expiry(value) is None
        }
        with self._lock:
            new = malformed - self._reported
            self._reported |= new
        for _, name, value in sorted(new):
            log.warning(
                "ignoring malformed exemption: not a date such as 2026-12-31",
                extra={
                    "account": snapshot.account.label,
                    "user": name,
                    "tag": self._tag,
                    "value": value,
                },
            )

    def forget(self, account_id: str) -> None:
        """Keep nothing of an account that is no longer read."""
        with self._lock:
            self._reported = {each for each in self._reported if each[0] != account_id}

    def _value(self, user: User) -> str | None:
        return dict(user.tags).get(self._tag) if self._tag else None


def _expiry(value: str | None) -> datetime | None:
    try:
        return None if value is None else parse_expiry(value.strip())
    except ValueError:
        return None
