"""The options about which accounts and users to read."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Self

from pydantic import Field, model_validator

from exporter.config.section import Section
from exporter.config.values import (
    AccountId,
    AccountIds,
    Burst,
    Duration,
    ExternalId,
    Name,
    Patterns,
    Rate,
    Role,
    RoleName,
    Roles,
    SessionDuration,
    SessionName,
    SessionTags,
    SourceIdentity,
    TagPatterns,
    Units,
    invalid,
)
from exporter.model import Account, Partition, RoleSession


class Session(Section):
    """How roles are assumed."""

    external_id: ExternalId | None = None
    external_id_file: Name | None = None
    session_name: SessionName = "aws-iam-key-exporter"
    session_tags: SessionTags = Field(default_factory=dict)
    source_identity: SourceIdentity | None = None
    session_duration: SessionDuration = timedelta(hours=1)
    role_chain: Roles = ()
    profile: Name | None = None

    @model_validator(mode="after")
    def _not_too_long(self) -> Self:
        if self.role_chain and self.session_duration > timedelta(hours=1):
            raise invalid("session_duration must be at most 1h with role_chain: AWS allows no more")
        return self

    def role_session(self) -> RoleSession:
        return RoleSession(
            name=self.session_name,
            external_id=self.external_id,
            tags=tuple(sorted(self.session_tags.items())),
            source_identity=self.source_identity,
            seconds=int(self.session_duration.total_seconds()),
            via=self.role_chain,
        )


ONLY_FOR_ROLES = ("external_id", "session_tags", "source_identity", "role_chain")
"""Options that mean nothing without a role to assume."""


class AccountEntry(Session):
    account_id: AccountId | None = None
    name: Name | None = None
    role_arn: Role | None = None
    requests_per_second: Rate | None = None
    burst: Burst | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "AccountEntry":
        if self.role_arn is None:
            for option in ONLY_FOR_ROLES:
                if getattr(self, option):
                    text = f"{option} requires role_arn: it is only used to assume a role"
                    raise invalid(text)
            return self
        owner = self.role_arn.account_id
        if self.account_id not in (None, owner):
            raise invalid(f"role_arn is in account {owner}, but account_id is {self.account_id}")
        return self

    def account(self) -> Account:
        arn = self.role_arn
        return Account(
            id=self.account_id or (arn.account_id if arn else ""),
            name=self.name or "",
            partition=arn.partition if arn else Partition.AWS,
            role_arn=self.role_arn,
            role_session=self.role_session() if arn else RoleSession(),
            profile=self.profile,
            requests_per_second=self.requests_per_second,
            burst=self.burst,
        )


class Selection(Section):
    ous: Units = ()
    accounts: AccountIds = ()
    names: Patterns = ()
    tags: TagPatterns = Field(default_factory=dict)


class Organization(Session):
    role_name: RoleName
    discovery_role_arn: Role | None = None
    discovery_external_id: ExternalId | None = None
    discovery_external_id_file: Name | None = None
    include: Selection = Selection()
    exclude: Selection = Selection()
    interval: Duration = timedelta(hours=1)

    @model_validator(mode="after")
    def _consistent(self) -> "Organization":
        if self.discovery_external_id is not None and self.discovery_role_arn is None:
            raise invalid("discovery_external_id requires discovery_role_arn")
        return self

    def caller(self) -> Account:
        """Return the account that asks Organizations."""
        arn = self.discovery_role_arn
        return Account(
            id=arn.account_id if arn else "",
            name="organization",
            partition=arn.partition if arn else Partition.AWS,
            role_arn=arn,
            role_session=replace(self.role_session(), external_id=self.discovery_external_id),
            profile=self.profile,
        )


class Users(Section):
    include: Patterns = (".*",)
    exclude: Patterns = ()

    @model_validator(mode="after")
    def _some(self) -> "Users":
        if not self.include:
            raise invalid("include must not be empty: no user would be read")
        if {".*", ".+"} & {*self.exclude}:
            raise invalid("exclude has a pattern that matches every user: none would be read")
        return self

    def matcher(self) -> Callable[[str], bool]:
        """
        Return a predicate on user names: whether the user is read.

        Patterns match the whole name; `exclude` takes precedence.
        """
        include = [re.compile(pattern) for pattern in self.include]
        exclude = [re.compile(pattern) for pattern in self.exclude]

        def matches(name: str) -> bool:
            included = any(pattern.fullmatch(name) for pattern in include)
            return included and not any(pattern.fullmatch(name) for pattern in exclude)

        return matches
