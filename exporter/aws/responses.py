"""
Items of AWS's responses, parsed into facts.

An item that is not what AWS documents costs one key or one user, never the account: each function
raises a ReadError with the reason *malformed* for its item alone.
"""

import re
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
    Partition,
    ReadError,
    Reason,
    Tags,
    Use,
    User,
)

FUTURE_TOLERANCE: Final = timedelta(minutes=5)
"""How far a past event may lie in the future: clocks differ, but not by more."""

EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Before AWS existed: an earlier time, such as one of the year 1, is a mistake."""

STATUSES: Final = frozenset({ACTIVE, "Inactive", "Expired"})

_NAME: Final = re.compile(r"[^\x00-\x1f\x80-\x9f\u2028\u2029]{1,1024}")

Item = Mapping[str, Any]

_ACCOUNT_ID = re.compile(r"\d{12}", re.ASCII)

_KEY_ID = re.compile(r"\w{16,128}", re.ASCII)

_CREDENTIAL = re.compile(r"[!-~]+")
"""What can be sent in a header: anything else would end up in an error message."""


def check(operation: Operation, result: Item) -> None:
    """
    Make sure that the result of *operation* is usable at all.

    Raises:
        ReadError: It is malformed.
    """
    if operation.member not in result:
        raise malformed(operation, f"the response has no {operation.member}")
    if operation is Operation.ASSUME_ROLE:
        session = result["Credentials"]
        for member in ("AccessKeyId", "SecretAccessKey", "SessionToken"):
            if not is_credential(session.get(member)):
                raise malformed(operation, f"the credentials have no valid {member}")
        time(session, "Expiration", operation)
    elif operation is Operation.GET_CALLER_IDENTITY:
        arn, account = text(result, "Arn", operation), text(result, "Account", operation)
        if account_of(arn) != account or arn.split(":")[1] not in tuple(Partition):
            raise malformed(operation, "no valid Arn and Account")


def is_credential(value: object) -> bool:
    """Whether *value* can be an access key id, a secret access key or a session token."""
    return isinstance(value, str) and _CREDENTIAL.fullmatch(value) is not None


def account_of(arn: str) -> str:
    """Return the account id in *arn*, empty if there is none."""
    parts = arn.split(":")
    valid = len(parts) > 5 and parts[0] == "arn" and _ACCOUNT_ID.fullmatch(parts[4])
    return parts[4] if valid else ""


def text(item: Item, member: str, operation: Operation) -> str:
    """
    Return a member that has to be there.

    Raises:
        ReadError: It is missing, empty, too long, or has control characters.
    """
    value = item.get(member)
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise malformed(operation, f"an item has no valid {member}")
    return value


def time(item: Item, member: str, operation: Operation) -> datetime:
    """
    Return a time, in UTC.

    Raises:
        ReadError: It is missing, or not a time.
    """
    value = item.get(member)
    if not isinstance(value, datetime):  # what cannot be parsed is left as it is: see xml_parser
        raise malformed(operation, f"an item has no valid {member}")
    return value


def past_time(item: Item, member: str, operation: Operation, now: datetime) -> datetime:
    """
    Return the time of something that has happened.

    Raises:
        ReadError: It lies in the future or before AWS existed, is missing, or not a time.
    """
    at = time(item, member, operation)
    if not is_past(at, now):
        raise malformed(operation, f"{member} cannot be {at.isoformat()}")
    return at


def creation_time(item: Item, operation: Operation, now: datetime) -> datetime:
    """
    Return CreateDate.

    A clock of ours that is behind must not hide users and keys, so it may lie in the future.

    Raises:
        ReadError: It is out of all proportion, missing, or not a time.
    """
    return past_time(item, "CreateDate", operation, now + timedelta(days=366))


def is_past(at: datetime, now: datetime) -> bool:
    """Whether something can have happened at this time, as far as clocks agree."""
    return at >= EARLIEST and at - now <= FUTURE_TOLERANCE


def user(item: Item, account_id: str, now: datetime) -> User:
    """
    Parse an item of ListUsers, without the last use of the password.

    Raises:
        ReadError: It is malformed; with the reason wrong_account if it is another account's.
    """
    operation = Operation.LIST_USERS
    check_account(text(item, "Arn", operation), account_id, operation)
    return User(
        text(item, "UserName", operation),
        text(item, "Path", operation),
        creation_time(item, operation, now),
        id=text(item, "UserId", operation),
    )


def password_last_used(item: Item, now: datetime) -> datetime | None:
    """
    Parse the last use of a password in an item of ListUsers. None: never, or there is none.

    Raises:
        ReadError: It is malformed.
    """
    if "PasswordLastUsed" not in item:
        return None
    return past_time(item, "PasswordLastUsed", Operation.LIST_USERS, now)


def check_account(arn: str, account_id: str, operation: Operation) -> None:
    """
    Make sure that *arn* is of this account.

    Raises:
        ReadError: It is another account's, or malformed.
    """
    found = account_of(arn)
    if not found:
        raise malformed(operation, "an item has no valid Arn")
    if found != account_id:
        text = f"{operation}: AWS returned data of account {found}, not of {account_id}"
        raise ReadError(Reason.WRONG_ACCOUNT, text, code="WrongAccount")


def key_id(item: Item) -> str:
    """
    Return the id of an item of ListAccessKeys.

    Raises:
        ReadError: It is missing or malformed.
    """
    id_ = text(item, "AccessKeyId", Operation.LIST_ACCESS_KEYS)
    if not _KEY_ID.fullmatch(id_):
        raise malformed(Operation.LIST_ACCESS_KEYS, "an item has no valid AccessKeyId")
    return id_


def access_key(item: Item, user_name: str, known: AccessKey | None, now: datetime) -> AccessKey:
    """
    Parse an item of ListAccessKeys, carrying over what is known of the key.

    Raises:
        ReadError: It is malformed.
    """
    operation = Operation.LIST_ACCESS_KEYS
    id_ = key_id(item)
    if item.get("UserName", user_name) != user_name:
        raise malformed(operation, "an item is of another user")
    status = text(item, "Status", operation)
    if status not in STATUSES:
        raise malformed(operation, "an item has no valid Status")
    created = creation_time(item, operation, now)
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

    Only the absence of LastUsedDate means never: a key that was used can have the region N/A. Of a
    key that was never used, AWS returns N/A for service and region: without them the response is
    incomplete.

    Raises:
        ReadError: It is malformed.
    """
    operation = Operation.GET_ACCESS_KEY_LAST_USED
    service, region = text(item, "ServiceName", operation), text(item, "Region", operation)
    if "LastUsedDate" in item:
        return LastUse(past_time(item, "LastUsedDate", operation, now), service, region)
    if (service, region) != ("N/A", "N/A"):
        raise malformed(operation, "an item has no LastUsedDate")
    return NEVER


def tag(item: Item, operation: Operation) -> tuple[str, str]:
    """
    Parse a tag: its name and value.

    Raises:
        ReadError: It is malformed.
    """
    value = item.get("Value")
    if not isinstance(value, str) or len(value) > 1024:  # it may be empty
        raise malformed(operation, "a tag has no valid Value")
    return text(item, "Key", operation), value


def tags(items: Any, operation: Operation) -> Tags:
    """
    Parse a list of tags.

    Raises:
        ReadError: One of them is malformed.
    """
    return tuple(sorted(tag(item, operation) for item in items or ()))
