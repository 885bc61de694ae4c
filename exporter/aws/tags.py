"""
Users' tags, all at once or user by user.

Source: IAM GetAccountAuthorizationDetails, ListUserTags.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from exporter.aws.api import AccountApi
from exporter.model import ReadError, Tags, User

Wanted = Callable[[str], bool]
"""Whether a tag of this name is to be kept."""


def all_at_once(calls: AccountApi, users: list[User], wanted: Wanted) -> list[User]:
    """
    Read the tags of *users*: a call for each thousand, which tells their policies as well.

    Raises:
        ReadError: They cannot be read.
    """
    details = calls.pages("GetAccountAuthorizationDetails", "UserDetailList", Filter=["User"])
    tags = {user["UserName"]: _kept(user.get("Tags", ()), wanted) for user in details}
    return [replace(user, tags=tags.get(user.name, ())) for user in users]


def of_user(calls: AccountApi, user: User, wanted: Wanted) -> User:
    """
    Read the tags of *user*. One that is gone keeps them until that is known for sure.

    Raises:
        ReadError: They cannot be read.
    """
    try:
        tags = _kept(calls.pages("ListUserTags", "Tags", UserName=user.name), wanted)
    except ReadError as error:
        if error.code == "NoSuchEntity":
            return user
        raise
    return replace(user, tags=tags)


def _kept(tags: Iterable[Mapping[str, str]], wanted: Wanted) -> Tags:
    return tuple(sorted((tag["Key"], tag["Value"]) for tag in tags if wanted(tag["Key"])))
