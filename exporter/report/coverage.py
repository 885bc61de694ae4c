"""What of the accounts was seen, and what was not."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from exporter.model import AccountSnapshot
from exporter.report.formats import iso_time, span

MAX_NAMES: Final = 10
"""Users that a sentence names."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """
    How much of an account is known. Its texts may be shown, but may have control characters.

    Attributes:
        up: Whether the latest refresh succeeded completely.
        failure: Why it did not, as a reason and a sentence. Empty: it did, or there was none.
        read_at: When the latest completely successful refresh began. None: there was none.
        finished_at: When the latest refresh ended. None: there was none.
        listed: Whether the users are known.
        users_unknown: The users whose keys are unknown.
        uses_unknown: The number of keys whose last use is unknown.
        root_unknown: Whether it is unknown if the root user has keys.
        report_at: When AWS generated the credential report that is relied on. None: none is.
    """

    account_id: str
    account: str
    up: bool
    failure: str
    error: str
    read_at: datetime | None
    finished_at: datetime | None
    listed: bool
    users_unknown: tuple[str, ...]
    uses_unknown: int
    root_unknown: bool
    report_at: datetime | None

    def record(self) -> dict[str, object]:
        """Return the values for JSON by their names."""
        return {
            "account_id": self.account_id or None,
            "account": self.account,
            "up": self.up,
            "failure": self.failure or None,
            "error": self.error or None,
            "read_at": self.read_at,
            "finished_at": self.finished_at,
            "users_with_unknown_keys": self.users_unknown if self.listed else None,
            "keys_with_unknown_last_use": self.uses_unknown if self.listed else None,
            "root_access_keys_unknown": self.root_unknown,
            "credential_report_at": self.report_at,
        }


def coverage_of(snapshot: AccountSnapshot, redact: Callable[[str], str] = str) -> Coverage:
    """
    Return how much of an account is known.

    Args:
        redact: As in `ShowOptions`.
    """
    account, report = snapshot.account, snapshot.report
    return Coverage(
        account_id=account.id,
        account=redact(account.label),
        up=snapshot.up,
        failure=str(snapshot.failure or ""),
        error=redact(snapshot.error),
        read_at=snapshot.read_at,
        finished_at=snapshot.finished_at,
        listed=snapshot.listed_at is not None,
        users_unknown=tuple(redact(user.name) for user in snapshot.users if not user.keys_at),
        uses_unknown=snapshot.unknown,
        root_unknown=snapshot.root is None or snapshot.root.access_keys is None,
        report_at=report.generated if report is not None and report.usable else None,
    )


def not_seen(accounts: Sequence[Coverage], at: datetime) -> list[str]:
    """Say of each of *accounts*, at the time *at*, what is unknown. Empty: nothing is."""
    lines = [
        f"{_name(each)}: {'; '.join(sentences)}"
        for each in accounts
        if (sentences := list(_sentences(each, at)))
    ]
    reports = [each.report_at for each in accounts if each.report_at is not None]
    if reports:
        since = _ago(min(reports), at)
        lines.append(
            f"{_count(len(reports), 'account')}: keys that were created or deactivated since the"
            " credential report may be missing or look active; AWS generated the"
            f" {'oldest report' if len(reports) > 1 else 'report'} {since}"
        )
    return lines


def _name(each: Coverage) -> str:
    known = each.account_id not in ("", each.account)
    return f"{each.account} ({each.account_id})" if known else each.account


def _sentences(each: Coverage, at: datetime) -> Iterator[str]:
    if each.failure:
        yield f"the refresh failed ({each.failure}): {each.error}"
    elif each.finished_at is None:
        yield "it has not been refreshed yet"
    if not each.listed:
        yield "its users and keys are unknown"
        return
    if not each.up and each.read_at is not None:
        yield f"it was last read completely {_ago(each.read_at, at)}"
    if each.users_unknown:
        names = ", ".join(each.users_unknown[:MAX_NAMES])
        more = len(each.users_unknown) - MAX_NAMES
        yield (
            f"the keys of {_count(len(each.users_unknown), 'user')} are unknown: {names}"
            + (f" and {more} more" if more > 0 else "")
        )
    if each.uses_unknown:
        yield f"the last use of {_count(each.uses_unknown, 'key')} is unknown"
    if each.root_unknown:
        yield "whether the root user has access keys is unknown"


def _ago(then: datetime, at: datetime) -> str:
    return f"{span((at - then).total_seconds())} ago ({iso_time(then)})"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def summary(keys: int, total: int, accounts: Sequence[Coverage], *, stored: bool) -> str:
    """
    Say how much there is, and how old it is.

    Args:
        keys: How many are shown, of *total*.
        stored: The facts are those of the store: they may be of different ages.
    """
    up = sum(each.up for each in accounts)
    of_total = "" if keys == total else f" of {total}"
    read = f"{up} of {_count(len(accounts), 'account')} read completely"
    text = f"{_count(keys, 'key')}{of_total}; {read}"
    times = [each.read_at for each in accounts if each.read_at is not None]
    if not stored or not times:
        return f"{text}."
    first, last = iso_time(min(times)), iso_time(max(times))
    return f"{text}, at {first}." if first == last else f"{text}, from {first} to {last}."
