"""
Items of IAM's responses, parsed into facts.

An item that is not what AWS documents costs one key or one user, never the account: each function
raises a ReadError with the reason *malformed* for its item alone.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from exporter.aws.errors import malformed
from exporter.aws.operations import Operation
from exporter.model import (
    ACTIVE,
    NEVER,
    AccessKey,
    LastUse,
    ReadError,
    Reason,
    Tags,
    Use,
    User,
)

FUTURE_TOLERANCE: Final = timedelta(minutes=5)
"""How far a last use may lie in the future: clocks differ, but not by more."""

Item = Mapping[str, Any]


def text(item: Item, member: str, operation: Operation) -> str:
    """
    Return a member that has to be there.

    Raises:
        ReadError: It is missing or empty.
    """
    value = item.get(member)
    if not isinstance(value, str) or not value:
        raise malformed(operation, f"an item has no valid {member}")
    return value


def time(item: Item, member: str, operation: Operation) -> datetime:
    """
    Return a time, in UTC.

    Raises:
        ReadError: It is missing, or not a time.
    """
    value = item.get(member)
    try:
        # botocore leaves what it cannot parse as it is: see Clients.
        return value.astimezone(UTC)  # type: ignore[union-attr, no-any-return]
    except (AttributeError, OverflowError, ValueError) as error:
        raise malformed(operation, f"an item has no valid {member}") from error


def past_time(item: Item, member: str, operation: Operation, now: datetime) -> datetime:
    """
    Return a time that cannot lie in the future.

    Raises:
        ReadError: It does, it is missing, or not a time.
    """
    at = time(item, member, operation)
    if at - now > FUTURE_TOLERANCE:
        raise malformed(operation, f"{member} lies in the future: {at.isoformat()}")
    return at


def user(item: Item, account_id: str, now: datetime) -> User:
    """
    Parse an item of ListUsers.

    Raises:
        ReadError: It is malformed; with the reason wrong_account if it is another account's.
    """
    operation = Operation.LIST_USERS
    check_account(text(item, "Arn", operation), account_id)
    used = None
    if "PasswordLastUsed" in item:
        used = past_time(item, "PasswordLastUsed", operation, now)
    return User(
        text(item, "UserName", operation),
        text(item, "Path", operation),
        time(item, "CreateDate", operation),
        id=text(item, "UserId", operation),
        password_last_used=used,
    )


def check_account(arn: str, account_id: str) -> None:
    """
    Make sure that *arn* is of this account.

    Raises:
        ReadError: It is another account's.
    """
    found = (*arn.split(":"), "", "", "", "", "")[4]
    if found != account_id:
        raise ReadError(
            Reason.WRONG_ACCOUNT, f"AWS returned data of account {found!r}, not of {account_id}"
        )


def access_key(item: Item, user_name: str, known: AccessKey | None) -> AccessKey:
    """
    Parse an item of ListAccessKeys, carrying over what is known of the key.

    Raises:
        ReadError: It is malformed.
    """
    operation = Operation.LIST_ACCESS_KEYS
    id_ = text(item, "AccessKeyId", operation)
    status = text(item, "Status", operation)
    created = time(item, "CreateDate", operation)
    if known is None:
        return AccessKey(id_, user_name, status, created)
    return AccessKey(
        id_,
        user_name,
        status,
        created,
        known.last_use,
        known.as_of,
        final=known.final and status != ACTIVE,
    )


def last_use(item: Item, now: datetime) -> Use:
    """
    Parse AccessKeyLastUsed of GetAccessKeyLastUsed.

    Only the absence of LastUsedDate means never: a key that was used can have the region N/A.

    Raises:
        ReadError: It is malformed.
    """
    operation = Operation.GET_ACCESS_KEY_LAST_USED
    if "LastUsedDate" not in item:
        return NEVER
    return LastUse(
        past_time(item, "LastUsedDate", operation, now),
        text(item, "ServiceName", operation),
        text(item, "Region", operation),
    )


def tag(item: Item, operation: Operation) -> tuple[str, str]:
    """
    Parse a tag: its name and value.

    Raises:
        ReadError: It is malformed.
    """
    value = item.get("Value", "")
    if not isinstance(value, str):
        raise malformed(operation, "a tag has no valid Value")
    return text(item, "Key", operation), value


def tags(items: Any, operation: Operation) -> Tags:
    """
    Parse a list of tags.

    Raises:
        ReadError: One of them is malformed.
    """
    return tuple(sorted(tag(item, operation) for item in items or ()))
