"""IAM's operations, from parameters to the content of the XML result."""

import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .accounts import Account, World
from .identity import Caller
from .refusal import Refusal
from .users import User
from .wire import Page, Params, constraint, element, more, page


@dataclass(frozen=True, slots=True)
class Call:
    """
    A call of IAM.

    Attributes:
        at_most: The largest page that is served, whatever MaxItems is.
    """

    world: World
    caller: Caller
    operation: str
    params: Params
    at_most: int = 1000

    @property
    def account(self) -> Account:
        return self.caller.account

    @property
    def user(self) -> User:
        """The user that the parameters name."""
        name = self.required("UserName")
        user = self.account.find_user(name)
        if user is None:
            raise Refusal("NoSuchEntity", f"The user with name {name} cannot be found.")
        return user

    def required(self, name: str) -> str:
        value = self.params.get(name)
        if not value:
            raise constraint("null", name[0].lower() + name[1:], "not be null")
        return str(value)

    def page(self, names: list[str], *scope: str) -> Page:
        return page(
            names, self.params, scope="/".join((self.operation, *scope)), at_most=self.at_most
        )


def get_access_key_last_used(call: Call) -> str:
    key_id = call.required("AccessKeyId")
    key = call.world.keys.get(key_id)
    if key is None or key.user.account is not call.account or key.user is call.account.root:
        if not re.fullmatch(r"\w{16,128}", key_id, re.ASCII):
            raise constraint(key_id, "accessKeyId", r"satisfy regular expression pattern: [\w]+")
        # AWS answers the same for deleted and foreign keys, and leaves out the colon only here.
        raise Refusal(
            "AccessDenied",
            f"User: {call.caller.arn} is not authorized to perform iam:GetAccessKeyLastUsed "
            f"on resource: access key {key_id}",
        )
    if key.last_use is None:
        content = "<ServiceName>N/A</ServiceName><Region>N/A</Region>"
    else:
        at, service, region = key.last_use
        content = (
            element("LastUsedDate", at)
            + element("ServiceName", service)
            + element("Region", region)
        )
    return f"<UserName>{key.user.name}</UserName><AccessKeyLastUsed>{content}</AccessKeyLastUsed>"


def list_users(call: Call) -> str:
    account = call.account
    names = account.sorted_names
    prefix = call.params.get("PathPrefix", "/")
    if prefix != "/":
        names = [name for name in names if _user(account, name).path.startswith(prefix)]
    part = call.page(names, prefix)
    users = [_user(account, name) for name in names[part.start : part.end]]
    # The API's model has tags in this response, but AWS does not return them.
    members = "".join(
        f"<member>{_identity(user)}{element('PasswordLastUsed', user.password_last_used)}</member>"
        for user in users
    )
    return f"<Users>{members}</Users>{more(part)}"


def list_access_keys(call: Call) -> str:
    if "UserName" in call.params:
        user = call.user
    else:
        key = call.world.keys.get(call.caller.key_id)
        if key is None:
            raise Refusal(
                "ValidationError", "Must specify userName when calling with non-User credentials"
            )
        user = key.user
    serials = [f"{key.serial:012}" for key in user.keys]
    part = call.page(serials, user.id)
    members = "".join(
        f"<member>{element('UserName', user.name)}<AccessKeyId>{key.id}</AccessKeyId>"
        f"<Status>{key.status}</Status>{element('CreateDate', key.created)}</member>"
        for key in user.keys[part.start : part.end]
    )
    return f"<AccessKeyMetadata>{members}</AccessKeyMetadata>{more(part)}"


def list_user_tags(call: Call) -> str:
    user = call.user
    names = sorted(user.tags)
    part = call.page(names, user.id)
    return f"<Tags>{_tags(user, names[part.start : part.end])}</Tags>{more(part)}"


def get_user(call: Call) -> str:
    user = call.user
    return (
        f"<User>{_identity(user)}{element('PasswordLastUsed', user.password_last_used)}"
        f"<Tags>{_tags(user, sorted(user.tags))}</Tags></User>"
    )


