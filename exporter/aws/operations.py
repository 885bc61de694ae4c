"""The AWS API operations that the exporter calls: all of them, and no others."""

from enum import StrEnum
from typing import Self


class Operation(StrEnum):
    """
    An API operation. The value is its name.

    Attributes:
        service: The service that offers it.
        member: The member that every valid result has.
        item_id: What distinguishes the items of a list. Empty: it returns no list.
    """

    service: str
    member: str
    item_id: str

    ASSUME_ROLE = ("AssumeRole", "sts", "Credentials")
    GET_CALLER_IDENTITY = ("GetCallerIdentity", "sts", "Account")
    GENERATE_CREDENTIAL_REPORT = ("GenerateCredentialReport", "iam", "State")
    GET_ACCESS_KEY_LAST_USED = ("GetAccessKeyLastUsed", "iam", "AccessKeyLastUsed")
    GET_ACCOUNT_AUTHORIZATION_DETAILS = (
        "GetAccountAuthorizationDetails",
        "iam",
        "UserDetailList",
        "UserName",
    )
    GET_ACCOUNT_SUMMARY = ("GetAccountSummary", "iam", "SummaryMap")
    GET_CREDENTIAL_REPORT = ("GetCredentialReport", "iam", "Content")
    LIST_ACCOUNTS = ("ListAccounts", "organizations", "Accounts", "Id")
    LIST_ACCOUNTS_FOR_PARENT = ("ListAccountsForParent", "organizations", "Accounts", "Id")
    LIST_ORGANIZATIONAL_UNITS_FOR_PARENT = (
        "ListOrganizationalUnitsForParent",
        "organizations",
        "OrganizationalUnits",
        "Id",
    )
    LIST_TAGS_FOR_RESOURCE = ("ListTagsForResource", "organizations", "Tags", "Key")
    LIST_ACCESS_KEYS = ("ListAccessKeys", "iam", "AccessKeyMetadata", "AccessKeyId")
    LIST_USER_TAGS = ("ListUserTags", "iam", "Tags", "Key")
    LIST_USERS = ("ListUsers", "iam", "Users", "UserName")

    def __new__(cls, name: str, service: str, member: str, item_id: str = "") -> Self:
        operation = str.__new__(cls, name)
        operation._value_ = name
        operation.service = service
        operation.member = member
        operation.item_id = item_id
        return operation
