"""Which keys are exempt from findings, and until when: by a tag of their user, or by a list."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from exporter.model import AccessKey, Account, User, parse_expiry

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Exemption:
    """
    An entry of the list. It holds for the keys that fit all that it names.

    Attributes:
        user: A pattern for the whole name.
        account: An id or a name.
        reason: For the reader of the configuration.
    """

    until: datetime
    user: str | None = None
    access_key_id: str | None = None
    account: str | None = None
    reason: str = ""

    def fits(self, account: Account, key: AccessKey) -> bool:
        return (
            self.account in (None, account.id, account.label)
            and self.access_key_id in (None, key.id)
            and (self.user is None or re.fullmatch(self.user, key.user) is not None)
        )


class Exemptions:
    """
    Args:
        tag: The user tag that holds a date.
    """

    def __init__(self, tag: str = "", entries: Sequence[Exemption] = ()) -> None:
        self._tag = tag
        self._entries = entries
        self._reported: set[tuple[str, str, str]] = set()

    def until(self, account: Account, user: User, key: AccessKey) -> datetime | None:
        """Tell until when *key* of *user* is exempt: the latest that anything says. None: not."""
        ends = [entry.until for entry in self._entries if entry.fits(account, key)]
        told = dict(user.tags).get(self._tag) if self._tag else None
        if told is not None:
            try:
                ends.append(parse_expiry(told.strip()))
            except ValueError:
                self._report(account, user, told)
        return max(ends, default=None)

    def _report(self, account: Account, user: User, told: str) -> None:
        about = (account.id, user.name, told)
        if about in self._reported:
            return
        self._reported.add(about)
        log.warning(
            "not a date, so no exemption: write it as 2026-12-31",
            extra={"account": account.label, "user": user.name, "tag": self._tag, "value": told},
        )
