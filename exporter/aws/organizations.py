"""
Which accounts there are, according to AWS Organizations.

One call per 20 accounts. Units are compared with the path of each account; only where AWS does not
return paths are the units walked. One call per account reads its tags, where they are needed.

Source: Organizations ListAccounts, ListAccountsForParent, ListOrganizationalUnitsForParent,
ListTagsForResource.
"""

import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

from exporter.aws.account_session import AccountSessions
from exporter.aws.api import Aborted, AccountApi
from exporter.aws.errors import malformed
from exporter.aws.operations import Operation
from exporter.model import Account, Clock, Partition, ReadError, Reason, RoleArn, RoleSession, Tags

ACTIVE: Final = "ACTIVE"
"""The only state in which the accounts of an organization can be read."""

MAX_UNITS: Final = 10_000
"""Units after which a tree is taken to be endless: an organization has at most 2000."""


@dataclass(frozen=True, slots=True)
class Selection:
    """
    Accounts, chosen by what is known of them. Empty fields choose nothing.

    Attributes:
        units: Ids of organizational units, or of the root, with everything below them.
        ids: Account ids.
        names: Regular expressions that match complete account names.
        tags: Regular expressions that match complete values, by tag name.
    """

    units: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    names: tuple[str, ...] = ()
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))

    def without_tags(self) -> "Selection":
        return replace(self, tags=MappingProxyType({}))

    def criteria(self, member: "Member") -> list[bool]:
        """List, for each kind of criterion that there is, whether *member* meets it."""
        values = dict(member.tags)
        met = []
        if self.units:
            met.append(bool(self.units & member.units))
        if self.ids:
            met.append(member.id in self.ids)
        if self.names:
            met.append(_matches(self.names, member.name))
        met += [
            name in values and _matches(patterns, values[name])
            for name, patterns in self.tags.items()
        ]
        return met


def _matches(patterns: Iterable[str], text: str) -> bool:
    return any(re.fullmatch(pattern, text) for pattern in patterns)


@dataclass(frozen=True, slots=True)
class Member:
    """
    An active account of an organization.

    Attributes:
        management: The id of the organization's management account.
        units: Ids of the units, and the root, that it is in, directly or not.
    """

    id: str
    name: str
    partition: Partition
    management: str
    units: frozenset[str]
    tags: Tags = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """
    Finds the accounts of an organization.

    Attributes:
        role_name: The role to assume in each account, with its path, if it has one.
        role_session: How it is assumed.
        caller: How to get into the account that may ask Organizations: the management account, or
            that of a delegated administrator.
        include: An account has to meet one criterion of every kind.
        exclude: An account must not meet any.
        account_tags: Names of the tags to keep.
        deadline: Maximum duration, in seconds.
    """

    sessions: AccountSessions
    role_name: str
    role_session: RoleSession
    caller: Account
    include: Selection
    exclude: Selection
    account_tags: tuple[str, ...]
    deadline: float
    clock: Clock
    rng: random.Random

    def discover(self) -> list[Account]:
        """
        List the accounts to read.

        Raises:
            ReadError: They cannot be listed, or there seem to be none.
            Stopped: The exporter is shutting down.
        """
        try:
            api = self._sign_in(self.caller)
            members = self._members(api)
            # Reading tags takes a call for each account: not for those that are not chosen anyway.
            include, exclude = self.include.without_tags(), self.exclude.without_tags()
            candidates = [member for member in members if _is_chosen(member, include, exclude)]
            tagged = [self._with_tags(api, member) for member in candidates]
            chosen = [one for one in tagged if _is_chosen(one, self.include, self.exclude)]
        except Aborted as aborted:
            raise aborted.error from aborted
        if not chosen:
            active = f"{len(members)} active accounts"
            text = f"none of {active} is chosen by organization.include and exclude"
            raise ReadError(Reason.INVALID_REQUEST, text, code="NoAccount")
        return [self._account(member, api.account.id) for member in chosen]

    def identify(self, account: Account) -> str:
        """
        Find the id of the AWS account that the credentials of *account* belong to.

        Raises:
            ReadError: There are none, or AWS does not answer.
            Stopped: The exporter is shutting down.
        """
        try:
            return self._sign_in(account).account.id
        except Aborted as aborted:
            raise aborted.error from aborted

    def _sign_in(self, account: Account) -> AccountApi:
        """
        Sign in apart from the refreshes, which may use their session at the same time.

        Raises:
            Aborted: See `AccountApi.sign_in`.
        """
        api = AccountApi(
            self.sessions.clients,
            self.sessions.new_session(account),
            seconds=self.deadline,
            clock=self.clock,
            rng=self.rng,
        )
        api.sign_in()
        return api

    def _members(self, api: AccountApi) -> list[Member]:
        """
        List the active accounts, without their tags.

        Raises:
            ReadError: They cannot be listed, or there are none.
            Aborted: See `AccountApi.call`.
        """
        found: dict[str, tuple[Member, bool]] = {}
        for item in api.token_pages(Operation.LIST_ACCOUNTS):
            try:
                state = _state(item)
                member = _member(item)
            except ReadError:
                api.count_malformed(Operation.LIST_ACCOUNTS)
                raise
            if state == ACTIVE:
                found[member.id] = member, "Paths" in item
        if not found:
            api.count_malformed(Operation.LIST_ACCOUNTS)
            raise malformed(Operation.LIST_ACCOUNTS, "there is no active account")
        units = self.include.units | self.exclude.units
        if units and not all(has_path for _, has_path in found.values()):
            return self._with_units(api, [member for member, _ in found.values()], units)
        return [member for member, _ in found.values()]

    def _with_units(
        self, api: AccountApi, members: list[Member], units: Iterable[str]
    ) -> list[Member]:
        """
        Walk the *units*, for want of paths.

        Raises:
            ReadError: They cannot be listed.
            Aborted: See `AccountApi.call`.
        """
        inside: dict[str, set[str]] = {}
        for unit in sorted(units):
            for account_id in self._accounts_below(api, unit):
                inside.setdefault(account_id, set()).add(unit)
        return [replace(member, units=frozenset(inside.get(member.id, ()))) for member in members]

    def _accounts_below(self, api: AccountApi, unit: str) -> Iterable[str]:
        """
        List the ids of the accounts in a unit, and in all units below it.

        Raises:
            ReadError: They cannot be listed.
            Aborted: See `AccountApi.call`.
        """
        operation = Operation.LIST_ORGANIZATIONAL_UNITS_FOR_PARENT
        left, seen = [unit], {unit}
        while left:
            parent = left.pop()
            yield from _ids(api, Operation.LIST_ACCOUNTS_FOR_PARENT, parent)
            children = {*_ids(api, operation, parent)}
            left += children - seen
            seen |= children
            if len(seen) > MAX_UNITS:
                raise malformed(operation, "there is no end of organizational units")

    def _with_tags(self, api: AccountApi, member: Member) -> Member:
        """
        Read the tags of *member*, if they matter.

        Raises:
            ReadError: They cannot be read.
            Aborted: See `AccountApi.call`.
        """
        wanted = {*self.account_tags, *self.include.tags, *self.exclude.tags}
        if not wanted:
            return member
        operation = Operation.LIST_TAGS_FOR_RESOURCE
        tags = {}
        for item in api.token_pages(operation, ResourceId=member.id):
            name, value = item.get("Key"), item.get("Value")
            if not isinstance(name, str) or not isinstance(value, str):
                api.count_malformed(operation)
                raise malformed(operation, "a tag has no name or value")
            if name in wanted:
                tags[name] = value
        return replace(member, tags=tuple(sorted(tags.items())))

    def _account(self, member: Member, caller_id: str) -> Account:
        # Roles of a StackSet are in member accounts only. Who has credentials of the management
        # account does not need one there.
        own = member.id == member.management == caller_id
        assume = not own or self.caller.role_arn is not None
        role = RoleArn(member.partition, member.id, self.role_name) if assume else None
        return Account(
            member.id,
            member.name,
            member.partition,
            role_arn=role,
            role_session=self.role_session if role else RoleSession(),
            profile=self.caller.profile,
            source="organization",
            tags=tuple(tag for tag in member.tags if tag[0] in self.account_tags),
        )


