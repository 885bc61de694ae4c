"""
Users' tags, in bulk or user by user.

Source: IAM GetAccountAuthorizationDetails, ListUserTags.
"""

from collections.abc import Callable, Iterable, Mapping

from exporter.aws.api import AccountApi
from exporter.aws.operations import Operation
from exporter.model import Tags, User

TagFilter = Callable[[str], bool]
"""Whether to keep the tag of this name."""


def of_all_users(api: AccountApi, keep: TagFilter) -> dict[str, Tags]:
    """
    Read the tags of all users, by name: one call per thousand, which returns policies as well.

    Raises:
        ReadError: They cannot be read.
        Aborted: See `AccountApi.call`.
    """
    details = api.pages(Operation.GET_ACCOUNT_AUTHORIZATION_DETAILS, Filter=["User"])
    return {user["UserName"]: _kept(user.get("Tags", ()), keep) for user in details}


def of_user(api: AccountApi, user: User, keep: TagFilter) -> Tags:
    """
    Read the tags of *user*: one call.

    Raises:
        ReadError: They cannot be read; with the code NoSuchEntity if the user is gone.
        Aborted: See `AccountApi.call`.
    """
    return _kept(api.pages(Operation.LIST_USER_TAGS, UserName=user.name), keep)


def _kept(tags: Iterable[Mapping[str, str]], keep: TagFilter) -> Tags:
    return tuple(sorted((tag["Key"], tag["Value"]) for tag in tags if keep(tag["Key"])))