def get_account_authorization_details(call: Call) -> str:
    account = call.account
    filters = sorted(
        value for name, value in call.params.items() if name.startswith("Filter.member.")
    )
    names = []
    if not filters or "User" in filters:
        names += [f"user/{name}" for name in account.sorted_names]
    if not filters or "Role" in filters:
        names += [f"role/{name}" for name in account.roles]
    names.sort()
    part = call.page(names, *filters)
    users = roles = ""
    for name in names[part.start : part.end]:
        kind, _, rest = name.partition("/")
        if kind == "user":
            user = _user(account, rest)
            users += (
                f"<member>{_identity(user)}<GroupList/><AttachedManagedPolicies/>"
                f"<Tags>{_tags(user, sorted(user.tags))}</Tags></member>"
            )
        else:
            role = account.roles[rest]
            fields = {"Path": role.path, "RoleName": role.name, "RoleId": role.id, "Arn": role.arn}
            written = "".join(element(name, value) for name, value in fields.items())
            roles += f"<member>{written}{element('CreateDate', account.created)}</member>"
    return (
        f"<UserDetailList>{users}</UserDetailList><GroupDetailList/>"
        f"<RoleDetailList>{roles}</RoleDetailList><Policies/>{more(part)}"
    )


def get_account_summary(call: Call) -> str:
    account = call.account
    fields = {
        "Users": len(account.users),
        "UsersQuota": 5000,
        "Roles": len(account.roles),
        "AccessKeysPerUserQuota": 2,
        "AccountAccessKeysPresent": int(bool(account.root_keys)),
        "AccountMFAEnabled": 0,
        "AccountPasswordPresent": int(account.root.password_enabled),
    }
    entries = "".join(
        f"<entry><key>{name}</key><value>{value}</value></entry>" for name, value in fields.items()
    )
    return f"<SummaryMap>{entries}</SummaryMap>"


def generate_credential_report(call: Call) -> str:
    state, description = call.account.report.generate()
    return element("State", state) + element("Description", description)


def get_credential_report(call: Call) -> str:
    content, generated = call.account.report.get()
    return (
        f"<Content>{b64encode(content).decode()}</Content><ReportFormat>text/csv</ReportFormat>"
        f"{element('GeneratedTime', generated)}"
    )


def _user(account: Account, lower_name: str) -> User:
    user = account.find_user(lower_name)
    assert user is not None, lower_name
    return user


def _identity(user: User) -> str:
    return (
        f"{element('Path', user.path)}<UserName>{user.name}</UserName><UserId>{user.id}</UserId>"
        f"{element('Arn', user.arn)}{element('CreateDate', user.created)}"
    )


def _tags(user: User, names: list[str]) -> str:
    return "".join(
        f"<member>{element('Key', name)}{element('Value', user.tags[name])}</member>"
        for name in names
    )


OPERATIONS: Final[dict[str, Callable[[Call], str]]] = {
    "GenerateCredentialReport": generate_credential_report,
    "GetAccessKeyLastUsed": get_access_key_last_used,
    "GetAccountAuthorizationDetails": get_account_authorization_details,
    "GetAccountSummary": get_account_summary,
    "GetCredentialReport": get_credential_report,
    "GetUser": get_user,
    "ListAccessKeys": list_access_keys,
    "ListUserTags": list_user_tags,
    "ListUsers": list_users,
}

REPORT_OPERATIONS: Final = frozenset({"GenerateCredentialReport", "GetCredentialReport"})


def resource(call: Call) -> str:
    """The resource of a call, as IAM names it in denials."""
    if user := call.params.get("UserName"):
        return f"user {user}"
    key = call.world.keys.get(call.params.get("AccessKeyId", ""))
    if key is not None and key.user.account is call.account:
        return f"user {key.user.name}"
    if call.operation == "ListUsers":
        account = call.account
        return f"arn:{account.partition}:iam::{account.id}:user{call.params.get('PathPrefix', '/')}"
    return "*"