def _is_chosen(member: Member, include: Selection, exclude: Selection) -> bool:
    return all(include.criteria(member)) and not any(exclude.criteria(member))


def _ids(api: AccountApi, operation: Operation, parent: str) -> Iterator[str]:
    """
    List the ids of what is directly in a unit.

    Raises:
        ReadError: They cannot be listed, or one has none.
        Aborted: See `AccountApi.call`.
    """
    for item in api.token_pages(operation, ParentId=parent):
        id_ = item.get("Id")
        if not isinstance(id_, str):
            api.count_malformed(operation)
            raise malformed(operation, "something in a unit has no Id")
        yield id_


def _state(item: Mapping[str, Any]) -> str:
    """
    Return the state of an account.

    Raises:
        ReadError: There is none. State has replaced Status, which AWS no longer returns one day.
    """
    state = item.get("State") or item.get("Status")
    if not isinstance(state, str):
        raise malformed(Operation.LIST_ACCOUNTS, "an account has neither State nor Status")
    return state


_ARN: Final = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):organizations::(?P<management>\d{12}):account/[\w/-]+", re.ASCII
)


def _member(item: Mapping[str, Any]) -> Member:
    """
    Parse an item of ListAccounts.

    Raises:
        ReadError: It is not what AWS documents.
    """
    id_, name, arn = (item.get(member) for member in ("Id", "Name", "Arn"))
    match = _ARN.fullmatch(arn) if isinstance(arn, str) else None
    if (
        not isinstance(id_, str)
        or not re.fullmatch(r"\d{12}", id_, re.ASCII)
        or match is None
        or match["partition"] not in tuple(Partition)
    ):
        raise malformed(Operation.LIST_ACCOUNTS, "an account has no valid Id or Arn")
    paths = item.get("Paths")
    texts = [path for path in paths if isinstance(path, str)] if isinstance(paths, list) else []
    return Member(
        id_,
        name if isinstance(name, str) else "",
        Partition(match["partition"]),
        match["management"],
        frozenset(part for path in texts for part in path.split("/") if part),
    )
