"""
IAM policies: what the exporter must be allowed to do for the enabled features, and nothing else.

The table `PERMISSIONS` is the only place that connects operations, actions and statements.

Source: AWS's service authorization reference, for the resources that each action supports.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from exporter.model import Partition, ReportMode, TagSource

Document = dict[str, Any]
"""A policy as IAM has it, in the order in which it is printed."""

DEFAULT_ROLE_NAME: Final = "aws-iam-key-exporter"
"""The name of the roles that the exporter assumes, unless something else is configured."""


class Policy(StrEnum):
    """
    The policies that an operator attaches.

    Attributes:
        READER: The permissions of the role that reads an account.
        TRUST: Who may assume that role.
        DISCOVERY: The permissions to list an organization's accounts: those of the exporter's own
            identity, or of the role that it assumes for the purpose.
        EXPORTER: The permissions of the exporter's own identity to assume roles.
    """

    READER = "reader"
    TRUST = "trust"
    DISCOVERY = "discovery"
    EXPORTER = "exporter"


@dataclass(frozen=True, slots=True)
class Features:
    """
    The features that decide which permissions are needed. The defaults are those of the exporter.

    Attributes:
        ou_filters: Accounts are included or excluded by organizational unit.
        account_tags: Account tags are read, for filters or labels.
        source_identity: Roles are assumed with a source identity.
    """

    report_mode: ReportMode = ReportMode.AUTO
    tag_source: TagSource = TagSource.OFF
    ou_filters: bool = False
    account_tags: bool = False
    source_identity: bool = False


@dataclass(frozen=True, slots=True)
class Permission:
    """
    An action that an operation requires.

    Attributes:
        operation: The name of the API operation, such as ``ListUsers``.
        action: As policies name it, such as ``iam:ListUsers``.
        policy: The policy that allows it.
        statement: The ``Sid`` of the statement of that policy.
        resource: What the action is allowed on, with a placeholder for the partition. Empty: the
            statement has another, or none.
        is_needed: Whether features require it.
    """

    operation: str
    action: str
    policy: Policy
    statement: str
    resource: str
    is_needed: Callable[[Features], bool]


def _always(_: Features) -> bool:
    return True


def _report(features: Features) -> bool:
    return features.report_mode is not ReportMode.OFF


def _iam(
    operation: str, statement: str, resource: str, is_needed: Callable[[Features], bool]
) -> Permission:
    return Permission(operation, f"iam:{operation}", Policy.READER, statement, resource, is_needed)


def _organizations(operation: str, is_needed: Callable[[Features], bool]) -> Permission:
    action = f"organizations:{operation}"
    return Permission(operation, action, Policy.DISCOVERY, "Organization", "*", is_needed)


def _sts(
    action: str, policy: Policy, statement: str, is_needed: Callable[[Features], bool]
) -> Permission:
    return Permission("AssumeRole", f"sts:{action}", policy, statement, "", is_needed)


USERS: Final = "arn:{partition}:iam::*:user/*"

PERMISSIONS: Final = (
    _iam("ListUsers", "Users", "*", _always),
    _iam("ListAccessKeys", "Keys", USERS, _always),
    _iam("GetAccessKeyLastUsed", "Keys", USERS, _always),
    # Root's keys, where there is no report or it cannot be used.
    _iam("GetAccountSummary", "Root", "*", _always),
    _iam("GenerateCredentialReport", "CredentialReport", "*", _report),
    _iam("GetCredentialReport", "CredentialReport", "*", _report),
    _iam(
        "GetAccountAuthorizationDetails",
        "TagsOfAllUsers",
        "*",
        lambda features: features.tag_source is TagSource.BULK,
    ),
    _iam(
        "ListUserTags",
        "TagsPerUser",
        USERS,
        lambda features: features.tag_source is TagSource.PER_USER,
    ),
    _organizations("ListAccounts", _always),
    # Where ListAccounts does not return the paths of the accounts.
    _organizations("ListOrganizationalUnitsForParent", lambda features: features.ou_filters),
    _organizations("ListAccountsForParent", lambda features: features.ou_filters),
    _organizations("ListTagsForResource", lambda features: features.account_tags),
    _sts("AssumeRole", Policy.TRUST, "AssumeRole", _always),
    # EKS Pod Identity tags the exporter's session, and those tags go along to every role. These two
    # actions have a statement without the external ID, as in AWS's examples: they let nobody in.
    _sts("TagSession", Policy.TRUST, "Session", _always),
    _sts("SetSourceIdentity", Policy.TRUST, "Session", lambda features: features.source_identity),
    _sts("AssumeRole", Policy.EXPORTER, "AssumeRoles", _always),
    _sts("TagSession", Policy.EXPORTER, "AssumeRoles", _always),
    _sts(
        "SetSourceIdentity",
        Policy.EXPORTER,
        "AssumeRoles",
        lambda features: features.source_identity,
    ),
)
"""Every permission, in the order in which policies have it. GetCallerIdentity requires none."""


def needed(features: Features) -> tuple[Permission, ...]:
    """Return the permissions that *features* require, of all policies."""
    return tuple(permission for permission in PERMISSIONS if permission.is_needed(features))


def reader_policy(features: Features, partition: Partition) -> Document:
    """Return the permissions of the role, or user, that reads an account of *partition*."""
    return _document(
        {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resource}
        for (sid, resource), actions in _statements(Policy.READER, features, partition)
    )


def discovery_policy(features: Features) -> Document:
    """Return the permissions to list the accounts of an organization."""
    return _document(
        {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resource}
        for (sid, resource), actions in _statements(Policy.DISCOVERY, features)
    )


def exporter_policy(features: Features, roles: Sequence[str]) -> Document:
    """
    Return the permissions of the exporter's own identity to assume *roles*.

    Args:
        roles: ARNs, which may have wildcards.
    """
    return _document(
        {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": list(roles)}
        for (sid, _), actions in _statements(Policy.EXPORTER, features)
    )


def trust_policy(features: Features, principal: str, external_id: str | None) -> Document:
    """
    Return the trust policy of the role that reads an account.

    Args:
        principal: The ARN of the exporter's own identity.
        external_id: None: none is required.
    """
    statements = []
    for (sid, _), actions in _statements(Policy.TRUST, features):
        statement: dict[str, Any] = {
            "Sid": sid,
            "Effect": "Allow",
            "Principal": {"AWS": principal},
            "Action": actions,
        }
        if external_id is not None and "sts:AssumeRole" in actions:
            statement["Condition"] = {"StringEquals": {"sts:ExternalId": external_id}}
        statements.append(statement)
    return _document(statements)


def role_arn(name: str, partition: Partition) -> str:
    """Return the ARN, for a policy, of the roles of this name in all accounts of *partition*."""
    return f"arn:{partition}:iam::*:role/{name}"


def as_json(document: Document) -> str:
    """Write *document* as IAM's console shows policies."""
    return json.dumps(document, indent=2, ensure_ascii=True) + "\n"


def _statements(
    policy: Policy, features: Features, partition: Partition = Partition.AWS
) -> list[tuple[tuple[str, str], list[str]]]:
    """Group the actions of *policy* by their statement and resource."""
    statements: dict[tuple[str, str], list[str]] = {}
    for permission in needed(features):
        if permission.policy is policy:
            resource = permission.resource.format(partition=partition)
            statements.setdefault((permission.statement, resource), []).append(permission.action)
    return list(statements.items())


def _document(statements: Iterable[Document]) -> Document:
    return {"Version": "2012-10-17", "Statement": list(statements)}
