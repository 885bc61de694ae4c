"""
Users' tags, in bulk or user by user.

Source: IAM GetAccountAuthorizationDetails, ListUserTags.
"""

from collections.abc import Callable

from exporter.aws import responses
from exporter.aws.api import AccountApi
from exporter.aws.operations import Operation
from exporter.model import ReadError, Reason, Tags, User

TagFilter = Callable[[str], bool]
"""Whether to keep the tag of this name."""


def of_all_users(
    api: AccountApi, account_id: str, keep: TagFilter, report: Callable[[ReadError], None]
) -> dict[str, Tags]:
    """
    Read the tags of all users, by name: one call per thousand, which returns policies as well.

    Args:
        report: Called with what is wrong with a single user's tags, who is then left out.

    Raises:
        ReadError: They cannot be read.
        Aborted: See `AccountApi.call`.
    """
    operation = Operation.GET_ACCOUNT_AUTHORIZATION_DETAILS
    found: dict[str, Tags] = {}
    for item in api.pages(operation, Filter=["User"]):
        try:
            responses.check_account(responses.text(item, "Arn", operation), account_id, operation)
            name = responses.text(item, "UserName", operation)
            found[name] = _kept(responses.tags(item.get("Tags"), operation), keep)
        except ReadError as error:
            if error.reason is Reason.WRONG_ACCOUNT:
                raise
            report(error)
    return found


def of_user(api: AccountApi, user: User, keep: TagFilter) -> Tags:
    """
    Read the tags of *user*: one call.

    Raises:
        ReadError: They cannot be read; with the code NoSuchEntity if the user is gone.
        Aborted: See `AccountApi.call`.
    """
    operation = Operation.LIST_USER_TAGS
    items = list(api.pages(operation, UserName=user.name))
    try:
        return _kept(responses.tags(items, operation), keep)
    except ReadError:
        api.count_malformed(operation)
        raise


def _kept(tags: Tags, keep: TagFilter) -> Tags:
    return tuple((name, value) for name, value in tags if keep(name))
